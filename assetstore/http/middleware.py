"""The middleware around the application: the context of each request, and the headers of every response.

It is a separate WSGI layer, so it also covers the responses that the web framework produces itself.

Concurrency: any number of threads.
"""

import itertools
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from assetstore.concurrency import retry_budget
from assetstore.http import cors
from assetstore.http.proxies import Proxies
from assetstore.http.request_context import REQUEST_CONTEXT, RequestContext

#: Key in the WSGI environment, set by some web servers: when the request began to arrive, seconds since 1970.
RECEIVED_AT = "assetstore.received_at"

#: The request IDs that are accepted from trusted proxies; any other is replaced by one of ours.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)

#: Headers of every response, besides X-Timestamp and X-Request-Id (docs/protocol.md). The last one lets pages of
#: Specify on another origin embed images, even if a proxy sets a stricter embedder policy.
COMMON_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    *cors.EVERY_RESPONSE,
    ("Cross-Origin-Resource-Policy", "cross-origin"),
]

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Meter(Protocol):
    """Counts or logs requests that have ended."""

    def count(self, context: RequestContext) -> None:
        """Counts one request."""


class RequestMiddleware:
    """A WSGI application that adds the request context and common headers, and passes ended requests to meters.

    Parameters:
        application: the application to wrap.
        proxies: the trusted proxies.
        routes: the first segments of the paths that the application serves.
        meters: they count and log the requests.
    """

    def __init__(
        self, application: Application, proxies: Proxies, routes: Iterable[str], meters: Iterable[Meter]
    ) -> None:
        self._application = application
        self._proxies = proxies
        self._routes = frozenset(routes)
        self._meters = tuple(meters)
        self._ids = RequestIds()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Handles a request (PEP 3333)."""
        context = environ[REQUEST_CONTEXT] = self._begin(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            context.status = int(status[:3])
            for name, value in headers:
                if name == "Content-Length":
                    context.sent = int(value) if environ["REQUEST_METHOD"] != "HEAD" else 0
            timestamp = ("X-Timestamp", str(int(time.time())))
            all_headers = [*headers, *COMMON_HEADERS, timestamp, ("X-Request-Id", context.request_id)]
            return start_response(status, all_headers, *((exc_info,) if exc_info else ()))

        body = self._application(environ, start)
        if isinstance(body, list | tuple):
            self._end(context)  # the response is complete, so it only remains to send it
            return body
        return Closing(body, lambda: self._end(context))

    def _begin(self, environ: dict[str, Any]) -> RequestContext:
        retry_budget.begin_request()
        proxies = self._proxies
        path = str(environ.get("PATH_INFO", ""))
        route = path[: path.find("/", 1)] if "/" in path[1:] else path
        environ["wsgi.url_scheme"] = proxies.scheme(environ)
        passed_on = proxies.request_id(environ)
        length = str(environ.get("CONTENT_LENGTH") or "0")
        return RequestContext(
            request_id=passed_on if REQUEST_ID.fullmatch(passed_on) else self._ids.new(),
            client=proxies.client(environ),
            method=str(environ["REQUEST_METHOD"]),
            path=path.encode("latin-1", "replace").decode("utf-8", "replace"),
            received_at=proxies.received_at(environ, environ.get(RECEIVED_AT) or time.time()),
            began=time.monotonic(),
            route=route if route in self._routes else "other",
            received=int(length) if length.isdecimal() and len(length) <= 18 else 0,
        )

    def _end(self, context: RequestContext) -> None:
        for meter in self._meters:
            meter.count(context)


class Closing:
    """The body of a response, with a function to call when it ends or fails (PEP 3333, `close`).

    Parameters:
        body: of the response.
        end: called once the body is closed.
    """

    def __init__(self, body: Iterable[bytes], end: Callable[[], None]) -> None:
        self._body = body
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Closes the body, then calls the function."""
        try:
            getattr(self._body, "close", lambda: None)()
        finally:
            self._end()


class RequestIds:
    """Request IDs that are unique across processes and restarts: a random prefix and a counter.

    Concurrency: any thread may call; a step of `itertools.count` is atomic.
    """

    def __init__(self) -> None:
        self._start = f"{os.getpid():x}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)

    def new(self) -> str:
        """Returns an ID that was never used before."""
        return f"{self._start}-{next(self._numbers):x}"
