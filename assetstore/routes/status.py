"""The routes of the status page; `assetstore.monitoring.status_report` has its data.

The page and its files contain no data of the store and are public. Each request for data, or to restore files,
requires a token, which the page makes from the key that the administrator enters (`assetstore.auth.status_tokens`).
There are no cookies, so no other page can act for the administrator. Uploads, and downloads of one file, use the routes
that Specify uses; `assetstore.routes.status_files` has those for several files.

The Content-Security-Policy of the page allows only its own script files, by a nonce that is random for each response.
Files of the store cannot run as scripts.
"""

import functools
import json
import re
import secrets
from collections.abc import Iterable
from typing import Any

import bottle

from assetstore import __version__
from assetstore.app.bootstrap import AppContext
from assetstore.auth import status_tokens
from assetstore.auth.tokens import Refusals
from assetstore.collections.mapping import Collections
from assetstore.config import public_urls
from assetstore.config.loading import Settings
from assetstore.errors import Forbidden, NotFound
from assetstore.http.middleware import Meter
from assetstore.journal.events import Origin
from assetstore.monitoring.recent_errors import RecentRefusals
from assetstore.monitoring.status_report import Report, Served
from assetstore.routes.responses import VIEWS, plain, request_context, request_parameters

#: The files of the page in views/status; no others are served.
FILES = {
    "activity.js": "text/javascript; charset=UTF-8",
    "advertised.js": "text/javascript; charset=UTF-8",
    "connection.js": "text/javascript; charset=UTF-8",
    "copy.js": "text/javascript; charset=UTF-8",
    "elements.js": "text/javascript; charset=UTF-8",
    "file-actions.js": "text/javascript; charset=UTF-8",
    "file-filters.js": "text/javascript; charset=UTF-8",
    "file-list.js": "text/javascript; charset=UTF-8",
    "file-view.js": "text/javascript; charset=UTF-8",
    "files.js": "text/javascript; charset=UTF-8",
    "hmac-md5.js": "text/javascript; charset=UTF-8",
    "icon.svg": "image/svg+xml",
    "main.js": "text/javascript; charset=UTF-8",
    "overview.js": "text/javascript; charset=UTF-8",
    "page.css": "text/css; charset=UTF-8",
    "plot.js": "text/javascript; charset=UTF-8",
    "server.js": "text/javascript; charset=UTF-8",
    "specify.js": "text/javascript; charset=UTF-8",
    "storage.js": "text/javascript; charset=UTF-8",
    "trash-days.js": "text/javascript; charset=UTF-8",
    "trash-pictures.js": "text/javascript; charset=UTF-8",
    "trash-restore.js": "text/javascript; charset=UTF-8",
    "trash.js": "text/javascript; charset=UTF-8",
    "upload-names.js": "text/javascript; charset=UTF-8",
    "upload-queue.js": "text/javascript; charset=UTF-8",
    "uploads.js": "text/javascript; charset=UTF-8",
    "visibility.js": "text/javascript; charset=UTF-8",
}

#: An origin that may be used in a policy; other values of a setting are not.
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?", re.ASCII)

