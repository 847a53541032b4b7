"""Paste, the default of SERVER: one process with a pool of threads, in pure Python.

Threads are neither killed nor replaced, because an upload may take hours. SIGTERM starts a graceful shutdown.

Concurrency: any thread may call `stop`.
"""

import logging
import os
import signal
import socket
import threading
import time
from typing import Any

from paste import httpserver

from assetstore.config.loading import Settings
from assetstore.http.middleware import Application
from assetstore.serving import signals, sockets
from assetstore.serving.paste_handler import Handler

_log = logging.getLogger(__name__)

#: How long a thread waits after an error such as too many open files before it accepts again, in seconds.
_PAUSE_SECONDS = 0.5


class Server(httpserver.WSGIThreadPoolServer):  # type: ignore[misc]  # Paste has no types
    """The listening server.

    Parameters:
        application: the WSGI application.
        settings: THREADS and the limit of silence.
        listener: a listening socket, which the server takes over.
    """

    socket: Any

    def __init__(self, application: Application, settings: Settings, listener: socket.socket) -> None:
        self._listener = listener
        self._stopped = threading.Event()
        self.busy: set[Handler] = set()
        super().__init__(
            application,
            listener.getsockname()[:2],
            RequestHandlerClass=type("_TimedHandler", (Handler,), {"silence": settings.limits.silence_seconds}),
            nworkers=settings.threads,
            daemon_threads=True,
            threadpool_options={"max_requests": 0, "kill_thread_limit": 0, "spawn_if_under": 0, "hung_check_period": 0},
        )

    def server_bind(self) -> None:
        self.socket.close()
        self.socket = self._listener
        self.server_name, self.server_port = self.server_address

    def server_activate(self) -> None:
        self.socket.setblocking(True)

    def serve_until_stopped(self) -> None:
        """Serves until `stop` is called, then waits up to `signals.STOP_SECONDS` for running requests."""
        for _ in range(self.thread_pool.nworkers):
            self.thread_pool.add_task(self._serve)
        self._stopped.wait()
        self.running = False
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes threads that wait for connections
        end = time.monotonic() + signals.STOP_SECONDS
        while self.busy and time.monotonic() < end:
            time.sleep(0.05)
        self.socket.close()

    def stop(self) -> None:
        """Makes `serve_until_stopped` return."""
        self._stopped.set()

    def _serve(self) -> None:
        # Each thread accepts connections itself, so that none has to be passed from one thread to another.
        while self.running:
            try:
                request, address = self.socket.accept()
            except OSError as error:
                if self.running:
                    _log.error("accepting a connection failed: %s", error)
                    time.sleep(_PAUSE_SECONDS)
            else:
                self.process_request_in_thread(request, address)

    def handle_error(self, request: object, client_address: object) -> None:
        _log.exception("a request from %s failed unexpectedly", client_address)


def run(application: Application, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, finishes running requests, and returns. Raises SettingsError."""
    sockets.allow_many_files()
    server = Server(application, settings, sockets.listen(settings.bind_address, settings.port))

    def stop() -> None:
        signals.end_by_force()
        server.stop()

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if not os.isatty(0):  # without a terminal, SIGHUP means reload; with one, it means that the terminal was closed
        handlers[signal.SIGHUP] = lambda: _log.warning("SIGHUP: Paste has nothing to reload")
    signals.listen(handlers)
    _log.info("listening on %s port %s", settings.bind_address, server.server_port)
    server.serve_until_stopped()
