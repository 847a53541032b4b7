"""Who may hold a thread of the web server: a WSGI middleware, the same under every server.

A thread is held for as long as a client takes to send a body or to read a large response. Such requests together get
a share of the threads, and each client address a share of that, so that however many stall, some threads always
answer what is quick: deletes, /testkey, the XML, cached thumbnails. Threads that may wait for thumbnails
(RENDER_QUEUE) are not counted in. Whatever comes beyond that gets 503 with Retry-After.

Bodies of unknown length are refused before anything is read (411).

Concurrency: for any number of threads; a place is held until the response has ended, and what is left of the body
was read.
"""

import functools
import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from assetstore.errors import AssetError, Unavailable
from assetstore.http.bodies import RequestBody, body_length
from assetstore.http.middleware import Application, Closing, StartResponse
from assetstore.http.request_context import REQUEST_CONTEXT
from assetstore.serving.places import Places

_log = logging.getLogger(__name__)

#: Bodies up to this size are forms: deletes and the like. They have places of their own.
FORM_BYTES = 64 * 1024

#: Responses above this size count as large: smaller ones fit into the buffers between server and client.
LARGE_RESPONSE_BYTES = 1 << 20

_RETRY_SECONDS = 10
_LOG_SECONDS = 60.0


class Admission:
    """The middleware.

    Parameters:
        application: what is to be protected; `RequestContext` and its client must be known already.
        threads: of the web server, in this process (THREADS).
        waiting: how many of them may wait for thumbnails (RENDER_QUEUE).
    """

    def __init__(self, application: Application, threads: int, waiting: int) -> None:
        self._application = application
        spare = max(threads - waiting, threads // 4)
        self.slow, self.forms, self._drains = Places(spare * 3 // 4), Places(spare // 8), Places(spare // 16)
        self._next_log = 0.0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers a request (PEP 3333)."""
        client = environ[REQUEST_CONTEXT].client
        try:
            length = body_length(environ)
        except AssetError as error:
            return _refuse(error, environ, start_response)
        if not length:
            return self._large_response_admitted(environ, start_response, client)
        body = environ["wsgi.input"] = RequestBody(environ["wsgi.input"], length)
        kinds = (self.forms, self.slow) if length <= FORM_BYTES else (self.slow,)
        places = next((places for places in kinds if places.take(client)), None)
        if places is None:
            return self._too_busy(environ, start_response, client, body)
        try:
            response = self._application(environ, start_response)
        except BaseException:
            places.give_back(client)
            raise
        return Closing(response, functools.partial(_drain, body, environ, places, client))

    def _large_response_admitted(
        self, environ: dict[str, Any], start_response: StartResponse, client: str
    ) -> Iterable[bytes]:
        started: list[Any] = []
        response = self._application(environ, lambda *arguments: started.append(arguments))
        announced = [int(value) for name, value in started[0][1] if name == "Content-Length"]
        if environ["REQUEST_METHOD"] == "HEAD" or sum(announced) <= LARGE_RESPONSE_BYTES:
            start_response(*started[0])
            return response
        if not self.slow.take(client):
            getattr(response, "close", lambda: None)()
            return self._too_busy(environ, start_response, client, None)
        start_response(*started[0])
        return Closing(response, functools.partial(self.slow.give_back, client))

    def _too_busy(
        self, environ: dict[str, Any], start_response: StartResponse, client: str, body: RequestBody | None
    ) -> Iterable[bytes]:
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _LOG_SECONDS
            _log.warning("no thread for %s: too many slow uploads or downloads at the same time", client)
        sentence = "The server is busy with other uploads and downloads; please try again soon."
        response = _refuse(Unavailable(sentence, retry_after=_RETRY_SECONDS), environ, start_response)
        if body is None or not self._drains.take(client):
            return response
        return Closing(response, functools.partial(_drain, body, environ, self._drains, client))


def _drain(body: RequestBody, environ: dict[str, Any], places: Places, client: str) -> None:
    """Reads what is left of a body once the response is out, unless the client waits to be asked for it."""
    try:
        if body.left < body.length or "HTTP_EXPECT" not in environ:
            body.drain()
    finally:
        places.give_back(client)


def _refuse(error: AssetError, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    environ[REQUEST_CONTEXT].sentence = error.public
    body = error.public.encode()
    headers = [("Content-Type", "text/plain; charset=UTF-8"), ("Content-Length", str(len(body)))]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
