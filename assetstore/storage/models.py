"""The values that stores return: versions of files, open files, entries of listings and of the trash."""

from dataclasses import dataclass
from typing import BinaryIO

#: Why an original is in the trash.
DELETED, REPLACED = "deleted", "replaced"


@dataclass(frozen=True)
class Version:
    """One version of a stored file: what tells it from every other version of that name.

    Fields:
        size: bytes.
        modified_ns: time of the last change, nanoseconds since 1970.
        changed_ns: time at which the bytes or the name last may have changed; not before modified_ns
            was set, whatever modified_ns claims.
        etag: strong, quoted (RFC 9110, 8.8.3); differs whenever the bytes may differ.
        content: what tells the bytes from others of the same size and date, where a store knows such a
            thing and it stays the same when the file is moved or restored; empty elsewhere.
    """

    size: int
    modified_ns: int
    changed_ns: int
    etag: str
    content: str = ""

    @property
    def tag(self) -> str:
        """What tells it from other versions of that name of the same size, as far as a list shows it."""
        return self.content or f"{self.modified_ns:x}-{self.changed_ns:x}"


@dataclass(frozen=True)
class Past:
    """What is known of bytes that come from another store: time of their last change, SHA-256 if that is known."""

    modified_ns: int
    sha256: str | None = None


@dataclass(frozen=True)
class StoredFile:
    """An open file and the version that its bytes belong to, whatever happens to the name later.

    Fields:
        file: unbuffered; a real file where the store has such.
        path: where a web server in front finds it, relative to the store; None if it is no file there.
        sha256: the checksum, hexadecimal, that the store itself keeps with the bytes; None if it keeps none.
    """

    file: BinaryIO
    version: Version
    path: str | None = None
    sha256: str | None = None

    def link(self, _seconds: int) -> str | None:
        """Returns an address at which anybody can read the file for so many seconds; None if there are no such."""
        return None

    def section(self, first: int, length: int) -> BinaryIO:
        """Gives the file, just opened, to somebody who is about to read *length* bytes from byte *first* on.

        Raises Unavailable, StorageFault.
        """
        if first:
            self.file.seek(first)
        return self.file

    def __enter__(self) -> "StoredFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


@dataclass(frozen=True)
class Listed:
    """An original as a listing shows it: store name, bytes, time of the last change (nanoseconds since 1970).

    *tag* is that of its version.
    """

    name: str
    size: int
    modified_ns: int
    tag: str


@dataclass(frozen=True)
class TrashEntry:
    """A former original that can still be restored.

    Fields:
        identifier: names the entry within the trash of its place; sorts by time.
        collection_dir, name: where it was.
        removed_ns: when it went, nanoseconds since 1970.
        reason: DELETED or REPLACED.
        size: bytes.
        modified_ns: time of its last change as an original.
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
    """A cached thumbnail as a listing shows it: file name, bytes, and when it was made (nanoseconds since 1970)."""

    name: str
    size: int
    made_ns: int
