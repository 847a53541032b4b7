"""Calls to one bucket, each with a timeout and a few retries, behind a circuit breaker.

Each call uses the client of the library whose timeout fits its amount of data. The time of failed calls counts against
the retry budget of the request (`assetstore.concurrency.retry_budget`).

Concurrency: any thread may call.
"""

import random
import time
from collections.abc import Callable
from functools import cache, partial
from typing import TypeVar

import obstore
from obstore.store import S3Store

from assetstore.concurrency import retry_budget
from assetstore.errors import AssetError
from assetstore.storage.s3.circuit_breaker import CircuitBreaker, CircuitOpen
from assetstore.storage.s3.errors import Passing, translated, unreachable
from assetstore.storage.s3.library import Service, new_client, refuse_after_fork

Result = TypeVar("Result")

#: The timeouts for which there are clients, in seconds.
_LIMITS = (1, 2, 5, 10, 30, 120, 600, 3600)

#: The timeout of a call that transfers few bytes, in seconds; twice that if it stores, removes or lists objects.
QUICK_SECONDS = 5

#: The timeout of a trial of the circuit breaker, in seconds, and the key that it reads, which need not exist.
_TRIAL_SECONDS = 2
_TRIAL_KEY = ".asset-server/trial"

_ATTEMPTS = 5
_PAUSES = (0.05, 0.2, 0.5, 1.0)


class Calls:
    """Calls to a bucket.

    Parameters:
        bucket: its name.
        service: how to connect to it.

    Attributes:
        client: returns the client of the library for a timeout and a number of retries.
        circuit_breaker: for calls that are not made by `call`.
    """

    def __init__(self, bucket: str, service: Service) -> None:
        self.client: Callable[..., S3Store] = cache(partial(new_client, bucket, service))
        self.circuit_breaker = CircuitBreaker(service.most_waiting, self._try)

    def call(self, attempt: Callable[[S3Store], Result], seconds: float = 0, insist: bool = False) -> Result:
        """Makes a call, with retries while the retry budget lasts.

        Parameters:
            attempt: makes the call with a client of the library.
            seconds: its timeout, if it may take longer than `QUICK_SECONDS`.
            insist: whether to call at least once, even if the retry budget is used up.

        Raises AssetError.
        """
        refuse_after_fork()
        budget = retry_budget.RetryBudget()
        if budget.left <= 0 and not insist:
            raise unreachable("the retry budget of the request is used up")
        for number in range(_ATTEMPTS):
            began = time.monotonic()
            try:
                with self.circuit_breaker.guard():
                    return self._attempt(attempt, max(seconds, QUICK_SECONDS))
            except CircuitOpen:
                raise
            except Passing:
                pause = random.uniform(0.5, 1.5) * _PAUSES[min(number, len(_PAUSES) - 1)]  # noqa: S311 - no secret
                budget.lose(time.monotonic() - began + pause)
                if number + 1 >= _ATTEMPTS or budget.left <= 0:
                    raise
                time.sleep(pause)
        raise AssertionError

    def _try(self) -> None:
        """Makes a small request, without retries. Raises Passing; any other error means that the service responds."""
        try:
            self._attempt(lambda store: obstore.head(store, _TRIAL_KEY), _TRIAL_SECONDS)
        except Passing:
            raise
        except AssetError:
            return

    def _attempt(self, attempt: Callable[[S3Store], Result], seconds: float) -> Result:
        limit = next((limit for limit in _LIMITS if limit >= seconds), _LIMITS[-1])
        try:
            return attempt(self.client(limit))
        except Exception as error:
            fault = translated(error)
            if fault is error:
                raise
            raise fault from None  # its text may contain more than the log should
