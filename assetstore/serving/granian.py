"""Granian, the web server for production: several processes, HTTPS, HTTP/2, and slow clients that hold no thread.

The parent process serves no requests. It holds one listening socket for each worker, so that pending connections are
not lost when a worker is replaced. It starts a new worker when one dies or exceeds WORKER_MEMORY, and reloads the
certificate on SIGHUP. Each worker opens the store itself, because threads, databases and render workers do not survive
a fork. Workers end when the parent process is gone.
"""

import functools
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from granian import _signals
from granian.server.mp import MPServer

from assetstore.config.loading import Settings, SettingsError
from assetstore.http.middleware import Application
from assetstore.serving import signals, sockets, tls
from assetstore.serving.granian_server import Server

_log = logging.getLogger(__name__)

#: How long a worker that is told to stop still serves the connections it has accepted, in seconds.
_HANDOVER_SECONDS = 0.5

#: Creates the application of a worker; returns it with a function that closes everything when the worker ends.
Opener = Callable[[], tuple[Application, Callable[[], None]]]


def run(open_application: Opener, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, finishes running requests, and returns.

    Parameters:
        open_application: called in each worker.
        settings: PROCESSES, THREADS, WORKER_MEMORY, TLS_CERTIFICATE and TLS_KEY are used.

    Raises:
        SettingsError: the address or the certificate cannot be used.
    """
    sockets.allow_many_files()
    listeners = sockets.listen_for(settings.processes, settings.bind_address, settings.port)
    for listener in listeners:
        _enable_keepalive(listener, settings.limits.silence_seconds)
    multiprocessing.set_start_method("fork", force=True)  # workers share sockets and certificate with this process
    try:
        server = Server(settings, listeners)
    except tls.CertificateError as error:
        raise SettingsError(str(error)) from None
    server.on_startup(functools.partial(_begin, server, settings, listeners[0].getsockname()[1]))
    parent_pipe, _held_open = os.pipe()

    def serve(worker: int, name: Any, loader: Opener, *arguments: Any) -> None:
        os.close(_held_open)
        _begin_worker(parent_pipe, listeners[worker - 1])
        application, close = loader()
        try:
            MPServer._spawn_wsgi_worker(worker, name, lambda: application, *arguments)
        finally:
            close()

    server.serve(serve, open_application, wrap_loader=False)


def _begin(server: Server, settings: Settings, port: int) -> None:
    # Only now, because before this Granian sets its own handlers and logs warnings about intended settings.
    logging.getLogger("_granian").setLevel(logging.WARNING)
    reload = server.signal_handler_reload

    def stop() -> None:
        signals.end_by_force()
        server.signal_handler_interrupt()

    signals.listen({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload})
    where = (settings.bind_address, port, settings.scheme, settings.processes)
    _log.info("listening on %s port %s (%s), processes: %s", *where)


def _enable_keepalive(listener: socket.socket, seconds: int) -> None:
    """Has the kernel detect clients that are gone (TCP keep-alive); accepted connections inherit this (tcp(7)).

    TCP_USER_TIMEOUT would also end connections of clients that read nothing, but those of slow clients, too.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 4))


def _begin_worker(parent_pipe: int, listener: socket.socket) -> None:
    """Sets up the signals of a worker process, and ends it when the parent process is gone."""
    signals.forget_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until Granian sets its handler
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.setpgid(0, 0)  # Ctrl+C in a terminal must reach only the parent process, which stops the workers
    threading.Thread(target=_stop_when_orphaned, args=(parent_pipe,), name="parent watcher", daemon=True).start()
    _signals.set_sync_signals = functools.partial(_set_signals, listener, _signals.set_sync_signals)


def _set_signals(listener: socket.socket, set_of_granian: Callable[[], Any]) -> Any:
    """Sets Granian's signal handlers, but on SIGTERM leaves new connections to the next worker first.

    Otherwise Granian would drop connections that are still in the TLS handshake.
    """
    event = set_of_granian()
    unused = socket.socket(socket.AF_UNIX)
    unused.bind("")  # a random abstract address, unix(7)
    unused.listen()
    unused.setblocking(False)

    def stop() -> None:
        os.dup2(unused.fileno(), listener.fileno())
        threading.Timer(_HANDOVER_SECONDS, event.set).start()

    signals.listen({signal.SIGTERM: stop, signal.SIGINT: event.set})
    return event


def _stop_when_orphaned(parent_pipe: int) -> None:
    os.read(parent_pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
