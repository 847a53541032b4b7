"""Where originals and thumbnails are kept: the protocol of a store.

The routes and the thumbnail service know only this protocol. `place` is the folder of a collection
relative to the store (empty: no folder of its own), `name` a name that has passed
`assetstore.names.store_name` or that `assetstore.formats` made of one.
"""

from collections.abc import Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Version:
    """One version of a stored file: what tells it from every other version of that name.

    Fields:
        size: bytes.
        modified_ns: time of the last change, nanoseconds since 1970.
        changed_ns: time at which the bytes or the name last may have changed; not before modified_ns
            was set, whatever modified_ns claims.
        etag: strong, quoted (RFC 9110, 8.8.3); differs whenever the bytes may differ.
    """

    size: int
    modified_ns: int
    changed_ns: int
    etag: str


@dataclass(frozen=True)
class StoredFile:
    """An open file and the version that its bytes belong to, whatever happens to the name later."""

    file: BinaryIO
    version: Version

    def __enter__(self) -> "StoredFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


class Incoming(Protocol):
    """An upload on its way in; invisible until committed. Used as a context manager it cleans up."""

    def write(self, data: bytes) -> None:
        """Adds bytes. Raises OutOfSpace or StorageFault."""

    def commit(self, place: str, name: str) -> bool:
        """Makes the bytes the original of that name, at once and durably; True if it replaced one.

        Raises BadRequest (the file system takes no such name), OutOfSpace or StorageFault; the old
        version is then still there.
        """

    def __enter__(self) -> "Incoming": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Storage(Protocol):
    """A store of originals and their thumbnails."""

    def open_original(self, place: str, name: str) -> StoredFile:
        """Opens an original. Raises NotFound."""

    def open_thumbnail(self, place: str, name: str) -> StoredFile:
        """Opens a kept thumbnail by its own name. Raises NotFound."""

    def receive(self, place: str | None) -> Incoming:
        """Begins an upload; *place* is where it will probably go, None if that is not known yet."""

    def delete_original(self, place: str, name: str) -> bool:
        """Removes an original; False if there was none. Raises StorageFault."""

    def delete_thumbnails(self, place: str, root: str, extension: str, spared: Set[int]) -> None:
        """Removes the kept thumbnails `ROOT_SCALE.EXT` of one root, none of any other.

        Those whose time of change (to the microsecond) is in *spared* (nanoseconds) stay.
        """

    def local_original(self, place: str, name: str) -> AbstractContextManager[Path]:
        """Gives a path at which tools can read an original. Raises NotFound."""

    def alone_with_thumbnail(self, place: str, name: str) -> AbstractContextManager[None]:
        """Holds off everybody else, in other processes too, who calls this for the same thumbnail."""

    def keeps_size(self, place: str, size: int) -> bool:
        """Whether thumbnails of this size are kept; the number of sizes that are has a ceiling."""

    def largest_kept_size(self, place: str, size: int) -> int | None:
        """The largest size, up to this one, of which thumbnails are kept; None if there is none."""

    def new_thumbnail(self, place: str, name: str) -> "AbstractContextManager[NewThumbnail]":
        """Gives a place for a thumbnail to be made at; it is visible only once published."""


class NewThumbnail(Protocol):
    """A thumbnail in the making."""

    path: Path

    def publish(self, modified_ns: int) -> None:
        """Makes the file at `path` the kept thumbnail, whole and at once, with this time of change."""
