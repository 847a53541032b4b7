"""Opens a store and its services by the settings: folders, key, thumbnails, periodic tasks.

Each step that can fail raises SettingsError with a message of one line for the administrator.
"""

import dataclasses
import functools
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assetstore.app import startup, tasks, visibility
from assetstore.auth import server_key
from assetstore.collections import added as added_collections
from assetstore.collections.mapping import Collections, LiveCollectionDirs
from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.periodic_task import PeriodicTask
from assetstore.config import loading
from assetstore.config.loading import Settings, SettingsError
from assetstore.errors import StorageFault
from assetstore.iiif.images import Images
from assetstore.iiif.pyramids import Pyramids
from assetstore.journal.journal import Journal
from assetstore.listing.service import Listing
from assetstore.location_safe.service import LocationSafe
from assetstore.metadata.service import MetadataService
from assetstore.monitoring import readiness
from assetstore.monitoring.health import Health
from assetstore.originals.service import Originals
from assetstore.storage.disk.store import disk_store
from assetstore.storage.protocols import Store
from assetstore.storage.thumbnail_sizes import SizeRules
from assetstore.thumbnails import plain_images
from assetstore.thumbnails.previews import Previews
from assetstore.thumbnails.rendering.job import Limits
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.service import Rules, Thumbnails
from assetstore.visibility.service import Visibility

if TYPE_CHECKING:
    from assetstore.monitoring.metrics import Metrics

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class AppContext:
    """The effective settings, the open store and its services. Must be closed at the end."""

    settings: Settings
    collections: Collections
    originals: Originals
    listing: Listing
    thumbnails: Thumbnails
    images: Images
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
        self.listing.close()
        if self.visibility is not None:
            self.visibility.close()
        self.originals.journal.close()


def open_all(folder: Path, adapters: Iterable[str]) -> AppContext:
    """Prepares a process of another web server for its first request.

    Parameters:
        folder, adapters: as for `startup.begin`.
    """
    return open_store(startup.begin(folder, adapters), folder)


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
    require_base_dir(settings.base_dir, folder)
    collections = collections or open_collections(settings)
    collection_dirs = LiveCollectionDirs(collections)
    store = _new_store(settings, collection_dirs)
    try:
        store.space.prepare()
    except StorageFault as error:
        raise SettingsError(_not_writable(settings.base_dir, error)) from error
    collections.admit = store.space.prepare_collection_dir
    return Originals(store, Journal(settings.base_dir), collection_dirs, keeps_trash=settings.trash_days > 0)


def require_base_dir(base: Path, folder: Path) -> None:
    """Creates the default attachment folder of the program in *folder*. Raises SettingsError if another is missing."""
    try:
        if base == folder / loading.DEFAULT_BASE_DIR:
            base.mkdir(exist_ok=True)
        is_there = base.is_dir()
    except OSError as error:
        raise SettingsError(f"BASE_DIR: {base} cannot be used: {error.strerror}.") from error
    if not is_there:
        raise SettingsError(f"BASE_DIR: there is no folder {base}. Mount its disk or, for a new store, create it.")


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
        remedy = "Correct BASE_DIR, or mount its disk. For a new store, create the folder and start the server."
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
    if settings.location_safe:
        cached = plain_images.only_plain(cached)
    waiting = ElasticLimit(limits.thumbnail_waiters, waiters)
    discard = originals.storage.pyramids(settings.pyramid_bytes).delete
    return Thumbnails(originals.storage, cached, pool, rules, waiting, discard), pool


def open_images(
    settings: Settings, originals: Originals, pool: RenderPool, waiters: ElasticLimit | None = None
) -> Images:
    """Opens the pictures of a store for IIIF. The parameters are those of `open_thumbnails`, and its pool."""
    storage = originals.storage
    pyramids = Pyramids(storage, storage.pyramids(settings.pyramid_bytes), pool)
    waiting = ElasticLimit(settings.limits.thumbnail_waiters, waiters)
    secret = server_key.derived(settings.key, "entity tags")
    return Images(storage, pyramids, pool, settings.can_thumbnail, waiting, secret)


def open_store(settings: Settings, folder: Path) -> AppContext:
    """Opens the store and its services, and generates the server's own key if none is configured.

    Parameters:
        settings: as loaded.
        folder: of the program.

    The settings in the result have a key, unless KEY is None.
    """
    collections, settings = open_collections(settings), with_key(settings, folder)
    originals = open_originals(settings, folder, collections)
    _open_journal(originals.journal)
    waiters = ElasticLimit(settings.limits.waiters)
    thumbnails, pool = open_thumbnails(settings, originals, waiters)
    visible, polling = visibility.open_visibility(settings, originals, os.environ)
    metrics = tasks.open_metrics(settings, originals, pool, visible)
    health = Health(readiness.checks(settings, originals, pool, visible))
    periodic = (*tasks.periodic_tasks(settings, originals, thumbnails, metrics, health), *polling)
    for task in periodic:
        task.start()
    examining = ElasticLimit(settings.limits.metadata_waiters, waiters)
    metadata, location_safe = MetadataService(examining), visibility.open_location_safe(settings, examining)
    images = open_images(settings, originals, pool, waiters)
    least = settings.pyramid_upload_bytes
    prepare = None if least is None else functools.partial(images.prepare, least_bytes=least)
    previews = Previews(thumbnails, settings.preview_sizes, prepare, least or 0)
    listing = Listing(originals, settings.base_dir)
    thumbnails.on_outcome = listing.note_thumbnail
    services = (listing, thumbnails, images, previews, pool, metadata, health, metrics, visible, location_safe)
    return AppContext(settings, collections, originals, *services, periodic)


def _open_journal(journal: Journal) -> None:
    # Now, and not with the first upload, because its mapped memory requires free space (preallocate.py).
    try:
        journal.probe()
    except StorageFault as error:
        _log.error("the journal cannot be used: %s", error.detail)


def with_key(settings: Settings, folder: Path) -> Settings:
    """Returns the settings, with the server's own key if none is configured. A new key is printed.

    Parameters:
        settings: as loaded.
        folder: of the program.

    Raises SettingsError, also if there is no attachment folder: its disk may not be mounted.
    """
    if settings.key != ():
        return settings
    require_base_dir(settings.base_dir, folder)
    try:
        key, is_new = server_key.own_key(settings.base_dir)
    except StorageFault as error:
        raise SettingsError(_not_writable(settings.base_dir, error)) from error
    if is_new:
        _announce_key(key, server_key.key_path(settings.base_dir))
    return dataclasses.replace(settings, key=(key,))


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
