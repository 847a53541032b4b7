"""Answers: what every one of them has, and how an error becomes one.

This and `server.py` are all that knows Bottle. The rules are those of protocol.md, "Rules for every
answer": X-Timestamp and CORS on everything, a plain sentence on every refusal, never a path or a
traceback.
"""

import functools
import logging
import textwrap
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from assetstore import delivery, serving
from assetstore.errors import AssetError, BadRequest, RangeNotSatisfiable
from assetstore.proxies import Proxies

VIEWS = [str(Path(__file__).resolve().parent / "views")]  # one list, because Bottle keeps a compiled template for each
PLAIN_TEXT = "text/plain; charset=UTF-8"

#: In the WSGI environment: the client's address, as far as it can be known.
CLIENT = "assetserver.client"

_REQUEST_ID = "assetserver.request_id"
_BEGAN = "assetserver.began"

_log = logging.getLogger("assetserver")


def plain(text: str, **headers: str) -> bottle.HTTPResponse:
    """Returns a 200 of plain text."""
    return bottle.HTTPResponse(text, 200, **{"Content-Type": PLAIN_TEXT, **headers})


def install(app: bottle.Bottle, proxies: Proxies) -> None:
    """Makes all answers of *app*, its refusals and faults included, as they have to be."""
    app.install(_answer_errors)
    app.add_hook("before_request", functools.partial(_begin, proxies))
    app.add_hook("after_request", _end)
    app.default_error_handler = _answer_router


def _begin(proxies: Proxies) -> None:
    environ = bottle.request.environ
    environ[_REQUEST_ID] = uuid.uuid4().hex[:12]
    environ[_BEGAN] = time.monotonic()
    environ[CLIENT] = proxies.client(environ)
    environ[serving.RECEIVED_AT] = proxies.received_at(environ, environ.get(serving.RECEIVED_AT, time.time()))
    try:
        # Bottle drops bytes that are not UTF-8 and would find another file than the one asked for.
        environ["bottle.raw_path"].encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _refusal(BadRequest("The address is not valid UTF-8.")) from None


def _end() -> None:
    environ, response = bottle.request.environ, bottle.response
    response.set_header("X-Timestamp", str(int(time.time())))
    response.set_header("X-Request-Id", environ[_REQUEST_ID])
    response.set_header("X-Content-Type-Options", "nosniff")
    response.set_header("Access-Control-Allow-Origin", "*")
    # Pages of Specify on another origin embed the pictures, whatever else a proxy may say.
    response.set_header("Cross-Origin-Resource-Policy", "cross-origin")
    milliseconds = (time.monotonic() - environ[_BEGAN]) * 1000
    client, request_id = environ[CLIENT], environ[_REQUEST_ID]
    # The query stays out of the log: it can hold a token.
    request, status = bottle.request, response.status_code
    _log.info("%s %r %r %s %.0f ms %s", client, request.method, request.path, status, milliseconds, request_id)


def _answer_errors(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Turns every exception of a route into an answer (a Bottle plugin)."""

    @functools.wraps(callback)
    def answer(*arguments: Any, **named: Any) -> Any:
        try:
            return callback(*arguments, **named)
        except AssetError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - a fault becomes an answer and a story in the log
            _log.exception("%s: unexpected", bottle.request.environ[_REQUEST_ID])
            return _refusal(AssetError("Something went wrong in the asset server.", repr(error)))

    return answer


def _refusal(error: AssetError) -> bottle.HTTPResponse:
    """The answer that an error becomes; its story goes to the log under the request id."""
    request_id = bottle.request.environ[_REQUEST_ID]
    text, level = error.public, logging.INFO
    if error.status in (500, 507):
        text, level = f"{error.public} (Request {request_id})", logging.ERROR
    elif error.status in (403, 503):
        level = logging.WARNING
    # As repr: the detail can hold what a stranger's file made a tool say.
    _log.log(level, "%s: %s: %s %.2000r", request_id, error.status, error.public, error.detail)
    headers = {"Content-Type": PLAIN_TEXT}
    if error.status in (415, 422) and bottle.request.get_header("Accept", "").startswith("image/"):
        # An <img> in a browser: it shows a drawn sentence, but not a written one.
        headers = {"Content-Type": "image/svg+xml", **delivery.safe_headers("image/svg+xml")}
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
