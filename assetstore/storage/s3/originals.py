"""Originals as objects of a bucket, in the layout of the disk: `[prefix/][collection folder/]originals/NAME`.

The objects determine which originals exist: objects that were copied into the bucket by hand are served, too.

Concurrency: any number of threads, processes and servers may use one bucket. Objects are stored, replaced and removed
atomically. A reader gets one version, or an error if it was replaced. A thread that changes a name holds the lock of
that name, which is a file of this server. If two *servers* replace one name at the same instant, the last one wins,
and the version in between may be missing in the trash.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from assetstore.errors import NotFound
from assetstore.files.locks import locked
from assetstore.names import PRIVATE_FOLDER, is_store_name
from assetstore.storage.models import DELETED, Listed, Past, StoredFile, Version
from assetstore.storage.one_version import of_one_version
from assetstore.storage.s3 import trash
from assetstore.storage.s3.errors import Rejected
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.objects import opened
from assetstore.storage.s3.pyramids import S3Pyramids
from assetstore.storage.s3.spool import Spool
from assetstore.storage.s3.thumbnails import S3Thumbnails
from assetstore.storage.s3.uploads import S3Incoming
from assetstore.storage.thumbnail_sizes import SizeRules


class S3OriginalStorage:
    """The originals in one or more buckets.

    Parameters:
        layout: the buckets and keys of collection folders.
        base: BASE_DIR, for locks.
        spool: for temporary local files.
    """

    def __init__(self, layout: Layout, base: Path, spool: Spool) -> None:
        self._layout = layout
        self._base = base
        self._spool = spool
        self._deletable: set[Folder] = set()

    def thumbnails(self, rules: SizeRules) -> S3Thumbnails:
        """Returns the store of thumbnails beside these originals."""
        return S3Thumbnails(self._layout, rules, self._base, self._spool)

    def pyramids(self, most_bytes: int) -> S3Pyramids:
        """Returns the store of pyramids beside the thumbnails."""
        return S3Pyramids(self._layout, self._base, self._spool, most_bytes)

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original; fetches its first bytes if *reads*. Raises NotFound, Unavailable, StorageFault."""
        folder = self._layout.originals(collection_dir)
        return opened(folder.bucket, folder.key(name), reads)

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, Unavailable, StorageFault."""
        folder = self._layout.originals(collection_dir)
        return folder.bucket.head(folder.key(name)).version

    @contextlib.contextmanager
    def local_original(self, collection_dir: str, name: str) -> Iterator[Path]:
        """Yields a path at which tools can read a copy. Raises NotFound, Unrenderable, Unavailable, StorageFault."""
        with contextlib.ExitStack() as stack:
            yield of_one_version(lambda: self._copy_to_disk(collection_dir, name, stack))

    def _copy_to_disk(self, collection_dir: str, name: str, stack: contextlib.ExitStack) -> Path:
        with self.open_original(collection_dir, name) as original:
            return stack.enter_context(self._spool.copy(original))

    def originals(self, collection_dir: str) -> Iterator[Listed]:
        """Yields all originals of a collection folder, with the time they were stored. Raises Unavailable, …"""
        folder = self._layout.originals(collection_dir)
        for object in folder.bucket.list(folder.path):
            name = folder.name(object.key)
            if is_store_name(name):
                yield Listed(name, object.size, object.stored_ns, object.version.tag)

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> S3Incoming:
        """Starts an upload: directly to the bucket if collection folder and name are known. Raises nothing."""
        goal = None if collection_dir is None or name is None else (collection_dir, name)
        return S3Incoming(self._layout, self._spool, goal, length, past)

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*. Returns whether it existed. Raises Unavailable, …"""
        folder = self._layout.originals(collection_dir)
        try:
            original = folder.bucket.head(folder.key(name))
            with contextlib.ExitStack() as stack:
                if keep_old:
                    self._confirm_right_to_delete(folder)
                    stack.enter_context(trash.kept(self._layout.trash(collection_dir), original, name, DELETED))
                self._delete(folder, original.key)
        except NotFound:
            return False
        return True

    def _confirm_right_to_delete(self, folder: Folder) -> None:
        """Raises Unavailable if objects of a folder cannot be deleted, before their copies are in the trash."""
        if folder not in self._deletable:
            self._delete(folder, folder.key(f"{PRIVATE_FOLDER}/trial"))

    def _delete(self, folder: Folder, key: str) -> None:
        try:
            folder.bucket.delete([key])
        except Rejected:
            self._deletable.discard(folder)
            raise
        self._deletable.add(folder)

    def locked_original(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds the lock of an original, among all threads and processes of this machine."""
        folder = self._layout.originals(collection_dir)
        return locked(self._base, f"{folder.bucket.name}/{folder.key(name)}")
