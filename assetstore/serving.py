"""Paste's HTTP server, set up for the open internet and for the clients of Specify.

What is added to Paste, and why:
- Slow and idle clients do not stop the others. Until the head of its next request is there, a
  connection holds no thread (`assetstore.waiting_room`); Specify 6 opens one per request and never
  closes it. Requests with a body may hold most threads, never all. Threads are many and not
  replaced or killed. (Paste's own socket_timeout has no effect with its thread pool: it makes
  sockets blocking again.)
- What happens on one connection is the business of `assetstore.handler`.
- Told to stop, the server lets running requests finish.
"""

import contextlib
import logging
import resource
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from paste import httpserver

from assetstore import waiting_room
from assetstore.fair_share import Share
from assetstore.handler import Handler
from assetstore.turnstile import OpenGate, Turnstile
from assetstore.waiting_room import Arrival, WaitingRoom

_log = logging.getLogger(__name__)

#: The share of the threads that requests with a body may hold at the same time: uploads are few and
#: slow, and however many stall, reading goes on.
_BODY_SHARE = 0.75

#: Open files: every waiting connection is one, every running request about two. The usual soft limit
#: of 1024 is there for programs that use select().
_OPEN_FILES = 8192
_FILES_PER_THREAD = 2
_OTHER_FILES = 128

#: Connections that the kernel accepts for us while we are busy.
_QUEUE = 1024

#: How long running requests may take to finish when the server is told to stop.
_STOP_SECONDS = 10

WsgiApplication = Callable[..., Any]


class Server(httpserver.WSGIThreadPoolServer):  # type: ignore[misc]  # Paste has no types
    """The listening server.

    Parameters:
        application: the WSGI application.
        address: host and port to listen on; port 0 takes a free one, see `server_port`.
        threads: how many requests are served at the same time.
        timeout: seconds of silence after which a client is cut off.
        listener: a socket that listens already, for several processes that share it; then *address* is its own.
        share: of the connections that come there.
        takes_turns: whether quick requests pass one by one.
    """

    socket: Any

    def __init__(
        self,
        application: WsgiApplication,
        address: tuple[str, int],
        threads: int,
        timeout: int,
        *,
        listener: socket.socket | None = None,
        share: Share | None = None,
        takes_turns: bool = True,
    ) -> None:
        self.address_family = family(address[0])
        self.listener = listener
        self.running_requests = _Counter()
        self.turnstile = Turnstile() if takes_turns else OpenGate()
        self.bodies = threading.Semaphore(max(1, int(threads * _BODY_SHARE)))
        super().__init__(
            application,
            address,
            RequestHandlerClass=type("_TimedHandler", (Handler,), {"timeout": timeout}),
            nworkers=threads,
            daemon_threads=True,
            threadpool_options={"max_requests": 0, "kill_thread_limit": 0, "spawn_if_under": 0},
            request_queue_size=_QUEUE,
        )
        patience, seats = min(waiting_room.HEAD_SECONDS, timeout), _free_seats(threads)
        self.room = WaitingRoom(
            self.socket,
            self._hand_over,
            seats,
            patience,
            share=share,
            elsewhere=lambda: self.running_requests.count,
        )

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks the host up in the DNS, which can take long and is for nothing.
        if self.listener is None:
            socketserver.TCPServer.server_bind(self)
        else:
            self.socket.close()
            self.socket, self.server_address = self.listener, self.listener.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def serve_until_stopped(self) -> None:
        """Serves until `stop`, then lets running requests finish for up to ten seconds."""
        self.room.run()
        self.running_requests.wait_for_zero(_STOP_SECONDS)

    def stop(self) -> None:
        """Makes `serve_until_stopped` return; callable from anywhere."""
        self.running = False
        self.room.stop()

    def others_wait(self) -> bool:
        """Says whether there are more connections with requests than threads for them."""
        return bool(self.running_requests.count > self.thread_pool.nworkers)

    def wait_in_line(self, arrival: Arrival, data: bytes) -> None:
        """Takes a connection whose next request is there already, but is not to be answered before those of others.

        Parameters:
            arrival: the connection; not to be used afterwards.
            data: the request.
        """
        connection = socket.socket(fileno=arrival.connection.detach())
        self._hand_over(Arrival(connection, arrival.address, arrival.deadline, bytearray(data), time.time()))

    def _hand_over(self, arrival: Arrival) -> None:
        self.running_requests.add(1)
        self.thread_pool.add_task(lambda: self.process_request_in_thread(arrival, arrival.address))

    def process_request_in_thread(self, arrival: Arrival, client_address: object) -> None:
        try:
            super().process_request_in_thread(arrival, client_address)
        finally:
            self.running_requests.add(-1)

    def handle_error(self, request: object, client_address: object) -> None:
        _log.exception("a request from %s broke off", client_address)


def family(host: str) -> socket.AddressFamily:
    """Returns the family of a host that is to be listened on."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listen(address: tuple[str, int]) -> socket.socket:
    """Returns a socket that listens, for several processes. Raises OSError."""
    return socket.create_server(address, family=family(address[0]), backlog=_QUEUE)


class _Counter:
    """How many requests run, or are about to."""

    def __init__(self) -> None:
        self.count = 0
        self._condition = threading.Condition()

    def add(self, number: int) -> None:
        with self._condition:
            self.count += number
            self._condition.notify_all()

    def wait_for_zero(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self.count == 0, seconds)


def _free_seats(threads: int) -> int:
    """Returns how many connections may wait, so that running requests do not run out of descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return waiting_room.MOST_WAITING
    return max(threads, min(waiting_room.MOST_WAITING, soft - threads * _FILES_PER_THREAD - _OTHER_FILES))


def _allow_many_files() -> None:
    """Raises the soft limit of open files as far as we may; if that fails, fewer connections can wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(server: Server) -> None:
    """Serves until SIGTERM or SIGINT; then running requests finish, and the call returns."""

    def stop(number: int, frame: FrameType | None) -> None:
        server.stop()

    _allow_many_files()
    server.room.seats = _free_seats(server.thread_pool.nworkers)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_until_stopped()
