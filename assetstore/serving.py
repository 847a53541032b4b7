"""Paste's HTTP server, set up for the open internet and for the clients of Specify.

What is added to Paste, and why:
- Every answer closes its connection. Specify 6 opens a connection per request and never closes
  one; kept alive, dozens of them would hold all threads.
- Slow clients do not stop the others. Until its head is there, and after its answer, a request
  holds no thread (`assetstore.waiting_room`). Requests with a body may hold most threads, never
  all. A body that stops or drips is given up. Threads are many and not replaced or killed.
  (Paste's own socket_timeout has no effect with its thread pool: it makes sockets blocking again.)
- Malformed framing is answered before the application sees it.
- A client that is told no in the middle of its upload gets to read that.
- The time when a request began to arrive is noted, because tokens are judged by it.
- The path reaches the application as PEP 3333 wants it, undecoded and unnormalised.
"""

import contextlib
import io
import logging
import re
import resource
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Any
from urllib.parse import unquote_to_bytes

from paste import httpserver

from assetstore import waiting_room
from assetstore.waiting_room import Arrival, Refusal, WaitingRoom

_log = logging.getLogger(__name__)

#: In the WSGI environment: when the request began to arrive, seconds since 1970.
RECEIVED_AT = "assetstore.received_at"

#: The longest request line; a store name of 255 bytes is 765 percent-encoded.
_LONGEST_REQUEST_LINE = 16 * 1024

#: Bodies slower than this on average are given up, after a start in which anything may happen. The
#: slowest line that anybody calls one carries 1 kB/s, and is no use for pictures. At this pace a
#: thread could still be held for as long as the body is large; hence also `_BODY_SHARE`.
_SLOWEST_BYTES_PER_SECOND = 500
_SLOW_START_SECONDS = 60

#: The share of the threads that requests with a body may hold at the same time: uploads are few and
#: slow, and however many stall, reading goes on.
_BODY_SHARE = 0.75

#: Open files: every waiting connection is one, every running request about two. The usual soft limit
#: of 1024 is there for programs that use select().
_OPEN_FILES = 8192
_FILES_PER_THREAD = 2
_OTHER_FILES = 128

#: How long running requests may take to finish when the server is told to stop.
_STOP_SECONDS = 10

_BUSY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "The server is taking many other uploads; please try again soon.", retry_after=10
)
_URI_TOO_LONG = Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "The address of the request is too long.")
_HEAD_ERRORS: dict[int, str] = {
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: waiting_room.TOO_LONG.sentence,
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "This version of HTTP is not spoken here.",
}

_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

WsgiApplication = Callable[..., Any]


