"""Answers: plain ones, and how an error becomes one.

This package and `server.py` are all that knows Bottle. The rule is that of protocol.md, "Rules for every
answer": a plain sentence on every refusal, never a path or a traceback. What else every answer has,
`assetstore.http.middleware` adds.
"""

import functools
import logging
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from assetstore.errors import AssetError, BadRequest, RangeNotSatisfiable
from assetstore.http import file_response
from assetstore.http.request_context import REQUEST_CONTEXT, RequestContext

VIEWS = [
    str(Path(__file__).resolve().parents[2] / "views")
]  # one list, because Bottle keeps a compiled template for each
PLAIN_TEXT = "text/plain; charset=UTF-8"

_log = logging.getLogger("assetserver")


class FileAnswer(bottle.HTTPResponse):  # type: ignore[misc]  # Bottle has no types
    """A response with headers of `file_response`, which are known to be clean: Bottle's own check of each is slow."""

    def __init__(self, body: Any, status: int, headers: dict[str, str]) -> None:
        super().__init__(body, status)
        self._headers = {name: [text] for name, text in headers.items()}


def plain(text: str, **headers: str) -> bottle.HTTPResponse:
    """Returns a 200 of plain text."""
    return bottle.HTTPResponse(text, 200, **{"Content-Type": PLAIN_TEXT, **headers})


def install(app: bottle.Bottle) -> None:
    """Makes the refusals and faults of *app* answers as they have to be."""
    app.install(_answer_errors)
    app.add_hook("before_request", _check_path)
    app.default_error_handler = _answer_router


def request_context() -> RequestContext:
    """Returns what is known of the request that is being answered."""
    found: RequestContext = bottle.request.environ[REQUEST_CONTEXT]
    return found


def _check_path() -> None:
    try:
        # Bottle drops bytes that are not UTF-8 and would find another file than the one asked for.
        bottle.request.environ["bottle.raw_path"].encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _refusal(BadRequest("The address is not valid UTF-8.")) from None


def _answer_errors(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Turns every exception of a route into an answer (a Bottle plugin)."""

    @functools.wraps(callback)
    def answer(*arguments: Any, **named: Any) -> Any:
        try:
            return callback(*arguments, **named)
        except AssetError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - a fault becomes an answer and a story in the log
            request_id = request_context().request_id
            _log.exception("%s: unexpected", request_id, extra={"request_id": request_id})
            return _refusal(AssetError("Something went wrong in the asset server.", repr(error)))

    return answer


def _refusal(error: AssetError) -> bottle.HTTPResponse:
    """The answer that an error becomes; its story goes to the log under the request id."""
    request_id = request_context().request_id
    request_context().sentence = error.public
    text, level = error.public, logging.INFO
    if error.status in (500, 507):
        text, level = f"{error.public} (Request {request_id})", logging.ERROR
    elif error.status in (403, 503):
        level = logging.WARNING
    # As repr: the detail can hold what a stranger's file made a tool say.
    fields = (request_id, error.status, error.public, error.detail)
    _log.log(level, "%s: %s: %s %.2000r", *fields, extra={"request_id": request_id})
    headers = {"Content-Type": PLAIN_TEXT}
    if error.status in (415, 422) and bottle.request.get_header("Accept", "").startswith("image/"):
        # An <img> in a browser: it shows a drawn sentence, but not a written one.
        headers = {"Content-Type": "image/svg+xml", **file_response.safe_headers("image/svg+xml")}
        sentence = {"sentence": error.public, "lines": textwrap.wrap(error.public, 24)}
        text = bottle.template("no_picture.svg", sentence, template_lookup=VIEWS)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    return bottle.HTTPResponse(text, error.status, **headers)


def _answer_router(error: bottle.HTTPError) -> str:
    """The text for what Bottle itself refuses: unknown routes and wrong methods."""
    bottle.response.content_type = PLAIN_TEXT
    if error.status_code == 404:
        return "There is nothing at this address."
    if error.status_code == 405:
        allowed = sorted(str(error.headers.get("Allow", "")).split(","))
        if "GET" in allowed and "HEAD" not in allowed:
            allowed.insert(allowed.index("GET") + 1, "HEAD")
        bottle.response.set_header("Allow", ", ".join(allowed))
        return f"This address takes {' and '.join(allowed)} only."
    return "Something went wrong in the asset server."
