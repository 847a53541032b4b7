#!/usr/bin/env python3
"""The Web Asset Server: the attachments of Specify over HTTP.

This module has the routes and their guards (token, collection, name). `assetstore/routes/` has what all responses
share, and the other packages of `assetstore/` do the work. What clients require is in docs/protocol.md.

    python server.py                    runs the web server that the setting SERVER names, such as Paste or Granian
    server:make_application()           for other WSGI servers that call a factory, such as gunicorn
    server:application                  for WSGI servers that require an application object

Installed as a package, this module is `assetstore.server`, and the command `asset-server` runs it.
"""

import argparse
import atexit
import functools
import secrets
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from assetstore import __version__, names
from assetstore.app import bootstrap, run, startup
from assetstore.app.bootstrap import AppContext
from assetstore.auth import status_tokens
from assetstore.config import public_urls
from assetstore.config.loading import SettingsError
from assetstore.errors import AssetError, BadRequest, NotFound
from assetstore.http import cors, middleware, uploads
from assetstore.http.parameters import Parameters
from assetstore.http.proxies import Proxies
from assetstore.http.unverified_uploads import UnverifiedUploads
from assetstore.journal import events
from assetstore.journal.events import Origin
from assetstore.monitoring import health
from assetstore.monitoring.access_log import AccessLog
from assetstore.originals.service import Received
from assetstore.programs import DOCTOR_AGENT
from assetstore.routes import iiif, manifests, reading, responses, status, status_files, viewer
from assetstore.routes.access import Access, name_of
from assetstore.routes.reading import Reading
from assetstore.routes.recent_thumbnails import RecentThumbnails
from assetstore.routes.responses import VIEWS, plain
from assetstore.routes.viewer import Viewer
from assetstore.serving.admission import Admission
from assetstore.storage.protocols import Incoming

FOLDER = Path(__file__).resolve().parent


class AssetServer:
    """The routes: one method for each route of the protocol.

    Parameters:
        context: the open store and its settings; `settings.key` is None or has at least one key.
    """

    def __init__(self, context: AppContext) -> None:
        self.settings = context.settings
        self.originals = context.originals
        self.storage = context.originals.storage
        self.thumbnails = context.thumbnails
        self.previews = context.previews
        self.location_safe = context.location_safe
        self.health = context.health
        self.collections = context.collections
        self.access = Access(self.settings, self.collections, context.visibility)
        self.unverified = UnverifiedUploads(self.settings.limits.unverified_bytes)

    def index(self) -> bottle.HTTPResponse:
        """Shows a page that says that the server works, and how to configure Specify."""
        nonce = secrets.token_urlsafe(18)
        page = bottle.template(
            "index",
            nonce=nonce,
            version=__version__,
            xml_url=self._base_url() + "/web_asset_store.xml",
            has_status_page=self.settings.status_page,
            template_lookup=VIEWS,
        )
        policy = f"default-src 'none'; base-uri 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
        headers = {"Content-Type": "text/html; charset=UTF-8", "Content-Security-Policy": policy}
        return bottle.HTTPResponse(page, 200, **headers)

    def web_asset_store(self) -> bottle.HTTPResponse:
        """Returns the XML in which clients look up the addresses of the routes."""
        urls = public_urls.route_urls(self._base_url())
        xml = bottle.template("web_asset_store.xml", urls=urls, template_lookup=VIEWS)
        return bottle.HTTPResponse(xml, 200, **{"Content-Type": "text/xml; charset=utf-8"})

    def testkey(self) -> bottle.HTTPResponse:
        """Tells a client whether its key and its clock are correct."""
        query = responses.request_parameters()
        self.access.check_token(query, "random")
        return plain("Ok.")

    def fileupload(self) -> bottle.HTTPResponse:
        """Stores an original. Thumbnails that clients upload are ignored."""
        client = responses.request_context().client
        with self.unverified.of(client) as count, uploads.Upload(self.settings.max_upload_bytes) as upload:
            upload.receive(bottle.request.environ, functools.partial(self._open_upload, upload, count))
            fields = upload.fields
            self.access.check_token(fields, "store")
            if fields.get("type") == "T":
                self.collections.collection_dir(self.access.collection(fields))
                return plain("Ignoring thumbnail upload!")
            collection_dir, name = self._collection_dir_and_name(fields, "store")
            if upload.incoming is None:
                raise BadRequest("The upload contains no file.")
            received = Received(upload.incoming, upload.size, upload.sha256, upload.original_name)
            replaces = self.originals.store(received, collection_dir, name, self._origin(fields))
            # `manage.py collections` removes a collection first and checks for files afterwards. Here the file comes
            # first and the check for the collection afterwards, so at least one of the two notices the conflict.
            if collection_dir not in self.collections.collection_dirs():
                raise NotFound("The collection was removed from the asset server during the upload.")
            self._discard_copies(collection_dir, name, is_new=not replaces)
            self.previews.add(collection_dir, name, upload.size)
        return plain("Ok.")

    def filedelete(self) -> bottle.HTTPResponse:
        """Deletes an original and its thumbnails."""
        form = uploads.read_form(bottle.request.environ)
        self.access.check_token(form, "filename")
        collection_dir, name = self._collection_dir_and_name(form, "filename")
        existed = self.originals.delete(collection_dir, name, self._origin(form))
        self._discard_copies(collection_dir, name)
        if not existed:
            raise NotFound("There is no such file.")
        return plain("Ok.")

    def healthz(self) -> bottle.HTTPResponse:
        """Says that the server responds; checks nothing else."""
        return plain("ok")

    def readyz(self) -> bottle.HTTPResponse:
        """Returns the result of each readiness check: 200 if the server is ready, else 503.

        The reasons are only for those who have the key, with a token as for the status page.
        """
        with_reasons = bottle.request.get_header(status_tokens.HEADER) is not None
        if with_reasons:
            status.check_token(self.settings, self.access.refused_tokens)
        report = self.health.report()
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return bottle.HTTPResponse(
            health.page(report, with_reasons), 200 if health.is_ready(report) else 503, **headers
        )

    def _discard_copies(self, collection_dir: str, name: str, *, is_new: bool = False) -> None:
        self.thumbnails.discard(collection_dir, name, is_new=is_new)
        if self.location_safe is not None:
            self.location_safe.discard(collection_dir, name)

    def _open_upload(self, upload: uploads.Upload, count: Callable[[int], None], fields: Parameters) -> Incoming | None:
        """Decides where to write the file of an upload, by the form fields that came before it."""
        length = uploads.body_of(bottle.request.environ).length
        if "token" in fields and "store" in fields:
            self.access.check_token(fields, "store")
        elif self.settings.key is not None:
            upload.on_data = count
        try:
            is_thumbnail = fields.get("type") == "T"
            collection_dir = self.collections.collection_dir(self.access.collection(fields))
            name = fields.get("store")
        except AssetError:
            # This is only a guess: the form is validated when all of it has arrived.
            return self.storage.receive(None, length)
        if is_thumbnail:
            return None
        return self.storage.receive(collection_dir, length, name if name and names.is_store_name(name) else None)

    def _collection_dir_and_name(self, parameters: Parameters, name_parameter: str) -> tuple[str, str]:
        collection_dir = self.collections.collection_dir(self.access.collection(parameters))
        return collection_dir, name_of(parameters, name_parameter)

    def _origin(self, form: Parameters) -> Origin:
        client = responses.request_context().client
        is_test = bottle.request.get_header("User-Agent") == DOCTOR_AGENT
        return Origin(self.access.collection(form) or "", events.of_doctor(client) if is_test else client)

    def _base_url(self) -> str:
        return public_urls.base_url(self.settings, bottle.request.environ.get("wsgi.url_scheme", "http"))


