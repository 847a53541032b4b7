"""The periodic tasks of a server, and its metrics."""

import functools
import logging
import threading
from typing import TYPE_CHECKING

from assetstore.concurrency.periodic_task import PeriodicTask
from assetstore.config.loading import Settings, SettingsError
from assetstore.fixity import schedule
from assetstore.fixity.schedule import Verifier
from assetstore.monitoring.health import Health
from assetstore.originals import trash_retention
from assetstore.originals.service import Originals
from assetstore.originals.trash_retention import TrashKeeper
from assetstore.thumbnails import sizes
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.service import Thumbnails
from assetstore.visibility.service import Visibility

if TYPE_CHECKING:
    from assetstore.monitoring.metrics import Metrics

_log = logging.getLogger(__name__)

#: How often to remove what crashes left, in seconds.
_SWEEP_ROUND_SECONDS = 3600

#: How often to add events to the journal that waited because another program had locked it, in seconds.
_PENDING_ROUND_SECONDS = 60

#: After how many seconds another process takes over when the process that serves the metrics ends.
_METRICS_ROUND_SECONDS = 5


def open_metrics(
    settings: Settings, originals: Originals, pool: RenderPool, visible: Visibility | None
) -> "Metrics | None":
    """Returns the metrics, None without METRICS_ADDRESS. Raises SettingsError: their library is not installed."""
    if settings.metrics_address is None:
        return None
    try:
        from assetstore.monitoring.metrics import Metrics  # noqa: PLC0415 - the library is slow to load, and reads the environment
    except ImportError as error:
        reason = f"METRICS_ADDRESS requires the library prometheus_client, which is not installed: {error}"
        raise SettingsError(reason) from error
    metrics = Metrics(originals, pool, visible)
    pool.on_render = metrics.count_render
    originals.journal.on_event = metrics.count_change
    return metrics


def periodic_tasks(
    settings: Settings, originals: Originals, thumbnails: Thumbnails, metrics: "Metrics | None", checks: Health
) -> tuple[PeriodicTask, ...]:
    """Returns the periodic tasks that the settings require. They are not started yet."""
    base, journal, space = settings.base_dir, originals.journal, originals.space
    update_sizes = functools.partial(sizes.update, thumbnails.store, originals.collection_dirs)
    tasks = [
        PeriodicTask("sizes", base, sizes.ROUND_SECONDS, update_sizes),
        PeriodicTask("pending-events", base, _PENDING_ROUND_SECONDS, lambda _ending: journal.add_pending()),
        PeriodicTask("sweep", base, _SWEEP_ROUND_SECONDS, lambda _ending: space.sweep()),
    ]
    if settings.trash_days:
        keeper = TrashKeeper(originals, base, settings.trash_days, settings.trash_bytes)
        tasks.append(PeriodicTask("trash", base, trash_retention.ROUND_SECONDS, keeper.round))
    if settings.verify_days:
        verifier = Verifier(originals, settings.verify_days)
        tasks.append(PeriodicTask("verification", base, schedule.ROUND_SECONDS, verifier.round))
    if metrics is not None and settings.metrics_address is not None:
        serve = functools.partial(_serve_metrics, metrics, settings.metrics_address, checks)
        tasks.append(PeriodicTask("metrics", base, _METRICS_ROUND_SECONDS, serve))
    return tuple(tasks)


def _serve_metrics(metrics: "Metrics", address: tuple[str, int], checks: Health, ending: threading.Event) -> None:
    try:
        metrics.serve(address, checks, ending)
    except OSError as error:
        _log.error("metrics are not available: METRICS_ADDRESS %s:%s cannot be used: %s", *address, error)
