"""A rate limit for reading originals in the background: verifications, bags, migrations.

Concurrency: any number of threads may share one limit.
"""

import threading
import time
from threading import Event as Signal


class RateLimit:
    """Limits the average rate of reading, for all threads together.

    Parameters:
        bytes_per_second: the rate; None for no limit.
        ending: when it is set, threads no longer sleep.
    """

    def __init__(self, bytes_per_second: float | None, ending: Signal) -> None:
        self._rate = bytes_per_second
        self.ending = ending
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def spend(self, number: int) -> None:
        """Counts *number* bytes, and sleeps as long as the rate requires."""
        if self._rate is None:
            return
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + number / self._rate
            free_at = self._free_at
        self.ending.wait(max(0.0, free_at - time.monotonic()))


class Interrupted(Exception):
    """The run was interrupted; it can be resumed."""
