"""The retry budget: how much time a request may lose to failing calls of a service that the server depends on.

Only failed attempts and the pauses between them count. A request has one budget for all its calls, so that a service
that does not respond does not hold a thread for long. The time of successful calls is not limited. Outside of
requests (in commands and periodic tasks), each call has a budget of its own.

Concurrency: each thread, and therefore each request, has its own budget.
"""

from contextvars import ContextVar

#: The budget of a request, in seconds.
ALLOWANCE_SECONDS = 10.0

_lost: ContextVar[float | None] = ContextVar("lost", default=None)


def begin_request() -> None:
    """Starts a new budget, for the request that this thread is about to serve."""
    _lost.set(0.0)


class RetryBudget:
    """The budget of one call: what the request has left, or a full budget outside of requests."""

    def __init__(self) -> None:
        self._lost = _lost.get() or 0.0

    @property
    def left(self) -> float:
        """Seconds that may still be lost; none if not positive."""
        return ALLOWANCE_SECONDS - self._lost

    def lose(self, seconds: float) -> None:
        """Subtracts time that was lost."""
        self._lost += seconds
        if _lost.get() is not None:
            _lost.set(self._lost)
