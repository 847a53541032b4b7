"""Several processes that serve one port, and the one that started them and watches over them.

The watching process holds the listening socket, serves nothing and has no threads, so that it may fork at any time.
Each child opens everything for itself: connections to databases, threads and render workers do not survive a fork.

What may happen at any moment: a child ends, and another takes its place; the watching process is told to stop, and
passes that on, and whoever does not hear it is killed; it is killed itself, and its children see the end of a pipe that
only it holds open, and stop.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

_log = logging.getLogger(__name__)

#: A child that lived shorter than this is replaced only after a pause.
_SHORT_LIFE_SECONDS = 10
_PAUSE_SECONDS = 1

_STOPPING = (signal.SIGTERM, signal.SIGINT)

#: So long children may take to end when they are told to: their requests have ten seconds (`serving`).
_STOP_SECONDS = 20


@dataclass(frozen=True)
class _Child:
    """What a process does, and since when, by `time.monotonic`."""

    task: Callable[[], None]
    began: float


class Processes:
    """Children that serve. From its making on, SIGTERM and SIGINT end `run`, or keep it from beginning.

    Parameters:
        tasks: what each of them does, until it gets SIGTERM; it sets its own handler for that.
        on_end: called in the watching process with the number of each that has ended.
    """

    def __init__(self, tasks: Sequence[Callable[[], None]], on_end: Callable[[int], None]) -> None:
        self._tasks = tasks
        self._on_end = on_end
        self._started: dict[int, _Child] = {}
        self._stopping = False
        self._end_of_watch, self._watching = os.pipe()
        for stopping in _STOPPING:
            signal.signal(stopping, self._stop)

    def run(self) -> None:
        """Keeps the children running until SIGTERM or SIGINT, and waits for all of them."""
        for task in self._tasks:
            self._start(task)
        while self._started:
            process, status = os.wait()
            child = self._started.pop(process, None)
            self._on_end(process)
            if child is None or self._stopping:
                continue
            _log.error("process %s ended with %s; another one begins", process, os.waitstatus_to_exitcode(status))
            if time.monotonic() - child.began < _SHORT_LIFE_SECONDS:
                time.sleep(_PAUSE_SECONDS)
            self._start_as_soon_as_possible(child.task)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            signal.signal(signal.SIGALRM, self._give_up)
            signal.setitimer(signal.ITIMER_REAL, _STOP_SECONDS)
        self._stopping = True
        self._send(signal.SIGTERM)

    def _give_up(self, _number: int, _frame: FrameType | None) -> None:
        _log.error("processes that do not end are killed: %s", ", ".join(map(str, self._started)))
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        for process in list(self._started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _start_as_soon_as_possible(self, task: Callable[[], None]) -> None:
        while not self._stopping:
            try:
                self._start(task)
                return
            except OSError as error:
                # The machine is full for the moment; those that are left serve on.
                _log.error("no process can be begun: %s", error)
                time.sleep(_PAUSE_SECONDS)

    def _start(self, task: Callable[[], None]) -> None:
        # Signals wait, so that the child has no handler of ours, and none is started when all are to stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            if self._stopping:
                return
            process = os.fork()
            if process == 0:
                self._be_a_child(task)
            self._started[process] = _Child(task, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def _be_a_child(self, task: Callable[[], None]) -> None:
        """Does its task, and ends the process."""
        status = 1
        try:
            for stopping in _STOPPING:
                signal.signal(stopping, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
            os.close(self._watching)
            threading.Thread(target=self._stop_when_alone, name="watch", daemon=True).start()
            task()
            status = 0
        except BaseException:  # noqa: BLE001 - told here, because nobody is left above
            _log.exception("a process cannot go on")
        finally:
            os._exit(status)  # what the watching process has to do at its end is not done here

    def _stop_when_alone(self) -> None:
        os.read(self._end_of_watch, 1)
        os.kill(os.getpid(), signal.SIGTERM)
