"""The start of the program until the first request: settings, log, folders, key.

Each step that can fail raises SettingsError with a message of one line for the administrator.
"""

import dataclasses
import functools
import importlib.util
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assetstore import __version__
from assetstore.app import visibility
from assetstore.auth import server_key
from assetstore.collections import added as added_collections
from assetstore.collections.mapping import Collections, LiveCollectionDirs
from assetstore.concurrency import memory
from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.periodic_task import PeriodicTask
from assetstore.config import announcement, loading, settings_file, unknown_names
from assetstore.config.limits import this_machine
from assetstore.config.loading import Settings, SettingsError
from assetstore.errors import StorageFault
from assetstore.fixity import schedule
from assetstore.fixity.schedule import Verifier
from assetstore.journal.journal import Journal
from assetstore.location_safe.service import LocationSafe
from assetstore.metadata.service import MetadataService
from assetstore.monitoring import logs, readiness
from assetstore.monitoring.health import Health
from assetstore.originals import trash_retention
from assetstore.originals.service import Originals
from assetstore.originals.trash_retention import TrashKeeper
from assetstore.storage.disk.store import disk_store
from assetstore.storage.protocols import Store
from assetstore.storage.thumbnail_sizes import SizeRules
from assetstore.thumbnails import sizes
from assetstore.thumbnails.previews import Previews
from assetstore.thumbnails.rendering.job import Limits
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.service import Rules, Thumbnails
from assetstore.visibility.service import Visibility

if TYPE_CHECKING:
    from assetstore.monitoring.metrics import Metrics

_log = logging.getLogger(__name__)

#: Web servers that start by their own command, because each of their processes must create the application.
_OWN_START = ("gunicorn", "uwsgi")

#: How often to remove what crashes left, in seconds.
_SWEEP_ROUND_SECONDS = 3600

#: How often to add events to the journal that waited because another program had locked it, in seconds.
_PENDING_ROUND_SECONDS = 60

#: Adapters of Bottle whose libraries are modules of Python, and no web servers.
_OLD_ADAPTERS = ("cgi",)

#: After how many seconds another process takes over when the process that serves the metrics ends.
_METRICS_ROUND_SECONDS = 5


@dataclasses.dataclass(frozen=True)
class AppContext:
    """The effective settings, the open store and its services. Must be closed at the end."""

    settings: Settings
    collections: Collections
    originals: Originals
    thumbnails: Thumbnails
    previews: Previews
    pool: RenderPool
    metadata: MetadataService
    health: Health
    metrics: "Metrics | None"
    visibility: Visibility | None
    location_safe: LocationSafe | None
    tasks: tuple[PeriodicTask, ...]

    def close(self) -> None:
        """Ends the render workers and periodic tasks, and closes the journal."""
        self.pool.close()
        self.previews.close()
        self.metadata.close()
        if self.location_safe is not None:
            self.location_safe.close()
        for task in self.tasks:
            task.close()
        if self.visibility is not None:
            self.visibility.close()
        self.originals.journal.close()


def open_all(folder: Path, adapters: Iterable[str]) -> AppContext:
    """Prepares a process of another web server for its first request.

    Parameters:
        folder, adapters: as for `begin`.
    """
    return open_store(begin(folder, adapters), folder)


def begin(folder: Path, adapters: Iterable[str], *, verbose: bool = False) -> Settings:
    """Reads the settings, sets up the log, and logs the effective settings.

    Parameters:
        folder: of the program, with settings.py.
        adapters: the names of web servers that SERVER may have.
        verbose: whether to log all effective settings, as with DEBUG.
    """
    memory.return_freed_memory()
    settings, own = load_settings(folder)
    _check_server(settings.server, adapters)
    if settings.tls_certificate and settings.server != loading.GRANIAN and settings.processes == 1:
        reason = f"TLS_CERTIFICATE is set and SERVER is {settings.server!r}"
        raise SettingsError(f"{reason}; expected SERVER = 'granian' for HTTPS.")
    logs.set_up(settings.log_format, settings.debug)
    announce(settings, own, verbose or settings.debug)
    _log.info("Settings: %s", settings_source(folder))
    if is_installed(folder):
        _log.info("Installed as a package: relative paths are relative to %s", Path.cwd())
    return settings


def _check_server(server: str, adapters: Iterable[str]) -> None:
    """Raises SettingsError if SERVER is unknown, with those that can be used here."""
    if server in _OWN_START:
        raise SettingsError(f"SERVER is {server!r}, which has its own start command; see docs/serving.md.")
    if server == loading.GRANIAN or server in adapters or ":" in server:
        return
    # The name of an adapter is that of its library, except for those of Bottle itself.
    installed = (name for name in (loading.GRANIAN, *adapters) if importlib.util.find_spec(name) is not None)
    usable = sorted({*installed, loading.PASTE} - {*_OWN_START, *_OLD_ADAPTERS, loading.WSGIREF})
    expected = f"{', '.join(usable)}; or, for development, {loading.REALLY_WSGIREF}"
    raise SettingsError(f"SERVER is {server!r}; expected one that is installed here: {expected}.")


