"""Runs the server by Paste, Granian, or another adapter of Bottle.

If an address cannot be used, SettingsError has a message of one line for the administrator.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path

from assetstore.app.bootstrap import AppContext, open_originals, open_store, with_key
from assetstore.config.loading import GRANIAN, PASTE, Settings, SettingsError
from assetstore.http.middleware import Application
from assetstore.monitoring import multiprocess
from assetstore.serving import paste, sockets

_log = logging.getLogger(__name__)

MakeApp = Callable[[AppContext], Application]


def serve(settings: Settings, folder: Path, make_app: MakeApp, run_adapter: Callable[..., None]) -> None:
    """Runs the web server that SERVER names until the program is told to stop.

    Parameters:
        settings: the effective settings.
        folder: of the program.
        make_app: returns the WSGI application for an open store.
        run_adapter: called with `app`, `server`, `host` and `port` for any server but Paste and Granian.
    """
    server = _chosen(settings)
    if server == GRANIAN:
        _serve_by_granian(settings, folder, make_app)
        return
    settings = dataclasses.replace(settings, processes=1)
    context = open_store(settings, folder)
    try:
        app = make_app(context)
        if server == PASTE:
            paste.run(app, settings)
        else:
            _serve_by_adapter(app, settings, run_adapter)
    finally:
        context.close()


def _chosen(settings: Settings) -> str:
    """The web server to run, by SERVER, PROCESSES and what is installed."""
    server = settings.server
    if server == PASTE and settings.processes > 1:
        _log.warning("PROCESSES is %s, so Granian is used: Paste supports only one process", settings.processes)
        server = GRANIAN
    if server == GRANIAN:
        try:
            import granian  # noqa: F401, PLC0415 - not available for all processors
        except ImportError as error:
            if settings.tls_certificate:
                raise SettingsError(f"TLS_CERTIFICATE requires Granian, which is not installed: {error}.") from None
            _log.warning("Granian is not installed (%s), so Paste is used, with one process", error)
            return PASTE
    return server


def _serve_by_granian(settings: Settings, folder: Path, make_app: MakeApp) -> None:
    from assetstore.serving import granian  # noqa: PLC0415 - not available for all processors

    settings = with_key(settings, folder)
    open_originals(settings, folder).journal.close()  # so that errors of the folders are reported only once

    def open_application() -> tuple[Application, Callable[[], None]]:
        context = open_store(settings, folder)
        return make_app(context), context.close

    with multiprocess.folder(settings.metrics_address is not None):
        granian.run(open_application, settings)


def _serve_by_adapter(app: Application, settings: Settings, run_adapter: Callable[..., None]) -> None:
    port = settings.development_port if settings.server == "wsgiref" else settings.port
    _log.info("listening on %s port %s (%s)", settings.bind_address, port, settings.server)
    run = functools.partial(run_adapter, app, server=settings.server, host=settings.bind_address, port=port)
    with sockets.clear_socket_errors(settings.bind_address, port):
        try:
            run()
        except ImportError as error:
            raise SettingsError(f"SERVER is {settings.server!r}, which is not installed: {error}") from error
