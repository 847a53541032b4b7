"""How several processes that accept connections of one socket share these evenly.

Whoever wakes up first would take all that come together, and connections stay. So a process that has more of them
than another leaves a new one to the others for a moment. If they do not take it, they are busy or not there, and it
takes the connection after all.

Concurrency: every process writes its own number only, in memory that they share; one that is a little old does no
harm.
"""

import mmap
import time
from collections.abc import Callable

#: How long others get for accepting; a process with nothing else to do takes a hundredth of that.
COURTESY_SECONDS = 0.005

#: A connection that comes so much later than the last courtesy is another one.
_MEMORY_SECONDS = 10 * COURTESY_SECONDS

#: So many connections are taken at most before the others are waited for again.
_MOST_AT_ONCE = 256

_NUMBER_BYTES = 8


class Shares:
    """The numbers of connections of all processes. To be made before these are.

    Parameters:
        count: of processes.
    """

    def __init__(self, count: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, count * _NUMBER_BYTES)).cast("q")

    def of(self, process: int) -> "Share":
        """Returns the share of one process, counted from 0."""
        return Share(self._counts, process)


class Share:
    """What one process has of all connections; `Shares.of` makes it.

    Parameters:
        counts: the numbers of all processes.
        process: the place of its own number.
        clock: gives seconds that only grow.
    """

    def __init__(self, counts: "memoryview[int]", process: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._process = process
        self._clock = clock
        self._offered_at = -_MEMORY_SECONDS
        self._offered_to: list[int] = []
        self._taken_at_once = 1
        self._left_to_take = 0

    def note(self, connections: int) -> None:
        """Tells the others how many connections this process has."""
        self._counts[self._process] = connections

    def pause(self) -> float:
        """Returns how long a connection that waits shall be left to others, in seconds; 0 if this process takes it.

        To be called again after the pause if the connection is still there. The longer the others take none, the
        rarer they are waited for.
        """
        own = self._counts[self._process]
        others = [count for process, count in enumerate(self._counts) if process != self._process]
        if all(own <= count for count in others):
            return 0.0
        if self._left_to_take:
            self._left_to_take -= 1
            return 0.0
        now = self._clock()
        is_second_time = now - self._offered_at < _MEMORY_SECONDS
        if is_second_time and not any(new > old for new, old in zip(others, self._offered_to, strict=True)):
            self._offered_at = -_MEMORY_SECONDS
            self._left_to_take = self._taken_at_once - 1
            self._taken_at_once = min(2 * self._taken_at_once, _MOST_AT_ONCE)
            return 0.0
        if is_second_time:
            self._taken_at_once = 1
        self._offered_at, self._offered_to = now, others
        return COURTESY_SECONDS
