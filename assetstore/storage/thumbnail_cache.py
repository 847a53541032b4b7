"""The most recently requested thumbnails, in memory. Each process has its own.

The cache knows nothing about changes. A store uses an entry only if it has the version that the store requires.

Concurrency: any thread may call.
"""

import threading

import cachetools

from assetstore.storage.models import Version

#: How much memory an entry takes besides the bytes of the thumbnail, approximately.
_ENTRY_BYTES = 1000


class ThumbnailCache:
    """The bytes of thumbnails and their versions.

    Parameters:
        size: of the cache, in bytes. The least recently used thumbnails are removed first.
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._entries: cachetools.LRUCache[tuple[str, str], tuple[Version, bytes]]
        self._entries = cachetools.LRUCache(size, getsizeof=lambda entry: len(entry[1]) + _ENTRY_BYTES)

    def get(self, collection_dir: str, name: str) -> tuple[Version, bytes] | None:
        """Returns the version and the bytes of a thumbnail; None if it is not in the cache."""
        with self._lock:
            return self._entries.get((collection_dir, name))

    def put(self, collection_dir: str, name: str, version: Version, data: bytes) -> None:
        """Adds or replaces a thumbnail, unless it is larger than the cache."""
        if len(data) + _ENTRY_BYTES <= self._entries.maxsize:
            with self._lock:
                self._entries[(collection_dir, name)] = (version, data)

    def forget(self, collection_dir: str, name: str) -> None:
        """Removes a thumbnail, if it is in the cache."""
        with self._lock:
            self._entries.pop((collection_dir, name), None)
