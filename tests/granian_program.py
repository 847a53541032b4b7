"""Serves by Granian with settings that come pickled on standard input: names as in settings.py."""

import pickle
import sys

import server
from assetstore.app import run
from assetstore.config import loading
from assetstore.monitoring import logs
from assetstore.serving import granian
from tests.support import PROJECT

if __name__ == "__main__":
    settings = loading.load(pickle.load(sys.stdin.buffer), {}, PROJECT, 2)
    if settings.processes == 1:  # no test of one process replaces it under load, and all end sooner
        granian._HANDOVER_SECONDS = 0.02
    logs.set_up(settings.log_format, settings.debug)
    run.serve(settings, PROJECT, server.make_app, lambda **_named: None)
