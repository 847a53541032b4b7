"""What a store of originals and a store of thumbnails can do.

`collection_dir` is the folder of a collection relative to the store (empty: no folder of its own), `name` a name that
has passed `assetstore.names.store_name` or that `assetstore.formats` made of one.
"""

from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from assetstore.storage.models import CachedThumbnail, Listed, Past, StoredFile, TrashEntry, Version


class Incoming(Protocol):
    """An upload on its way in; invisible until committed. Used as a context manager it cleans up."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Raises OutOfSpace or StorageFault."""

    def sync(self, sha256: str | None = None) -> None:
        """Waits until all bytes are safely stored; to be called before `commit`.

        Parameters:
            sha256: their checksum, hexadecimal, for a store that can keep it with them.

        Raises OutOfSpace, StorageFault.
        """

    def commit(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Makes the bytes the original of that name, at once and durably; True if it replaced one.

        Parameters:
            collection_dir, name: of the original.
            keep_old: whether the version that it replaces goes to the trash.

        Raises BadRequest (the file system takes no such name), OutOfSpace or StorageFault; the old
        version is then still there.
        """

    def __enter__(self) -> "Incoming": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Storage(Protocol):
    """A store of originals, and of those that were deleted or replaced not long ago."""

    def prepare(self) -> None:
        """Makes what the store needs and sweeps what a crash has left. Raises StorageFault."""

    def thumbnails(self, most_sizes: int) -> "ThumbnailStore":
        """Returns the store of thumbnails beside these originals.

        Parameters:
            most_sizes: of how many sizes thumbnails are kept in each collection.
        """

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original.

        Parameters:
            collection_dir, name: of the original.
            reads: whether it will probably be read from its beginning: a store may then fetch that at once.

        Raises NotFound, StorageFault.
        """

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, StorageFault."""

    def local_original(self, collection_dir: str, name: str) -> AbstractContextManager[Path]:
        """Gives a path at which tools can read an original. Raises NotFound."""

    def originals(self, collection_dir: str) -> Iterator[Listed]:
        """Yields all originals of one place, in no order. Raises StorageFault."""

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> Incoming:
        """Begins an upload.

        Parameters:
            collection_dir: where it will go, None if that is not known yet.
            length: about how many bytes will come, None if that is not known.
            name: of the original that it will be, None if that is not known yet.
            past: of bytes that come from another store, kept with them; None for new ones.

        Raises OutOfSpace when so much cannot be taken, Unavailable, StorageFault.
        """

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*; False if there was none. Raises StorageFault."""

    def locked_original(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds off everybody else, in other processes too, who calls this for the same original.

        Whoever commits, deletes or restores does so inside. Not to be nested. Raises OutOfSpace, StorageFault.
        """

    def trash(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields what is in the trash of one place, oldest first. Raises StorageFault."""

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Makes an entry of the trash the original again; True if it replaced one, which goes to the
        trash if *keep_old*. Raises NotFound (the entry is gone), OutOfSpace, StorageFault.
        """

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash for good; False if it is gone already. Raises StorageFault."""

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Makes the place of a collection ready for use, if it is not. Raises StorageFault."""

    def probe(self) -> None:
        """Writes and removes a little something everywhere. Raises OutOfSpace, StorageFault."""

    def free_bytes(self) -> int | None:
        """How many more bytes can be stored where there is least room; None if nobody knows. Raises StorageFault."""


class ThumbnailStore(Protocol):
    """A store of thumbnails that were made once and are kept."""

    def open(self, collection_dir: str, name: str, modified_ns: int | None = None) -> StoredFile:
        """Opens a cached thumbnail by its own name.

        Parameters:
            collection_dir, name: of the thumbnail.
            modified_ns: the time of change that is wanted: a store may then give a copy of its own that has it.

        Raises NotFound, StorageFault.
        """

    def new(self, collection_dir: str, name: str) -> "AbstractContextManager[NewThumbnail]":
        """Gives a place for a thumbnail to be made at; it is visible only once published.

        Raises OutOfSpace, StorageFault.
        """

    def delete(self, collection_dir: str, root: str, extension: str, spared: Callable[[], Set[int]]) -> None:
        """Removes the cached thumbnails `ROOT_SCALE.EXT` of one root, none of any other.

        Those whose time of change (to the microsecond) is in *spared* (nanoseconds) stay; it is asked for
        only if there are any. Raises StorageFault.
        """

    def locked(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds off everybody else, in other processes too, who calls this for the same thumbnail.

        Raises OutOfSpace, StorageFault.
        """

    def caches_size(self, collection_dir: str, size: int) -> bool:
        """Whether thumbnails of this size are kept; the number of sizes that are has a ceiling.

        Raises StorageFault.
        """

    def largest_cached_size(self, collection_dir: str, size: int) -> int | None:
        """The largest size, up to this one, of which thumbnails are kept; None if there is none.

        Raises StorageFault.
        """


class NewThumbnail(Protocol):
    """A thumbnail in the making."""

    path: Path

    def publish(self, modified_ns: int) -> None:
        """Makes the file at `path` the cached thumbnail, whole and at once, with this time of change."""


@runtime_checkable
class PrunableThumbnails(Protocol):
    """What a store of thumbnails can do besides, so that `manage.py thumbnails prune` can tidy it up."""

    def cached(self, collection_dir: str) -> Iterator[CachedThumbnail]:
        """Yields all cached thumbnails of one place, in no order. Raises StorageFault."""

    def remove(self, collection_dir: str, cached: CachedThumbnail) -> bool:
        """Removes a thumbnail; False if there is none, or another one by now. Raises StorageFault."""

    def forget_sizes(self, collection_dir: str, but: Set[int]) -> None:
        """Makes room under the ceiling: forgets all sizes but these; to be called when none is kept of the others.

        Raises StorageFault.
        """
