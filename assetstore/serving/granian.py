"""Granian, the server for production: several processes, HTTPS, HTTP/2, and slow clients that hold no thread.

The process that starts it serves nothing. It holds one listening socket for each worker, so that connections that
wait while a worker is replaced are not lost, starts another worker when one dies or outgrows WORKER_MEMORY, and
reloads the certificate on SIGHUP. Each worker opens the store for itself: threads, databases and render workers do
not survive a fork. Workers end by themselves when that first process is gone.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.net import SocketHolder
from granian.server.mp import MPServer

from assetstore.configuration import Settings, SettingsError
from assetstore.exchange import Application
from assetstore.serving import sockets, tls

_log = logging.getLogger(__name__)

#: How long the head of a request may take, and a connection may wait for another request, in seconds.
_HEAD_SECONDS = 20

#: The longest head, in bytes; Granian also reads bodies in pieces of that size.
_LONGEST_HEAD = 256 * 1024

#: Connections of one worker. Those that wait hold a descriptor and some kilobytes each, but no thread.
_CONNECTIONS = 4096

#: How long running requests may take when a worker is told to stop, in seconds.
_STOP_SECONDS = 9

#: How long the old worker serves on beside the new one, in seconds; a new one needs some tenths to open the store.
_OVERLAP_SECONDS = 2.0

#: Granian's log lines in the form of ours.
_LOGGING = {"version": 1, "disable_existing_loggers": False, "formatters": {}, "handlers": {}}
_LOGGING |= {"loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}}}

#: Makes the application of a worker and returns it with what closes everything at its end.
Opener = Callable[[], tuple[Application, Callable[[], None]]]


class _Server(MPServer):  # type: ignore[misc]  # not followed by mypy
    """Granian with our listening sockets, and certificates that are checked before they are used."""

    def __init__(self, settings: Settings, listeners: list[socket.socket]) -> None:
        has_tls = settings.tls_certificate is not None
        seconds = min(_HEAD_SECONDS, settings.socket_timeout)
        super().__init__(
            "asset-server",
            settings.bind_address,
            listeners[0].getsockname()[1],
            interface=Interfaces.WSGI,
            workers=settings.processes,
            blocking_threads=settings.threads,
            backlog=sockets.BACKLOG,
            backpressure=_CONNECTIONS,
            http=HTTPModes.auto if has_tls else HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=seconds * 1000, max_buffer_size=_LONGEST_HEAD),
            http2_settings=HTTP2Settings(keep_alive_interval=seconds * 1000, max_headers_size=_LONGEST_HEAD),
            websockets=False,
            log_level=LogLevels.error,
            log_dictconfig=_LOGGING,
            respawn_failed_workers=True,
            respawn_interval=_OVERLAP_SECONDS,
            workers_kill_timeout=_STOP_SECONDS,
            workers_max_rss=settings.worker_memory,
        )
        self._settings = settings
        self._listeners = listeners
        if has_tls:
            self._load_certificate()

    def _load_certificate(self) -> None:
        """Checks the certificate and has workers that start from now on use it. Raises CertificateError."""
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        if certificate is None or key is None:
            return
        checked = tls.check(certificate, key)
        files = (tls.in_memory(certificate), tls.in_memory(key))
        self.ssl_ctx: Any = (True, *files, None, str(SSLProtocols.tls12), None, [], False)
        _log.info("the certificate for %s is valid until %s", ", ".join(checked.names), checked.expiry_date)

    def signal_handler_reload(self, *arguments: Any, **named: Any) -> None:
        """SIGHUP: workers are replaced, one after the other, unless the new certificate is not usable."""
        try:
            self._load_certificate()
        except tls.CertificateError as error:
            _log.error("the certificate stays as it was: %s", error)
        else:
            _log.info("SIGHUP: workers are being replaced")
            super().signal_handler_reload(*arguments, **named)

    def _init_shared_socket(self) -> None:
        # Granian would let each worker open a socket of its own; what waits there is lost when that worker ends.
        pass

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:
        self._ssp, self._sso = None, None
        self._shd = SocketHolder(self._listeners[idx].fileno(), False, sockets.BACKLOG)
        return super()._spawn_worker(idx, target, callback_loader)


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
        # Connections inherit it (tcp(7)): the kernel ends one whose client reads nothing for so long.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.socket_timeout * 1000)
    multiprocessing.set_start_method("fork", force=True)  # workers share sockets and certificate with this process
    try:
        server = _Server(settings, listeners)
    except tls.CertificateError as error:
        raise SettingsError(str(error)) from None
    # Before that, Granian only warns of a configuration that is meant.
    server.on_startup(lambda: logging.getLogger("_granian").setLevel(logging.WARNING))
    end_of_watch, _held_open = os.pipe()
    scheme = "https" if settings.tls_certificate else "http"
    port = listeners[0].getsockname()[1]
    _log.info("listening on %s port %s by %s, processes: %s", settings.bind_address, port, scheme, settings.processes)

    def serve(worker: int, name: Any, loader: Any, *arguments: Any) -> None:
        os.close(_held_open)
        os.setpgid(0, 0)  # Ctrl+C in a terminal reaches the first process only, which passes it on
        threading.Thread(target=_stop_when_alone, args=(end_of_watch,), name="watch", daemon=True).start()
        application, close = loader()
        try:
            MPServer._spawn_wsgi_worker(worker, name, lambda: application, *arguments)
        finally:
            close()

    server.serve(serve, open_application, wrap_loader=False)


def _stop_when_alone(end_of_watch: int) -> None:
    os.read(end_of_watch, 1)
    os.kill(os.getpid(), signal.SIGTERM)
