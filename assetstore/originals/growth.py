"""How the store grows, and when its disk will be full: from the journal.

Uploads count when they are stored. Deleted and replaced files take space until they are purged from the trash; without
a trash, until they are deleted. Files that were adopted (after a migration, or copied by hand) do not count as growth,
because they would distort the forecast for months. Test files of the doctor do not count at all. Thumbnails are not in
the journal, and so not included.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from assetstore.journal.events import DELETED, DOCTOR_MARK, PURGED, REPLACED, RESTORED, STORED
from assetstore.journal.journal import Journal
from assetstore.originals.service import Originals

_NANOSECONDS = 1_000_000_000
_DAY = 86_400

#: Growth is the average of up to 90 days, as far as the journal goes back, and requires at least 7.
_MOST_DAYS, _LEAST_DAYS = 90, 7

#: The test files of the doctor. Their names are random, so that no other file has them.
_NO_TESTS = f"(place, name) NOT IN (SELECT place, name FROM events WHERE client LIKE '%{DOCTOR_MARK}')"  # noqa: S608 - a constant

#: Events and bytes by folder, month and operation, and the bytes in the time over which growth is measured. NOT INDEXED
#: because the order of the index by name would take three times as long.
_BY_MONTH = f"""
SELECT place, strftime('%Y-%m', time_ns / 1000000000, 'unixepoch'), operation, COUNT(*), COALESCE(SUM(size), 0),
       COALESCE(SUM(size * (time_ns BETWEEN ? AND ?)), 0)
FROM events NOT INDEXED WHERE {_NO_TESTS} GROUP BY 1, 2, 3 ORDER BY 1, 2
"""  # noqa: S608 - only constants

#: Removals by folder and month. The size of a replaced original is that of the previous event of its name; so is that
#: of a removed one whose size is unknown. Restoring replaces an original only if one existed.
_REMOVED = f"""
WITH removals AS MATERIALIZED (
    SELECT place, time_ns, operation,
           CASE WHEN operation IN ('deleted', 'gone') AND size IS NOT NULL THEN size ELSE (
               SELECT CASE WHEN event.operation != 'restored'
                           OR operation IN ('stored', 'replaced', 'restored', 'adopted') THEN COALESCE(size, 0) END
               FROM events WHERE place = event.place AND name = event.name AND id < event.id
                     AND operation NOT IN ('purged', 'public', 'private')
               ORDER BY id DESC LIMIT 1
           ) END AS bytes
    FROM events AS event NOT INDEXED WHERE operation IN ('replaced', 'restored', 'deleted', 'gone') AND {_NO_TESTS}
)
SELECT place, strftime('%Y-%m', time_ns / 1000000000, 'unixepoch'), COUNT(*), COALESCE(SUM(bytes), 0)
FROM removals WHERE operation != 'restored' OR bytes IS NOT NULL GROUP BY 1, 2
"""  # noqa: S608 - only constants


@dataclass(frozen=True)
class Month:
    """What happened in one folder in one month (UTC, `2026-11`).

    Fields:
        came, came_bytes: originals that were uploaded or restored.
        uploads, stored: the uploads among them, and their bytes.
        freed: bytes that were removed permanently.
    """

    collection_dir: str
    month: str
    came: int
    came_bytes: int
    uploads: int
    stored: int
    freed: int


@dataclass(frozen=True)
class Removed:
    """Originals that were deleted or replaced, or found missing, in one folder in one month."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Growth:
    """How the store grew.

    Fields:
        months: all months with events, by folder and month.
        window_days: over how many days growth was measured; None if the journal is too young.
        daily: average growth of originals and trash in that time, in bytes a day; may be negative.
        first: the time of the first event, seconds since 1970; None if there is none.
    """

    months: list[Month]
    window_days: float | None
    daily: float | None
    first: float | None = None

    def since(self, number: int, collection_dirs: Collection[str]) -> list[Month]:
        """Returns the last *number* months of these folders, including the current one."""
        today = time.gmtime()
        first = today.tm_year * 12 + today.tm_mon - number
        earliest = f"{first // 12:04}-{first % 12 + 1:02}"
        return [month for month in self.months if month.collection_dir in collection_dirs and month.month >= earliest]


