"""Cached pyramids as objects, `[prefix/][collection folder/]thumbnails/.asset-server/pyramids/ORIGINAL/PAGE.tif`.

A pyramid is read by its local copy in BASE_DIR: libvips reads files, and the first tiles of a viewer would fetch most
of a pyramid anyway. Local copies take at most as many bytes as the pyramids in the bucket; the least recently used ones
are removed. In the bucket, the oldest pyramids are removed first, because recording each use would cost a request.

As for thumbnails, the modification time that shows the version of the original is in the metadata, as `source`.

Concurrency: as in `assetstore.storage.s3.originals`. If two servers make the same pyramid, both store the same one.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from assetstore.files.private_folders import private_folder
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage import pyramid_names
from assetstore.storage.disk.pyramids import DiskPyramid, DiskPyramids
from assetstore.storage.models import CachedPyramid
from assetstore.storage.s3.client import PART_BYTES, existing
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.object_info import Found


def local_folder(base: Path) -> Path:
    """Returns the folder in BASE_DIR with the private folder of local copies."""
    return private_folder(base) / pyramid_names.FOLDER


class S3Pyramids:
    """The pyramids in one or more buckets.

    Parameters:
        layout: the buckets and keys of collection folders.
        base: BASE_DIR, for local copies and locks.
        most_bytes: the limit of all pyramids together, and of all local copies.
    """

    def __init__(self, layout: Layout, base: Path, most_bytes: int) -> None:
        self._layout = layout
        self.most_bytes = most_bytes
        folder = local_folder(base)
        self._local = DiskPyramids(base, [""], lambda _collection_dir: folder, most_bytes)

    def find(self, collection_dir: str, name: str, page: int, modified_ns: int) -> Path | None:
        """Returns the path of a local copy of a pyramid with this modification time, which it fetches if necessary.

        None if there is none. Raises OutOfSpace, Unavailable, StorageFault.
        """
        local = self._local_name(collection_dir, name)
        found = self._local.find("", local, page, modified_ns)
        if found is not None:
            return found
        object = self._object(collection_dir, name, page, modified_ns)
        if object is None:
            return None
        folder = self._folder(collection_dir)
        with self._local.locked("", local, page), self._local.new("", local, page) as copy:
            found = self._local.find("", local, page, modified_ns)  # another thread was faster
            if found is not None:
                return found
            with open(copy.path, "wb") as file:
                for piece in folder.bucket.stream(object, 0, object.size):
                    file.write(piece)
            copy.publish(modified_ns)
        return self._local.find("", local, page, modified_ns)

    def is_cached(self, collection_dir: str, name: str, page: int, modified_ns: int) -> bool:
        """Returns whether there is a pyramid with this modification time. Raises Unavailable, StorageFault."""
        local = self._local.find("", self._local_name(collection_dir, name), page, modified_ns)
        return local is not None or self._object(collection_dir, name, page, modified_ns) is not None

    @contextlib.contextmanager
    def new(self, collection_dir: str, name: str, page: int) -> Iterator["S3Pyramid"]:
        """Yields a new pyramid at a local path, which is removed at the end."""
        key = pyramid_names.file_name(pyramid_names.original_id(name), page)
        with self._local.new("", self._local_name(collection_dir, name), page) as local:
            yield S3Pyramid(local, self, self._folder(collection_dir), key)

    def progress(self, collection_dir: str, name: str, page: int) -> Path:
        """Returns the path of the file with the progress of a pyramid that is being made on this machine."""
        return self._local.progress("", self._local_name(collection_dir, name), page)

    def locked(self, collection_dir: str, name: str, page: int, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a pyramid, among all threads and processes of this machine."""
        return self._local.locked("", f"making/{self._local_name(collection_dir, name)}", page, waits=waits)

    def delete(self, collection_dir: str, name: str) -> None:
        """Removes all pyramids of an original, and the local copies. Raises Unavailable, StorageFault."""
        self._local.delete("", self._local_name(collection_dir, name))
        folder = self._folder(collection_dir)
        keys = [object.key for object in folder.bucket.list(folder.key(pyramid_names.original_id(name)))]
        if keys:
            folder.bucket.delete(keys)

    def cached(self, collection_dir: str) -> Iterator[CachedPyramid]:
        """Yields all pyramids of a collection folder, in any order. Raises Unavailable, StorageFault."""
        folder = self._folder(collection_dir)
        for object in folder.bucket.list(folder.path):
            found = pyramid_names.parsed(folder.name(object.key))
            if found is not None:
                yield CachedPyramid(collection_dir, *found, object.size, object.stored_ns)

    def remove(self, pyramid: CachedPyramid) -> None:
        """Removes a pyramid from the bucket, if it still exists. Raises Unavailable, StorageFault."""
        folder = self._folder(pyramid.collection_dir)
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

    def _folder(self, collection_dir: str) -> Folder:
        thumbnails = self._layout.thumbnails(collection_dir)
        return Folder(thumbnails.bucket, thumbnails.key(f"{PRIVATE_FOLDER}/{pyramid_names.FOLDER}"))

    def _local_name(self, collection_dir: str, name: str) -> str:
        """What stands for an original among the local copies of all collections."""
        folder = self._layout.originals(collection_dir)
        return f"{folder.bucket.name}/{folder.key(name)}"

    def _object(self, collection_dir: str, name: str, page: int, modified_ns: int) -> Found | None:
        folder = self._folder(collection_dir)
        key = folder.key(pyramid_names.file_name(pyramid_names.original_id(name), page))
        object = existing(folder.bucket, key, confirm=False)
        is_current = object is not None and object.attributes.get("source") == str(modified_ns)
        return object if is_current else None


class S3Pyramid:
    """A pyramid that a worker makes at `path` and that `publish` stores."""

    def __init__(self, local: DiskPyramid, store: S3Pyramids, folder: Folder, key: str) -> None:
        self.path = local.path
        self._local = local
        self._store = store
        self._folder = folder
        self._key = key

    def publish(self, modified_ns: int) -> bool:
        """Stores the file with this modification time, and its local copy; False if it is larger than the limit.

        Raises OutOfSpace, Unavailable, StorageFault.
        """
        size = self.path.stat().st_size
        if size > self._store.most_bytes:
            return False
        self._store.make_space(size)
        attributes = {"Content-Type": "image/tiff", "source": str(modified_ns)}
        with open(self.path, "rb") as file:
            pieces = iter(lambda: file.read(1 << 20), b"")
            self._folder.bucket.put_stream(self._folder.key(self._key), pieces, attributes, PART_BYTES)
        return self._local.publish(modified_ns)
