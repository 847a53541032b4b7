"""A survey of the store: its size, its growth, and when the disk will be full.

A survey reads the size of every file, and every event. So it runs occasionally, in its own thread, and callers get the
last result immediately.

Concurrency: thread-safe; only one survey runs at a time.
"""

import logging
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
        self._lock = threading.Lock()
        self._is_running = False
        self._last: dict[str, Any] | None = None
        self._stale_from = 0.0

    def latest(self) -> dict[str, Any]:
        """Returns the last survey, and starts a new one if it is outdated.

        `ready` is False while there is none; `fault` is the reason if it failed.
        """
        with self._lock:
            begins = not self._is_running and time.monotonic() >= self._stale_from
            self._is_running = self._is_running or begins
            last = self._last
        if begins:
            threading.Thread(target=self._run, name="survey", daemon=True).start()
        return last or {"ready": False, "fault": None}

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
        with self._lock:
            self._last, self._is_running = found, False
            ended = time.monotonic()
            self._stale_from = ended + max(_FRESH_SECONDS, _FRESH_FACTOR * (ended - began))

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
