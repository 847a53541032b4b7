"""One connection to Paste's HTTP server, with its one request and response.

Changes to Paste:
- One response per connection, because Specify 6 opens a connection for each request and never closes it.
- PATH_INFO is decoded once and not normalised (PEP 3333). Headers with `_` in their names are dropped, because a proxy
  does not filter X_Forwarded_For.
- Connections of slow and silent clients are closed (`transfer_rate`). Paste's own socket_timeout has no effect with
  its thread pool.
- Errors for malformed requests have the same form as all others (docs/protocol.md).

Concurrency: a handler belongs to the thread that serves its connection.
"""

import contextlib
import io
import logging
import re
import socket
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from paste import httpserver

from assetstore.http import cors
from assetstore.http.middleware import RECEIVED_AT
from assetstore.serving.paste_head import ABSOLUTE_FORM, COMMON_HEAD, Fields, http_date
from assetstore.serving.transfer_rate import MonitoredConnection

_log = logging.getLogger(__name__)

#: How long the head of a request may take, in seconds, and the longest request line, in bytes.
_HEAD_SECONDS = 20
_LONGEST_LINE = 16 * 1024

#: For how many seconds, and how many bytes, to read from a client after its request was rejected.
_LINGER_SECONDS, _LINGER_BYTES = 2, 1 << 20


class Handler(httpserver.WSGIHandler):  # type: ignore[misc]  # Paste has no types
    """One connection with one request."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # so that error responses to malformed requests have headers
    server_version = "WebAssetServer"
    sys_version = ""
    disable_nagle_algorithm = True
    silence: int
    path: str
    wfile: Any
    wsgi_headers_sent: bool
    rfile: Any

    def setup(self) -> None:
        self.connection = self.request
        self.wfile = MonitoredConnection(self.connection, self.silence)
        self.rfile = io.BufferedReader(self.wfile, 64 * 1024)

    def finish(self) -> None:
        pass  # nothing is buffered, and the server closes the connection

    def handle(self) -> None:
        self.wfile.deadline = time.monotonic() + min(_HEAD_SECONDS, self.silence)
        with contextlib.suppress(OSError):  # clients often open a connection and send nothing
            self.rfile.peek(1)
            self.received_at = time.time()
            self.server.busy.add(self)
            try:
                self.handle_one_request()
            except OSError as error:
                self.wsgi_connection_drop(error)
            finally:
                self.server.busy.discard(self)

    def handle_one_request(self) -> None:
        common = COMMON_HEAD.match(self.rfile.peek())
        if common:
            self.rfile.read(common.end())
            self.command, self.path, self.request_version, lines = (part.decode() for part in common.groups())
            self.headers = Fields(line.split(":", 1) for line in lines.split("\r\n")[:-1])
        elif not self._parse_any_head():
            return
        self.wfile.deadline = None
        self.wsgi_execute()
        if "transfer-encoding" in self.headers or getattr(self.wsgi_environ["wsgi.input"], "left", None):
            self._linger()

    def _parse_any_head(self) -> bool:
        line = self.rfile.readline(_LONGEST_LINE + 1)
        if line in (b"\r\n", b"\n"):  # RFC 9112, 2.2
            line = self.rfile.readline(_LONGEST_LINE + 1)
        # The standard library would split the line at the bytes 85 and A0, which occur in UTF-8.
        self.raw_requestline = re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % byte[0][0], line)
        self.requestline, self.command = "", None
        if len(line) > _LONGEST_LINE:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif line and self.parse_request():
            if self.path.startswith("/") or ABSOLUTE_FORM.match(self.path):
                self.headers = Fields(self.headers.items())
                return True
            self.send_error(HTTPStatus.BAD_REQUEST)
        return False

    def wsgi_setup(self, environ: dict[str, Any] | None = None) -> None:
        target, self.path = ABSOLUTE_FORM.sub("", self.path, count=1) or "/", "/"  # Paste would normalise it
        super().wsgi_setup(environ)
        path, _, query = target.partition("#")[0].partition("?")
        self.wsgi_environ |= {
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_LENGTH": self.headers.get("content-length", "0"),
            RECEIVED_AT: self.received_at,
        }

    def wsgi_start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return super().wsgi_start_response(status, [*headers, ("Connection", "close")], exc_info)

    def wsgi_write_chunk(self, chunk: bytes) -> None:
        if not self.wsgi_headers_sent:
            self.wsgi_headers_sent = True
            status, headers = self.wsgi_curr_headers
            fixed = [("Server", self.server_version), ("Date", http_date(int(time.time())))]
            lines = [f"{name}: {value}" for name, value in fixed + headers]
            chunk = "\r\n".join([f"HTTP/1.1 {status}", *lines, "\r\n"]).encode("latin-1") + chunk
        self.wfile.write(chunk)

    def wsgi_connection_drop(self, exce: OSError, environ: Any = None) -> None:
        _log.info("the connection from %s was lost: %s", self.client_address[0], exce)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Responds to a malformed request head that the standard library rejected, as docs/protocol.md requires."""
        status = HTTPStatus(code)
        body = f"The request is malformed: {status.phrase}.".encode()
        headers = [
            ("Content-Type", "text/plain; charset=UTF-8"),
            ("Content-Length", str(len(body))),
            *cors.EVERY_RESPONSE,
            ("X-Timestamp", str(int(time.time()))),
            ("Connection", "close"),
        ]
        self.wsgi_curr_headers, self.wsgi_headers_sent = (f"{code} {status.phrase}", headers), False
        self.wsgi_write_chunk(b"" if self.command == "HEAD" else body)
        _log.info("malformed request from %s rejected with status %s", self.client_address[0], code)
        self._linger()

    def _linger(self) -> None:
        # Closing at once would reset the connection, and the client might not get the response.
        self.connection.shutdown(socket.SHUT_WR)
        self.wfile.deadline = time.monotonic() + _LINGER_SECONDS
        self.rfile.read(_LINGER_BYTES)
