"""Granian, the server for production: several processes, HTTPS, HTTP/2, and slow clients that hold no thread.

The process that starts it serves nothing. It holds one listening socket for each worker, so that connections that
wait while a worker is replaced are not lost, starts another worker when one dies or outgrows WORKER_MEMORY, and
reloads the certificate on SIGHUP. Each worker opens the store for itself: threads, databases and render workers do
not survive a fork. Workers end by themselves when that first process is gone.
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

#: How long a worker that was told to stop goes on with what it has accepted before it stops, in seconds.
_HANDOVER_SECONDS = 0.5

#: Makes the application of a worker and returns it with what closes everything at its end.
Opener = Callable[[], tuple[Application, Callable[[], None]]]


def run(open_application: Opener, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; then running requests finish, and the call returns.

    Parameters:
        open_application: called in each worker.
        settings: PROCESSES, THREADS, SOCKET_TIMEOUT, WORKER_MEMORY, TLS_CERTIFICATE and TLS_KEY count here.

    Raises:
        SettingsError: the address or the certificate cannot be used.
    """
    sockets.allow_many_files()
    listeners = sockets.listen_for(settings.processes, settings.bind_address, settings.port)
    for listener in listeners:
        _notice_lost_clients(listener, settings.socket_timeout)
    multiprocessing.set_start_method("fork", force=True)  # workers share sockets and certificate with this process
    try:
        server = Server(settings, listeners)
    except tls.CertificateError as error:
        raise SettingsError(str(error)) from None
    server.on_startup(functools.partial(_begin, server, settings, listeners[0].getsockname()[1]))
    end_of_watch, _held_open = os.pipe()

    def serve(worker: int, name: Any, loader: Opener, *arguments: Any) -> None:
        os.close(_held_open)
        _begin_worker(end_of_watch, listeners[worker - 1])
        application, close = loader()
        try:
            MPServer._spawn_wsgi_worker(worker, name, lambda: application, *arguments)
        finally:
            close()

    server.serve(serve, open_application, wrap_loader=False)


def _begin(server: Server, settings: Settings, port: int) -> None:
    # Only now: before that Granian sets handlers of its own, and warns of a configuration that is meant.
    logging.getLogger("_granian").setLevel(logging.WARNING)
    stop, reload = server.signal_handler_interrupt, server.signal_handler_reload
    signals.listen({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload})
    where = (settings.bind_address, port, settings.scheme, settings.processes)
    _log.info("listening on %s port %s by %s, processes: %s", *where)


def _notice_lost_clients(listener: socket.socket, seconds: int) -> None:
    """Has the kernel ask clients that say nothing whether they are still there; connections inherit it (tcp(7)).

    TCP_USER_TIMEOUT would end those that read nothing, too, but also slow ones whose window is small.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 4))


def _begin_worker(end_of_watch: int, listener: socket.socket) -> None:
    """Sets up signals of a new process, and ends it when the first process is gone."""
    signals.forget_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until Granian listens to it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.setpgid(0, 0)  # Ctrl+C in a terminal reaches the first process only, which passes it on
    threading.Thread(target=_stop_when_orphaned, args=(end_of_watch,), name="watch", daemon=True).start()
    _signals.set_sync_signals = functools.partial(_set_signals, listener, _signals.set_sync_signals)


def _set_signals(listener: socket.socket, set_of_granian: Callable[[], Any]) -> Any:
    """Sets Granian's handlers, but on SIGTERM first leaves new connections to the worker that comes next.

    Granian drops connections of which it has accepted no more than the beginning, such as half a TLS handshake.
    """
    event = set_of_granian()
    nobody = socket.socket(socket.AF_UNIX)
    nobody.bind("")  # an abstract name that nobody knows, unix(7)
    nobody.listen()
    nobody.setblocking(False)

    def stop() -> None:
        os.dup2(nobody.fileno(), listener.fileno())
        threading.Timer(_HANDOVER_SECONDS, event.set).start()

    signals.listen({signal.SIGTERM: stop, signal.SIGINT: event.set})
    return event


def _stop_when_orphaned(end_of_watch: int) -> None:
    os.read(end_of_watch, 1)
    os.kill(os.getpid(), signal.SIGTERM)
