"""A server by Granian in a process of its own, with settings by the names of settings.py, and `limits`."""

import os
from collections.abc import Mapping
from multiprocessing.connection import Connection

import server
from assetstore.app import run
from assetstore.monitoring import logs
from assetstore.serving import granian
from tests.support import PROJECT, load_settings


def serve(own: Mapping[str, object], environ: Mapping[str, str], output: Connection) -> None:
    """Serves until it is told to stop; what it prints goes to *output*."""
    os.environ.update(environ)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    settings = load_settings(own)
    if settings.processes == 1:  # no test of one process replaces it under load, and all end sooner
        granian._HANDOVER_SECONDS = 0.02
    logs.set_up(settings.log_format, settings.debug)
    run.serve(settings, PROJECT, server.make_app, lambda **_named: None)
