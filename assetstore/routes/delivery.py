"""Sends a stored file: from this server, from nginx in front of it, or from the bucket."""

from collections.abc import Callable
from typing import Any

import bottle

from assetstore import media_types
from assetstore.config.loading import Settings
from assetstore.errors import Forbidden
from assetstore.http import file_response
from assetstore.http.parameters import Parameters
from assetstore.routes.responses import PRIVATE_HEADERS, FileHTTPResponse
from assetstore.storage.models import StoredFile
from assetstore.storage.one_version import of_one_version

#: Files up to this size, in bytes, are sent from memory.
_SMALL = 64 * 1024

#: Modes of a browser's request (Sec-Fetch-Mode) in which it follows a redirect to another host without CORS.
_REDIRECT_MODES = ("navigate", "no-cors")

#: What a browser does with a response (Sec-Fetch-Dest) if it would run it in a page of this origin.
_RUNNING_DESTINATIONS = frozenset(
    ("audioworklet", "paintworklet", "script", "serviceworker", "sharedworker", "style", "worker", "xslt")
)

#: With one of these headers, the response may have no body, or not begin with the first byte of the file.
_CONDITIONAL_HEADERS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE")

#: With VISIBILITY, the share of VISIBILITY_SECONDS for which a signed address of the bucket or a part of a picture is
#: valid: after a change in Specify, those that exist already must not be valid for longer than that.
_SHARE_OF_LINKS = 0.2


def valid_seconds(settings: Settings, most: int) -> int:
    """Returns for how many seconds clients may use what they got without asking again, *most* without VISIBILITY."""
    return most if settings.visibility is None else min(most, int(settings.visibility_seconds * _SHARE_OF_LINKS))


class Delivery:
    """Sends files by the settings ACCEL_REDIRECT and STORAGE_REDIRECT_SECONDS."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def reads_from_start(self) -> bool:
        """Whether the requested file will probably be read from its first byte."""
        environ = bottle.request.environ
        is_whole = environ["REQUEST_METHOD"] == "GET" and not any(header in environ for header in _CONDITIONAL_HEADERS)
        return is_whole and not self._accepts_redirect(environ)

    def _accepts_redirect(self, environ: dict[str, Any]) -> bool:
        """Whether to redirect the client to the bucket: only browsers that say that they follow redirects."""
        is_enabled = self._settings.storage_redirect_seconds is not None
        return is_enabled and environ.get("HTTP_SEC_FETCH_MODE") in _REDIRECT_MODES

    def deliver(
        self, opened: Callable[[], StoredFile], name: str, query: Parameters, is_public: bool = True
    ) -> bottle.HTTPResponse:
        """Returns the response with a file, by the conditions and the range of the request.

        Parameters:
            opened: opens the file; called again if the file is replaced before the response begins.
            name: the store name, which determines the media type.
            query: the parameters of the request; `downloadname` is the download name.
            is_public: whether everyone may read the file, so that shared caches may store it.

        Raises Forbidden (a browser would run the file), BadRequest, RangeNotSatisfiable, Unavailable, StorageFault, and
        the errors of *opened*.
        """
        return of_one_version(lambda: self._response(opened(), name, query, is_public))

    def _response(self, stored: StoredFile, name: str, query: Parameters, is_public: bool) -> bottle.HTTPResponse:
        """The response with an open file, which is closed when it was sent, or if that fails."""
        environ = bottle.request.environ
        try:
            request = _file_request(environ, query)
            response = file_response.respond(stored.version, media_types.header(name), request)
            if not is_public:
                response.headers.update(PRIVATE_HEADERS)
        except BaseException:
            stored.file.close()
            raise
        if self._settings.accel_redirect and stored.path is not None and response.status in (200, 206):
            stored.file.close()
            headers = file_response.accel_redirect_headers(response.headers, self._settings.accel_redirect, stored.path)
            return FileHTTPResponse("", 200, headers)
        if environ["REQUEST_METHOD"] == "HEAD" or response.length == 0:
            stored.file.close()
            return FileHTTPResponse("", response.status, response.headers)
        link = self._link(stored, response, environ)
        if link is not None:
            stored.file.close()
            return FileHTTPResponse("", 302, {"Location": link, "Cache-Control": "no-store"})
        body = file_response.FileBody(stored, response.first, response.length)
        if response.length > _SMALL:
            return FileHTTPResponse(body, response.status, response.headers)
        with stored:  # most thumbnails; faster than sending a file
            return FileHTTPResponse(b"".join(body), response.status, response.headers)

    def _link(self, stored: StoredFile, response: file_response.FileResponse, environ: dict[str, Any]) -> str | None:
        """The address in the bucket to which to redirect the client, None if the server sends the file itself."""
        seconds = self._settings.storage_redirect_seconds
        if seconds is None or not self._accepts_redirect(environ):
            return None
        seconds = max(1, valid_seconds(self._settings, seconds))
        # The bucket would send neither the download name nor the policy that keeps files from running scripts.
        if "Content-Disposition" in response.headers or "Content-Security-Policy" in response.headers:
            return None
        return stored.link(seconds)


def _file_request(environ: dict[str, Any], query: Parameters) -> file_response.Request:
    if environ.get("HTTP_SEC_FETCH_DEST") in _RUNNING_DESTINATIONS:
        raise Forbidden("Stored files are not scripts or style sheets, so browsers may not use them as such.")
    return file_response.Request(
        environ.get("HTTP_IF_NONE_MATCH"),
        environ.get("HTTP_IF_MODIFIED_SINCE"),
        environ.get("HTTP_RANGE"),
        environ.get("HTTP_IF_RANGE"),
        query.get("downloadname"),
    )
