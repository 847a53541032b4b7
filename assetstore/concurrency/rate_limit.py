"""How quickly originals are read by what has time: verifications, bags, migrations.

Concurrency: any number of threads may share one pace.
"""

import threading
import time
from threading import Event as Signal


class RateLimit:
    """Keeps the reading to an average rate, of all threads together.

    Parameters:
        bytes_per_second: the rate; None for no limit.
        ending: when set, nobody sleeps any more.
    """

    def __init__(self, bytes_per_second: float | None, ending: Signal) -> None:
        self._rate = bytes_per_second
        self.ending = ending
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def spend(self, number: int) -> None:
        """Accounts for so many bytes, and sleeps as long as they may take."""
        if self._rate is None:
            return
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + number / self._rate
            free_at = self._free_at
        self.ending.wait(max(0.0, free_at - time.monotonic()))


class Interrupted(Exception):
    """The run was asked to end; it can be resumed."""