_HEADERS = {"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class StatusPage:
    """The routes of the page.

    Parameters:
        context: the open store and its settings.
        report: the data of the page.
        refused_tokens: counts rejected tokens by client.
    """

    def __init__(self, context: AppContext, report: Report, refused_tokens: Refusals) -> None:
        self._settings = context.settings
        self._report = report
        self._refused_tokens = refused_tokens

    def page(self) -> bottle.HTTPResponse:
        """Returns the page, which is public and asks for the key."""
        nonce = secrets.token_urlsafe(18)
        text = bottle.template("status", version=__version__, nonce=nonce, template_lookup=VIEWS)
        base = public_urls.base_url(self._settings, bottle.request.environ.get("wsgi.url_scheme", "http"))
        origin = _ORIGIN.match(base)
        # The connection check uses the address that is advertised to Specify, which may differ from that of the page.
        asked = f"'self' {origin[0]}" if origin else "'self'"
        policy = (
            f"{_NOTHING}; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; connect-src {asked};"
            " require-trusted-types-for 'script'; trusted-types 'none'"
        )
        headers = {**_HEADERS, "Content-Security-Policy": policy, "Content-Type": "text/html; charset=UTF-8"}
        return bottle.HTTPResponse(text, 200, **headers)

    def file(self, name: str) -> bottle.HTTPResponse:
        """Returns a file of the page, one of FILES."""
        if name not in FILES:
            raise NotFound("There is nothing at this address.")
        headers = {**_HEADERS, "Content-Security-Policy": _NOTHING, "Content-Type": FILES[name]}
        return bottle.HTTPResponse(_content(name), 200, **headers)

    def data(self, part: str) -> bottle.HTTPResponse:
        """Returns a part of the data as JSON."""
        check_token(self._settings, self._refused_tokens)
        if part not in self._report.parts:
            raise NotFound("There is nothing at this address.")
        return _json(self._report.parts[part](request_parameters()))

    def restore(self) -> bottle.HTTPResponse:
        """Restores a file from the trash."""
        check_token(self._settings, self._refused_tokens)
        entry = self._report.trash.restore(request_parameters(), Origin("", request_context().client))
        request_context().name = entry.name
        return plain("Ok.", **{"Cache-Control": "no-store"})

    def restore_all(self) -> bottle.HTTPResponse:
        """Restores some of the selected files of the trash, and returns what it did as JSON."""
        check_token(self._settings, self._refused_tokens)
        return _json(self._report.trash.restore_all(request_parameters(), Origin("", request_context().client)))

    def trash_thumbnail(self) -> bottle.HTTPResponse:
        """Returns a thumbnail of a file in the trash."""
        check_token(self._settings, self._refused_tokens)
        picture, media_type = self._report.trash.thumbnail(request_parameters(), request_context().client)
        headers = {**_HEADERS, "Content-Type": media_type, "Content-Security-Policy": _NOTHING}
        return bottle.HTTPResponse(picture, 200, **headers)


def check_token(settings: Settings, refused_tokens: Refusals) -> None:
    """Checks the token of the current request, made as for the status page. Raises Forbidden.

    Parameters:
        settings: the effective settings.
        refused_tokens: counts rejected tokens by client.
    """
    environ, current = bottle.request.environ, request_context()
    request = f"{environ['REQUEST_METHOD']} {current.path}"
    if environ.get("QUERY_STRING"):
        request += f"?{environ['QUERY_STRING']}"
    token = bottle.request.get_header(status_tokens.HEADER)
    try:
        status_tokens.check(settings.key, token, request, current.received_at, settings.time_tolerance)
    except Forbidden as error:
        number = refused_tokens.count(current.client)
        raise Forbidden(error.public, f"rejected token {number} from {current.client}") from None


def install(
    app: bottle.Bottle, context: AppContext, collections: Collections, refused_tokens: Refusals
) -> Iterable[Meter]:
    """Adds the status page to *app* if it is enabled (STATUS_PAGE).

    Parameters:
        app: the application.
        context: the open store and its settings.
        collections: the mapping of collections.
        refused_tokens: counts rejected tokens by client.

    Returns the meters of the page: they must count all requests.
    """
    if not context.settings.status_page:
        return ()
    refusals = RecentRefusals()
    parts = (context.settings, context.originals, context.listing, context.thumbnails, context.pool, context.health)
    served = Served(*parts, collections, refusals, context.visibility)
    page = StatusPage(context, Report(served), refused_tokens)
    app.route("/status", "GET", page.page)
    app.route("/status/view/<name>", "GET", page.file)
    app.route("/status/data/<part>", "GET", page.data)
    app.route("/status/restore", "POST", page.restore)
    app.route("/status/restore-all", "POST", page.restore_all)
    app.route("/status/trash-thumbnail", "GET", page.trash_thumbnail)
    return (refusals,)


def _json(data: dict[str, Any]) -> bottle.HTTPResponse:
    headers = {**_HEADERS, "Content-Type": "application/json", "Content-Security-Policy": _NOTHING}
    return bottle.HTTPResponse(json.dumps(data), 200, **headers)


@functools.cache
def _content(name: str) -> bytes:
    with open(f"{VIEWS[0]}/status/{name}", "rb") as file:
        return file.read()
