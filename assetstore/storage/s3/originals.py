"""Originals as objects of a bucket, in the layout of the disk: `[prefix/][collection folder/]originals/NAME`.

The objects determine which originals exist: objects that were copied into the bucket by hand are served, too.

Concurrency: any number of threads, processes and servers may use one bucket. Objects are stored, replaced and removed
atomically. A reader gets one version, or an error if it was replaced. A thread that changes a name holds the lock of
that name, which is a file of this server. If two *servers* replace one name at the same instant, the last one wins,
and the version in between may be missing in the trash.
"""

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from assetstore.errors import NotFound, StorageFault, TooLarge, Unrenderable
from assetstore.files.locks import locked
from assetstore.names import PRIVATE_FOLDER, is_store_name
from assetstore.storage.models import DELETED, REPLACED, Listed, Past, StoredFile, TrashEntry, Version
from assetstore.storage.s3 import trash
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.objects import opened
from assetstore.storage.s3.parts import copy
from assetstore.storage.s3.spool import Spool
from assetstore.storage.s3.thumbnails import S3Thumbnails
from assetstore.storage.s3.uploads import S3Incoming


@dataclass(frozen=True)
class Folders:
    """The names of the folders of a collection: originals (ORIG_DIR), thumbnails (THUMB_DIR) and trash."""

    originals: str
    thumbnails: str
    trash: str


class S3Storage:
    """The store in one or more buckets.

    Parameters:
        layout: the buckets and keys of collection folders.
        names: of the folders.
        base: BASE_DIR, for locks.
        spool: for temporary local files.
    """

    def __init__(self, layout: Layout, names: Folders, base: Path, spool: Spool) -> None:
        self._layout = layout
        self._names = names
        self._base = base
        self._spool = spool

    def prepare(self) -> None:
        """Creates the local folders and removes abandoned files; does not use the buckets. Raises StorageFault."""
        try:
            self._spool.prepare()
        except OSError as error:
            detail = f"{self._base}: {error.strerror or error}"
            raise StorageFault("The server's own folder cannot be written.", detail) from error

    def thumbnails(self, most_sizes: int) -> S3Thumbnails:
        """Returns the store of thumbnails beside these originals."""
        return S3Thumbnails(self._layout, self._names.thumbnails, most_sizes, self._base, self._spool)

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original; fetches its first bytes if *reads*. Raises NotFound, Unavailable, StorageFault."""
        folder = self._folder(collection_dir)
        return opened(folder.bucket, folder.key(name), reads)

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, Unavailable, StorageFault."""
        folder = self._folder(collection_dir)
        return folder.bucket.head(folder.key(name)).version

    @contextlib.contextmanager
    def local_original(self, collection_dir: str, name: str) -> Iterator[Path]:
        """Yields a path at which tools can read a copy. Raises NotFound, Unrenderable, Unavailable, StorageFault."""
        with self.open_original(collection_dir, name) as original, self._spool.file() as local:
            try:
                local.reserve(original.version.size)
            except TooLarge as error:
                raise Unrenderable("The file is too large for a thumbnail.", error.detail) from error
            file = original.section(0, original.version.size)
            while data := file.read(1 << 20):
                local.write(data)
            yield local.path

    def originals(self, collection_dir: str) -> Iterator[Listed]:
        """Yields all originals of a collection folder, with the time they were stored. Raises Unavailable, …"""
        folder = self._folder(collection_dir)
        for object in folder.bucket.list(folder.path):
            name = folder.name(object.key)
            if is_store_name(name):
                yield Listed(name, object.size, object.stored_ns, object.version.tag)

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> S3Incoming:
        """Starts an upload: directly to the bucket if collection folder and name are known. Raises nothing."""
        goal = None if collection_dir is None or name is None else (collection_dir, name)
        return S3Incoming(
            lambda collection_dir: (self._folder(collection_dir), self._trash_of(collection_dir)),
            self._spool,
            goal,
            length,
            past,
        )

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*. Returns whether it existed. Raises Unavailable, …"""
        folder = self._folder(collection_dir)
        try:
            original = folder.bucket.head(folder.key(name))
            if keep_old:
                trash.keep(self._trash_of(collection_dir), original, name, DELETED)
        except NotFound:
            return False
        folder.bucket.delete([original.key])
        return True

    def locked_original(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds the lock of an original, among all threads and processes of this machine."""
        folder = self._folder(collection_dir)
        return locked(self._base, f"{folder.bucket.name}/{folder.key(name)}")

    def trash(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields the trash of a collection folder, oldest entries first. Raises Unavailable, StorageFault."""
        return trash.entries(self._trash_of(collection_dir), collection_dir)

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Restores an original from the trash. Returns whether it replaced one.

        Raises NotFound (the entry no longer exists), OutOfSpace, Unavailable, StorageFault.
        """
        folder, trash_folder = self._folder(entry.collection_dir), self._trash_of(entry.collection_dir)
        try:
            kept = trash_folder.bucket.head(trash_folder.key(entry.identifier))
        except NotFound as error:
            raise NotFound("The file is no longer in the trash.", entry.identifier) from error
        key, replaces = folder.key(entry.name), False
        with contextlib.suppress(NotFound):
            old, replaces = folder.bucket.head(key), True
            if keep_old and old.etag != kept.etag:  # equal after a crash between copying and removing
                trash.keep(trash_folder, old, entry.name, REPLACED)
        copy(folder.bucket, kept, key)
        trash_folder.bucket.delete([kept.key])
        return replaces

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash permanently. Returns whether it existed. Raises Unavailable, StorageFault."""
        folder = self._trash_of(entry.collection_dir)
        try:
            kept = folder.bucket.head(folder.key(entry.identifier))
        except NotFound:
            return False
        folder.bucket.delete([kept.key])
        return True

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Does nothing, because a bucket has no folders."""

    def probe(self) -> None:
        """Stores and removes a small object in each bucket. Raises OutOfSpace, Unavailable, StorageFault."""
        for root in self._layout.roots():
            key = f"{root.prefix}{PRIVATE_FOLDER}/probe-{uuid.uuid4()}"
            root.bucket.put(key, b"probe", {"Content-Type": "text/plain"})
            root.bucket.delete([key])

    def free_bytes(self) -> None:
        """Returns None: the free space of a bucket is unknown."""

    def _folder(self, collection_dir: str) -> Folder:
        return self._layout.folder(collection_dir, self._names.originals)

    def _trash_of(self, collection_dir: str) -> Folder:
        return self._layout.folder(collection_dir, self._names.trash)
