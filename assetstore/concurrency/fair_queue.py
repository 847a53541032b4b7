"""A fair queue of threads that wait for one of a few workers.

Waiting threads are served round robin by client: each client's next thread in turn, however many threads each client
has waiting. So a client with one waiting thread is served after at most one thread of every other client.

Threads in the background wait in a queue of their own. They get a worker only if no other thread waits, and never the
last one if there is more than one worker, so that a request that comes later finds a worker soon.

Concurrency: any thread may call. One lock protects all state, and no thread waits while it holds it. A worker that
becomes free is handed to the next thread under the lock, so no other thread can take it in between. A thread that stops
waiting at the same time as it gets a worker gives the worker back, so none is lost.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Worker = TypeVar("Worker")


class NoneFree(Exception):
    """No worker became free in time."""


class FairQueue(Generic[Worker]):
    """Workers that are lent to one thread at a time, and the threads that wait for them.

    Parameters:
        workers: all of them, free at first.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._number = len(workers)
        # The one that was used last is used first, so that as few processes as possible are started.
        self._free = list(reversed(workers))
        self._lock = threading.Lock()
        #: Clients with waiting threads; the first one is next.
        self._waiting: dict[str, deque[_Wait[Worker]]] = {}
        self._in_background: deque[_Wait[Worker]] = deque()

    @contextmanager
    def lend(self, client: str, seconds: float, *, background: bool = False) -> Iterator[Worker]:
        """Lends a worker to this thread for the body of a `with` statement; waits until it is this thread's turn.

        Parameters:
            client: the address of the client for which the thread works.
            seconds: how long to wait at most.
            background: whether all other threads go first.

        Raises NoneFree.
        """
        wait: _Wait[Worker] = _Wait(client, background)
        self._enter(wait)
        try:
            wait.is_over.wait(seconds)
            if wait.worker is None:
                raise NoneFree
            yield wait.worker
        finally:
            self._leave(wait)

    @property
    def busy(self) -> int:
        """How many workers are lent."""
        with self._lock:
            return self._number - len(self._free)

    @property
    def waiting(self) -> int:
        """How many threads wait for a worker, without those in the background."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    @property
    def waiting_in_background(self) -> int:
        """How many threads in the background wait for a worker."""
        with self._lock:
            return len(self._in_background)

    def _enter(self, wait: "_Wait[Worker]") -> None:
        with self._lock:
            if wait.background:
                self._in_background.append(wait)
            else:
                self._waiting.setdefault(wait.client, deque()).append(wait)
            self._serve()

    def _leave(self, wait: "_Wait[Worker]") -> None:
        with self._lock:
            if wait.worker is None:
                self._withdraw(wait)
                return
            self._free.append(wait.worker)
            self._serve()

    def _withdraw(self, wait: "_Wait[Worker]") -> None:
        if wait.background:
            self._in_background.remove(wait)
            return
        self._waiting[wait.client].remove(wait)
        if not self._waiting[wait.client]:
            del self._waiting[wait.client]

    def _serve(self) -> None:
        """Hands free workers to waiting threads. The lock is held."""
        while self._free and (wait := self._next()) is not None:
            wait.worker = self._free.pop()
            wait.is_over.set()

    def _next(self) -> "_Wait[Worker] | None":
        """Takes the next thread from its queue; None if no thread may have a worker now."""
        if self._waiting:
            client = next(iter(self._waiting))
            of_client = self._waiting.pop(client)
            wait = of_client.popleft()
            if of_client:
                self._waiting[client] = of_client  # at the end: all other clients come first
            return wait
        if self._in_background and (len(self._free) > 1 or self._number == 1):
            return self._in_background.popleft()
        return None


@dataclass(eq=False)
class _Wait(Generic[Worker]):
    """A thread that waits. The worker is set before `is_over`, both under the lock of the queue."""

    client: str
    background: bool
    worker: Worker | None = None
    is_over: threading.Event = field(default_factory=threading.Event)
