"""How long one request may wait in vain for a service that the server depends on.

What counts is only time that was lost: attempts that failed, and the pauses between them. A request
has one allowance of that for all its steps, so that a service which does not answer holds no thread
for long; how long a large file takes is not limited. Work that belongs to no request (commands, duties)
has an allowance for each step.

Concurrency: each thread, and hence each request, has an account of its own.
"""

from contextvars import ContextVar

#: Seconds that a request may lose.
ALLOWANCE_SECONDS = 10.0

_lost: ContextVar[float | None] = ContextVar("lost", default=None)


def begin_request() -> None:
    """Gives the request that this thread serves from now on a new allowance."""
    _lost.set(0.0)


class RetryBudget:
    """The allowance of one step: what the request has left, or all of it outside of requests."""

    def __init__(self) -> None:
        self._lost = _lost.get() or 0.0

    @property
    def left(self) -> float:
        """Seconds that may still be lost; not above zero: none."""
        return ALLOWANCE_SECONDS - self._lost

    def lose(self, seconds: float) -> None:
        """Notes that so much time was lost."""
        self._lost += seconds
        if _lost.get() is not None:
            _lost.set(self._lost)
