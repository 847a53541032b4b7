"""Lets requests through one after the other, as long as they are quick.

Python computes in one thread at a time. Threads that all have something to compute take it from each other at every
call of the system; with sixteen of them, that doubles what a request costs the processor. So requests without a body
pass a turnstile. One that takes its time (a slow disk, a picture in the making, a slow reader) gives up its turn by
that alone: whoever has waited for it sets up another turnstile for all that come.

Concurrency: for any number of threads. Nobody waits longer for one slow request than PATIENCE_SECONDS.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: A request that lasts longer is slow. Most take less than a thousandth.
PATIENCE_SECONDS = 0.02


class Turnstile:
    """One place where requests pass."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replacing = threading.Lock()
        self._entered = 0.0

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Waits for its turn, and has it until the end, or until it turns out to be slow."""
        lock = self._take()
        try:
            yield
        finally:
            lock.release()

    def _take(self) -> threading.Lock:
        while True:
            lock = self._lock
            if lock.acquire(timeout=PATIENCE_SECONDS):
                if lock is self._lock:
                    self._entered = time.monotonic()
                    return lock
                lock.release()  # it was replaced while we waited
            else:
                self._replace_if_slow(lock)

    def _replace_if_slow(self, lock: threading.Lock) -> None:
        with self._replacing:
            # With very many that wait, each of the others may have been quick.
            if lock is self._lock and time.monotonic() - self._entered > PATIENCE_SECONDS:
                self._lock = threading.Lock()
                self._entered = time.monotonic()


class OpenGate:
    """A place where all pass at once: for requests that wait for others more than they compute."""

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Never waits."""
        yield
