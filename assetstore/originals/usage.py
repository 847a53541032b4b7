"""The size of the store, its growth, and when the disk will be full.

Sizes come from the files, growth from the journal. Files that were adopted (after a migration, or copied by hand) do
not count as growth, because they would distort the forecast for months.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from assetstore import media_types
from assetstore.journal import events
from assetstore.originals import growth
from assetstore.originals.service import Originals

#: All changes: the time, files and bytes added, files and bytes removed. A replacement has both; the removed size is
#: that of the previous event.
_CHANGES = """
WITH history AS (
    SELECT place, time_ns, operation, size,
           LAG(operation) OVER name AS operation_before, LAG(size) OVER name AS size_before
    FROM events WHERE operation != 'purged'
    WINDOW name AS (PARTITION BY place, name ORDER BY id)
), changes AS (
    SELECT place, time_ns, size, size_before,
           operation IN ('stored', 'replaced', 'restored') AS comes,
           operation IN ('deleted', 'gone') AS goes,
           operation = 'replaced' OR (operation = 'restored'
               AND operation_before IN ('stored', 'replaced', 'restored', 'adopted')) AS replaces
    FROM history
)
SELECT place, strftime('%Y-%m', time_ns / 1000000000, 'unixepoch'),
       SUM(comes), SUM(CASE WHEN comes THEN COALESCE(size, 0) ELSE 0 END),
       SUM(goes OR replaces),
       SUM(CASE WHEN goes THEN COALESCE(size, size_before, 0) WHEN replaces THEN COALESCE(size_before, 0) ELSE 0 END)
FROM changes WHERE comes OR goes GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Kind:
    """The originals of one media type in one folder."""

    collection_dir: str
    media_type: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Month:
    """Files and bytes added to and removed from one folder in one month (UTC, `2026-11`)."""

    collection_dir: str
    month: str
    came: int
    came_bytes: int
    went: int
    went_bytes: int


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


@dataclass(frozen=True)
class Duplicate:
    """Originals with the same bytes, by the checksums of the journal: folder and name of each."""

    sha256: str
    size: int
    files: tuple[tuple[str, str], ...]


def kinds(originals: Originals, collection_dir: str) -> Iterator[Kind]:
    """Yields the originals of a folder by media type, largest total size first. Raises StorageFault."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for listed in originals.storage.originals(collection_dir):
        media_type = media_types.guess(listed.name)
        files[media_type] += 1
        sizes[media_type] += listed.size
    for media_type, size in sizes.most_common():
        yield Kind(collection_dir, media_type, files[media_type], size)


def months(originals: Originals, collection_dirs: list[str], number: int) -> Iterator[Month]:
    """Yields the growth of the folders, by folder and month.

    Parameters:
        originals: the store.
        collection_dirs: the folders.
        number: of months, this one included.

    Raises:
        StorageFault: the journal cannot be read.
    """
    today = time.gmtime()
    first = today.tm_year * 12 + today.tm_mon - number
    earliest = f"{first // 12:04}-{first % 12 + 1:02}"
    for row in _changes(originals):
        month = Month(*row)
        if month.collection_dir in collection_dirs and month.month >= earliest:
            yield month


def forecast(originals: Originals, reserved_bytes: int) -> Forecast:
    """Returns when the disk will be full if the store keeps growing at its recent rate.

    Parameters:
        originals: the store.
        reserved_bytes: free space that uploads do not use.

    Raises:
        StorageFault: the journal or the disk cannot be read.
    """
    free = originals.space.free_bytes()
    if free is not None:
        free = max(0, free - reserved_bytes)
    now = time.time()
    window = growth.window_days(originals.journal, now)
    per_day = growth.daily(originals.journal, originals.keeps_trash, now)
    if window is None or per_day is None:
        return Forecast(free, 0, 0.0, None)
    days = growth.days_until_full(free, per_day)
    return Forecast(free, int(window), per_day, None if days is None else int(days))


def duplicates(originals: Originals, collection_dirs: list[str]) -> Iterator[Duplicate]:
    """Yields originals with identical content, those that waste most space first. Raises StorageFault.

    Includes only files whose checksum is in the journal; `manage.py verify --adopt` adds all files.
    """
    found: defaultdict[tuple[str, int], list[tuple[str, str]]] = defaultdict(list)
    for collection_dir in collection_dirs:
        sizes = {listed.name: listed.size for listed in originals.storage.originals(collection_dir)}
        for event in originals.journal.state(collection_dir):
            is_known = event.operation in events.PRESENT and event.sha256 is not None
            if is_known and event.size is not None and sizes.get(event.name) == event.size > 0:
                found[event.sha256 or "", event.size].append((collection_dir, event.name))
    groups = [Duplicate(sha256, size, tuple(files)) for (sha256, size), files in found.items() if len(files) > 1]
    yield from sorted(groups, key=lambda group: (-group.size * (len(group.files) - 1), group.sha256))


def _changes(originals: Originals) -> list[tuple[Any, ...]]:
    with originals.journal.reading(_CHANGES) as rows:
        return list(rows)
