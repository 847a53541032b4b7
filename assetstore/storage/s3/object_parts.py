"""Parts of objects that are read again and again: the last ones are cached in memory.

The end of an object is one part, because a pyramid has the directories of most of its levels there, and the levels that
a viewer shows first.

Concurrency: any thread may call. If several threads need the same part at the same time, it is fetched once.
"""

import threading

import cachetools

from assetstore.concurrency.single_flight import SingleFlight
from assetstore.errors import Unavailable
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.object_info import Found

#: How many bytes to fetch at a time: some adjacent tiles of a pyramid; and at the end of an object.
BLOCK_BYTES, _END_BYTES = 256 << 10, 2 << 20

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
        end, pieces = min(offset + length, object.size), []
        while offset < end:
            start, stop = _limits(object, offset)
            pieces.append(self._block(bucket, object, start, stop)[offset - start : end - start])
            offset = stop
        return b"".join(pieces)

    def _block(self, bucket: Bucket, object: Found, start: int, stop: int) -> bytes:
        key = (bucket.name, object.key, object.etag, start)
        with self._lock:
            block = self._blocks.get(key)
        if block is None:
            try:
                block = self._fetched.do(repr(key), lambda: bucket.window(object, start, stop - start), _SECONDS)
            except TimeoutError:
                raise Unavailable("The file storage is slow; please try again soon.", retry_after=10) from None
            with self._lock:
                self._blocks[key] = block
        return block


def _limits(object: Found, offset: int) -> tuple[int, int]:
    """Where the block begins and ends that contains a byte."""
    last = max(0, object.size - _END_BYTES) // BLOCK_BYTES * BLOCK_BYTES
    start = offset // BLOCK_BYTES * BLOCK_BYTES
    return (last, object.size) if offset >= last else (start, start + BLOCK_BYTES)
