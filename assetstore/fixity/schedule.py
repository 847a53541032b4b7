"""Verification by the server itself: each original is read again within VERIFY_DAYS days.

A run takes half of that time, so that a file which comes last in one run and first in none is read
in time, too. It reads no faster than it must, and goes on after a restart where it was.
"""

import json
import logging
import time
from threading import Event as Signal
from typing import Any

from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.fixity.verification import MEANINGS, Verification
from assetstore.originals.service import Originals

_log = logging.getLogger(__name__)

#: How often the server looks whether a run is due, in seconds.
ROUND_SECONDS = 600

_DAY = 86_400
_NANOSECONDS = 1_000_000_000

#: So much of the time is planned; the rest is for restarts and slow disks.
_PLANNED = 0.9

#: No slower than this, in bytes per second: a small collection need not take days.
_LEAST_RATE = 1_000_000


class Verifier:
    """Runs verifications when they are due.

    Parameters:
        originals: the store.
        days: within which each original is read (VERIFY_DAYS); 0 for never.
    """

    def __init__(self, originals: Originals, days: int) -> None:
        self._originals = originals
        self._seconds_per_run = days * _DAY / 2

    def round(self, ending: Signal) -> None:
        """Does a run, or the rest of one, if it is due. To be called by one process at a time."""
        now, last = time.time(), last_run(self._originals)
        since = now - last["began"] if last else None
        is_unfinished = last is not None and last["ended"] is None
        if since is not None and not is_unfinished and 0 <= since < self._seconds_per_run:
            return
        size = sum(
            listed.size
            for collection_dir in self._originals.collection_dirs
            for listed in self._originals.storage.originals(collection_dir)
        )
        left = self._seconds_per_run - (since or 0) if is_unfinished else self._seconds_per_run
        rate = max(_LEAST_RATE, size / (_PLANNED * max(left, _DAY)))
        _log.info("verification of %s bytes %s", size, "goes on" if is_unfinished else "begins")
        run = Verification(self._originals, RateLimit(rate, ending), adopt=True, accept=False, client="verification")
        try:
            for finding in run.run(resume=True):
                meaning = "; ".join(MEANINGS[kind] for kind in finding.kinds)
                _log.warning(
                    "verification: %r in %r: %s %s", finding.name, finding.collection_dir, meaning, finding.detail
                )
        except Interrupted:
            return
        _log.info("verification has ended: %s", run.summary.as_json())


def last_run(originals: Originals) -> dict[str, Any] | None:
    """Returns when the last verification began and ended (seconds since 1970, `ended` None if it has not),
    and its summary. None if there was none. Raises StorageFault.
    """
    query = "SELECT began_ns, ended_ns, summary FROM runs ORDER BY id DESC LIMIT 1"
    with originals.journal.reading(query) as rows:
        row = next(rows, None)
    if row is None:
        return None
    began_ns, ended_ns, summary = row
    ended = None if ended_ns is None else ended_ns / _NANOSECONDS
    return {"began": began_ns / _NANOSECONDS, "ended": ended, "summary": json.loads(summary) if summary else None}
