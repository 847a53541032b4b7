"""Originals as objects of a bucket, in the layout of the disk: `[prefix/][collection folder/]originals/NAME`.

The objects are the truth: whatever somebody copies into the bucket is served.

Concurrency: any number of threads, processes and servers may use one bucket. An object appears, is replaced and
goes as a whole. A reader gets one version, or is told that it was replaced. Whoever changes what a name stands
for holds that name's lock, which is a file of this server: when two *servers* replace one name at the same
instant, the last one wins, whole, and the version in between may miss the trash.
"""

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from assetstore.errors import NotFound, StorageFault, TooLarge, Unrenderable
from assetstore.names import PRIVATE_FOLDER, is_store_name
from assetstore.storage.disk.files import locked
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
    """The names of the folders of a collection (ORIG_DIR, THUMB_DIR), and that of its trash."""

    originals: str
    thumbnails: str
    trash: str


class S3Storage:
    """The store in one or several buckets.

    Parameters:
        layout: which key belongs to which place.
        names: of the folders.
        base: BASE_DIR, for locks.
        spool: for files that need the local disk for a moment.
    """

    def __init__(self, layout: Layout, names: Folders, base: Path, spool: Spool) -> None:
        self._layout = layout
        self._names = names
        self._base = base
        self._spool = spool

    def prepare(self) -> None:
        """Makes the local folders and sweeps abandoned files; the buckets are not asked. Raises StorageFault."""
        try:
            self._spool.prepare()
        except OSError as error:
            detail = f"{self._base}: {error.strerror or error}"
            raise StorageFault("The server's own folder cannot be written.", detail) from error

    def thumbnails(self, most_sizes: int) -> S3Thumbnails:
        """Returns the store of thumbnails beside these originals."""
        return S3Thumbnails(self._layout, self._names.thumbnails, most_sizes, self._base, self._spool)

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original; with its first bytes, if *reads*. Raises NotFound, Unavailable, StorageFault."""
        folder = self._folder(collection_dir)
        return opened(folder.bucket, folder.key(name), reads)

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, Unavailable, StorageFault."""
        folder = self._folder(collection_dir)
        return folder.bucket.head(folder.key(name)).version

    @contextlib.contextmanager
    def local_original(self, collection_dir: str, name: str) -> Iterator[Path]:
        """Gives a path at which tools can read a copy. Raises NotFound, Unrenderable, Unavailable, StorageFault."""
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
        """Yields all originals of one place, dated when they came to the bucket. Raises Unavailable, StorageFault."""
        folder = self._folder(collection_dir)
        for object in folder.bucket.list(folder.path):
            name = folder.name(object.key)
            if is_store_name(name):
                yield Listed(name, object.size, object.stored_ns, object.version.tag)

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> S3Incoming:
        """Begins an upload: into the bucket at once, if place and name are known. Raises nothing yet."""
        goal = None if collection_dir is None or name is None else (collection_dir, name)
        return S3Incoming(
            lambda collection_dir: (self._folder(collection_dir), self._trash_of(collection_dir)),
            self._spool,
            goal,
            length,
            past,
        )

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*; False if there was none. Raises Unavailable, …"""
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
        """Holds off everybody else on this machine who calls this for the same original."""
        folder = self._folder(collection_dir)
        return locked(self._base, f"{folder.bucket.name}/{folder.key(name)}")

    def trash(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields what is in the trash of one place, oldest first. Raises Unavailable, StorageFault."""
        return trash.entries(self._trash_of(collection_dir), collection_dir)

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Makes an entry of the trash the original again; True if it replaced one.

        Raises NotFound (the entry is gone), OutOfSpace, Unavailable, StorageFault.
        """
        folder, trash_folder = self._folder(entry.collection_dir), self._trash_of(entry.collection_dir)
        try:
            kept = trash_folder.bucket.head(trash_folder.key(entry.identifier))
        except NotFound as error:
            raise NotFound("This is no longer in the trash.", entry.identifier) from error
        key, replaces = folder.key(entry.name), False
        with contextlib.suppress(NotFound):
            old, replaces = folder.bucket.head(key), True
            if keep_old and old.etag != kept.etag:  # equal: a crash came between copying and removing
                trash.keep(trash_folder, old, entry.name, REPLACED)
        copy(folder.bucket, kept, key)
        trash_folder.bucket.delete([kept.key])
        return replaces

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash for good; False if it is gone already. Raises Unavailable, StorageFault."""
        folder = self._trash_of(entry.collection_dir)
        try:
            kept = folder.bucket.head(folder.key(entry.identifier))
        except NotFound:
            return False
        folder.bucket.delete([kept.key])
        return True

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Needs nothing: a bucket knows no folders."""

    def probe(self) -> None:
        """Stores and removes a little object in each bucket. Raises OutOfSpace, Unavailable, StorageFault."""
        for root in self._layout.roots():
            key = f"{root.prefix}{PRIVATE_FOLDER}/probe-{uuid.uuid4()}"
            root.bucket.put(key, b"probe", {"Content-Type": "text/plain"})
            root.bucket.delete([key])

    def free_bytes(self) -> None:
        """Nobody knows."""

    def _folder(self, collection_dir: str) -> Folder:
        return self._layout.folder(collection_dir, self._names.originals)

    def _trash_of(self, collection_dir: str) -> Folder:
        return self._layout.folder(collection_dir, self._names.trash)
