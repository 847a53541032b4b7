"""The minimum transfer rate of clients, and a connection that is closed if its client is slower.

Concurrency: a connection and its rates belong to the thread that serves the request.
"""

import fcntl
import io
import select
import socket
import struct
import termios
import time
from typing import Any

#: The minimum rate in either direction. The slowest network connections in use have 1 kB/s.
MIN_BYTES_PER_SECOND = 500

#: The rate is checked for each window of this waiting time, so that a fast start does not count later.
WINDOW_SECONDS = 60.0

#: How often to check whether the client has acknowledged anything, in seconds.
_POLL_SECONDS = 1.0


class MinimumRate:
    """Checks how fast a client sends or receives. Only time spent waiting for the client counts.

    Parameters:
        silence: after how many seconds without any progress the client is too slow.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._silent = 0.0
        self._waited = 0.0
        self._moved = 0

    def note(self, waited: float, moved: int) -> None:
        """Adds the seconds of waiting and the bytes transferred.

        Raises:
            TimeoutError: the client is silent, or slower than MIN_BYTES_PER_SECOND.
        """
        self._silent = 0.0 if moved else self._silent + waited
        self._waited += waited
        self._moved += moved
        if self._silent >= self._silence:
            raise TimeoutError(f"the client was silent for {self._silent:.0f} s")
        if self._waited >= WINDOW_SECONDS:
            if self._moved < self._waited * MIN_BYTES_PER_SECOND:
                raise TimeoutError(f"only {self._moved} bytes were transferred in {self._waited:.0f} s")
            self._waited, self._moved = 0.0, 0


class MonitoredConnection(io.RawIOBase):
    """A connection with a minimum transfer rate in both directions, as an unbuffered file.

    Parameters:
        connection: the socket of the client.
        silence: see `MinimumRate`.

    Attributes:
        deadline: until when all reads must have ended, by `time.monotonic`; None for no such limit.
    """

    def __init__(self, connection: socket.socket, silence: float) -> None:
        self._connection = connection
        self._reading, self._writing = MinimumRate(silence), MinimumRate(silence)
        self.deadline: float | None = None

    def readable(self) -> bool:
        """Returns True (io.RawIOBase)."""
        return True

    def writable(self) -> bool:
        """Returns True (io.RawIOBase)."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Waits for bytes and reads them; returns 0 at the end. Raises TimeoutError, OSError."""
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
                # Bytes in the send buffer have not reached the client, so progress is what leaves the queue.
                before = self._queued()
                waited = self._wait(select.POLLOUT)
                self._writing.note(waited, max(0, before - self._queued()))
        return len(data)

    def _wait(self, event: int) -> float:
        """Waits for the client for a while; returns how many seconds it waited."""
        began = time.monotonic()
        if self.deadline is not None and began >= self.deadline:
            raise TimeoutError("the request did not arrive in time")
        poll = select.poll()
        poll.register(self._connection, event)
        poll.poll(_POLL_SECONDS * 1000)
        return time.monotonic() - began

    def _queued(self) -> int:
        """Bytes that the client has not acknowledged yet (TIOCOUTQ, tcp(7))."""
        result: bytes = fcntl.ioctl(self._connection, termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", result)[0])
