"""One connection to Paste's HTTP server, from request to request.

What is added to Paste, and why:
- A connection stays open for further requests of HTTP/1.1 without a body, which is what galleries
  send; after anything else it is closed. If the next request is not there at once, the connection
  waits without a thread; if it is, and others wait for a thread, they come first.
- Malformed framing is answered before the application sees it.
- A client that is told no in the middle of its upload gets to read that.
- A body that stops or drips, either way, is given up.
- The time when a request began to arrive is noted, because tokens are judged by it.
- The path reaches the application as PEP 3333 wants it, undecoded and unnormalised.
- Head and beginning of an answer leave together, and files are sent by the kernel.

Concurrency: a handler belongs to the thread that serves its connection.
"""

import contextlib
import functools
import io
import logging
import os
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from paste import httpserver

from assetstore.exchange import RECEIVED_AT
from assetstore.heads import ABSOLUTE_FORM, Head, common_head, is_well_formed
from assetstore.refusal import Refusal
from assetstore.waiting_room import TOO_LONG, Arrival, head_length

_log = logging.getLogger(__name__)

#: The longest request line; a store name of 255 bytes is 765 percent-encoded.
_LONGEST_REQUEST_LINE = 16 * 1024

#: Bodies slower than this on average are given up, after a start in which anything may happen. The
#: slowest line that anybody calls one carries 1 kB/s, and is no use for pictures. At this pace a
#: thread could still be held for as long as the body is large; hence also the share of threads
#: that requests with bodies may hold (`serving.Server`).
_SLOWEST_BYTES_PER_SECOND = 500
_SLOW_START_SECONDS = 60

#: How long a thread waits for the next request before it leaves that to the waiting room.
_NEXT_REQUEST_MILLISECONDS = 5

#: Bytes that the kernel is asked to send of a file at a time.
_SENT_AT_ONCE = 1 << 20

_BUSY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "The server is taking many other uploads; please try again soon.", retry_after=10
)
_URI_TOO_LONG = Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "The address of the request is too long.")
_CHUNKED = Refusal(
    HTTPStatus.LENGTH_REQUIRED,
    "The server needs the Content-Length of the upload; chunked transfer is not possible.",
)
_BAD_LENGTH = Refusal(HTTPStatus.BAD_REQUEST, "The Content-Length is not one number of bytes.")
_BAD_ADDRESS = Refusal(HTTPStatus.BAD_REQUEST, "The address of the request is malformed.")
_HEAD_ERRORS: dict[int, str] = {
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: TOO_LONG.sentence,
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "This version of HTTP is not spoken here.",
}

_WITHOUT_BODY = ("204", "304")

#: Stands for any number of bytes.
_UNKNOWN = -1


