"""Paste's HTTP server, set up for the open internet and for the clients of Specify.

What is added to Paste, and why:
- Every answer closes its connection. Specify 6 opens a connection per request and never closes
  one; kept alive, dozens of them would hold all threads.
- Threads are many and not replaced or killed, so that slow clients do not stop the others; a
  silent one is cut off after the socket time-out. (Paste's own socket_timeout has no effect with
  its thread pool: the pool makes sockets blocking again.)
- Malformed framing is answered before the application sees it.
- A client that is told no in the middle of its upload gets to read that: the server goes on
  reading for a while instead of resetting the connection ("lingering close", as nginx does).
- The time when a request began to arrive is noted, because tokens are judged by it.
- The path reaches the application as PEP 3333 wants it, undecoded and unnormalised.
"""

import contextlib
import errno
import logging
import re
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

_log = logging.getLogger(__name__)

#: In the WSGI environment: when the request began to arrive, seconds since 1970.
RECEIVED_AT = "assetstore.received_at"

#: The longest request line; a store name of 255 bytes is 765 percent-encoded.
_LONGEST_REQUEST_LINE = 16 * 1024

#: How long to go on reading from a client that was answered before it had sent everything.
_LINGER_SECONDS = 30
_LINGER_SILENCE_SECONDS = 5

#: How long running requests may take to finish when the server is told to stop.
_STOP_SECONDS = 10

_HEAD_ERRORS: dict[int, str] = {
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers of the request are too many or too long.",
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
        super().__init__(
            application,
            address,
            RequestHandlerClass=type("_TimedHandler", (_Handler,), {"timeout": timeout}),
            nworkers=threads,
            daemon_threads=True,
            threadpool_options={"max_requests": 0, "kill_thread_limit": 0, "spawn_if_under": 0},
            request_queue_size=1024,
        )

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks the host up in the DNS, which can take long and is for nothing.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def serve_until_stopped(self) -> None:
        """Serves until `stop`, then lets running requests finish for up to ten seconds."""
        while self.running:
            with contextlib.suppress(TimeoutError):
                self.handle_request()
        self.socket.close()
        self.running_requests.wait_for_zero(_STOP_SECONDS)

    def stop(self) -> None:
        """Makes `serve_until_stopped` return; callable from anywhere."""
        self.running = False

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # The connection stays in the queue; without a pause we would spin until a file is closed.
                _log.error("no more open files are allowed; raise LimitNOFILE or ulimit -n")
                time.sleep(0.5)
            raise

    def handle_error(self, request: object, client_address: object) -> None:
        _log.exception("a request from %s broke off", client_address)


class _Counter:
    """How many requests run."""

    def __init__(self) -> None:
        self._count = 0
        self._condition = threading.Condition()

    def __enter__(self) -> None:
        with self._condition:
            self._count += 1

    def __exit__(self, *exception: object) -> None:
        with self._condition:
            self._count -= 1
            self._condition.notify_all()

    def wait_for_zero(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0, seconds)


class _Handler(httpserver.WSGIHandler):  # type: ignore[misc]  # Paste has no types
    """One connection: one request."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # so that refusals of nonsense have headers, too
    server_version = "WebAssetServer"
    sys_version = ""
    disable_nagle_algorithm = True
    path: str

    def handle_one_request(self) -> None:
        """Reads, answers and ends the one request of this connection."""
        self.close_connection = True
        self.command, self.requestline, self.request_version = None, "", "HTTP/1.1"
        self.raw_requestline = self.rfile.readline(_LONGEST_REQUEST_LINE + 1)
        self.received_at = time.time()
        if self.raw_requestline in (b"\r\n", b"\n"):  # RFC 9112, 2.2
            self.raw_requestline = self.rfile.readline(_LONGEST_REQUEST_LINE + 1)
        if not self.raw_requestline:
            return
        with self.server.running_requests:
            has_unread_body = self._answer()
        self.close_connection = True
        self._finish(has_unread_body)

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
        self.wsgi_environ[RECEIVED_AT] = self.received_at

    def wsgi_start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return super().wsgi_start_response(status, [*headers, ("Connection", "close")], exc_info)

    def wsgi_connection_drop(self, error: OSError, environ: dict[str, Any] | None = None) -> None:
        _log.info("the connection from %s broke: %s", self.client_address[0], error)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what the standard library finds wrong with the head of a request."""
        self._refuse(code, _HEAD_ERRORS.get(code, "The request is malformed."))

    def _refuse(self, code: int, sentence: str) -> None:
        """Answers what the application never sees, in the form that its own errors have."""
        body = sentence.encode()
        self.send_response(code, HTTPStatus(code).phrase)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("X-Timestamp", str(int(time.time())))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        _log.info("%s refused with %s: %s", self.client_address[0], code, sentence)

    def _framing_is_sound(self) -> bool:
        """Refuses requests whose end cannot be told (RFC 9112, 6.3), and odd targets (3.2)."""
        lengths = [length.strip(" \t") for length in self.headers.get_all("Content-Length", [])]
        if self.headers.get("Transfer-Encoding"):
            message = "The server needs the Content-Length of the upload; chunked transfer is not possible."
            self._refuse(HTTPStatus.LENGTH_REQUIRED, message)
        elif len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", length, re.ASCII) for length in lengths):
            self._refuse(HTTPStatus.BAD_REQUEST, "The Content-Length is not one number of bytes.")
        elif not self.path.startswith("/") and not _ABSOLUTE_FORM.match(self.path):
            self._refuse(HTTPStatus.BAD_REQUEST, "The address of the request is malformed.")
        else:
            return True
        return False

    def _answer(self) -> bool:
        """Answers the request; returns whether the client may still be sending."""
        if len(self.raw_requestline) > _LONGEST_REQUEST_LINE:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "The address of the request is too long.")
            return True
        if not self.parse_request() or not self._framing_is_sound():
            return True
        self.wsgi_execute()
        body = self.wsgi_environ["wsgi.input"]
        return bool(body._consumed < body.length)

    def _finish(self, has_unread_body: bool) -> None:
        """Ends the answer, and takes what the client still sends, for a while."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            if has_unread_body:
                self.connection.settimeout(_LINGER_SILENCE_SECONDS)
                end = time.monotonic() + _LINGER_SECONDS
                while time.monotonic() < end and self.connection.recv(1 << 20):
                    pass


def run(server: Server) -> None:
    """Serves until SIGTERM or SIGINT; then running requests finish, and the call returns."""

    def stop(number: int, frame: FrameType | None) -> None:
        server.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_until_stopped()
