"""A limited number of places, shared fairly among client addresses.

Concurrency: for any number of threads.
"""

import threading
from collections import Counter


class Places:
    """A number of places, of which one client address gets a third at most.

    Parameters:
        number: of places.
    """

    def __init__(self, number: int) -> None:
        self.number = max(2, number)
        self.for_each_client = max(1, self.number // 3)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def take(self, client: str) -> bool:
        """Takes a place; False if there is none for this client."""
        with self._lock:
            if self._held.total() >= self.number or self._held[client] >= self.for_each_client:
                return False
            self._held[client] += 1
            return True

    def give_back(self, client: str) -> None:
        """Gives a place back."""
        with self._lock:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
