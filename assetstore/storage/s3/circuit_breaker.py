"""A fuse for a service that may be down: while nothing works, requests fail at once instead of waiting.

It blows when several calls in a row have failed and none has succeeded for a while; then one call at a
time may try, a second after the last, and the first that succeeds mends it. Before that, while nobody knows yet, it
also keeps calls that wait from taking all threads of the server.

Concurrency: one fuse guards one bucket, for all threads.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from assetstore.storage.s3.errors import Passing, unreachable

#: So many failures in a row, with no success for so many seconds.
_FAILURES, _SILENCE_SECONDS = 4, 2.0

#: So long after a trial has failed, the next call may try; also when one that tries has no answer for so long.
_TRIAL_SECONDS, _TRIAL_LASTS_SECONDS = 1.0, 5.0

#: When nothing has succeeded for so long, only a share of the threads may wait.
_DOUBTFUL_SECONDS = 1.0


class CircuitBreaker:
    """One fuse; *most_waiting* is how many calls may wait at the same time for a service that is silent."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._failures = 0
        self._waiting = 0
        self._silent_since = time.monotonic()
        self._next_trial = 0.0

    @contextmanager
    def guard(self, waits: bool = True) -> Iterator[None]:
        """Lets a call through. Raises Passing if it would wait in vain.

        Parameters:
            waits: whether the call waits for the service only; else for a client, too.

        The call raises Passing if the service failed; anything else counts as a success.
        """
        self._enter(waits)
        works = False
        try:
            yield
            works = True
        except Passing:
            raise
        except BaseException:
            works = True
            raise
        finally:
            self._leave(works, waits)

    def _enter(self, waits: bool) -> None:
        with self._lock:
            now = time.monotonic()
            if not self._waiting and not self._failures:
                self._silent_since = now  # nobody has asked it anything
            silence = now - self._silent_since
            if self._failures >= _FAILURES and silence > _SILENCE_SECONDS:
                if now < self._next_trial:
                    raise unreachable(f"{self._failures} calls in a row have failed")
                self._next_trial = now + _TRIAL_LASTS_SECONDS
            elif self._waiting >= self._most_waiting and silence > _DOUBTFUL_SECONDS:
                raise unreachable(f"{self._waiting} calls wait, and none had an answer for {silence:.0f} seconds")
            self._waiting += waits

    def _leave(self, works: bool, waits: bool) -> None:
        with self._lock:
            self._waiting -= waits
            if works:
                self._failures, self._silent_since = 0, time.monotonic()
            else:
                self._failures += 1
                self._next_trial = time.monotonic() + _TRIAL_SECONDS
