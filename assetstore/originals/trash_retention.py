"""How long the trash is kept: what is due leaves it, by age and by size, and the log says so.

A clock that is wrong must not empty the trash. So whoever purges notes the time; when the next time
is more than three days away from that, in either direction, the clock may have leapt (or the server
was off): nothing is purged then, and only the next round, an hour later, believes the clock.
"""

import contextlib
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from assetstore.errors import AssetError
from assetstore.journal.journal import Origin
from assetstore.names import PRIVATE_FOLDER
from assetstore.originals.service import Originals
from assetstore.storage.models import TrashEntry

_log = logging.getLogger(__name__)

#: How often the server looks into the trash, in seconds.
ROUND_SECONDS = 3600

_DAY = 86_400
_LEAP_SECONDS = 3 * _DAY
_NANOSECONDS = 1_000_000_000


def due(entries: Iterable[TrashEntry], now: float, days: int, most_bytes: int | None) -> list[TrashEntry]:
    """Returns the entries that leave the trash, oldest first.

    Parameters:
        entries: all that are in it.
        now: seconds since 1970.
        days: how long an entry stays (TRASH_DAYS).
        most_bytes: how much all may hold together (TRASH_BYTES), None for any number.
    """
    oldest = (now - days * _DAY) * _NANOSECONDS
    ordered = sorted(entries, key=lambda entry: entry.removed_ns)
    excess = 0 if most_bytes is None else sum(entry.size for entry in ordered) - most_bytes
    leaving = []
    for entry in ordered:
        # The date of the file, too: what went while the clock stood in 1970 is not as old as that.
        is_old = max(entry.removed_ns, entry.modified_ns) < oldest
        if is_old or excess > 0:
            leaving.append(entry)
            excess -= entry.size
    return leaving


class TrashKeeper:
    """Purges what is due.

    Parameters:
        originals: the store.
        base: the folder that holds the server's private folder.
        days, most_bytes: see `due`; with 0 days nothing is put into the trash, and what is there stays.
    """

    def __init__(self, originals: Originals, base: Path, days: int, most_bytes: int | None) -> None:
        self._originals = originals
        self._last_purge = base / PRIVATE_FOLDER / "trash-purged"
        self._days = days
        self._most_bytes = most_bytes

    def purge(self, now: float | None = None) -> int:
        """Purges what is due and returns how many entries that were. To be called by one process at a time."""
        if not self._days:
            return 0
        now = time.time() if now is None else now
        if self._clock_leapt(now):
            _log.warning("the clock is days away from the last time the trash was looked at; nothing is purged yet")
            return 0
        number = size = 0
        for entry in due(self._originals.trash(), now, self._days, self._most_bytes):
            try:
                if self._originals.purge(entry, Origin("", "housekeeping")):
                    number, size = number + 1, size + entry.size
            except AssetError as error:
                _log.error("%r cannot leave the trash: %s %s", entry.identifier, error.public, error.detail)
        if number:
            _log.info("%s files with %s bytes left the trash for good", number, size)
        return number

    def _clock_leapt(self, now: float) -> bool:
        """Whether the clock is far from the last round; notes the time for the next one."""
        last = now
        with contextlib.suppress(OSError, ValueError):
            last = float(self._last_purge.read_text(encoding="ascii"))
        try:
            self._last_purge.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._last_purge.write_text(f"{now:.0f}\n", encoding="ascii")
        except OSError as error:
            _log.error("the time of the look at the trash cannot be noted: %s", error)
        return abs(now - last) > _LEAP_SECONDS
