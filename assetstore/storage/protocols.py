"""The protocols of a store of originals and of a store of thumbnails.

`collection_dir` is the collection folder relative to the store (empty: no folder of its own). `name` is a name that
was validated by `assetstore.names.store_name`, or that `assetstore.formats` derived from one.
"""

import threading
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from assetstore.storage.models import (
    CachedPyramid,
    CachedThumbnail,
    Listed,
    Past,
    StoredFile,
    StoredPyramid,
    TrashEntry,
    Version,
)
from assetstore.storage.thumbnail_sizes import SizeRules


class Incoming(Protocol):
    """An upload in progress; invisible until it is committed. As a context manager, it cleans up."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Raises OutOfSpace or StorageFault."""

    def sync(self, sha256: str | None = None) -> None:
        """Waits until all bytes are stored durably. Must be called before `commit`.

        Parameters:
            sha256: their checksum in hexadecimal, for a store that can record it.

        Raises OutOfSpace, StorageFault.
        """

    def commit(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Makes the bytes the original of that name, atomically and durably. Returns whether it replaced one.

        Parameters:
            collection_dir, name: of the original.
            keep_old: whether the version that it replaces goes to the trash.

        Raises BadRequest (the file system does not accept the name), OutOfSpace or StorageFault; the old
        version then still exists.
        """

    def __enter__(self) -> "Incoming": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class OriginalReader(Protocol):
    """The operations on the originals of a store that do not change them."""

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original.

        Parameters:
            collection_dir, name: of the original.
            reads: whether it will probably be read from its first byte; a store may then fetch its beginning at once.

        Raises NotFound, StorageFault.
        """

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, StorageFault."""

    def local_original(self, collection_dir: str, name: str) -> AbstractContextManager[Path]:
        """Yields a path at which tools can read an original. Raises NotFound."""

    def originals(self, collection_dir: str) -> Iterator[Listed]:
        """Yields all originals of a collection folder, in any order.

        Their names need not be valid store names: clients cannot request some files that were copied in by hand.
        Raises StorageFault.
        """

    def locked_original(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds the lock of an original, among all threads and processes.

        It must be held to commit, delete or restore, and must not be nested. Raises OutOfSpace, StorageFault.
        """


class OriginalStorage(OriginalReader, Protocol):
    """The originals of a store."""

    def thumbnails(self, rules: SizeRules) -> "ThumbnailStore":
        """Returns the store of thumbnails beside these originals; *rules* are for the sizes that are cached."""

    def pyramids(self, most_bytes: int) -> "PyramidStore":
        """Returns the store of pyramids beside the thumbnails, which all together take at most *most_bytes*."""

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> Incoming:
        """Starts an upload.

        Parameters:
            collection_dir: of the original, None if not known yet.
            length: about how many bytes to expect, None if not known.
            name: of the original, None if not known yet.
            past: properties of bytes that come from another store; None for new bytes.

        Raises OutOfSpace if there is no space for *length* bytes, Unavailable, StorageFault.
        """

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*. Returns whether it existed. Raises StorageFault."""


@runtime_checkable
class RenamableOriginals(Protocol):
    """A store of originals in which `manage.py names repair` can rename files."""

    def rename_original(self, collection_dir: str, name: str, new_name: str) -> bool:
        """Renames an original; False if there is already one of the new name. The lock of the new name must be held.

        Raises NotFound, StorageFault.
        """


class TrashStorage(Protocol):
    """The trash of a store: deleted and replaced originals."""

    def entries(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields the trash of a collection folder, oldest entries first. Raises StorageFault."""

    def entry(self, collection_dir: str, identifier: str) -> TrashEntry:
        """Returns one entry. Raises NotFound, StorageFault."""

    def local_file(self, entry: TrashEntry) -> AbstractContextManager[Path]:
        """Yields a path at which tools can read the file of an entry.

        Raises NotFound, Unrenderable (too large for a copy), StorageFault.
        """

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Restores an original from the trash. Returns whether it replaced one, which goes to the trash if
        *keep_old*. Raises NotFound (the entry no longer exists), OutOfSpace, StorageFault.
        """

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash permanently. Returns whether it existed. Raises StorageFault."""


class StorageSpace(Protocol):
    """The folders or buckets of a store, independent of the files in them."""

    def prepare(self) -> None:
        """Creates what the store requires and removes what a crash left. Raises StorageFault."""

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Prepares a collection folder for use, if necessary. Raises StorageFault."""

    def sweep(self) -> None:
        """Removes what crashes left, and uploads that were begun long ago. Runs every hour. Raises StorageFault."""

    def refill_reserve(self) -> None:
        """Reserves space again for deletes on a full disk, as far as there is free space. Raises StorageFault."""

    def probe(self) -> None:
        """Writes and removes a test file in each collection folder or bucket. Raises OutOfSpace, StorageFault."""

    def probe_thumbnails(self) -> None:
        """Tests whether thumbnails can be cached. Raises OutOfSpace, StorageFault."""

    def free_bytes(self) -> int | None:
        """Returns the free space of the fullest disk, in bytes; None if it is unknown. Raises StorageFault."""


@dataclass(frozen=True)
class Store:
    """A store: one protocol for each kind of caller."""

    originals: OriginalStorage
    trash: TrashStorage
    space: StorageSpace


class CachedSizes(Protocol):
    """Of which sizes a store caches thumbnails, in each collection folder; the number of sizes is limited."""

    def caches_size(self, collection_dir: str, size: int, original: str) -> bool:
        """Returns whether thumbnails of this size are cached; the number of cached sizes is limited.

        Counts as a request for the thumbnail of *original*, which may add the size. Raises StorageFault.
        """

    def add_size(self, collection_dir: str, size: int, replaces: bool) -> bool:
        """Adds a size to the cached ones without counting requests; returns whether it is cached now.

        Parameters:
            collection_dir, size: of the thumbnails.
            replaces: whether another size may be retired for it if the limit is reached.

        Raises StorageFault.
        """

    def largest_cached_size(self, collection_dir: str, size: int) -> int | None:
        """Returns the largest cached size up to this one; None if there is none.

        Raises StorageFault.
        """

    def update_previews(self, collection_dir: str) -> None:
        """Adds the sizes in PREVIEW_SIZES, and retires those that were in it and no longer are.

        Raises StorageFault.
        """

    def retire_sizes(self, collection_dir: str, but: Set[int]) -> None:
        """Stops caching thumbnails of all sizes but these. Raises StorageFault."""

    def remove_retired(self, collection_dir: str, ending: threading.Event) -> None:
        """Removes the thumbnails of retired sizes, which takes long in a large collection.

        Parameters:
            collection_dir: of the thumbnails.
            ending: ends the run early if it is set; the next run continues.

        Raises StorageFault.
        """


class ThumbnailStore(CachedSizes, Protocol):
    """A store of cached thumbnails.

    Attributes:
        has_other_readers: whether a web server such as nginx may send its files without asking this server.
    """

    has_other_readers: bool

    def open(self, collection_dir: str, name: str, modified_ns: int | None = None) -> StoredFile:
        """Opens a cached thumbnail by its own name.

        Parameters:
            collection_dir, name: of the thumbnail.
            modified_ns: the expected modification time, with which a store may use a cached copy that has it.

        Raises NotFound, StorageFault.
        """

    def version(self, collection_dir: str, name: str) -> Version | None:
        """Returns the version of a cached thumbnail without opening it, which also counts as a use of its size.

        Returns None if there is none, or if that would take a request to a service.
        """

    def new(self, collection_dir: str, name: str) -> "AbstractContextManager[NewThumbnail]":
        """Yields a new thumbnail, which becomes visible when it is published.

        Raises OutOfSpace, StorageFault.
        """

    def delete(self, collection_dir: str, root: str, extension: str, spared: Callable[[], Set[int]]) -> None:
        """Removes the cached thumbnails `ROOT_SCALE.EXT` of one root, none of any other.

        Thumbnails whose modification time (to the microsecond) is in *spared* (nanoseconds) stay. *spared* is
        called only if there are thumbnails. Raises StorageFault.
        """

    def locked(self, collection_dir: str, name: str, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a thumbnail, among all threads and processes.

        Raises:
            Unavailable: the lock is not free, and *waits* is false.
            OutOfSpace, StorageFault: the lock file cannot be created.
        """


class PyramidStore(Protocol):
    """A store of cached pyramids: tiled TIFFs with smaller versions of a page, for zooming.

    `page` is the number of the page, from 1. The modification time of a pyramid shows to which version of its original
    it belongs, as for thumbnails. The least recently used pyramids are removed when the limit is reached.
    """

    most_bytes: int

    def find(self, collection_dir: str, name: str, page: int, modified_ns: int) -> StoredPyramid | None:
        """Returns a pyramid with this modification time, None if there is none; counts as use. Raises StorageFault."""

    def is_cached(self, collection_dir: str, name: str, page: int, modified_ns: int) -> bool:
        """Returns whether there is a pyramid with this modification time. Raises StorageFault."""

    def new(self, collection_dir: str, name: str, page: int) -> "AbstractContextManager[NewPyramid]":
        """Yields a new pyramid, which becomes visible when it is published. Raises OutOfSpace, StorageFault."""

    def progress(self, collection_dir: str, name: str, page: int) -> Path:
        """Returns the path of the file with the progress of a pyramid that is being made on this machine."""

    def locked(self, collection_dir: str, name: str, page: int, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a pyramid, among all threads and processes.

        Raises Unavailable (the lock is not free, and *waits* is false), OutOfSpace, StorageFault.
        """

    def delete(self, collection_dir: str, name: str) -> None:
        """Removes all pyramids of an original. Raises StorageFault."""

    def cached(self, collection_dir: str) -> Iterator[CachedPyramid]:
        """Yields all pyramids of a collection folder, in any order. Raises StorageFault."""

    def remove(self, pyramid: CachedPyramid) -> None:
        """Removes a pyramid, if it still exists. Raises StorageFault."""


class NewPyramid(Protocol):
    """A pyramid that is being made at `path`."""

    path: Path

    def store(self, modified_ns: int) -> bool:
        """Stores the file with this modification time, still invisible. Takes long, so no lock of the original is held.

        Returns False if it is larger than the limit of all pyramids: nothing has changed. Raises OutOfSpace, …
        """

    def publish(self) -> None:
        """Makes the stored file the cached pyramid, atomically and quickly. Raises OutOfSpace, StorageFault."""


class NewThumbnail(Protocol):
    """A thumbnail that is being made at `path`."""

    path: Path

    def publish(self, modified_ns: int) -> bool:
        """Makes the file at `path` the cached thumbnail, atomically, with this modification time.

        Returns False if it may not be cached, such as a thumbnail of a size that is not cached: nothing has changed.
        """


@runtime_checkable
class PrunableThumbnails(ThumbnailStore, Protocol):
    """A store of thumbnails that `manage.py thumbnails prune` can prune."""

    def cached(self, collection_dir: str) -> Iterator[CachedThumbnail]:
        """Yields all cached thumbnails of a collection folder, in any order. Raises StorageFault."""

    def remove(self, collection_dir: str, cached: CachedThumbnail) -> bool:
        """Removes a thumbnail. Returns False if it no longer exists or was replaced. Raises StorageFault."""
