#!/usr/bin/env python3
"""The Web Asset Server: the attachments of Specify over HTTP.

This module is the HTTP side: routes, guards (token, collection, name), and from error to answer.
What is behind it lives in `assetstore/`; the contract with the clients is that of Specify's
attachment protocol.

    python server.py                    runs it by the setting SERVER (Paste)
    gunicorn 'server:make_application()'
    server:application                  for WSGI servers that know no factories
"""

import atexit
import functools
import json
import logging
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from assetstore import (
    __version__,
    advertised,
    content_types,
    delivery,
    metadata,
    names,
    serving,
    startup,
    thumbnails,
    tokens,
    uploads,
)
from assetstore.collections import Collections
from assetstore.configuration import Settings, SettingsError
from assetstore.errors import (
    AssetError,
    BadRequest,
    Forbidden,
    NotFound,
    RangeNotSatisfiable,
)
from assetstore.parameters import Parameters
from assetstore.storage import Incoming, Storage, StoredFile
from assetstore.thumbnails import Thumbnails

FOLDER = Path(__file__).resolve().parent
VIEWS = [str(FOLDER / "views")]  # one list, because Bottle keeps a compiled template for each
PLAIN_TEXT = "text/plain; charset=UTF-8"

_log = logging.getLogger("assetserver")


