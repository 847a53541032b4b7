"""Cached pyramids as objects, `[prefix/][collection folder/]thumbnails/.asset-server/pyramids/ORIGINAL/PAGE.tif`.

A pyramid is never copied as a whole: for each tile, only the parts are read that contain the tile and the directory of
the file, and the last parts are cached in memory. The oldest pyramids are removed first, because recording each use
would cost a request.

As for thumbnails, the modification time that shows the version of the original is in the metadata, as `source`.

Concurrency: as in `assetstore.storage.s3.originals`. If two servers make the same pyramid, both store the same one.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cachetools

from assetstore.errors import NotFound, Overtaken
from assetstore.files.locks import locked
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage import pyramid_names
from assetstore.storage.models import CachedPyramid, StoredPyramid
from assetstore.storage.s3.client import PART_BYTES, existing
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.object_info import Found
from assetstore.storage.s3.object_parts import ObjectParts
from assetstore.storage.s3.parts import PartsUpload
from assetstore.storage.s3.spool import Spool

#: The cache of parts in memory, in bytes, and of how many pyramids it is remembered that they exist.
_CACHE_BYTES, _MOST_REMEMBERED = 32 << 20, 1000

_PIECE = 512 << 10


def pyramid_folder(layout: Layout, collection_dir: str) -> Folder:
    """Returns where the pyramids of a collection folder are."""
    thumbnails = layout.thumbnails(collection_dir)
    return Folder(thumbnails.bucket, thumbnails.key(f"{PRIVATE_FOLDER}/{pyramid_names.FOLDER}"))


class S3Pyramids:
    """The pyramids in one or more buckets.

    Parameters:
        layout: the buckets and keys of collection folders.
        base: BASE_DIR, for locks.
        spool: where pyramids are made.
        most_bytes: the limit of all pyramids together.
    """

    def __init__(self, layout: Layout, base: Path, spool: Spool, most_bytes: int) -> None:
        self._layout = layout
        self._base = base
        self._spool = spool
        self.most_bytes = most_bytes
        self._parts = ObjectParts(_CACHE_BYTES)
        self._lock = threading.Lock()
        self._known: cachetools.LRUCache[tuple[str, str, int], Found] = cachetools.LRUCache(_MOST_REMEMBERED)

    def find(self, collection_dir: str, name: str, page: int, modified_ns: int) -> StoredPyramid | None:
        """Returns a pyramid with this modification time, None if there is none. Raises Unavailable, StorageFault.

        One that is remembered may have been removed by another server; then reading it raises NotFound, once.
        """
        place = (collection_dir, name, page)
        with self._lock:
            object = self._known.get(place)
        if object is None or not _is_current(object, modified_ns):
            folder = pyramid_folder(self._layout, collection_dir)
            key = folder.key(pyramid_names.file_name(pyramid_names.original_id(name), page))
            object = existing(folder.bucket, key, confirm=False)
            if object is None or not _is_current(object, modified_ns):
                return None
            with self._lock:
                self._known[place] = object
        return StoredPyramid(None, object.size, functools.partial(self._read, place, object))

    def _read(self, place: tuple[str, str, int], object: Found, offset: int, length: int) -> bytes:
        try:
            return self._parts.read(pyramid_folder(self._layout, place[0]).bucket, object, offset, length)
        except (NotFound, Overtaken):
            with self._lock:
                self._known.pop(place, None)
            raise

    def is_cached(self, collection_dir: str, name: str, page: int, modified_ns: int) -> bool:
        """Returns whether there is a pyramid with this modification time. Raises Unavailable, StorageFault."""
        return self.find(collection_dir, name, page, modified_ns) is not None

    @contextlib.contextmanager
    def new(self, collection_dir: str, name: str, page: int) -> Iterator["S3Pyramid"]:
        """Yields a new pyramid at a local path, which is removed at the end."""
        key = pyramid_names.file_name(pyramid_names.original_id(name), page)
        with self._spool.path() as path:
            pyramid = S3Pyramid(path, self, pyramid_folder(self._layout, collection_dir), key)
            try:
                yield pyramid
            finally:
                pyramid.close()

    def progress(self, collection_dir: str, name: str, page: int) -> Path:
        """Returns the path of the file with the progress of a pyramid that is being made on this machine."""
        original = pyramid_names.original_id(self._local_name(collection_dir, name))
        return self._spool.folder / f"{original}-{page}{pyramid_names.PROGRESS}"

    def locked(self, collection_dir: str, name: str, page: int, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a pyramid, among all threads and processes of this machine."""
        return locked(self._base, f"pyramid/{self._local_name(collection_dir, name)}/{page}", waits=waits)

    def delete(self, collection_dir: str, name: str) -> None:
        """Removes all pyramids of an original. Raises Unavailable, StorageFault."""
        folder = pyramid_folder(self._layout, collection_dir)
        keys = [object.key for object in folder.bucket.list(folder.key(pyramid_names.original_id(name)))]
        if keys:
            folder.bucket.delete(keys)
        with self._lock:
            for place in [place for place in self._known if place[:2] == (collection_dir, name)]:
                del self._known[place]

    def cached(self, collection_dir: str) -> Iterator[CachedPyramid]:
        """Yields all pyramids of a collection folder, in any order. Raises Unavailable, StorageFault."""
        folder = pyramid_folder(self._layout, collection_dir)
        for object in folder.bucket.list(folder.path):
            found = pyramid_names.parsed(folder.name(object.key))
            if found is not None:
                yield CachedPyramid(collection_dir, *found, object.size, object.stored_ns)

    def remove(self, pyramid: CachedPyramid) -> None:
        """Removes a pyramid from the bucket, if it still exists. Raises Unavailable, StorageFault."""
        folder = pyramid_folder(self._layout, pyramid.collection_dir)
        folder.bucket.delete([folder.key(pyramid_names.file_name(pyramid.original, pyramid.page))])

    def make_space(self, size: int) -> None:
        """Removes the oldest pyramids until there is space for one of *size* bytes. Raises Unavailable, …"""
        every = [one for folder in self._layout.collection_dirs for one in self.cached(folder)]
        too_many = sum(one.size for one in every) + size - self.most_bytes
        for pyramid in sorted(every, key=lambda one: one.used_ns):
            if too_many <= 0:
                return
            self.remove(pyramid)
            too_many -= pyramid.size

    def _local_name(self, collection_dir: str, name: str) -> str:
        """What stands for an original among those of all collections."""
        folder = self._layout.originals(collection_dir)
        return f"{folder.bucket.name}/{folder.key(name)}"