def _preflight(methods: tuple[str, ...], **_path: str) -> bottle.HTTPResponse:
    return plain("", **cors.preflight(*methods))


def make_app(context: AppContext) -> middleware.RequestMiddleware:
    """Returns the WSGI application for an open store."""
    server = AssetServer(context)
    app = bottle.Bottle()
    app.route("/", "GET", server.index)
    app.route("/web_asset_store.xml", "GET", server.web_asset_store)
    app.route("/testkey", "GET", server.testkey)
    app.route("/fileupload", "POST", server.fileupload)
    app.route("/filedelete", "POST", server.filedelete)
    shown = Viewer(context, server.access)
    reading.install(app, Reading(context, server.access, shown))
    iiif.install(app, context, server.access)
    manifests.install(app, manifests.Manifests(context, server.access))
    viewer.install(app, shown, context.settings.viewer)
    for route in list(app.routes):
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        app.route(route.rule, "OPTIONS", functools.partial(_preflight, methods))
    app.route("/healthz", "GET", server.healthz)
    app.route("/readyz", "GET", server.readyz)
    meters: list[middleware.Meter] = [AccessLog(context.settings.log_format)]
    meters += status.install(app, context, server.collections, server.access.refused_tokens)
    status_files.install(app, context, server.collections, server.access.refused_tokens)
    if context.metrics is not None:
        meters.append(context.metrics)
    responses.install(app)
    routes = {"/" + route.rule.split("/")[1] for route in app.routes}
    repeated = RecentThumbnails(app, server.access, server.collections, server.thumbnails)
    admitted = Admission(repeated, context.settings.threads, context.settings.limits.waiters)
    return middleware.RequestMiddleware(admitted, Proxies(context.settings.trusted_proxies), routes, meters)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """The WSGI callable for gunicorn, uWSGI and mod_wsgi; the first request creates the application."""
    with _making_application:
        app = _application()
    return app(environ, start_response)


_making_application = threading.Lock()


@functools.cache
def _application() -> middleware.RequestMiddleware:
    return make_application()


def make_application() -> middleware.RequestMiddleware:
    """Creates the application, for web servers that call a factory: invalid settings prevent their start.

    Raises:
        SettingsError: with one line for the administrator.
    """
    context = bootstrap.open_all(FOLDER, bottle.server_names)
    atexit.register(context.close)
    return make_app(context)


def main() -> int:
    """Runs the web server that SERVER names until it is told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(description="Runs the attachment server. Settings: docs/settings.md.")
    parser.add_argument("--verbose", action="store_true", help="log all effective settings at the start")
    verbose = parser.parse_args().verbose
    try:
        settings = startup.begin(FOLDER, bottle.server_names, verbose=verbose)
        run.serve(settings, FOLDER, make_app, functools.partial(bottle.run, quiet=True))
    except SettingsError as error:
        print(f"The asset server cannot start. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
