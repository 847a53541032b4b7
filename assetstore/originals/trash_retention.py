"""Trash retention: purges entries of the trash by age and by size, and refills the reserve for deletes on a full disk.

A wrong clock must not empty the trash. So each round records its time. If the next round is more than three days away
from it, in either direction, the clock may have jumped (or the server was off). Then nothing is purged, and purging
resumes with the following round, an hour later.
"""

import contextlib
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event as Signal

from assetstore.errors import AssetError, ReadOnly
from assetstore.journal.events import Origin
from assetstore.names import PRIVATE_FOLDER
from assetstore.originals.service import Originals
from assetstore.storage.models import TrashEntry

_log = logging.getLogger(__name__)

#: How often the server purges the trash, in seconds.
ROUND_SECONDS = 3600

_DAY = 86_400
_LEAP_SECONDS = 3 * _DAY
_NANOSECONDS = 1_000_000_000


def due(entries: Iterable[TrashEntry], now: float, days: int, most_bytes: int | None) -> list[TrashEntry]:
    """Returns the entries to purge, oldest first.

    Parameters:
        entries: all entries of the trash.
        now: seconds since 1970.
        days: how long an entry stays (TRASH_DAYS).
        most_bytes: the maximum total size (TRASH_BYTES), None for no limit.
    """
    oldest = (now - days * _DAY) * _NANOSECONDS
    ordered = sorted(entries, key=lambda entry: entry.removed_ns)
    excess = 0 if most_bytes is None else sum(entry.size for entry in ordered) - most_bytes
    leaving = []
    for entry in ordered:
        # The file's date counts, too, because an entry may have been removed while the clock was wrong.
        is_old = max(entry.removed_ns, entry.modified_ns) < oldest
        if is_old or excess > 0:
            leaving.append(entry)
            excess -= entry.size
    return leaving


class TrashKeeper:
    """Purges entries that are due.

    Parameters:
        originals: the store.
        base: the folder that contains the server's private folder.
        days, most_bytes: see `due`. With 0 days, nothing is purged (and nothing is moved to the trash).
    """

    def __init__(self, originals: Originals, base: Path, days: int, most_bytes: int | None) -> None:
        self._originals = originals
        self._last_purge = base / PRIVATE_FOLDER / "trash-purged"
        self._days = days
        self._most_bytes = most_bytes

    def round(self, ending: Signal | None = None) -> None:
        """Purges entries that are due, and refills the reserve. May be called by only one process at a time.

        Parameters:
            ending: set when it has to end soon.
        """
        try:
            self.purge(ending=ending)
        finally:  # the reserve does not depend on the trash being readable
            self._originals.space.refill_reserve()

    def purge(self, now: float | None = None, ending: Signal | None = None) -> int:
        """Purges entries that are due, and returns their number. May be called by only one process at a time."""
        if not self._days:
            return 0
        now = time.time() if now is None else now
        if self._clock_leapt(now):
            _log.warning(
                "the clock has jumped by days since the trash was last checked; nothing is purged in this round"
            )
            return 0
        number = size = 0
        for entry in due(self._originals.trash(), now, self._days, self._most_bytes):
            if ending is not None and ending.is_set():
                break
            try:
                if self._originals.purge(entry, Origin("", "housekeeping")):
                    number, size = number + 1, size + entry.size
            except ReadOnly:
                raise  # none of the others can be purged either
            except AssetError as error:
                _log.error("%r cannot be purged: %s %s", entry.identifier, error.public, error.detail)
        if number:
            _log.info("purged %s files with %s bytes from the trash", number, size)
        return number

    def _clock_leapt(self, now: float) -> bool:
        """Whether the clock differs by days from the last round; records the time for the next one."""
        last = now
        with contextlib.suppress(OSError, ValueError):
            last = float(self._last_purge.read_text(encoding="ascii"))
        try:
            self._last_purge.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._last_purge.write_text(f"{now:.0f}\n", encoding="ascii")
        except OSError as error:
            _log.error("the time of the trash check cannot be recorded: %s", error)
        return abs(now - last) > _LEAP_SECONDS
