"""A survey of the store: its size, its growth, and when the disk will be full.

A survey reads the size of every file, and every event. So it runs occasionally, in its own thread, and callers get the
last result at once, with the uploads since then. Surveys of small stores run after each upload, and callers wait.

Concurrency: thread-safe; only one survey runs at a time.
"""

import logging
import math
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from assetstore.errors import AssetError
from assetstore.originals import growth
from assetstore.originals.growth import Growth, Month
from assetstore.originals.service import Originals

_log = logging.getLogger(__name__)

#: A survey is outdated after this many seconds, and at least this multiple of its own duration, so that surveys of
#: millions of files are rare.
_FRESH_SECONDS, _FRESH_FACTOR = 60, 100

#: After uploads, it is outdated after this multiple of its own duration.
_CHANGED_FACTOR = 10

#: For how long a caller waits for a survey, in seconds, if the last one took less.
_WAIT_SECONDS = 0.5

#: Uses the index by time.
_UPLOADS_SINCE = """
SELECT COUNT(*), COALESCE(SUM(size), 0) FROM events WHERE time_ns > ? AND operation IN ('stored', 'replaced')
"""


class Survey:
    """The last survey of a store.

    Parameters:
        originals: the store.
        reserve: free space that uploads do not use, in bytes (RESERVED_BYTES).
        keeps_trash: whether deleted files stay in the trash for a while.
    """

    def __init__(self, originals: Originals, reserve: int, keeps_trash: bool) -> None:
        self._originals = originals
        self._reserve = reserve
        self._keeps_trash = keeps_trash
        self._changed = threading.Condition()
        self._is_running = False
        self._last: dict[str, Any] | None = None
        self._ended = -math.inf
        self._seconds = 0.0

    def latest(self) -> dict[str, Any]:
        """Returns the last survey, and begins another one if it is outdated.

        Waits for a survey only if it is quick; otherwise the result has what was uploaded since the last one.
        """
        since = self._since()
        with self._changed:
            begins = not self._is_running and self._is_stale(since["uploads"] > 0)
            self._is_running = self._is_running or begins
        if begins:
            threading.Thread(target=self._run, name="survey", daemon=True).start()
        with self._changed:
            if self._seconds < _WAIT_SECONDS:
                self._changed.wait_for(lambda: not self._is_running, _WAIT_SECONDS)
            last = self._last
        if last is None:
            return {"ready": False, "fault": None}
        return {**last, "since": self._since()}

    def _is_stale(self, has_changed: bool) -> bool:
        age = time.monotonic() - self._ended
        if has_changed and age >= _CHANGED_FACTOR * self._seconds:
            return True
        return age >= max(_FRESH_SECONDS, _FRESH_FACTOR * self._seconds)

    def _since(self) -> dict[str, int]:
        """The uploads since the last survey, and their bytes, by the journal."""
        last = self._last
        if last is None or not last["ready"]:
            return {"uploads": 0, "bytes": 0}
        try:
            with self._originals.journal.reading(_UPLOADS_SINCE, (int(last["time"] * 1_000_000_000),)) as rows:
                uploads, size = next(iter(rows))
        except AssetError as error:
            _log.error("the journal cannot be read: %s", error.detail)
            return {"uploads": 0, "bytes": 0}
        return {"uploads": uploads, "bytes": size}

    def _run(self) -> None:
        began = time.monotonic()
        found = {"ready": False, "fault": "The store could not be surveyed. See the log for details."}
        try:
            found = self._made()
        except AssetError as error:
            _log.error("the store could not be surveyed: %s %s", error.public, error.detail)
            found["fault"] = error.public
        except Exception:  # noqa: BLE001 - a fault of the survey is its result
            _log.exception("the store could not be surveyed")
        with self._changed:
            self._last, self._is_running = found, False
            self._ended = time.monotonic()
            self._seconds = self._ended - began
            self._changed.notify_all()

    def _made(self) -> dict[str, Any]:
        originals = self._originals
        now = time.time()
        collection_dirs = [self._sizes(collection_dir) for collection_dir in originals.collection_dirs]
        free = originals.space.free_bytes()
        room = None if free is None else max(0, free - self._reserve)
        grown = self._growth(now)
        return {
            "ready": True,
            "fault": None,
            "time": now,
            "places": collection_dirs,
            "files": sum(collection_dir["files"] for collection_dir in collection_dirs),
            "bytes": sum(collection_dir["bytes"] for collection_dir in collection_dirs),
            "trash_bytes": sum(entry.size for entry in originals.trash()),
            "room": room,
            "months": _by_month(grown.months),
            "history_since": grown.first,
            "daily": grown.daily,
            "days_until_full": growth.days_until_full(room, grown.daily),
        }

    def _sizes(self, collection_dir: str) -> dict[str, Any]:
        files = size = 0
        for listed in self._originals.storage.originals(collection_dir):
            files, size = files + 1, size + listed.size
        return {"place": collection_dir, "files": files, "bytes": size}

    def _growth(self, now: float) -> Growth:
        """The growth by the journal; empty if it cannot be read, so that the files are still counted."""
        try:
            return growth.measure(self._originals.journal, self._keeps_trash, now)
        except AssetError as error:
            _log.error("the journal cannot be read: %s", error.detail)
            return Growth([], None, None)


def _by_month(months: list[Month]) -> list[dict[str, Any]]:
    """The uploads and bytes of all folders together, oldest month first."""
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for month in months:
        sums[month.month].update(uploads=month.uploads, stored=month.stored, freed=month.freed)
    return [{"month": month, **sums[month]} for month in sorted(sums)]
