"""A limit on concurrent requests, shared fairly among client addresses.

Concurrency: for any number of threads.
"""

import threading
from collections import Counter


class ConcurrencyLimit:
    """A limit on concurrent requests. One client address gets at most a third of it.

    Parameters:
        number: the limit; at least 2 are allowed.
    """

    def __init__(self, number: int) -> None:
        self.number = max(2, number)
        self.per_client = max(1, self.number // 3)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def acquire(self, client: str) -> bool:
        """Admits a request; False if a limit is reached."""
        with self._lock:
            if self._held.total() >= self.number or self._held[client] >= self.per_client:
                return False
            self._held[client] += 1
            return True

    def release(self, client: str) -> None:
        """Ends a request that was admitted."""
        with self._lock:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
