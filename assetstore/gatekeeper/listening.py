"""The loop of the gatekeeper: connections of nginx, which stay open, and one answer after the other.

One thread for all of them: an answer takes less than a tenth of a millisecond, so nobody gains from a second.

Whoever speaks otherwise than nginx does is hung up on: nginx has one request at a time on a connection, and reads
the answer, which is shorter than any buffer, before it sends the next.
"""

import contextlib
import logging
import select
import signal
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from types import FrameType

from assetstore.gatekeeper.judging import ASK_THE_SERVER

_log = logging.getLogger(__name__)

#: The longest head, which nginx bounds itself.
_LONGEST_HEAD = 64 * 1024

#: Connections at a time; when there are more, the one that was opened first gives way.
MOST_CONNECTIONS = 512

#: How often `stop` is looked at.
_TICK_SECONDS = 0.5

_END = b"\r\n\r\n"


class Loop:
    """Answers the requests that come to a socket.

    Parameters:
        listener: listens already; closed in the end.
        answer: gives the whole answer to the bytes of a head.

    Concurrency: `run` belongs to one thread; any thread, and a signal handler, may call `stop`.
    """

    def __init__(self, listener: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        self._listener = listener
        self._answer = answer
        self._epoll = select.epoll()
        self._connections: OrderedDict[int, tuple[socket.socket, bytearray]] = OrderedDict()
        self._stopping = False

    def stop(self) -> None:
        """Makes `run` return soon."""
        self._stopping = True

    def run(self) -> None:
        """Serves until `stop`."""
        self._listener.setblocking(False)
        number = self._listener.fileno()
        self._epoll.register(number, select.EPOLLIN)
        try:
            while not self._stopping:
                for descriptor, _ in self._epoll.poll(_TICK_SECONDS):
                    if descriptor == number:
                        self._accept()
                    elif descriptor in self._connections:
                        self._attend(descriptor)
        finally:
            self._listener.close()
            for descriptor in list(self._connections):
                self._hang_up(descriptor)
            self._epoll.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # gone again
        except OSError as error:  # most likely too many open files
            _log.error("the gatekeeper cannot take a connection: %s", error)
            if self._connections:
                self._hang_up_on_the_oldest()
            else:
                time.sleep(_TICK_SECONDS)  # it stays in the queue, and epoll would tell of it again at once
            return
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._epoll.register(connection, select.EPOLLIN)
        except OSError as error:
            _log.error("the gatekeeper cannot listen to a connection: %s", error)
            connection.close()
            return
        self._connections[connection.fileno()] = (connection, bytearray())
        while len(self._connections) > MOST_CONNECTIONS:
            self._hang_up_on_the_oldest()

    def _attend(self, descriptor: int) -> None:
        """Takes what has come, and answers if that is a whole head and nothing else."""
        connection, come = self._connections[descriptor]
        try:
            data = connection.recv(_LONGEST_HEAD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        come += data
        end = come.find(_END)
        if not data or len(come) > _LONGEST_HEAD or -1 < end < len(come) - len(_END):
            self._hang_up(descriptor)
        elif end > -1:
            answer = self._safe_answer(bytes(come))
            come.clear()
            try:
                sent = connection.send(answer)
            except OSError:
                sent = 0
            if sent < len(answer):
                self._hang_up(descriptor)

    def _safe_answer(self, head: bytes) -> bytes:
        try:
            return self._answer(head)
        except Exception:  # noqa: BLE001 - one odd request must not end all others; the server gets it
            _log.exception("the gatekeeper cannot judge a request")
            return ASK_THE_SERVER

    def _hang_up_on_the_oldest(self) -> None:
        self._hang_up(next(iter(self._connections)))

    def _hang_up(self, descriptor: int) -> None:
        connection, _ = self._connections.pop(descriptor)
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)
        connection.close()


def run(loop: Loop) -> None:
    """Serves until SIGTERM or SIGINT; to be called in the main thread of a process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        loop.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    loop.run()
