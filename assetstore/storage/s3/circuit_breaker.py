"""A circuit breaker: while the storage service is down, calls fail at once instead of waiting.

If no call has succeeded for two seconds, the next one first makes a trial: a small request with a short timeout. If
the trial fails, the circuit breaker is open: all calls are refused at once, and a second later, one of them makes the
next trial. A trial that succeeds closes it. Until the first trial has failed, the circuit breaker also limits how many
calls may wait, so that they do not take all threads of the server.

Concurrency: each bucket has one circuit breaker, for all threads.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assetstore.storage.s3.errors import Passing, unreachable

#: A trial is made if no call has succeeded for this many seconds.
_SILENCE_SECONDS = 2.0

#: How many seconds after a failed trial the next one may start.
_TRIAL_SECONDS = 1.0

#: After this many seconds without a success, only a limited number of calls may wait.
_DOUBTFUL_SECONDS = 1.0


class CircuitOpen(Passing):
    """A call that was refused without being tried. There is no use in retrying it at once."""


class CircuitBreaker:
    """A circuit breaker.

    Parameters:
        most_waiting: how many calls may wait for a service that does not respond.
        trial: makes a request with a short timeout. Raises Passing if it fails; any other result is a success.
    """

    def __init__(self, most_waiting: int, trial: Callable[[], None]) -> None:
        self._most_waiting = most_waiting
        self._trial = trial
        self._lock = threading.Lock()
        self._is_open = False
        self._is_trying = False
        self._next_trial = 0.0
        self._has_failed = False
        self._waiting = 0
        self._silent_since = time.monotonic()

    @contextmanager
    def guard(self, waits: bool = True) -> Iterator[None]:
        """Admits a call. Raises CircuitOpen while the circuit breaker is open.

        Parameters:
            waits: whether the call waits only for the service, and not also for a client.

        If the call raises Passing, it counts as a failure; any other result counts as a success.
        """
        if self._must_try():
            self._try()
        with self._lock:
            self._waiting += waits
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

    def _must_try(self) -> bool:
        """Whether this call must make a trial first. Raises CircuitOpen if the call is refused."""
        with self._lock:
            now = time.monotonic()
            if not self._waiting and not self._has_failed:
                self._silent_since = now  # no call was made, so the silence means nothing
            silence = now - self._silent_since
            if silence > _SILENCE_SECONDS and not self._is_trying and now >= self._next_trial:
                self._is_trying = True
                return True
            if self._is_open:
                raise _refusal(f"nothing has succeeded for {silence:.0f} seconds")
            if self._waiting >= self._most_waiting and silence > _DOUBTFUL_SECONDS:
                raise _refusal(f"{self._waiting} calls are waiting without a response for {silence:.0f} seconds")
            return False

    def _try(self) -> None:
        works = False
        try:
            self._trial()
            works = True
        except Passing as error:
            raise _refusal(f"a trial has failed: {error.detail}") from None
        finally:
            with self._lock:
                self._is_trying, self._is_open = False, not works
                if works:
                    self._has_succeeded()
                else:
                    self._next_trial = time.monotonic() + _TRIAL_SECONDS

    def _leave(self, works: bool, waits: bool) -> None:
        with self._lock:
            self._waiting -= waits
            if works:
                self._is_open = False
                self._has_succeeded()
            else:
                self._has_failed = True

    def _has_succeeded(self) -> None:
        self._has_failed, self._silent_since = False, time.monotonic()


def _refusal(detail: str) -> CircuitOpen:
    error = unreachable(detail)
    return CircuitOpen(error.public, error.detail, retry_after=error.retry_after)
