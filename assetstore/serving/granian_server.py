"""Granian's server, with our listening sockets, a slower replacement of workers, and a check of the certificate."""

import functools
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.net import SocketHolder
from granian.server.mp import MPServer

from assetstore.config.loading import Settings
from assetstore.serving import signals, sockets, tls

_log = logging.getLogger(__name__)

#: How long the head of a request may take, and how long a connection may stay idle, in seconds.
_HEAD_SECONDS = 20

#: The longest head, in bytes. Granian also reads bodies in pieces of this size.
_LONGEST_HEAD = 256 * 1024

#: Connections per worker. An idle one holds a file descriptor and some kilobytes, but no thread.
_CONNECTIONS = 4096

#: How long running requests may take when a worker is replaced, in seconds.
_REPLACED_SECONDS = 3600.0

#: How long the old worker still serves beside the new one, in seconds. Opening the store takes less than a second.
_OVERLAP_SECONDS = 2.0

#: How often the memory of workers is measured, in seconds, with WORKER_MEMORY.
_MEMORY_SECONDS = 30

#: Has Granian log through our log handler.
_LOGGING = {"version": 1, "disable_existing_loggers": False, "formatters": {}, "handlers": {}}
_LOGGING |= {"loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}}}


class Server(MPServer):  # type: ignore[misc]  # not followed by mypy
    """Granian with our listening sockets. It checks a certificate before it uses it."""

    def __init__(self, settings: Settings, listeners: list[socket.socket]) -> None:
        has_tls = settings.tls_certificate is not None
        seconds = min(_HEAD_SECONDS, settings.limits.silence_seconds)
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
            http2_settings=HTTP2Settings(
                keep_alive_interval=seconds * 1000, keep_alive_timeout=seconds, max_headers_size=_LONGEST_HEAD
            ),
            websockets=False,
            log_level=LogLevels.error,
            log_dictconfig=_LOGGING,
            respawn_failed_workers=True,
            respawn_interval=_OVERLAP_SECONDS,
            workers_kill_timeout=signals.STOP_SECONDS,
            rss_sample_interval=_MEMORY_SECONDS,
            workers_max_rss=settings.worker_memory,
        )
        self._settings = settings
        self._listeners = listeners
        self._leaving: list[Any] = []
        if has_tls:
            self._load_certificate()

    def _load_certificate(self) -> None:
        """Checks the certificate and has new workers use it. Raises CertificateError."""
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        if certificate is None or key is None:
            return
        checked = tls.check(certificate, key)
        files = (tls.in_memory(certificate), tls.in_memory(key))
        self.ssl_ctx: Any = (True, *files, None, str(SSLProtocols.tls12), None, [], False)
        _log.info("the certificate for %s is valid until %s", ", ".join(checked.names), checked.expiry_date)

    def signal_handler_reload(self, *arguments: Any, **named: Any) -> None:
        """Handles SIGHUP: replaces the workers one after the other, unless the new certificate is unusable."""
        if os.isatty(0):  # the terminal was closed, so the server ends
            self.signal_handler_interrupt()
            return
        try:
            self._load_certificate()
        except tls.CertificateError as error:
            _log.error("the certificate was not reloaded, and the old one stays in use: %s", error)
        else:
            _log.info("SIGHUP: workers are being replaced")
            super().signal_handler_reload(*arguments, **named)

    def _init_shared_socket(self) -> None:
        # With Granian's own sockets, one in each worker, pending connections are lost when that worker ends.
        pass

    def _respawn_workers(self, workers: list[int], target: Any, loader: Any, delay: float = 0) -> None:
        # Granian would kill the old worker after the timeout for stopping, but uploads may take longer.
        for idx in workers:
            self.respawned_wrks[idx] = time.monotonic()
            old, self.wrks[idx] = self.wrks[idx], self._spawn_worker(idx, target, loader)
            self.wrks[idx].start()
            time.sleep(delay)
            old.terminate()
            self._leaving = [*(worker for worker in self._leaving if worker.is_alive()), old]
            timer = threading.Timer(_REPLACED_SECONDS, old.kill)
            timer.daemon = True
            timer.start()

    def _handle_rss_signal(self, *arguments: Any) -> None:
        before = list(self.wrks)
        super()._handle_rss_signal(*arguments)
        replaced = sum(old is not new for old, new in zip(before, self.wrks, strict=True))
        if replaced:
            _log.warning("processes that used more than WORKER_MEMORY were replaced: %s", replaced)

    def _stop_workers(self) -> None:
        self.wrks += [worker for worker in self._leaving if worker.is_alive()]
        super()._stop_workers()

    def _drop_shared_socket(self) -> None:
        for listener in self._listeners:  # from now on, connections are refused instead of left pending
            listener.close()

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:
        self._ssp, self._sso = None, None
        self._shd = SocketHolder(self._listeners[idx].fileno(), False, sockets.BACKLOG)
        worker = super()._spawn_worker(idx, target, callback_loader)
        worker.inner.start = functools.partial(_start_without_sigterm, worker.inner.start)
        return worker


def _start_without_sigterm(start: Callable[[], None]) -> None:
    # A new worker still has the signal handler of this process, and would lose a SIGTERM that comes too early.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