class S3Pyramid:
    """A pyramid that a worker makes at `path`. `store` uploads it in parts, and `publish` has the service join them."""

    def __init__(self, path: Path, store: S3Pyramids, folder: Folder, key: str) -> None:
        self.path = path
        self._store = store
        self._folder = folder
        self._key = key
        self._upload: PartsUpload | None = None

    def store(self, modified_ns: int) -> bool:
        """Uploads the file, except for the last parts; False if it is larger than the limit.

        Raises OutOfSpace, Unavailable, StorageFault.
        """
        size = self.path.stat().st_size
        if size > self._store.most_bytes:
            return False
        self._store.make_space(size)
        attributes = {"Content-Type": "image/tiff", "source": str(modified_ns)}
        self._upload = PartsUpload(self._folder.bucket, self._folder.key(self._key), attributes, PART_BYTES)
        with open(self.path, "rb", buffering=0) as file:
            for piece in iter(lambda: file.read(_PIECE), b""):
                self._upload.write(piece)
        return True

    def publish(self) -> None:
        """Completes the upload, so that the pyramid is found. Raises OutOfSpace, Unavailable, StorageFault."""
        if self._upload is not None:
            upload, self._upload = self._upload, None
            upload.finish()

    def close(self) -> None:
        """Aborts the upload unless it is complete."""
        if self._upload is not None:
            self._upload.abort()


def _is_current(object: Found, modified_ns: int) -> bool:
    return object.attributes.get("source") == str(modified_ns)
