"""The checksum of an upload, computed in a separate thread.

SHA-256 takes a third of the processor time of an upload. In a thread of its own it does not delay the upload, as
long as a processor is free.

Concurrency: only one thread may call the methods. Bytes that were added must not change afterwards.
"""

import hashlib
import queue
import threading

#: Uploads up to this size, in bytes, are hashed without a thread.
_WORTH_A_THREAD = 1 << 20

#: How many pieces may wait to be hashed; more would only take memory.
_MOST_WAITING = 3


class Checksum:
    """SHA-256 of bytes that arrive in pieces. As a context manager, it ends its thread."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._size = 0
        self._thread: threading.Thread | None = None
        self._pieces: queue.Queue[bytes | bytearray | memoryview | None] = queue.Queue(_MOST_WAITING)

    def __enter__(self) -> "Checksum":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Beyond the first ones, they are only passed to the thread."""
        self._size += len(data)
        if self._thread is None and self._size < _WORTH_A_THREAD:
            self._hash.update(data)
            return
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="checksum", daemon=True)
            thread.start()
            self._thread = thread
        self._pieces.put(data)

    def hexdigest(self) -> str:
        """Returns the checksum of all bytes so far, in hexadecimal."""
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Waits until all bytes are hashed, and ends the thread; further bytes start a new one."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (data := self._pieces.get()) is not None:
            self._hash.update(data)