def is_installed(folder: Path) -> bool:
    """Says whether the program runs from the package that pip installed: server.py is in `assetstore` only there."""
    return folder == Path(__file__).resolve().parents[1]


def load_settings(folder: Path) -> tuple[Settings, Mapping[str, object]]:
    """Reads the file with settings (`config.settings_file`) and the environment.

    Relative paths are relative to *folder*, or to the working directory if the program was installed as a package.
    Returns the effective settings, and the names and values of the file.
    """
    own = settings_file.read(settings_file.find(folder, is_installed(folder), os.environ))
    unknown_names.check_buckets(own, os.environ)
    start = Path.cwd() if is_installed(folder) else folder
    machine = this_machine()
    return loading.load(own, os.environ, start, machine.cores, machine.memory_bytes), own


def settings_source(folder: Path) -> str:
    """Returns where the settings come from, for people: the file, and the environment variables that have a value."""
    path = settings_file.find(folder, is_installed(folder), os.environ)
    names = sorted(loading.used_variables(os.environ))
    variables = f"the environment variables {', '.join(names)}" if names else ""
    return " and ".join(filter(None, (str(path) if path else "", variables))) or "the defaults"


def announce(settings: Settings, own: Mapping[str, object], verbose: bool) -> None:
    """Logs the version, what matters at the first start, and warnings; if verbose, all effective settings."""
    _log.info("Web Asset Server %s", __version__)
    for line in announcement.describe(settings) if verbose else announcement.summary(settings):
        _log.info("  %s", line)
    for warning in announcement.warnings(settings, own, os.environ):
        _log.warning("WARNING: %s", warning)
    if os.geteuid() == 0:
        _log.warning("WARNING: The server runs as root. Run it as a user of its own (docs/install.md).")


def open_collections(settings: Settings) -> Collections:
    """Returns the mapping of collections: COLLECTION_DIRS, and those that were added later. Raises SettingsError."""
    try:
        return Collections(settings.collection_dirs, added_collections.location(settings.base_dir))
    except StorageFault as error:
        raise SettingsError(f"COLLECTION_DIRS: {error.public} {error.detail}") from error


def open_originals(settings: Settings, folder: Path, collections: Collections | None = None) -> Originals:
    """Opens the store, for the server and for commands.

    Parameters:
        settings: as loaded.
        folder: of the program; the default attachment folder in it is created if it is missing.
        collections: of the store; they are read if not given, and others may be added while it is open.
    """
    base = settings.base_dir
    try:
        if base == folder / loading.DEFAULT_BASE_DIR:
            base.mkdir(exist_ok=True)
        is_there = base.is_dir()
    except OSError as error:
        raise SettingsError(f"BASE_DIR: {base} cannot be used: {error.strerror}.") from error
    if not is_there:
        raise SettingsError(f"BASE_DIR: there is no folder {base}. Mount its disk or, for a new store, create it.")
    collections = collections or open_collections(settings)
    collection_dirs = LiveCollectionDirs(collections)
    store = _new_store(settings, collection_dirs)
    try:
        store.space.prepare()
    except StorageFault as error:
        raise SettingsError(_not_writable(settings.base_dir, error)) from error
    collections.admit = store.space.prepare_collection_dir
    return Originals(store, Journal(base), collection_dirs, keeps_trash=settings.trash_days > 0)


def check_store(settings: Settings, collections: Collections, source: str) -> None:
    """Raises SettingsError if there is no store yet: only the server creates one, because it knows the right place.

    Parameters:
        settings: as loaded.
        collections: of the store.
        source: where the settings come from, for people.
    """
    base = settings.base_dir
    try:
        folders = [base / collection_dir / settings.orig_dir for collection_dir in collections.collection_dirs()]
        is_store = base.is_dir() if settings.storage_url is not None else any(folder.is_dir() for folder in folders)
    except OSError as error:
        raise SettingsError(f"BASE_DIR: {base} cannot be used: {error.strerror}.") from error
    if not is_store:
        missing = f"there is no store at {base}" if base.is_dir() else f"there is no folder {base}"
        remedy = "Correct BASE_DIR, or start the server once: it creates a new store, and commands do not."
        raise SettingsError(f"BASE_DIR: {missing}. The settings come from {source}. {remedy}")


def _not_writable(base: Path, error: StorageFault) -> str:
    """Why the store cannot be written, and the command for it if the folder belongs to another user."""
    reason = f"BASE_DIR: the server cannot write there: {error.detail}"
    try:
        user, owner = os.geteuid(), base.stat().st_uid
    except OSError:
        return reason
    if user in (0, owner):
        return reason
    return (
        f"{reason}. {base} belongs to the user {owner}, and the server runs as {user}: chown -R {user}:{os.getegid()}"
        " on it, as root; for a container, on the volume's folder on the host"
    )


