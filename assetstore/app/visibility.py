"""Opens the visibility of files by the setting VISIBILITY, the periodic task that polls its source, and the copies of
LOCATION_SAFE.
"""

import contextlib
import functools
from collections.abc import Mapping

from assetstore.auth import server_key
from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.periodic_task import PeriodicTask
from assetstore.config.loading import FILE, SPECIFY, Settings, SettingsError
from assetstore.errors import BadRequest, ReadOnly, StorageFault
from assetstore.files.private_folders import private_folder
from assetstore.files.unfinished import sweep_locks
from assetstore.location_safe.service import LocationSafe
from assetstore.originals.service import Originals
from assetstore.specify import database
from assetstore.specify.visibility import DatabaseSource
from assetstore.visibility.models import Source
from assetstore.visibility.poller import Poller
from assetstore.visibility.service import Visibility
from assetstore.visibility.table import TableSource

#: How often to look at most whether a poll is due, in seconds.
_LEAST_ROUND_SECONDS = 0.1

#: For how many seconds a table must be unchanged before it is read, and the largest share of VISIBILITY_SECONDS.
_SETTLED, _SHARE_OF_SETTLING = 2.0, 0.1


def source(settings: Settings, environ: Mapping[str, str]) -> Source | None:
    """Returns the source that VISIBILITY names; None if it is not set. Raises SettingsError."""
    if settings.visibility == FILE and settings.visibility_file is not None:
        return TableSource(settings.visibility_file, min(_SETTLED, settings.visibility_seconds * _SHARE_OF_SETTLING))
    address = settings.specify_database
    if settings.visibility != SPECIFY or address is None:
        return None
    try:
        database.address(address, {})
    except BadRequest as error:
        raise SettingsError(f"SPECIFY_DATABASE: {error.public}") from None
    # The password is read for each poll, so that it can be changed without a restart.
    password_file = settings.specify_database_password_file
    return DatabaseSource(address, functools.partial(database.configured, address, environ, password_file))


def open_visibility(
    settings: Settings, originals: Originals, environ: Mapping[str, str]
) -> tuple[Visibility | None, tuple[PeriodicTask, ...]]:
    """Returns the visibility of files, and the tasks to start; None and no task if VISIBILITY is not set.

    Raises SettingsError.
    """
    records = source(settings, environ)
    if records is None:
        return None, ()
    visible = Visibility(settings.base_dir, settings.visibility_seconds)
    poller = Poller(visible.index, records, originals.journal, originals.collection_dirs, settings.visibility_seconds)
    try:
        visible.index.prepare(records.name)  # records of another source must not count for any request
    except ReadOnly as error:
        if visible.index.facts():  # of another source
            raise SettingsError(f"VISIBILITY: {error.public} {error.detail}") from error
    except StorageFault as error:
        raise SettingsError(f"VISIBILITY: {error.public} {error.detail}") from error
    seconds = max(_LEAST_ROUND_SECONDS, poller.round_seconds)
    return visible, (PeriodicTask("visibility", settings.base_dir, seconds, poller.round),)


def open_location_safe(settings: Settings, waiting: ElasticLimit) -> LocationSafe | None:
    """Returns the service that makes location-safe copies; None if LOCATION_SAFE is not set.

    Parameters:
        settings: as loaded.
        waiting: how many requests may wait for it, in this and other services.
    """
    if not settings.location_safe:
        return None
    with contextlib.suppress(OSError):  # its disk may be read-only
        sweep_locks(private_folder(settings.base_dir))
    secret = server_key.derived(settings.key, "entity tags")
    return LocationSafe(settings.base_dir, settings.limits.location_safe_bytes, waiting, secret)
