"""Paste's HTTP server, the default of SERVER: one process, a pool of threads, nothing to compile.

Threads are neither killed nor replaced, because an upload may take hours. SIGTERM lets running requests finish.

Concurrency: `stop` may be called from anywhere.
"""

import contextlib
import logging
import queue
import signal
import socket
import time
from typing import Any

from paste import httpserver

from assetstore.configuration import Settings
from assetstore.exchange import Application
from assetstore.serving import sockets
from assetstore.serving.paste_handler import Handler

_log = logging.getLogger(__name__)

#: How long running requests may take to finish when the server is told to stop, in seconds.
STOP_SECONDS = 9


class Server(httpserver.WSGIThreadPoolServer):  # type: ignore[misc]  # Paste has no types
    """The listening server.

    Parameters:
        application: the WSGI application.
        settings: THREADS and SOCKET_TIMEOUT.
        listener: a listening socket, which the server takes over.
    """

    socket: Any

    def __init__(self, application: Application, settings: Settings, listener: socket.socket) -> None:
        self._listener = listener
        self.busy: set[Handler] = set()
        handler = type("_TimedHandler", (Handler,), {"silence": settings.socket_timeout})
        httpserver.WSGIServerBase.__init__(self, application, listener.getsockname()[:2], handler)
        limits = {"max_requests": 0, "kill_thread_limit": 0, "spawn_if_under": 0, "hung_check_period": 0}
        self.thread_pool = httpserver.ThreadPool(0, "workers", daemon=True, **limits)
        # Written in C. Threads that wait in Paste's queue.Queue take Python's lock from each other.
        self.thread_pool.queue = queue.SimpleQueue()
        self.thread_pool.nworkers = settings.threads
        for _ in range(settings.threads):
            self.thread_pool.add_worker_thread()
        self.running = True

    def server_bind(self) -> None:
        self.socket.close()
        self.socket = self._listener
        self.server_name, self.server_port = self.server_address[:2]

    def serve_until_stopped(self) -> None:
        """Serves until `stop`, then lets running requests finish for STOP_SECONDS."""
        while self.running:
            with contextlib.suppress(TimeoutError):  # once a second, to look whether to stop
                self.process_request(*self.get_request())
        self.socket.close()
        end = time.monotonic() + STOP_SECONDS
        while self.busy and time.monotonic() < end:
            time.sleep(0.05)

    def stop(self) -> None:
        """Makes `serve_until_stopped` return."""
        self.running = False

    def handle_error(self, request: object, client_address: object) -> None:
        _log.exception("a request from %s broke off", client_address)


def run(application: Application, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; then running requests finish, and the call returns. Raises SettingsError."""
    sockets.allow_many_files()
    server = Server(application, settings, sockets.listen(settings.bind_address, settings.port))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: server.stop())
    _log.info("listening on %s port %s", settings.bind_address, server.server_port)
    server.serve_until_stopped()