class AssetServer:
    """The routes. One method answers one route of the protocol.

    Parameters:
        settings: the effective settings; `key` is None or holds at least one key.
        storage: where the files are.
        pictures: gives thumbnails of what is in *storage*.
    """

    def __init__(self, settings: Settings, storage: Storage, pictures: Thumbnails) -> None:
        self.settings = settings
        self.storage = storage
        self.thumbnails = pictures
        self.collections = Collections(settings.collection_dirs)

    def index(self) -> bottle.HTTPResponse:
        """A small page for people: it works, and what to put into Specify next."""
        page = bottle.template(
            "index",
            version=__version__,
            xml_url=self._base_url() + "/web_asset_store.xml",
            template_lookup=VIEWS,
        )
        return bottle.HTTPResponse(page, 200, **{"Content-Type": "text/html; charset=UTF-8"})

    def web_asset_store(self) -> bottle.HTTPResponse:
        """The XML by which clients find the routes, and with X-Timestamp their clock."""
        urls = advertised.route_urls(self._base_url())
        xml = bottle.template("web_asset_store.xml", urls=urls, template_lookup=VIEWS)
        return bottle.HTTPResponse(xml, 200, **{"Content-Type": "text/xml; charset=utf-8"})

    def testkey(self) -> bottle.HTTPResponse:
        """Tells a client whether its key and clock are right."""
        query = self._query()
        self._check_token(query, "random")
        return _plain("Ok.")

    def fileupload_options(self) -> bottle.HTTPResponse:
        """Answers browsers that ask before an upload whether they may."""
        return _plain("", **{"Access-Control-Allow-Methods": "POST, OPTIONS"})

    def fileupload(self) -> bottle.HTTPResponse:
        """Stores an original; thumbnails that clients upload are not needed."""
        with uploads.Upload() as upload:
            upload.receive(uploads.Body.of(bottle.request.environ), self._open_upload)
            fields = upload.fields
            self._check_token(fields, "store")
            if fields.get("type") == "T":
                self.collections.place(fields)
                return _plain("Ignoring thumbnail upload!")
            place, name = self._place_and_name(fields, "store")
            if upload.incoming is None:
                raise BadRequest("The upload holds no file.")
            if upload.incoming.commit(place, name):
                self.thumbnails.discard(place, name)
        return _plain("Ok.")

    def filedelete(self) -> bottle.HTTPResponse:
        """Deletes an original and its thumbnails."""
        form = uploads.Body.of(bottle.request.environ).read_form()
        self._check_token(form, "filename")
        place, name = self._place_and_name(form, "filename")
        existed = self.storage.delete_original(place, name)
        self.thumbnails.discard(place, name)
        if not existed:
            raise NotFound("There is no such file.")
        return _plain("Ok.")

    def fileget(self) -> bottle.HTTPResponse:
        """Gives an original or, with `type=T`, its thumbnail."""
        query = self._guarded_query()
        place, name = self._place_and_name(query, "filename")
        if query.get("type") == "T":
            scale = names.scale(query.get("scale"))
            # The type of the thumbnail's own name may differ from the original's.
            return self._deliver(self.thumbnails.open(place, name, scale), self.thumbnails.name(name, scale), query)
        return self._deliver(self.storage.open_original(place, name), name, query)

    def getmetadata(self) -> bottle.HTTPResponse:
        """Gives the EXIF metadata of an original as JSON, or the date it was taken on."""
        query = self._guarded_query()
        place, name = self._place_and_name(query, "filename")
        wants_date = query.get("dt") == "date"
        with self.storage.open_original(place, name) as original:
            if not wants_date:
                groups = metadata.read_groups(original.file)
                return bottle.HTTPResponse(json.dumps(groups), 200, **{"Content-Type": "application/json"})
            date = metadata.read_date(original.file)
        if date is None:
            raise NotFound("The file says nothing of the date when it was taken.")
        return _plain(date)

    def getfileref(self) -> bottle.HTTPResponse:
        """Gives the address under /static/ of an original or, with `type=T`, its thumbnail."""
        if not self.settings.allow_static_file_access:
            raise NotFound("Direct links to files are switched off.")
        query = self._query()
        place, name = self._place_and_name(query, "filename")
        if query.get("type") == "T":
            # Only a kept thumbnail can be linked to, and a smaller one fits as well.
            scale = self.thumbnails.linkable_scale(place, name, names.scale(query.get("scale")))
            stored, folder = self.thumbnails.open(place, name, scale), self.settings.thumb_dir
            name = self.thumbnails.name(name, scale)
        else:
            stored, folder = self.storage.open_original(place, name), self.settings.orig_dir
        stored.file.close()
        return _plain(advertised.static_url(self._base_url(), place, folder, name))

    def static(self, path: str) -> bottle.HTTPResponse:
        """Gives a file by its path below the store: originals and thumbnails, nothing else."""
        if not self.settings.allow_static_file_access:
            raise NotFound("Direct links to files are switched off.")
        *folders, name = path.split("/")
        name = names.store_name(name)
        folder = folders.pop() if folders else ""
        place = "/".join(folders)
        # Only folders that are settings are ever joined to a path.
        if folders and place not in self.collections.places():
            raise NotFound("There is no such file.")
        if folder == self.settings.orig_dir:
            stored = self.storage.open_original(place, name)
        elif folder == self.settings.thumb_dir:
            stored = thumbnails.as_served(self.storage.open_thumbnail(place, name))
        else:
            raise NotFound("There is no such file.")
        return self._deliver(stored, name, self._query())

    def _deliver(self, stored: StoredFile, name: str, query: Parameters) -> bottle.HTTPResponse:
        """Answers with an open file, as the conditions and ranges of the request ask."""
        header = bottle.request.get_header
        try:
            request = delivery.Request(
                header("If-None-Match"),
                header("If-Modified-Since"),
                header("Range"),
                header("If-Range"),
                query.get("downloadname"),
            )
            answer = delivery.answer(stored.version, content_types.header(name), request)
        except BaseException:
            stored.file.close()
            raise
        if bottle.request.method == "HEAD" or answer.length == 0:
            stored.file.close()
            return bottle.HTTPResponse("", answer.status, **answer.headers)
        body = delivery.FileBody(stored, answer.first, answer.length)
        return bottle.HTTPResponse(body, answer.status, **answer.headers)

    def _open_upload(self, fields: Parameters) -> Incoming | None:
        """Decides where the file of an upload goes while only the fields before it are known."""
        if "token" in fields and "store" in fields:
            self._check_token(fields, "store")
        try:
            is_thumbnail = fields.get("type") == "T"
            place = self.collections.place(fields)
        except AssetError:
            # Only a guess is wanted here; the whole form is judged when all of it is there.
            return self.storage.receive(None)
        return None if is_thumbnail else self.storage.receive(place)

    def _place_and_name(self, parameters: Parameters, name_parameter: str) -> tuple[str, str]:
        place = self.collections.place(parameters)
        name = parameters.get(name_parameter)
        if name is None:
            raise BadRequest(f"The parameter {name_parameter} is missing.")
        return place, names.store_name(name)

    def _guarded_query(self) -> Parameters:
        query = self._query()
        if self.settings.require_key_for_get:
            self._check_token(query, "filename")
        return query

    def _check_token(self, parameters: Parameters, signed: str) -> None:
        if self.settings.key is None:
            return  # repeated parameters do not matter then
        try:
            token, name = parameters.get("token"), parameters.get(signed)
        except BadRequest as error:
            raise Forbidden(error.public) from None
        received_at = bottle.request.environ[serving.RECEIVED_AT]
        tokens.check(self.settings.key, token, name, received_at, self.settings.time_tolerance)

    def _query(self) -> Parameters:
        return Parameters.from_query(bottle.request.environ.get("QUERY_STRING", ""))

    def _base_url(self) -> str:
        return advertised.base_url(self.settings, bottle.request.environ.get("wsgi.url_scheme", "http"))