@dataclass(frozen=True)
class Forecast:
    """When the disk will be full.

    Fields:
        free_bytes: free space for originals; None if it is not known.
        window_days: over how many days growth was measured; 0 if the journal is too young.
        bytes_per_day: average growth of originals and trash; may be negative.
        days: until the disk is full; None if the store does not grow, or it is not known.
    """

    free_bytes: int | None
    window_days: int
    bytes_per_day: float
    days: int | None


def measure(journal: Journal, keeps_trash: bool, now: float) -> Growth:
    """Returns how the store grew. Reads every event, which takes two seconds for a million.

    Parameters:
        journal: of the store.
        keeps_trash: whether deleted files stay in the trash for a while.
        now: seconds since 1970.

    Raises StorageFault.
    """
    first_ns, now_ns = _first_ns(journal), int(now * _NANOSECONDS)
    first = None if first_ns is None else first_ns / _NANOSECONDS
    since_ns = _since_ns(first_ns, now)
    found: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    recent = 0
    with journal.reading(_BY_MONTH, (now_ns if since_ns is None else since_ns, now_ns)) as rows:
        for collection_dir, name, operation, number, size, recent_size in rows:
            month = found[collection_dir, name]
            if operation in (STORED, REPLACED, RESTORED):
                month.update(came=number, came_bytes=size)
            if operation in (STORED, REPLACED):
                month.update(uploads=number, stored=size)
                recent += recent_size
            elif operation == PURGED or (operation == DELETED and not keeps_trash):
                month.update(freed=size)
                recent -= recent_size
    months = [
        Month(*key, month["came"], month["came_bytes"], month["uploads"], month["stored"], month["freed"])
        for key, month in found.items()
    ]
    if since_ns is None:
        return Growth(months, None, None, first)
    window = (now - since_ns / _NANOSECONDS) / _DAY
    return Growth(months, window, recent / window, first)


def removed(journal: Journal) -> dict[tuple[str, str], Removed]:
    """Returns what was removed, by collection folder and month.

    Looks up the previous event of every replacement, which takes up to four seconds for a million events. Raises
    StorageFault.
    """
    with journal.reading(_REMOVED) as rows:
        return {(collection_dir, month): Removed(files, size) for collection_dir, month, files, size in rows}


def forecast(originals: Originals, growth: Growth, reserved_bytes: int) -> Forecast:
    """Returns when the disk will be full if the store keeps growing at its recent rate.

    Parameters:
        originals: the store.
        growth: of the store.
        reserved_bytes: free space that uploads do not use.

    Raises:
        StorageFault: the disk cannot be read.
    """
    free = originals.space.free_bytes()
    if free is not None:
        free = max(0, free - reserved_bytes)
    if growth.window_days is None or growth.daily is None:
        return Forecast(free, 0, 0.0, None)
    days = days_until_full(free, growth.daily)
    return Forecast(free, int(growth.window_days), growth.daily, None if days is None else int(days))


def days_until_full(room: int | None, growth: float | None) -> float | None:
    """Returns how many days the free space (bytes) lasts at a growth rate (bytes a day).

    None if one of them is not known, or the store does not grow.
    """
    if room is None or growth is None or growth <= 0:
        return None
    return max(0, room) / growth


def _first_ns(journal: Journal) -> int | None:
    """The time of the first event, nanoseconds since 1970; None if there is none."""
    with journal.reading("SELECT MIN(time_ns) FROM events WHERE time_ns > 0") as rows:
        first_ns: int | None = next(iter(rows))[0]
    return first_ns


def _since_ns(first_ns: int | None, now: float) -> int | None:
    """Since when growth can be measured, nanoseconds since 1970; None if the journal is too young."""
    now_ns = int(now * _NANOSECONDS)
    if first_ns is None or now_ns - first_ns < _LEAST_DAYS * _DAY * _NANOSECONDS:
        return None
    return max(first_ns, now_ns - _MOST_DAYS * _DAY * _NANOSECONDS)
