"""Limits on concurrent requests, shared fairly among client addresses.

Concurrency: for any number of threads.
"""

import threading
from abc import ABC, abstractmethod
from collections import Counter

#: How many slots of an elastic limit a client may hold for each free one. Alone it gets seven eighths of them: enough
#: for a gallery with a hundred requests at a time, or for a museum whose users all have one address.
_HELD_PER_FREE = 7


class _Limit(ABC):
    """A limit on concurrent requests; its kinds differ in what they admit of one client."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()
        self._clients: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How many requests are admitted at present."""
        with self._lock:
            return self._clients.total()

    def acquire(self, client: str) -> bool:
        """Admits a request; False if a limit is reached."""
        with self._lock:
            if not self._admits(self._clients[client], self.number - self._clients.total()):
                return False
            self._clients[client] += 1
            return True

    def release(self, client: str) -> None:
        """Ends a request that was admitted."""
        with self._lock:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    @abstractmethod
    def _admits(self, held: int, free: int) -> bool:
        """Whether a client may have another slot.

        Parameters:
            held: the number of slots that it holds.
            free: the number of slots that no client holds.
        """


class ConcurrencyLimit(_Limit):
    """A limit on concurrent requests. One client address gets at most a third of it.

    Parameters:
        number: the limit.
    """

    @property
    def per_client(self) -> int:
        """How many requests of one client are admitted."""
        return max(1, self.number // 3)

    def _admits(self, held: int, free: int) -> bool:
        return free > 0 and held < self.per_client


class ElasticLimit(_Limit):
    """A limit on concurrent requests, of which a client address gets more if other clients need less.

    A client may hold seven slots for each free one. Alone, it gets seven eighths of the limit; of two busy clients,
    each gets seven fifteenths. So some slots stay free for further clients. If another client appears, a busy one
    gets no new slots until it has returned enough of them.

    The rule is that of A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet
    switches", IEEE/ACM Transactions on Networking 6 (1998).

    Parameters:
        number: the limit.
        whole: a limit that includes this one and others; requests count in both.
    """

    def __init__(self, number: int, whole: "ElasticLimit | None" = None) -> None:
        super().__init__(number)
        self._whole = whole

    def acquire(self, client: str) -> bool:
        """Admits a request; False if a limit is reached."""
        if self._whole is not None and not self._whole.acquire(client):
            return False
        if super().acquire(client):
            return True
        if self._whole is not None:
            self._whole.release(client)
        return False

    def release(self, client: str) -> None:
        """Ends a request that was admitted."""
        super().release(client)
        if self._whole is not None:
            self._whole.release(client)

    def _admits(self, held: int, free: int) -> bool:
        return held < _HELD_PER_FREE * free
