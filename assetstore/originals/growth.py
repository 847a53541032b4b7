"""How the store grows, and when its disk will be full: from the journal.

Uploads count when they are stored. Deleted and replaced files take space until they are purged from the trash; without
a trash, until they are deleted. Files copied by hand, and thumbnails, are not in the journal, and so not included.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from assetstore.journal import events
from assetstore.journal.journal import Journal

_NANOSECONDS = 1_000_000_000
_DAY = 86_400

#: Growth is the average of up to 90 days, as far as the journal goes back, and requires at least 7.
_MOST_DAYS, _LEAST_DAYS = 90, 7


@dataclass(frozen=True)
class Month:
    """What happened in a month (`2026-11`, UTC): uploads and their bytes, and bytes that left for good."""

    month: str
    uploads: int
    stored: int
    freed: int


def months(journal: Journal, keeps_trash: bool) -> list[Month]:
    """Returns every month in which something happened, the oldest first.

    Parameters:
        journal: of the store; looks at every event, which takes a second for a million.
        keeps_trash: whether deleted files stay in the trash for a while.

    Raises StorageFault.
    """
    query = (
        "SELECT strftime('%Y-%m', time_ns / 1000000000, 'unixepoch'), operation, COUNT(*), SUM(size)"
        " FROM events GROUP BY 1, 2 ORDER BY 1"
    )
    found: dict[str, Month] = {}
    with journal.reading(query) as rows:
        for month, operation, number, size in rows:
            before = found.get(month, Month(month, 0, 0, 0))
            stored, freed = _change(operation, size or 0, keeps_trash)
            uploads = number if operation in (events.STORED, events.REPLACED) else 0
            found[month] = Month(month, before.uploads + uploads, before.stored + stored, before.freed + freed)
    return list(found.values())


def window_days(journal: Journal, now: float) -> float | None:
    """Returns over how many days growth can be measured; None if the journal is too young. Raises StorageFault.

    Parameters:
        now: seconds since 1970.
    """
    since_ns = _since_ns(journal, now)
    return None if since_ns is None else (now - since_ns / _NANOSECONDS) / _DAY


def daily(journal: Journal, keeps_trash: bool, now: float) -> float | None:
    """Returns by how many bytes a day the store has grown recently; None if the journal is too young.

    Parameters:
        journal, keeps_trash: as for `months`.
        now: seconds since 1970.

    Raises StorageFault.
    """
    since_ns = _since_ns(journal, now)
    if since_ns is None:
        return None
    query = "SELECT operation, SUM(size) FROM events WHERE time_ns >= ? AND time_ns <= ? GROUP BY operation"
    with journal.reading(query, (since_ns, int(now * _NANOSECONDS))) as rows:
        return _net(rows, keeps_trash) / ((now - since_ns / _NANOSECONDS) / _DAY)


def days_until_full(room: int | None, growth: float | None) -> float | None:
    """Returns how many days the free space (bytes) lasts at a growth rate (bytes a day).

    None if one of them is not known, or the store does not grow.
    """
    if room is None or growth is None or growth <= 0:
        return None
    return max(0, room) / growth


def _since_ns(journal: Journal, now: float) -> int | None:
    """Since when growth can be measured, nanoseconds since 1970; None if the journal is too young."""
    with journal.reading("SELECT MIN(time_ns) FROM events WHERE time_ns > 0") as rows:
        first_ns = next(iter(rows))[0]
    now_ns = int(now * _NANOSECONDS)
    if first_ns is None or now_ns - first_ns < _LEAST_DAYS * _DAY * _NANOSECONDS:
        return None
    return max(int(first_ns), now_ns - _MOST_DAYS * _DAY * _NANOSECONDS)


def _net(rows: Iterable[tuple[str, int | None]], keeps_trash: bool) -> int:
    changes = [_change(operation, size or 0, keeps_trash) for operation, size in rows]
    return sum(stored - freed for stored, freed in changes)


def _change(operation: str, size: int, keeps_trash: bool) -> tuple[int, int]:
    """How many bytes an operation brought, and how many it freed."""
    if operation in (events.STORED, events.REPLACED):
        return size, 0
    if operation == events.PURGED or (operation == events.DELETED and not keeps_trash):
        return 0, size
    return 0, 0
