"""Responses that the routes share, and how an error becomes a response.

Only this package and `server.py` import Bottle. Every error response is a plain sentence, without paths or tracebacks
(docs/protocol.md). `assetstore.http.middleware` adds the headers of all responses.
"""

import functools
import logging
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from assetstore.errors import (
    AssetError,
    BadRequest,
    NotPublic,
    RangeNotSatisfiable,
    StorageFault,
)
from assetstore.http import file_response
from assetstore.http.parameters import Parameters
from assetstore.http.request_context import REQUEST_CONTEXT, RequestContext

_PACKAGE = Path(__file__).resolve().parents[1]

#: Where the templates are: in the installed package, or beside it in a checkout. It is one list, because Bottle keeps
#: a compiled template for each.
VIEWS = [str(_PACKAGE / "views" if (_PACKAGE / "views").is_dir() else _PACKAGE.parent / "views")]

#: Headers of a response that only this client may see. No shared cache may store it.
PRIVATE_HEADERS = {"Cache-Control": "private, no-cache"}

#: Headers of a response that everyone may see: caches must ask each time whether that is still so.
PUBLIC_HEADERS = {"Cache-Control": "no-cache"}

PLAIN_TEXT = "text/plain; charset=UTF-8"

_UNEXPECTED = "The asset server had an unexpected error; its log has the details."

#: Required with status 401 (RFC 9110, 15.5.2). Browsers do not know this scheme, so they do not ask for a password.
_AUTHENTICATION = 'Token realm="attachments"'

_log = logging.getLogger("assetserver")


class FileHTTPResponse(bottle.HTTPResponse):  # type: ignore[misc]  # Bottle has no types
    """A response with the headers of `file_response`. They are safe, so Bottle's slow check of each is skipped."""

    def __init__(self, body: Any, status: int, headers: dict[str, str]) -> None:
        super().__init__(body, status)
        self._headers = {name: [text] for name, text in headers.items()}


def plain(text: str, **headers: str) -> bottle.HTTPResponse:
    """Returns a response with status 200 and plain text."""
    return bottle.HTTPResponse(text, 200, **{"Content-Type": PLAIN_TEXT, **headers})


def install(app: bottle.Bottle) -> None:
    """Has *app* turn all errors into plain text responses."""
    app.install(_handle_errors)
    app.add_hook("before_request", _check_path)
    app.default_error_handler = _router_error


def request_parameters() -> Parameters:
    """Returns the parameters in the address of the current request."""
    return Parameters.from_query(bottle.request.environ.get("QUERY_STRING", ""))


def request_context() -> RequestContext:
    """Returns the context of the current request."""
    found: RequestContext = bottle.request.environ[REQUEST_CONTEXT]
    return found


def _check_path() -> None:
    try:
        # Bottle drops bytes that are not UTF-8, and would find another file than the requested one.
        bottle.request.environ["bottle.raw_path"].encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _error_response(BadRequest("The address is not valid UTF-8.")) from None


def _handle_errors(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Turns every exception of a route into a response (a Bottle plugin)."""

    @functools.wraps(callback)
    def handle(*arguments: Any, **named: Any) -> Any:
        try:
            return callback(*arguments, **named)
        except AssetError as error:
            return _error_response(error)
        except Exception as error:  # noqa: BLE001 - it becomes a response, and its traceback is logged
            request_id = request_context().request_id
            _log.exception("%s: unexpected error", request_id, extra={"request_id": request_id})
            return _error_response(AssetError(_UNEXPECTED, repr(error)))

    return handle


def _error_response(error: AssetError) -> bottle.HTTPResponse:
    """The response to an error, which is logged under the request ID."""
    request_id = request_context().request_id
    request_context().sentence = error.public
    text, level = error.public, logging.INFO
    # For IIIF, the same has another status.
    is_not_public = isinstance(error, NotPublic) or error.public == NotPublic.SENTENCE
    if error.status in (500, 507) or isinstance(error, StorageFault):
        text, level = f"{error.public} (Request {request_id})", logging.ERROR
    elif error.status in (403, 503) and error.public != NotPublic.SENTENCE:
        level = logging.WARNING
    # As repr, because the detail may contain output of a tool, which depends on the client's file.
    fields = (request_id, error.status, error.public, error.detail)
    _log.log(level, "%s: %s: %s %.2000r", *fields, extra={"request_id": request_id})
    # A cache could give an error to a request that gets another response, such as one without the cookie.
    headers = {"Content-Type": PLAIN_TEXT, "Cache-Control": "no-store"}
    if (error.status in (415, 422) or is_not_public) and _is_for_img():
        headers |= {"Content-Type": "image/svg+xml", **file_response.safe_headers("image/svg+xml")}
        view = "not_public.svg" if is_not_public else "no_picture.svg"
        sentence = {"sentence": error.public, "lines": textwrap.wrap(error.public, 24)}
        text = bottle.template(view, sentence, template_lookup=VIEWS)
    if error.status == 401:
        headers["WWW-Authenticate"] = _AUTHENTICATION
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    return bottle.HTTPResponse(text, error.status, **headers)


def _is_for_img() -> bool:
    """Whether the request is that of an <img> in a browser, which can show a sentence as an image, but not as text."""
    header = bottle.request.get_header
    return str(header("Accept", "")).startswith("image/") or str(header("Sec-Fetch-Dest", "")) == "image"


def _router_error(error: bottle.HTTPError) -> str:
    """The text for errors of Bottle itself: unknown routes and wrong methods."""
    bottle.response.content_type = PLAIN_TEXT
    if error.status_code == 404:
        return "There is nothing at this address."
    if error.status_code == 405:
        allowed = sorted(str(error.headers.get("Allow", "")).split(","))
        if "GET" in allowed and "HEAD" not in allowed:
            allowed.insert(allowed.index("GET") + 1, "HEAD")
        bottle.response.set_header("Allow", ", ".join(allowed))
        return f"This address accepts only {' and '.join(allowed)}."
    return _UNEXPECTED
