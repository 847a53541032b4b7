"""Metrics for Prometheus, served on a separate address (METRICS_ADDRESS) and never to clients of the server.

With several processes, PROMETHEUS_MULTIPROC_DIR names a folder in which their metrics are added up (`multiprocess`).
The process that holds the lock of the periodic task serves them for all processes.

Concurrency: any thread may use the counters. Metrics that are expensive are collected only when Prometheus scrapes:
the free space each time, the size of the store at most once an hour.
"""

import logging
import os
import socketserver
import threading
import time
from collections.abc import Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric

from assetstore.errors import AssetError, NotPublic
from assetstore.http.request_context import RequestContext
from assetstore.monitoring import health
from assetstore.originals.service import Originals
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.visibility.service import Visibility

_log = logging.getLogger(__name__)

_PREFIX = "asset_server_"

_FORBIDDEN = 403

#: Buckets, in seconds: a cached thumbnail takes milliseconds, a large upload minutes.
_DURATIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)

#: For how many seconds to reuse the count of the store, which lists all files.
_COUNT_SECONDS = 3600

#: The same for the trash; in object storage, listing it costs requests.
_TRASH_SECONDS = 60


class Metrics:
    """All metrics of one process.

    Parameters:
        originals: the store.
        pool: the render workers.
        visible: the visibility of files; None if VISIBILITY is not set.
    """

    def __init__(self, originals: Originals, pool: RenderPool, visible: Visibility | None = None) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            _PREFIX + "requests", "Requests with a response.", ("route", "method", "status"), registry=registry
        )
        self._received = Counter(_PREFIX + "received_bytes", "Bytes of request bodies.", ("route",), registry=registry)
        self._sent = Counter(_PREFIX + "sent_bytes", "Bytes of response bodies.", ("route",), registry=registry)
        self._seconds = Histogram(
            _PREFIX + "request_seconds",
            "From the head of a request to the end of its response.",
            ("route",),
            buckets=_DURATIONS,
            registry=registry,
        )
        self._renders = Counter(
            _PREFIX + "renders", "Thumbnails that were rendered.", ("format", "outcome"), registry=registry
        )
        self._render_seconds = Histogram(
            _PREFIX + "render_seconds",
            "How long rendering a thumbnail took.",
            ("format",),
            buckets=_DURATIONS,
            registry=registry,
        )
        self._changes = Counter(
            _PREFIX + "changes",
            "Changes to originals: stored, replaced, deleted …",
            ("operation",),
            registry=registry,
        )
        self._refused = Counter(_PREFIX + "refused_tokens", "Tokens that were rejected.", registry=registry)
        self._not_public = Counter(
            _PREFIX + "not_public", "Requests without a token for files that are not public.", registry=registry
        )
        self._state = _State(originals, pool, visible)

    def count(self, context: RequestContext) -> None:
        """Counts a request that has ended."""
        method = context.method if context.method in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self._requests.labels(context.route, method, str(context.status)).inc()
        self._received.labels(context.route).inc(context.received)
        self._sent.labels(context.route).inc(context.sent)
        self._seconds.labels(context.route).observe(context.seconds)
        if context.status == _FORBIDDEN:  # it has no other cause
            (self._not_public if context.sentence == NotPublic.SENTENCE else self._refused).inc()

    def count_render(self, format: str, outcome: str, seconds: float) -> None:
        """Counts a thumbnail by the format of the original and its outcome: `made`, or the name of the error."""
        self._renders.labels(format, outcome).inc()
        self._render_seconds.labels(format).observe(seconds)

    def count_change(self, operation: str) -> None:
        """Counts an operation of the journal."""
        self._changes.labels(operation).inc()

    def page(self) -> bytes:
        """Returns all metrics in the text format of Prometheus."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types
        else:
            registry = self._registry
        states = CollectorRegistry()
        states.register(self._state)
        return prometheus_client.generate_latest(registry) + prometheus_client.generate_latest(states)

    def serve(self, address: tuple[str, int], checks: health.Health, ending: threading.Event) -> None:
        """Serves the metrics on an address until *ending* is set; at `/readyz` the health checks with their reasons.

        Raises OSError if the address cannot be used.
        """

        def respond(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            if environ["PATH_INFO"] == "/readyz":
                report = checks.report()
                status = "200 OK" if health.is_ready(report) else "503 Service Unavailable"
                start_response(status, [("Content-Type", "application/json")])
                return [health.page(report, with_reasons=True).encode()]
            start_response("200 OK", [("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)])
            return [self.page()]

        with _ThreadingServer(address, _QuietHandler) as server:
            server.set_app(respond)
            server.timeout = 0.5
            _log.info("serving metrics on %s port %s", *server.server_address[:2])
            while not ending.is_set():
                server.handle_request()


class _State:
    """The current state of the store and the render workers (a collector of prometheus_client)."""

    def __init__(self, originals: Originals, pool: RenderPool, visible: Visibility | None) -> None:
        self._visible = visible
        self._originals = originals
        self._pool = pool
        self._counting = threading.Lock()
        self._counted_at = -float(_COUNT_SECONDS)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._trash_counted_at = -float(_TRASH_SECONDS)
        self._trash: list[int] = []

    def collect(self) -> Iterable[Metric]:
        """Yields the metrics, without those that are currently unavailable."""
        workers = self._pool.workers()
        for kind, value in (("most", workers.most), ("running", workers.running), ("busy", workers.busy)):
            yield _gauge(f"render_workers_{kind}", "Render workers of the process that serves the metrics.", value)
        yield _gauge("render_jobs_waiting", "Thumbnails that wait for a worker.", workers.waiting)
        yield _gauge("render_jobs_in_background", "The same, in the background.", workers.in_background)
        if self._visible is not None:
            yield from _visibility(self._visible)
        try:
            free = self._originals.space.free_bytes()
            if free is not None:
                yield _gauge("free_bytes", "Bytes that can still be stored.", free)
            sizes = self._store_sizes()
            trash = self._trash_sizes()
        except AssetError as error:
            _log.warning("the metrics of the store are unavailable: %s %s", error.public, error.detail)
            return
        number = GaugeMetricFamily(_PREFIX + "originals", "Originals, counted hourly.", labels=("place",))
        meaning = "Bytes of the originals, counted hourly."
        size = GaugeMetricFamily(_PREFIX + "originals_bytes", meaning, labels=("place",))
        for collection_dir, (files, files_size) in sizes.items():
            number.add_metric((collection_dir,), files)
            size.add_metric((collection_dir,), files_size)
        yield number
        yield size
        yield _gauge("trash_files", "Files in the trash.", len(trash))
        yield _gauge("trash_bytes", "Bytes in the trash.", sum(trash))

    def _trash_sizes(self) -> list[int]:
        with self._counting:
            if time.monotonic() - self._trash_counted_at >= _TRASH_SECONDS:
                self._trash = [entry.size for entry in self._originals.trash()]
                self._trash_counted_at = time.monotonic()
            return self._trash

    def _store_sizes(self) -> dict[str, tuple[int, int]]:
        with self._counting:
            if time.monotonic() - self._counted_at >= _COUNT_SECONDS:
                self._sizes = {}
                for collection_dir in self._originals.collection_dirs:
                    listed = [entry.size for entry in self._originals.storage.originals(collection_dir)]
                    self._sizes[collection_dir] = (len(listed), sum(listed))
                self._counted_at = time.monotonic()
            return self._sizes


def _visibility(visible: Visibility) -> Iterable[Metric]:
    """The numbers of public and other files, and the age of the state, which is infinite if it was never read."""
    try:
        status = visible.status()
    except AssetError as error:
        _log.warning("the metrics of visibility are unavailable: %s %s", error.public, error.detail)
        return
    files = GaugeMetricFamily(_PREFIX + "visibility_files", "Files with a known state.", labels=("state",))
    for state in ("public", "private", "unknown"):
        files.add_metric((state,), getattr(status, state))
    yield files
    age = float("inf") if status.checked_at is None else max(0.0, time.time() - status.checked_at)
    yield _gauge("visibility_age_seconds", "Since the visibility of files was last read successfully.", age)


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        # Not the method of HTTPServer, which looks the host up in the DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing, because Prometheus scrapes every few seconds."""


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, meaning, value)
