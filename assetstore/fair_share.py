"""How several processes that accept connections of one socket share these evenly.

Whoever wakes up first would take all that come together, and connections stay. So a process that has more of them
than another leaves a new one to the others for a moment. If they do not take it, they are busy or not there, and it
takes the connection after all.

Concurrency: every process writes its own number only, in memory that they share; one that is a little old does no
harm.
"""

import mmap

#: How long others get for accepting; a process with nothing else to do takes a hundredth of that.
COURTESY_SECONDS = 0.005

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

    Concurrency: for one thread.
    """

    def __init__(self, counts: "memoryview[int]", process: int) -> None:
        self._counts = counts
        self._process = process
        self._offered_to: list[int] | None = None  # what the others had when a connection was left to them
        self._taken_at_once = 1
        self._left_to_take = 0

    def note(self, connections: int) -> None:
        """Tells the others how many connections this process has."""
        self._counts[self._process] = connections

    def pause(self) -> float:
        """Returns how long a connection that waits shall be left to others, in seconds; 0 if this process takes it.

        To be called again after the pause if there is a connection still; `nobody_waits` if there is none. Not by
        the clock: a process that is late itself would begin again each time. The longer the others take none, the
        rarer they are waited for.
        """
        own = self._counts[self._process]
        others = [count for process, count in enumerate(self._counts) if process != self._process]
        if all(own <= count for count in others):
            return 0.0
        if self._left_to_take:
            self._left_to_take -= 1
            return 0.0
        if self._offered_to is not None:
            if not any(new > old for new, old in zip(others, self._offered_to, strict=True)):
                self._offered_to = None
                self._left_to_take = self._taken_at_once - 1
                self._taken_at_once = min(2 * self._taken_at_once, _MOST_AT_ONCE)
                return 0.0
            self._taken_at_once = 1
        self._offered_to = others
        return COURTESY_SECONDS

    def nobody_waits(self) -> None:
        """Tells that no connection waits: if one was left to the others, they have taken it."""
        if self._offered_to is not None:
            self._offered_to = None
            self._taken_at_once = 1
