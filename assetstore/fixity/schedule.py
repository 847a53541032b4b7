"""Verification in the background: the server reads each original at least once in VERIFY_DAYS days.

A run takes half of that time, because the order of files may differ between runs: a file may be the first in one run
and the last in the next. A run reads as slowly as possible, and resumes after a restart.
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

#: How often the server checks whether a run is due, in seconds.
ROUND_SECONDS = 600

_DAY = 86_400
_NANOSECONDS = 1_000_000_000

#: The part of the time that is planned for reading; the rest is for restarts and slow disks.
_PLANNED = 0.9

#: The minimum rate in bytes per second, so that small collections do not take days.
_LEAST_RATE = 1_000_000


class Verifier:
    """Runs verifications when they are due.

    Parameters:
        originals: the store.
        days: the period in which each original is read (VERIFY_DAYS); 0 for never.
    """

    def __init__(self, originals: Originals, days: int) -> None:
        self._originals = originals
        self._seconds_per_run = days * _DAY / 2

    def round(self, ending: Signal) -> None:
        """Starts or resumes a run if it is due. May be called by only one process at a time."""
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
        _log.info("verification of %s bytes %s", size, "resumed" if is_unfinished else "started")
        run = Verification(self._originals, RateLimit(rate, ending), adopt=True, accept=False, client="verification")
        try:
            for finding in run.run(resume=True):
                meaning = "; ".join(MEANINGS[kind] for kind in finding.kinds)
                _log.warning(
                    "verification: %r in %r: %s %s", finding.name, finding.collection_dir, meaning, finding.detail
                )
        except Interrupted:
            return
        _log.info("verification finished: %s", run.summary.as_json())


def last_run(originals: Originals) -> dict[str, Any] | None:
    """Returns `began`, `ended` and `summary` of the last verification, None if there was none. Raises StorageFault.

    Times are seconds since 1970; `ended` is None if the verification is not finished.
    """
    row = originals.journal.row("SELECT began_ns, ended_ns, summary FROM runs ORDER BY id DESC LIMIT 1")
    if row is None:
        return None
    began_ns, ended_ns, summary = row
    ended = None if ended_ns is None else ended_ns / _NANOSECONDS
    return {"began": began_ns / _NANOSECONDS, "ended": ended, "summary": json.loads(summary) if summary else None}
