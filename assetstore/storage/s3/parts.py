"""Multipart uploads, and copies of objects that are too large for the service to copy.

Concurrency: a multipart upload has a thread of its own, in which the library sends bytes as fast as the bucket accepts
them. The thread ends when the upload ends or is aborted. It is not the thread that provides the bytes, because the
library must not be called again from the same thread while it stores an object.
"""

import contextlib
import queue
import threading
from collections.abc import Iterator

from assetstore.errors import AssetError
from assetstore.storage.s3.client import Bucket, part_size
from assetstore.storage.s3.object_info import Found

#: The largest object that a service copies in one request (the limit of S3).
_LARGEST_COPY = 5 * 1024**3

#: How many pieces may wait for the bucket; each has at most half a megabyte.
_MOST_PIECES = 4

#: How often a waiting upload checks whether its thread has failed, in seconds.
_LOOK_SECONDS = 1.0


def copy(bucket: Bucket, object: Found, target: str) -> None:
    """Copies an object with its metadata. Raises NotFound, OutOfSpace, Unavailable, StorageFault."""
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
    """Aborts a multipart upload; used only inside this module."""


class PartsUpload:
    """A multipart upload, in a thread of its own."""

    def __init__(self, bucket: Bucket, key: str, attributes: dict[str, str], size_of_parts: int) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_MOST_PIECES)
        self._failure: BaseException | None = None
        self._is_aborted = False

        def run() -> None:
            try:
                bucket.put_stream(key, self._pieces(), attributes, size_of_parts)
            except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
                self._failure = error

        self._thread = threading.Thread(target=run, name="upload in parts", daemon=True)
        self._thread.start()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Passes bytes to the thread; waits while the queue is full. Raises the errors of the bucket."""
        self._put(bytes(data))

    def finish(self) -> None:
        """Completes the upload and waits for that. Raises the errors of the bucket."""
        self._put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Aborts the upload unless it is complete; does not wait for that."""
        self._is_aborted = True
        with contextlib.suppress(queue.Full):  # then the thread takes a piece, and checks the flag
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
                raise _Aborted("The upload was aborted.")
            if piece is None:
                return
            yield piece
