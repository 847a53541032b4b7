"""Parts of objects that are read again and again: the last ones are cached in memory.

Concurrency: any thread may call. If several threads need the same part at the same time, it is fetched once.
"""

import threading

import cachetools

from assetstore.concurrency.single_flight import SingleFlight
from assetstore.errors import Unavailable
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.object_info import Found

#: How many bytes to fetch at a time: some adjacent tiles of a pyramid.
BLOCK_BYTES = 256 << 10

#: How long to wait for another thread that fetches the same part, in seconds.
_SECONDS = 30


class ObjectParts:
    """A cache of parts of objects.

    Parameters:
        most_bytes: its limit.
    """

    def __init__(self, most_bytes: int) -> None:
        self._lock = threading.Lock()
        self._blocks: cachetools.LRUCache[tuple[str, str, str, int], bytes] = cachetools.LRUCache(most_bytes, len)
        self._fetched: SingleFlight[bytes] = SingleFlight()

    def read(self, bucket: Bucket, object: Found, offset: int, length: int) -> bytes:
        """Returns *length* bytes from *offset*, or fewer at the end of the object.

        Raises Overtaken if the object was replaced, NotFound, Unavailable, StorageFault.
        """
        end = min(offset + length, object.size)
        first = offset - offset % BLOCK_BYTES
        data = b"".join(self._block(bucket, object, start) for start in range(first, end, BLOCK_BYTES))
        return data[offset - first : end - first]

    def _block(self, bucket: Bucket, object: Found, start: int) -> bytes:
        key = (bucket.name, object.key, object.etag, start)
        with self._lock:
            block = self._blocks.get(key)
        if block is None:
            length = min(BLOCK_BYTES, object.size - start)
            try:
                block = self._fetched.do(repr(key), lambda: bucket.window(object, start, length), _SECONDS)
            except TimeoutError:
                raise Unavailable("The file storage is slow; please try again soon.", retry_after=10) from None
            with self._lock:
                self._blocks[key] = block
        return block
