"""The responses with recently requested thumbnails, in memory. Each process has its own.

This is a WSGI middleware around Bottle. If a thumbnail is requested again, it repeats the response without parsing the
request and without reading the file, which takes a small part of the time. For each request, it checks again whether
everyone may read the original, whether the collection still has the same folder, and whether the thumbnail is still
the cached one of the current original. If not, or if something cannot be checked, Bottle handles the request.

Concurrency: any number of threads.
"""

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import cachetools

from assetstore.collections.mapping import Collections
from assetstore.errors import AssetError
from assetstore.http.middleware import Application, StartResponse
from assetstore.http.request_context import REQUEST_CONTEXT
from assetstore.routes.access import Access
from assetstore.thumbnails.service import Thumbnails

#: Key in the WSGI environment: the Shown that is in the response. A route sets it for what may be repeated.
SHOWN = "assetstore.shown_thumbnail"

#: The size of all responses in memory, and of the body of the largest one, in bytes.
_CACHE_BYTES, _LARGEST_BODY = 16 << 20, 64 << 10

#: How much memory a response takes besides its body, approximately.
_ENTRY_BYTES = 3000

#: What the response depends on, besides what is checked for each request (`Delivery`).
_DECISIVE = (
    *("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_SEC_FETCH_DEST", "HTTP_SEC_FETCH_MODE"),
    *("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE", "HTTP_IF_RANGE"),
)


class Shown(NamedTuple):
    """A thumbnail: name and folder of the collection, name of the original, and size."""

    collection: str | None
    collection_dir: str
    name: str
    scale: int


class _Response(NamedTuple):
    shown: Shown
    etag: str
    status: str
    headers: list[tuple[str, str]]
    body: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.body))


class RecentThumbnails:
    """The middleware.

    Parameters:
        application: handles all other requests, and the first one for each thumbnail.
        access: decides which originals a request may read.
        collections: the mapping of collections.
        thumbnails: of the store.
    """

    def __init__(
        self, application: Application, access: Access, collections: Collections, thumbnails: Thumbnails
    ) -> None:
        self._application = application
        self._access = access
        self._collections = collections
        self._thumbnails = thumbnails
        self._lock = threading.Lock()
        self._responses: cachetools.LRUCache[tuple[str | None, ...], _Response]
        self._responses = cachetools.LRUCache(_CACHE_BYTES, getsizeof=lambda response: response.size + _ENTRY_BYTES)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Handles a request (PEP 3333)."""
        key = tuple(map(environ.get, _DECISIVE))
        with self._lock:
            recent = self._responses.get(key)
        if recent is not None and self._is_current(recent):
            environ[REQUEST_CONTEXT].name = recent.shown.name
            start_response(recent.status, recent.headers)
            return recent.body
        started: list[Any] = []

        def start(*arguments: Any) -> Any:
            started[:] = arguments
            return start_response(*arguments)

        body = self._application(environ, start)
        if SHOWN in environ and isinstance(body, list):
            status, headers = started[:2]
            self._remember(key, _Response(environ[SHOWN], dict(headers).get("ETag", ""), status, headers, body))
        return body

    def _is_current(self, response: _Response) -> bool:
        """Whether Bottle would give the same response."""
        shown = response.shown
        try:
            return (
                self._access.is_open_to_all(shown.name)
                and self._collections.collection_dir(shown.collection) == shown.collection_dir
                and self._thumbnails.etag(shown.collection_dir, shown.name, shown.scale) == response.etag
            )
        except AssetError:
            return False

    def _remember(self, key: tuple[str | None, ...], response: _Response) -> None:
        if response.size <= _LARGEST_BODY and self._is_current(response):
            with self._lock:
                self._responses[key] = response
