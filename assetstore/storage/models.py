"""The values that stores return: versions of files, open files, entries of listings and of the trash."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from assetstore.errors import Overtaken

#: Bytes that are read from a file at a time; beyond this the speed no longer grows.
PIECE_BYTES = 256 * 1024

#: Why an original is in the trash.
DELETED, REPLACED = "deleted", "replaced"


class Version(NamedTuple):
    """Identifies one version of a stored file among all versions of its name.

    Fields:
        size: bytes.
        modified_ns: time of the last change, nanoseconds since 1970.
        changed_ns: time of the last possible change of the bytes or the name; cannot be forged,
            unlike modified_ns.
        etag: strong, quoted (RFC 9110, 8.8.3); differs whenever the bytes may differ.
        content: an identifier of the bytes that does not change when the file is moved or restored; empty if the
            store has none.
    """

    size: int
    modified_ns: int
    changed_ns: int
    etag: str
    content: str = ""

    @property
    def tag(self) -> str:
        """Distinguishes it from other versions of the same name and size, as far as a listing allows."""
        return self.content or f"{self.modified_ns:x}-{self.changed_ns:x}"


@dataclass(frozen=True)
class Past:
    """The properties of bytes that come from another store: time of the last change, and SHA-256 if it is known."""

    modified_ns: int
    sha256: str | None = None


@dataclass(frozen=True)
class StoredFile:
    """An open file and the version of its bytes, even if the name changes later.

    Fields:
        file: the unbuffered file; a real file if the store has files.
        path: the path relative to the store, for a web server in front; None if there is no such file.
        sha256: the checksum in hexadecimal that the store has of the bytes; None if it has none.
    """

    file: BinaryIO
    version: Version
    path: str | None = None
    sha256: str | None = None

    def link(self, _seconds: int) -> str | None:
        """Returns an address at which anyone can read the file for some seconds; None if there is none."""
        return None

    def section(self, first: int, length: int) -> BinaryIO:
        """Returns the file, just opened, positioned to read *length* bytes from byte *first*.

        Raises Unavailable, StorageFault.
        """
        if first:
            self.file.seek(first)
        return self.file

    def pieces(self, first: int, length: int) -> Iterator[bytes]:
        """Opens a section, and returns its bytes in pieces of any size; fewer bytes if the file was truncated.

        Raises as `section`, and the pieces raise OSError, Unavailable, StorageFault.
        """
        file = self.section(first, length)

        def read() -> Iterator[bytes]:
            left = length
            while left > 0 and (data := file.read(min(PIECE_BYTES, left))):
                left -= len(data)
                yield data

        return read()

    def check_unmodified(self) -> None:
        """Raises Overtaken if the file was edited in place since it was opened: the bytes may be of several versions.

        Also if it only got another name, which changes the same time (inode(7), ctime).
        """
        now, then = os.fstat(self.file.fileno()), self.version
        if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (then.size, then.modified_ns, then.changed_ns):
            raise Overtaken("The file was modified while it was read.", retry_after=1)

    def __enter__(self) -> "StoredFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


@dataclass(frozen=True)
class Listed:
    """An original in a listing: store name, bytes, time of the last change (nanoseconds since 1970).

    *tag* is that of its version.
    """

    name: str
    size: int
    modified_ns: int
    tag: str


@dataclass(frozen=True)
class TrashEntry:
    """A deleted or replaced original that can be restored.

    Fields:
        identifier: unique in the trash of its collection folder; sorts by time.
        collection_dir, name: of the original.
        removed_ns: when it was removed, nanoseconds since 1970.
        reason: DELETED or REPLACED.
        size: bytes.
        modified_ns: when the original was last changed.
    """

    identifier: str
    collection_dir: str
    name: str
    removed_ns: int
    reason: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class CachedThumbnail:
    """A cached thumbnail in a listing: file name, bytes, and when it was made (nanoseconds since 1970)."""

    name: str
    size: int
    made_ns: int


@dataclass(frozen=True)
class StoredPyramid:
    """A pyramid that can be read, although it may be removed at any time.

    Fields:
        path: of the file; None if it is not on this machine.
        size: bytes; 0 if it has a path.
        read: returns bytes of a pyramid without a path: called with the offset and the length. Raises NotFound,
            Overtaken, Unavailable, StorageFault.
    """

    path: Path | None
    size: int = 0
    read: Callable[[int, int], bytes] | None = None


@dataclass(frozen=True, slots=True)
class CachedPyramid:
    """A cached pyramid in a listing.

    Fields:
        collection_dir: of the original.
        original: identifies the original (`storage.pyramid_names.original_id`).
        page: number of the page, from 1.
        size: bytes.
        used_ns: when it was last used, nanoseconds since 1970; in a bucket, when it was made.
    """

    collection_dir: str
    original: str
    page: int
    size: int
    used_ns: int