def _new_store(settings: Settings, collection_dirs: Sequence[str]) -> Store:
    if settings.storage_url is None:
        return disk_store(
            settings.base_dir, settings.orig_dir, settings.thumb_dir, collection_dirs, settings.reserved_bytes
        )
    try:
        from assetstore.app.object_storage import open_storage  # noqa: PLC0415 - large, and not available for all processors
    except ImportError as error:
        reason = f"STORAGE_URL requires the library obstore, which is not installed: {error}"
        raise SettingsError(reason) from error
    return open_storage(settings, collection_dirs, os.environ)


def open_thumbnails(
    settings: Settings, originals: Originals, waiters: ElasticLimit | None = None
) -> tuple[Thumbnails, RenderPool]:
    """Opens the thumbnails of a store. The pool starts its processes when it needs them.

    Parameters:
        settings: as loaded.
        originals: of the store.
        waiters: how many requests may wait, for thumbnails or anything else; None for no such limit.
    """
    limits = settings.limits
    pool = RenderPool(limits.render_workers, Limits(limits.render_seconds, settings.render_memory))
    rules = Rules(settings.can_thumbnail, limits.largest_thumbnail, adopts=not settings.location_safe)
    previews = frozenset(min(size, limits.largest_thumbnail) for size in settings.preview_sizes)
    cached = originals.storage.thumbnails(SizeRules(limits.cached_sizes, previews))
    waiting = ElasticLimit(limits.thumbnail_waiters, waiters)
    return Thumbnails(originals.storage, cached, pool, rules, waiting), pool


def open_store(settings: Settings, folder: Path) -> AppContext:
    """Opens the store and its services, and generates the server's own key if none is configured.

    Parameters:
        settings: as loaded.
        folder: of the program.

    The settings in the result have a key, unless KEY is None.
    """
    collections, settings = open_collections(settings), with_key(settings)
    originals = open_originals(settings, folder, collections)
    _open_journal(originals.journal)
    waiters = ElasticLimit(settings.limits.waiters)
    thumbnails, pool = open_thumbnails(settings, originals, waiters)
    visible, polling = visibility.open_visibility(settings, originals, os.environ)
    metrics = _metrics(settings, originals, pool, visible)
    health = Health(readiness.checks(settings, originals, pool, visible))
    tasks = (_sizes_task(settings, originals, thumbnails), *_periodic_tasks(settings, originals, metrics, health))
    tasks += polling
    for task in tasks:
        task.start()
    examining = ElasticLimit(settings.limits.metadata_waiters, waiters)
    metadata, location_safe = MetadataService(examining), visibility.open_location_safe(settings, examining)
    previews = Previews(thumbnails, settings.preview_sizes)
    services = (originals, thumbnails, previews, pool, metadata, health, metrics, visible, location_safe)
    return AppContext(settings, collections, *services, tasks)


def _open_journal(journal: Journal) -> None:
    # Now, and not with the first upload, because its mapped memory requires free space (preallocate.py).
    try:
        journal.probe()
    except StorageFault as error:
        _log.error("the journal cannot be used: %s", error.detail)


def with_key(settings: Settings) -> Settings:
    """Returns the settings, with the server's own key if none is configured. A new key is printed."""
    if settings.key != ():
        return settings
    try:
        key, is_new = server_key.own_key(settings.base_dir)
    except StorageFault as error:
        raise SettingsError(_not_writable(settings.base_dir, error)) from error
    if is_new:
        _announce_key(key, server_key.key_path(settings.base_dir))
    return dataclasses.replace(settings, key=(key,))


def _metrics(
    settings: Settings, originals: Originals, pool: RenderPool, visible: Visibility | None
) -> "Metrics | None":
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


def _serve_metrics(metrics: "Metrics", address: tuple[str, int], checks: Health, ending: threading.Event) -> None:
    try:
        metrics.serve(address, checks, ending)
    except OSError as error:
        _log.error("metrics are not available: METRICS_ADDRESS %s:%s cannot be used: %s", *address, error)


def _sizes_task(settings: Settings, originals: Originals, thumbnails: Thumbnails) -> PeriodicTask:
    update = functools.partial(sizes.update, thumbnails.store, originals.collection_dirs)
    return PeriodicTask("sizes", settings.base_dir, sizes.ROUND_SECONDS, update)


def _periodic_tasks(
    settings: Settings, originals: Originals, metrics: "Metrics | None", checks: Health
) -> tuple[PeriodicTask, ...]:
    base, journal, space = settings.base_dir, originals.journal, originals.space
    tasks = [
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


def _announce_key(key: str, path: Path) -> None:
    print(
        f"""
    No key is configured, so the server has generated one. It is shown only this once. It is stored in
    {path}

        {key}

    Specify 6: preference attachment.key. Specify 7: setting ASSET_SERVER_KEY.
""",
        flush=True,
    )
