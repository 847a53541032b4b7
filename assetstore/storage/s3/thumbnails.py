"""Cached thumbnails as objects, `[prefix/][collection folder/]thumbnails/ROOT_SCALE.EXT`, with a cache in front.

The date of an object cannot be set, so the modification time that identifies the source of a thumbnail
(`assetstore.thumbnails.service`) is in its metadata, as `source`. The cache returns a thumbnail only if it has the
requested one, so changes by other servers need not be known.

Concurrency: as in `assetstore.storage.s3.originals`. If two servers make the same thumbnail, both store the same one.
"""

import contextlib
import io
import re
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from assetstore import media_types
from assetstore.errors import AssetError, NotFound
from assetstore.files.locks import locked
from assetstore.names import is_store_name
from assetstore.storage.models import CachedThumbnail, StoredFile, Version
from assetstore.storage.one_version import of_one_version
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.object_info import Found
from assetstore.storage.s3.objects import StoredObject, begun
from assetstore.storage.s3.sizes import S3Sizes
from assetstore.storage.s3.spool import Spool
from assetstore.storage.thumbnail_cache import ThumbnailCache
from assetstore.storage.thumbnail_sizes import Demand, LastUses, SizeRules, size_of

#: The size of the cache in memory, in bytes: enough for some thousand thumbnails of a gallery.
CACHE_BYTES = 64 << 20

#: The largest thumbnail; larger objects are ignored.
_LARGEST = 64 << 20

_SECOND = 1_000_000_000

#: How often the use of a size is recorded at most, in seconds: each time costs a request to the service.
_USE_SECONDS = 600


