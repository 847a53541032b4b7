"""Admission control, a WSGI middleware: limits how many threads slow requests may hold, under every web server.

A request holds a thread as long as its client takes to send the body or to read a large response. Such requests share
a part of the threads, and each client address gets a part of that. So even if many clients stall, some threads always
serve quick requests: deletes, /testkey, the XML, cached thumbnails. Threads that may wait for thumbnails and
metadata are not part of the share. Requests beyond the limits get 503 with Retry-After.

Requests with a body of unknown length are rejected before anything is read (411).

Concurrency: any number of threads. An admitted request counts until its response has ended and the rest of its body
has been read.
"""

import functools
import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from assetstore.concurrency.concurrency_limit import ConcurrencyLimit
from assetstore.errors import AssetError, Unavailable
from assetstore.http.bodies import RequestBody, body_length
from assetstore.http.middleware import Application, Closing, StartResponse
from assetstore.http.request_context import REQUEST_CONTEXT

_log = logging.getLogger(__name__)

#: Requests with bodies up to this size are forms, such as deletes. They have a limit of their own.
FORM_BYTES = 64 * 1024

#: Responses above this size, or of unknown length, count as large. Smaller ones fit into the network buffers.
LARGE_RESPONSE_BYTES = 1 << 20

_RETRY_SECONDS = 10
_LOG_SECONDS = 60.0


class Admission:
    """The middleware.

    Parameters:
        application: the application to protect. The request context must exist before it is called.
        threads: how many threads the web server has in this process (THREADS).
        waiting: how many of them may wait for thumbnails and metadata.
    """

    def __init__(self, application: Application, threads: int, waiting: int) -> None:
        self._application = application
        spare = max(threads - waiting, threads // 4)
        self.slow, self.forms, self._drains = (
            ConcurrencyLimit(max(2, number)) for number in (spare * 3 // 4, spare // 8, spare // 16)
        )
        self._next_log = 0.0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Handles a request (PEP 3333)."""
        client = environ[REQUEST_CONTEXT].client
        try:
            length = body_length(environ)
        except AssetError as error:
            return _refuse(error, environ, start_response)
        if not length:
            return self._large_response_admitted(environ, start_response, client)
        body = environ["wsgi.input"] = RequestBody(environ["wsgi.input"], length)
        kinds = (self.forms, self.slow) if length <= FORM_BYTES else (self.slow,)
        limit = next((limit for limit in kinds if limit.acquire(client)), None)
        if limit is None:
            return self._too_busy(environ, start_response, client, body)
        try:
            response = self._application(environ, start_response)
        except BaseException:
            limit.release(client)
            raise
        return Closing(response, functools.partial(_drain, body, environ, limit, client))

    def _large_response_admitted(
        self, environ: dict[str, Any], start_response: StartResponse, client: str
    ) -> Iterable[bytes]:
        started: list[Any] = []
        response = self._application(environ, lambda *arguments: started.append(arguments))
        announced = [int(value) for name, value in started[0][1] if name == "Content-Length"]
        # A response of unknown length is made while it is sent, such as a zip archive.
        is_small = sum(announced) <= LARGE_RESPONSE_BYTES if announced else isinstance(response, list | tuple)
        if environ["REQUEST_METHOD"] == "HEAD" or is_small:
            start_response(*started[0])
            return response
        if not self.slow.acquire(client):
            getattr(response, "close", lambda: None)()
            return self._too_busy(environ, start_response, client, None)
        start_response(*started[0])
        return Closing(response, functools.partial(self.slow.release, client))

    def _too_busy(
        self, environ: dict[str, Any], start_response: StartResponse, client: str, body: RequestBody | None
    ) -> Iterable[bytes]:
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _LOG_SECONDS
            _log.warning("no thread for %s: too many slow uploads or downloads at the same time", client)
        sentence = "The server is busy with other uploads and downloads; please try again soon."
        response = _refuse(Unavailable(sentence, retry_after=_RETRY_SECONDS), environ, start_response)
        if body is None or not self._drains.acquire(client):
            return response
        return Closing(response, functools.partial(_drain, body, environ, self._drains, client))


def _drain(body: RequestBody, environ: dict[str, Any], limit: ConcurrencyLimit, client: str) -> None:
    """Reads the rest of a body after the response, unless the client waits for 100 Continue before it sends one."""
    try:
        if body.left < body.length or "HTTP_EXPECT" not in environ:
            body.drain()
    finally:
        limit.release(client)


def _refuse(error: AssetError, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    environ[REQUEST_CONTEXT].sentence = error.public
    body = error.public.encode()
    headers = [("Content-Type", "text/plain; charset=UTF-8"), ("Content-Length", str(len(body)))]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