class Server(httpserver.WSGIThreadPoolServer):  # type: ignore[misc]  # Paste has no types
    """The listening server.

    Parameters:
        application: the WSGI application.
        address: host and port to listen on; port 0 takes a free one, see `server_port`.
        threads: how many requests are served at the same time.
        timeout: seconds of silence after which a client is cut off.
    """

    def __init__(self, application: WsgiApplication, address: tuple[str, int], threads: int, timeout: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.running_requests = _Counter()
        self.bodies = threading.Semaphore(max(1, int(threads * _BODY_SHARE)))
        super().__init__(
            application,
            address,
            RequestHandlerClass=type("_TimedHandler", (_Handler,), {"timeout": timeout}),
            nworkers=threads,
            daemon_threads=True,
            threadpool_options={"max_requests": 0, "kill_thread_limit": 0, "spawn_if_under": 0},
            request_queue_size=1024,
        )
        self.room = WaitingRoom(
            self.socket, self._hand_over, _free_seats(threads), min(waiting_room.HEAD_SECONDS, timeout)
        )

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks the host up in the DNS, which can take long and is for nothing.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def serve_until_stopped(self) -> None:
        """Serves until `stop`, then lets running requests finish for up to ten seconds."""
        self.room.run()
        self.running_requests.wait_for_zero(_STOP_SECONDS)

    def stop(self) -> None:
        """Makes `serve_until_stopped` return; callable from anywhere."""
        self.running = False
        self.room.stop()

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


class _Counter:
    """How many requests run, or are about to."""

    def __init__(self) -> None:
        self._count = 0
        self._condition = threading.Condition()

    def add(self, number: int) -> None:
        with self._condition:
            self._count += number
            self._condition.notify_all()

    def wait_for_zero(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0, seconds)


class _FromClient(io.RawIOBase):
    """What a client sends: first what came with the head, then what comes.

    Here, below the buffer, every single arrival of bytes is seen; above it, a read of much at once
    would last for as long as the bytes drip in. Only waiting for the client is counted, not what
    the server does between two reads.
    """

    def __init__(self, come: bytearray, stream: io.RawIOBase) -> None:
        self._come = come
        self._stream = stream
        self._waited = 0.0
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._come:
            count = min(len(buffer), len(self._come))
            buffer[:count] = self._come[:count]
            del self._come[:count]
            return count
        began = time.monotonic()
        count = self._stream.readinto(buffer) or 0
        self._waited += time.monotonic() - began
        self._received += count
        if self._waited > _SLOW_START_SECONDS and self._received < self._waited * _SLOWEST_BYTES_PER_SECOND:
            raise TimeoutError(f"only {self._received} bytes came in {self._waited:.0f} s")
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Handler(httpserver.WSGIHandler):  # type: ignore[misc]  # Paste has no types
    """One connection: one request."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # so that refusals of nonsense have headers, too
    server_version = "WebAssetServer"
    sys_version = ""
    disable_nagle_algorithm = True
    rbufsize = 0  # the buffer comes above what counts
    path: str
    request: Any
    rfile: Any

    def setup(self) -> None:
        self.arrival: Arrival = self.request
        self.request = self.arrival.connection
        super().setup()
        self.rfile = io.BufferedReader(_FromClient(self.arrival.data, self.rfile))

    def handle_one_request(self) -> None:
        """Reads, answers and ends the one request of this connection."""
        self.command, self.requestline, self.request_version = None, "", "HTTP/1.1"
        self.raw_requestline = self.rfile.readline(_LONGEST_REQUEST_LINE + 1)
        if self.raw_requestline in (b"\r\n", b"\n"):  # RFC 9112, 2.2
            self.raw_requestline = self.rfile.readline(_LONGEST_REQUEST_LINE + 1)
        has_unread_body = self._answer()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            if has_unread_body:
                self.server.room.see_out(self.arrival)

    def handle_expect_100(self) -> bool:
        # Paste says 100 Continue itself, when the application begins to read.
        return True

    def wsgi_setup(self, environ: dict[str, Any] | None = None) -> None:
        target = _ABSOLUTE_FORM.sub("", self.path, count=1) or "/"
        path, _, query = target.partition("#")[0].partition("?")
        self.path = "/"  # Paste would decode and normalise it
        super().wsgi_setup(environ)
        self.wsgi_environ["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
        self.wsgi_environ["QUERY_STRING"] = query
        self.wsgi_environ[RECEIVED_AT] = self.arrival.received_at

    def wsgi_start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return super().wsgi_start_response(status, [*headers, ("Connection", "close")], exc_info)

    def wsgi_connection_drop(self, error: OSError, environ: dict[str, Any] | None = None) -> None:
        _log.info("the connection from %s broke: %s", self.client_address[0], error)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what the standard library finds wrong with the head of a request."""
        self._refuse(Refusal(HTTPStatus(code), _HEAD_ERRORS.get(code, "The request is malformed.")))

    def _refuse(self, refusal: Refusal) -> None:
        self.wfile.write(refusal.as_bytes(with_body=self.command != "HEAD"))
        _log.info("%s refused with %s: %s", self.client_address[0], refusal.status.value, refusal.sentence)

    def _framing_is_sound(self) -> bool:
        """Refuses requests whose end cannot be told (RFC 9112, 6.3), and odd targets (3.2)."""
        lengths = [length.strip(" \t") for length in self.headers.get_all("Content-Length", [])]
        if self.headers.get("Transfer-Encoding"):
            message = "The server needs the Content-Length of the upload; chunked transfer is not possible."
            self._refuse(Refusal(HTTPStatus.LENGTH_REQUIRED, message))
        elif len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", length, re.ASCII) for length in lengths):
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, "The Content-Length is not one number of bytes."))
        elif not self.path.startswith("/") and not _ABSOLUTE_FORM.match(self.path):
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, "The address of the request is malformed."))
        else:
            return True
        return False

    def _answer(self) -> bool:
        """Answers the request; returns whether the client may still be sending."""
        if len(self.raw_requestline) > _LONGEST_REQUEST_LINE:
            self._refuse(_URI_TOO_LONG)
        elif self.arrival.flaw:
            self._refuse(self.arrival.flaw)
        elif self.parse_request() and self._framing_is_sound():
            if int(self.headers.get("Content-Length", "0")) == 0:
                self.wsgi_execute()
                return False
            return self._answer_with_body()
        return True

    def _answer_with_body(self) -> bool:
        if not self.server.bodies.acquire(blocking=False):
            self._refuse(_BUSY)
            return True
        try:
            self.wsgi_execute()
        finally:
            self.server.bodies.release()
        body = self.wsgi_environ["wsgi.input"]
        return bool(body._consumed < body.length)


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