def make_app(settings: Settings, storage: Storage, pictures: Thumbnails) -> bottle.Bottle:
    """Returns the WSGI application; see AssetServer for the parameters."""
    server = AssetServer(settings, storage, pictures)
    app = bottle.Bottle()
    app.route("/", "GET", server.index)
    app.route("/web_asset_store.xml", "GET", server.web_asset_store)
    app.route("/testkey", "GET", server.testkey)
    app.route("/fileupload", "POST", server.fileupload)
    app.route("/fileupload", "OPTIONS", server.fileupload_options)
    app.route("/filedelete", "POST", server.filedelete)
    app.route("/fileget", "GET", server.fileget)
    app.route("/getmetadata", "GET", server.getmetadata)
    app.route("/getfileref", "GET", server.getfileref)
    app.route("/static/<path:path>", "GET", server.static)
    app.install(_answer_errors)
    app.add_hook("before_request", _begin)
    app.add_hook("after_request", _end)
    app.default_error_handler = _answer_router
    return app


def _plain(text: str, **headers: str) -> bottle.HTTPResponse:
    return bottle.HTTPResponse(text, 200, **{"Content-Type": PLAIN_TEXT, **headers})


def _begin() -> None:
    environ = bottle.request.environ
    environ["assetserver.request_id"] = uuid.uuid4().hex[:12]
    environ["assetserver.began"] = time.monotonic()
    environ.setdefault(serving.RECEIVED_AT, time.time())
    try:
        # Bottle drops bytes that are not UTF-8 and would find another file than the one asked for.
        environ["bottle.raw_path"].encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _refusal(BadRequest("The address is not valid UTF-8.")) from None


def _end() -> None:
    """Adds what every answer has, errors included (protocol.md, "Rules for every answer")."""
    environ, response = bottle.request.environ, bottle.response
    response.set_header("X-Timestamp", str(int(time.time())))
    response.set_header("X-Request-Id", environ["assetserver.request_id"])
    response.set_header("X-Content-Type-Options", "nosniff")
    response.set_header("Access-Control-Allow-Origin", "*")
    milliseconds = (time.monotonic() - environ["assetserver.began"]) * 1000
    # The query stays out of the log: it can hold a token.
    request, request_id = bottle.request, environ["assetserver.request_id"]
    client, status = environ.get("REMOTE_ADDR", "-"), response.status_code
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
            _log.exception("%s: unexpected", bottle.request.environ["assetserver.request_id"])
            return _refusal(AssetError("Something went wrong in the asset server.", repr(error)))

    return answer


def _refusal(error: AssetError) -> bottle.HTTPResponse:
    """The answer that an error becomes; its story goes to the log under the request id."""
    request_id = bottle.request.environ["assetserver.request_id"]
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


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """The WSGI callable for gunicorn, uWSGI and mod_wsgi; makes the application at the first request."""
    with _making_application:
        app = _application()
    return app(environ, start_response)


_making_application = threading.Lock()


@functools.cache
def _application() -> bottle.Bottle:
    return make_application()


def make_application() -> bottle.Bottle:
    """Returns the application at once, for web servers that call a factory: bad settings stop their start.

    Raises:
        SettingsError: with one line for the administrator.
    """
    opened = startup.open_all(FOLDER, bottle.server_names)
    atexit.register(opened.pool.close)
    return make_app(opened.settings, opened.storage, opened.thumbnails)


def main() -> int:
    """Runs the server by the setting SERVER until it is told to stop; returns the exit status."""
    try:
        opened = startup.open_all(FOLDER, bottle.server_names)
        app = make_app(opened.settings, opened.storage, opened.thumbnails)
        try:
            startup.serve(app, opened.settings, functools.partial(bottle.run, quiet=True))
        finally:
            opened.pool.close()
    except SettingsError as error:
        print(f"The asset server does not start. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
