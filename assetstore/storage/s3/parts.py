"""Objects that are stored in parts while their bytes come, and copies of objects that the service does not copy.

Concurrency: an upload in parts has a thread of its own, in which the library takes bytes as quickly as the bucket
does; it ends by itself when the upload ends or breaks off. (It cannot be the thread that gives the bytes: while the
library stores, it must not be called again from the same thread.)
"""

import contextlib
import queue
import threading
from collections.abc import Iterator

from assetstore.errors import AssetError
from assetstore.storage.s3.client import Bucket, part_size
from assetstore.storage.s3.object_info import Found

#: The largest object that a service copies by itself (S3's own limit).
_LARGEST_COPY = 5 * 1024**3

#: Pieces that wait for the bucket, of half a megabyte at most.
_MOST_PIECES = 4

#: How often a waiting upload looks whether its other thread still lives, in seconds.
_LOOK_SECONDS = 1.0


def copy(bucket: Bucket, object: Found, target: str) -> None:
    """Copies an object with all that is said of it. Raises NotFound, OutOfSpace, Unavailable, StorageFault."""
    if object.size <= _LARGEST_COPY:
        bucket.copy(object, target)
        return
    upload = PartsUpload(bucket, target, dict(object.attributes), part_size(object.size))
    try:
        for piece in bucket.stream(object, 0, object.size):
            upload.write(piece)
        upload.finish()
    except BaseException:
        upload.abort()
        raise


class _Aborted(AssetError):
    """Ends an upload in parts, so that the service forgets them; nobody gets to see it."""


class PartsUpload:
    """An upload in parts, in a thread of its own that takes bytes as quickly as the bucket does."""

    def __init__(self, bucket: Bucket, key: str, attributes: dict[str, str], size_of_parts: int) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_MOST_PIECES)
        self._failure: BaseException | None = None
        self._is_aborted = False

        def run() -> None:
            try:
                bucket.put_stream(key, self._pieces(), attributes, size_of_parts)
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
                self._failure = error

        self._thread = threading.Thread(target=run, name="upload in parts", daemon=True)
        self._thread.start()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hands over bytes; waits while enough are waiting. Raises what the bucket raised."""
        self._put(bytes(data))

    def finish(self) -> None:
        """Has the parts joined and waits for that. Raises what the bucket raised."""
        self._put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Has the parts forgotten, unless they have been joined; does not wait for that."""
        self._is_aborted = True
        with contextlib.suppress(queue.Full):  # then it takes one, and sees
            self._queue.put_nowait(None)

    def _put(self, piece: bytes | None) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                self._queue.put(piece, timeout=_LOOK_SECONDS)
                return
            except queue.Full:
                continue

    def _pieces(self) -> Iterator[bytes]:
        while True:
            piece = self._queue.get()
            if self._is_aborted:
                raise _Aborted("The upload broke off.")
            if piece is None:
                return
            yield piece