class S3Thumbnails:
    """The thumbnails in one or more buckets.

    Parameters:
        layout: the buckets and keys of collection folders.
        rules: the sizes of which thumbnails are cached.
        base: BASE_DIR, for locks.
        spool: where thumbnails are made.
    """

    has_other_readers = False

    def __init__(self, layout: Layout, rules: SizeRules, base: Path, spool: Spool) -> None:
        self._layout = layout
        self._base = base
        self._spool = spool
        self._cache = ThumbnailCache(CACHE_BYTES)
        self._rules = rules
        self._sizes = S3Sizes(rules)
        self._demand = Demand()
        self._last_uses = LastUses(_USE_SECONDS)

    def open(self, collection_dir: str, name: str, modified_ns: int | None = None) -> StoredFile:
        """Opens a cached thumbnail, from memory if it has *modified_ns*. Raises NotFound, Unavailable, …"""
        folder = self._layout.thumbnails(collection_dir)
        if modified_ns is None:
            try:
                object, file = begun(folder.bucket, folder.key(name))
            except NotFound:
                self._cache.forget(collection_dir, name)  # another server removed it
                raise
            self._record_use(collection_dir, folder, size_of(name))
            return StoredObject(cast(BinaryIO, file), _version(object))
        cached = self._cache.get(collection_dir, name)
        if cached is None or cached[0].modified_ns != modified_ns:
            cached = of_one_version(lambda: _fetched(folder, name))
            self._cache.put(collection_dir, name, *cached)
        self._record_use(collection_dir, folder, size_of(name))
        version, data = cached
        return StoredFile(io.BytesIO(data), version)

    def version(self, collection_dir: str, name: str) -> None:
        """Returns None: the version is known only to the service."""

    @contextlib.contextmanager
    def new(self, collection_dir: str, name: str) -> Iterator["S3Thumbnail"]:
        """Yields a new thumbnail at a local path, which is removed at the end."""
        with self._spool.path() as path:
            yield S3Thumbnail(path, self._layout.thumbnails(collection_dir), name)

    def delete(self, collection_dir: str, root: str, extension: str, spared: Callable[[], Set[int]]) -> None:
        """Removes the thumbnails `ROOT_SCALE.EXT` of one root. Raises Unavailable, StorageFault."""
        folder = self._layout.thumbnails(collection_dir)
        own = re.compile(rf"{re.escape(root)}_[1-9][0-9]*(?:-[0-9]+)?{re.escape(extension)}", re.ASCII)
        first = folder.key(f"{root}_")
        keys = []
        # Keys are listed in order, so those of one root are adjacent.
        for object in folder.bucket.list(folder.path, after=first):
            if not object.key.startswith(first):
                break
            if own.fullmatch(folder.name(object.key)):
                keys.append(object.key)
        if not keys:
            return
        spared_us = {time_ns // 1000 for time_ns in spared()}
        if spared_us:
            keys = [key for key in keys if _version(folder.bucket.head(key)).modified_ns // 1000 not in spared_us]
        folder.bucket.delete(keys)
        for key in keys:
            self._cache.forget(collection_dir, folder.name(key))

    def locked(self, collection_dir: str, name: str, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a thumbnail, among all threads and processes of this machine."""
        folder = self._layout.thumbnails(collection_dir)
        return locked(self._base, f"{folder.bucket.name}/{folder.key(name)}", waits=waits)

    def caches_size(self, collection_dir: str, size: int, original: str) -> bool:
        """Returns whether thumbnails of this size are cached; counts the request for *original*."""
        if size in self._sizes.cached(self._layout.thumbnails(collection_dir)):
            return True
        if not (self._rules.is_permanent(size) or self._demand.count(collection_dir, size, original)):
            return False
        return self.add_size(collection_dir, size, replaces=True)

    def add_size(self, collection_dir: str, size: int, replaces: bool) -> bool:
        """Adds a size to the cached ones, if there is a place or it may replace another; returns whether it is cached.

        Raises Unavailable, StorageFault.
        """
        is_cached = self._sizes.add(self._layout.thumbnails(collection_dir), size, replaces)
        if is_cached:
            self._demand.forget(collection_dir, size)
        return is_cached

    def largest_cached_size(self, collection_dir: str, size: int) -> int | None:
        """Returns the largest cached size up to this one; None if there is none."""
        cached = self._sizes.cached(self._layout.thumbnails(collection_dir))
        return max((other for other in cached if other <= size), default=None)

    def update_previews(self, collection_dir: str) -> None:
        """Adds the sizes in PREVIEW_SIZES, and retires those that no longer are in it. Raises Unavailable, …"""
        self._sizes.update_previews(self._layout.thumbnails(collection_dir))

    def retire_sizes(self, collection_dir: str, but: Set[int]) -> None:
        """Retires all sizes but these. Raises Unavailable, StorageFault."""
        folder = self._layout.thumbnails(collection_dir)
        self._sizes.retire(folder, self._sizes.cached(folder) - but)

    def remove_retired(self, collection_dir: str, ending: threading.Event) -> None:
        """Removes the thumbnails of retired sizes. Raises Unavailable, StorageFault."""
        self._sizes.remove_retired(self._layout.thumbnails(collection_dir), ending)

    def cached(self, collection_dir: str) -> Iterator[CachedThumbnail]:
        """Yields all cached thumbnails of a collection folder. Raises Unavailable, StorageFault."""
        folder = self._layout.thumbnails(collection_dir)
        for object in folder.bucket.list(folder.path):
            name = folder.name(object.key)
            if is_store_name(name):  # not the objects of the sizes
                yield CachedThumbnail(name, object.size, object.stored_ns)

    def remove(self, collection_dir: str, cached: CachedThumbnail) -> bool:
        """Removes a thumbnail. Returns False if it is missing or was replaced. Raises Unavailable, StorageFault."""
        folder = self._layout.thumbnails(collection_dir)
        try:
            object = folder.bucket.head(folder.key(cached.name))
        except NotFound:
            return False
        # A listing may have fractions of a second, and this request does not.
        if (object.size, object.stored_ns // _SECOND) != (cached.size, cached.made_ns // _SECOND):
            return False
        folder.bucket.delete([object.key])
        self._cache.forget(collection_dir, cached.name)
        return True

    def _record_use(self, collection_dir: str, folder: Folder, size: int | None) -> None:
        if size is not None and self._last_uses.is_due(collection_dir, size):
            # Without this record, the size only seems to be used less.
            with contextlib.suppress(AssetError):
                self._sizes.use(folder, size)


class S3Thumbnail:
    """A thumbnail that a tool makes at `path` and that `publish` stores."""

    def __init__(self, path: Path, folder: Folder, name: str) -> None:
        self.path = path
        self._folder = folder
        self._name = name

    def publish(self, modified_ns: int) -> bool:
        """Stores the image with this modification time; True. Raises OutOfSpace, Unavailable, StorageFault."""
        attributes = {"Content-Type": media_types.header(self._name), "source": str(modified_ns)}
        self._folder.bucket.put(self._folder.key(self._name), self.path.read_bytes(), attributes)
        return True


def _fetched(folder: Folder, name: str) -> tuple[Version, bytes]:
    object, file = begun(folder.bucket, folder.key(name))
    if object.size > _LARGEST:
        raise NotFound("There is no such file.", f"{object.key} has {object.size} bytes")
    return _version(object), file.read()


def _version(object: Found) -> Version:
    source = object.attributes.get("source", "")
    is_ours = source.isascii() and source.isdigit()
    modified_ns = int(source) if is_ours else object.stored_ns
    return Version(object.size, modified_ns, object.stored_ns, object.version.etag)