class Handler(httpserver.WSGIHandler):  # type: ignore[misc]  # Paste has no types
    """One connection; `timeout` is after how many seconds of silence a client is cut off."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # so that refusals of nonsense have headers, too
    server_version = "WebAssetServer"
    sys_version = ""
    disable_nagle_algorithm = True
    rbufsize = 0  # heads are read already, bodies have a reader of their own
    timeout: int
    wsgi_headers_sent: bool
    command: Any
    path: str
    head: Head
    request: Any
    rfile: Any

    def setup(self) -> None:
        self.arrival: Arrival = self.request
        self.request = self.arrival.connection
        super().setup()

    def handle_one_request(self) -> None:
        """Answers a request, and ends the connection or has the next one ready."""
        self.command, self.requestline, self.request_version = None, "", "HTTP/1.1"
        self.stays = False
        self.left_to_send = 0
        data = self.arrival.data
        length = head_length(data) or len(data)
        self.head_bytes, self.come = bytes(data[:length]), data[length:]
        head = io.BytesIO(self.head_bytes)
        self.raw_requestline = head.readline(_LONGEST_REQUEST_LINE + 1)
        if self.raw_requestline in (b"\r\n", b"\n"):  # RFC 9112, 2.2
            self.raw_requestline = head.readline(_LONGEST_REQUEST_LINE + 1)
        self.rfile = head
        has_unread_body = self._answer()
        self.close_connection = not (self.stays and self.left_to_send == 0 and self._next_is_ready())
        if self.stays and self.left_to_send == 0:
            return
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            if has_unread_body:
                self.server.room.see_out(self.arrival)

    def _next_is_ready(self) -> bool:
        """Whether the next request is there already; if not, the connection waits elsewhere."""
        data = bytes(self.come)
        if not self.server.running:
            self.stays = False
            return False
        others_wait = self.server.others_wait()
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if head_length(data) is None and poll.poll(0 if others_wait else _NEXT_REQUEST_MILLISECONDS):
            with contextlib.suppress(OSError):
                data += self.connection.recv(_LONGEST_REQUEST_LINE, socket.MSG_DONTWAIT)
        if head_length(data) is None:
            self.server.room.wait_again(self.arrival, data)
            return False
        if others_wait:
            self.server.wait_in_line(self.arrival, data)
            return False
        address, deadline = self.arrival.address, self.arrival.deadline
        self.arrival = Arrival(self.connection, address, deadline, bytearray(data), time.time())
        return True

    def handle_expect_100(self) -> bool:
        # Paste says 100 Continue itself, when the application begins to read.
        return True

    def parse_request(self) -> bool:
        """Reads the head of a request; answers one that is malformed, and returns False."""
        common = common_head(self.head_bytes)
        if common:
            self.head, self.command, self.path = common, common.method, common.target
            self.close_connection = common.field("connection").lower() == "close"
            return True
        if not super().parse_request():
            return False
        if not is_well_formed(self.head_bytes):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return False
        self.head = Head(self.command, self.path, [(name.lower(), value) for name, value in self.headers.items()])
        return True

    def wsgi_setup(self, environ: dict[str, Any] | None = None) -> None:
        """Makes the environment of the request (PEP 3333)."""
        host, port = self.server.server_address[:2]
        stream = self.rfile
        if self.head.field("expect").lower() == "100-continue":
            stream = httpserver.ContinueHook(stream, self.wfile.write)
        self.wsgi_environ = self.head.environment()
        self.wsgi_environ.update(
            {
                "wsgi.input": httpserver.LimitedLengthFile(stream, int(self.wsgi_environ["CONTENT_LENGTH"])),
                "wsgi.file_wrapper": FileToSend,
                "SERVER_NAME": host,
                "SERVER_PORT": str(port),
                "SERVER_PROTOCOL": self.request_version,
                "REMOTE_ADDR": self.client_address[0],
                RECEIVED_AT: self.arrival.received_at,
            }
        )
        self.wsgi_curr_headers = None
        self.wsgi_headers_sent = False

    def wsgi_execute(self, environ: dict[str, Any] | None = None) -> None:
        """Has the application answer (PEP 3333)."""
        self.wsgi_setup(environ)
        try:
            result = self.server.wsgi_application(self.wsgi_environ, self.wsgi_start_response)
            try:
                self._send(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except OSError as error:
            self.stays = False
            _log.info("the connection from %s broke: %s", self.client_address[0], error)
        except Exception:
            self.stays = False
            if not self.wsgi_headers_sent:
                self._refuse(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong in the asset server."))
            raise

    def _send(self, result: Any) -> None:
        descriptor = result.descriptor() if isinstance(result, FileToSend) else None
        if descriptor is not None and self.left_to_send > 0:
            self.wsgi_write_chunk(b"")
            self._send_file(descriptor)
            return
        for chunk in result:
            self.wsgi_write_chunk(chunk)
        if not self.wsgi_headers_sent:
            self.wsgi_write_chunk(b"")

    def wsgi_start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), _UNKNOWN)
        if self.command == "HEAD" or status[:3] in _WITHOUT_BODY:
            length = 0
        self.left_to_send = length
        self.stays = self.may_stay and length != _UNKNOWN
        connection = "keep-alive" if self.stays else "close"
        return super().wsgi_start_response(status, [*headers, ("Connection", connection)], exc_info)

    def wsgi_write_chunk(self, chunk: bytes) -> None:
        """Sends a piece of the body, the first one together with the head."""
        if self.left_to_send != _UNKNOWN:
            self.left_to_send -= len(chunk)
        if not self.wsgi_headers_sent:
            if not self.wsgi_curr_headers:
                raise RuntimeError("Content returned before start_response called")
            self.wsgi_headers_sent = True
            status, headers = self.wsgi_curr_headers
            lines = [f"HTTP/1.1 {status}", f"Server: {self.server_version}", f"Date: {_date(int(time.time()))}"]
            lines += [f"{name}: {value}" for name, value in headers]
            chunk = "\r\n".join([*lines, "\r\n"]).encode("latin-1") + chunk
        if chunk:
            self.connection.sendall(chunk)

    def _send_file(self, descriptor: int) -> None:
        """Has the kernel send what is left to send, from where the file stands."""
        offset, sent, waited = os.lseek(descriptor, 0, os.SEEK_CUR), 0, 0.0
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        while self.left_to_send:
            try:
                count = os.sendfile(
                    self.connection.fileno(), descriptor, offset + sent, min(self.left_to_send, _SENT_AT_ONCE)
                )
            except BlockingIOError:
                began = time.monotonic()
                if not poll.poll(self.timeout * 1000):
                    raise TimeoutError("the client reads nothing") from None
                waited += time.monotonic() - began
                if waited > _SLOW_START_SECONDS and sent < waited * _SLOWEST_BYTES_PER_SECOND:
                    raise TimeoutError(f"the client read only {sent} bytes in {waited:.0f} s") from None
                continue
            if not count:
                return  # somebody shortened the file; the client sees that bytes are missing
            sent += count
            self.left_to_send -= count

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what the standard library finds wrong with the head of a request."""
        self._refuse(Refusal(HTTPStatus(code), _HEAD_ERRORS.get(code, "The request is malformed.")))

    def _refuse(self, refusal: Refusal) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(refusal.as_bytes(with_body=self.command != "HEAD"))
        _log.info("%s refused with %s: %s", self.client_address[0], refusal.status.value, refusal.sentence)

    def _unsound(self) -> Refusal | None:
        """What is wrong with requests whose end cannot be told (RFC 9112, 6.3), and with odd targets (3.2)."""
        lengths = [value.strip(" \t") for name, value in self.head.fields if name == "content-length"]
        if any(name == "transfer-encoding" for name, _ in self.head.fields):
            return _CHUNKED
        if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", length, re.ASCII) for length in lengths):
            return _BAD_LENGTH
        if not self.path.startswith("/") and not ABSOLUTE_FORM.match(self.path):
            return _BAD_ADDRESS
        return None

    def _answer(self) -> bool:
        """Answers the request; returns whether the client may still be sending."""
        if len(self.raw_requestline) > _LONGEST_REQUEST_LINE:
            self._refuse(_URI_TOO_LONG)
        elif self.arrival.flaw:
            self._refuse(self.arrival.flaw)
        elif self.parse_request():
            unsound = self._unsound()
            if unsound:
                self._refuse(unsound)
            elif int(self.head.field("content-length") or "0") == 0:
                self.may_stay = self.command in ("GET", "HEAD") and not self.close_connection
                with self.server.turnstile.passage():
                    self.wsgi_execute()
                return False
            else:
                return self._answer_with_body()
        return True

    def _answer_with_body(self) -> bool:
        if not self.server.bodies.acquire(blocking=False):
            self._refuse(_BUSY)
            return True
        self.may_stay = False
        stream = self.connection.makefile("rb", buffering=0)
        self.rfile = io.BufferedReader(_FromClient(self.come, stream))
        try:
            self.wsgi_execute()
        finally:
            self.server.bodies.release()
        body = self.wsgi_environ["wsgi.input"]
        return bool(body._consumed < body.length)


@functools.lru_cache(maxsize=2)
def _date(second: int) -> str:
    """A moment as an HTTP date; it is the same for all answers within a second."""
    return formatdate(second, usegmt=True)


class FileToSend:
    """The `wsgi.file_wrapper` of this server (PEP 3333).

    Parameters:
        file: what the application gives; read from where it stands.
        block_size: bytes to read at a time, where the kernel cannot send it.
    """

    def __init__(self, file: Any, block_size: int = 1 << 18) -> None:
        self._file = file
        self._block_size = block_size
        self.close: Callable[[], None] = getattr(file, "close", lambda: None)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(self._block_size), b"")

    def descriptor(self) -> int | None:
        """Returns the descriptor of the file, None if it is not one of the system's."""
        try:
            number: int = self._file.fileno()
        except (AttributeError, OSError):
            return None
        return number


class _FromClient(io.RawIOBase):
    """The body of a request: first what came with the head, then what comes.

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
        """Takes what is there, or waits for some. Raises TimeoutError when the client is too slow, OSError."""
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
