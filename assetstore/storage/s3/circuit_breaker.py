"""A circuit breaker: while the storage service is down, calls fail at once instead of waiting.

It opens when several calls in a row have failed and none has succeeded for a while. Then it admits one trial call at a
time, a second after the last one failed, and closes when a trial succeeds. Until it opens, it also limits how many
calls may wait, so that they do not take all threads of the server.

Concurrency: each bucket has one circuit breaker, for all threads.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from assetstore.storage.s3.errors import Passing, unreachable

#: It opens after this many failures in a row, if no call has succeeded for this many seconds.
_FAILURES, _SILENCE_SECONDS = 4, 2.0

#: How many seconds after a failed trial, and after the start of one without a response, the next trial may start.
_TRIAL_SECONDS, _TRIAL_LASTS_SECONDS = 1.0, 5.0

#: After this many seconds without a success, only a limited number of calls may wait.
_DOUBTFUL_SECONDS = 1.0


class CircuitBreaker:
    """A circuit breaker; *most_waiting* is how many calls may wait for a service that does not respond."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._failures = 0
        self._waiting = 0
        self._silent_since = time.monotonic()
        self._next_trial = 0.0

    @contextmanager
    def guard(self, waits: bool = True) -> Iterator[None]:
        """Admits a call. Raises Passing while the circuit breaker is open.

        Parameters:
            waits: whether the call waits only for the service, and not also for a client.

        If the call raises Passing, it counts as a failure; any other result counts as a success.
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
                self._silent_since = now  # no call was made, so the silence means nothing
            silence = now - self._silent_since
            if self._failures >= _FAILURES and silence > _SILENCE_SECONDS:
                if now < self._next_trial:
                    raise unreachable(f"{self._failures} calls in a row have failed")
                self._next_trial = now + _TRIAL_LASTS_SECONDS
            elif self._waiting >= self._most_waiting and silence > _DOUBTFUL_SECONDS:
                raise unreachable(f"{self._waiting} calls are waiting without a response for {silence:.0f} seconds")
            self._waiting += waits

    def _leave(self, works: bool, waits: bool) -> None:
        with self._lock:
            self._waiting -= waits
            if works:
                self._failures, self._silent_since = 0, time.monotonic()
            else:
                self._failures += 1
                self._next_trial = time.monotonic() + _TRIAL_SECONDS
