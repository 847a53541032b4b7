"""How big the store is, how it grows, and until when there is room.

What there is, the files say; how it came to be so, the journal. Files that the journal adopted (on a
move here, or copied in by hand) are no growth: they would make a forecast wrong for months.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from assetstore import media_types
from assetstore.journal import journal as events
from assetstore.originals import growth
from assetstore.originals.service import Originals

#: All changes: when, what came (files, bytes) and what went by it. Of a replacement both; what went was the
#: size that the event before it tells.
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
    """What came to one folder in one month (UTC, `2026-11`) and what went: files and bytes."""

    collection_dir: str
    month: str
    came: int
    came_bytes: int
    went: int
    went_bytes: int


@dataclass(frozen=True)
class Forecast:
    """Until when there is room.

    Fields:
        free_bytes: room for further originals; None if nobody knows.
        window_days: over how many days growth was measured; 0 if the journal is too young.
        bytes_per_day: by which originals and trash grew on average; may be negative.
        days: until the disk is full; None if that is not in sight, or not known.
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
    """Yields what there is in a folder, by type, the largest first. Raises StorageFault."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for listed in originals.storage.originals(collection_dir):
        media_type = media_types.guess(listed.name)
        files[media_type] += 1
        sizes[media_type] += listed.size
    for media_type, size in sizes.most_common():
        yield Kind(collection_dir, media_type, files[media_type], size)


def months(originals: Originals, collection_dirs: list[str], number: int) -> Iterator[Month]:
    """Yields how the folders grew, by folder and month.

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
    """Returns until when there is room, if it goes on as in the last time.

    Parameters:
        originals: the store.
        reserved_bytes: that uploads leave free.

    Raises:
        StorageFault: the journal or the disk cannot be read.
    """
    free = originals.storage.free_bytes()
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
    """Yields originals with the same bytes, those first that waste most. Raises StorageFault.

    Only files whose checksum the journal knows: `manage.py verify --adopt` makes it know all.
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
