"""How slow a client may be, and a connection that is cut off when its client is slower.

Concurrency: a connection and its pace belong to the thread that serves the request.
"""

import fcntl
import io
import select
import socket
import struct
import termios
import time
from typing import Any

#: The least number of bytes per second, in either direction. The slowest lines in use carry 1 kB/s.
FLOOR_BYTES_PER_SECOND = 500

#: The pace is judged again for each such stretch of waiting, so that a burst at the beginning earns nothing.
WINDOW_SECONDS = 60.0

#: How often the kernel is asked whether the client has taken anything, in seconds.
_LOOK_SECONDS = 1.0


class Pace:
    """Judges how quickly a client sends or reads. Only time spent waiting for the client counts.

    Parameters:
        silence: seconds without any progress after which the client is too slow.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._silent = 0.0
        self._waited = 0.0
        self._moved = 0

    def note(self, waited: float, moved: int) -> None:
        """Adds seconds of waiting and bytes that were sent or received.

        Raises:
            TimeoutError: the client is silent, or slower than FLOOR_BYTES_PER_SECOND.
        """
        self._silent = 0.0 if moved else self._silent + waited
        self._waited += waited
        self._moved += moved
        if self._silent >= self._silence:
            raise TimeoutError(f"the client was silent for {self._silent:.0f} s")
        if self._waited >= WINDOW_SECONDS:
            if self._moved < self._waited * FLOOR_BYTES_PER_SECOND:
                raise TimeoutError(f"only {self._moved} bytes moved in {self._waited:.0f} s")
            self._waited, self._moved = 0.0, 0


class PacedConnection(io.RawIOBase):
    """Both directions of a connection, as an unbuffered file.

    Parameters:
        connection: of the client.
        silence: seconds, see `Pace`.

    Attributes:
        deadline: by `time.monotonic`, until when everything read must be there; None for no such limit.
    """

    def __init__(self, connection: socket.socket, silence: float) -> None:
        self._connection = connection
        self._reading, self._writing = Pace(silence), Pace(silence)
        self.deadline: float | None = None

    def readable(self) -> bool:
        """True (io.RawIOBase)."""
        return True

    def writable(self) -> bool:
        """True (io.RawIOBase)."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Waits for bytes and takes them; 0 at the end. Raises TimeoutError, OSError."""
        while True:
            try:
                count = self._connection.recv_into(buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._reading.note(self._wait(select.POLLIN), 0)
                continue
            self._reading.note(0.0, count)
            return count

    def write(self, data: Any) -> int:
        """Sends all bytes. Raises TimeoutError, OSError."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._connection.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                # What lies in a large send buffer has not been taken yet: the queue tells, not `send`.
                before = self._queued()
                waited = self._wait(select.POLLOUT)
                self._writing.note(waited, max(0, before - self._queued()))
        return len(data)

    def _wait(self, event: int) -> float:
        """Waits for the client for a while; returns for how many seconds."""
        began = time.monotonic()
        if self.deadline is not None and began >= self.deadline:
            raise TimeoutError("the request did not come in time")
        poll = select.poll()
        poll.register(self._connection, event)
        poll.poll(_LOOK_SECONDS * 1000)
        return time.monotonic() - began

    def _queued(self) -> int:
        """Bytes that the client has not acknowledged yet (Linux: TIOCOUTQ, tcp(7))."""
        answer: bytes = fcntl.ioctl(self._connection, termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", answer)[0])
