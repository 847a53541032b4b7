"""One pass of a migration: lists both sides, takes over in parallel, and tells what became of everything.

Concurrency: the lists are made one after the other; then some threads take one original after the other, and the
thread that runs the pass counts, shows and notes what they bring. A server may serve either side meanwhile: what
changes at the source after it was listed is for the next pass.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from assetstore.concurrency.rate_limit import RateLimit
from assetstore.errors import NotFound, StorageFault
from assetstore.migration import outcomes as migration_outcomes
from assetstore.migration.endpoints import End
from assetstore.migration.state import MigrationState, Result, Task
from assetstore.migration.transfer import Rules, Turn, Work

_LOOK_SECONDS = 0.3

#: When at least so many files in a row, and as many as there are threads, were cut off, there is no point in going on.
_LEAST_CUT_OFF = 4


@dataclass(frozen=True)
class Told:
    """What became of one original, for the administrator."""

    collection_dir: str
    name: str
    result: Result


@dataclass
class Summary:
    """Of a pass: files and bytes of the source, files by outcome, and how many only the target has."""

    files: int = 0
    bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    only_at_target: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all that the source has is at the target."""
        return not (self.outcomes[migration_outcomes.CONFLICT] or self.outcomes[migration_outcomes.FAILED])


class Meter:
    """How far a pass is: bytes, files, of how many. Threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = self.all_bytes = self.files = self.all_files = 0

    def add(self, number: int) -> None:
        """Adds bytes."""
        with self._lock:
            self.bytes += number


class Pass:
    """One pass.

    Parameters:
        source, target: the stores; the target's is prepared.
        state: freshly opened.
        rate_limit: how quickly to read.
        rules: how to migrate.
        threads: how many originals are in hand at the same time.
    """

    def __init__(  # noqa: PLR0917 - each has a name of its own
        self, source: End, target: End, state: MigrationState, rate_limit: RateLimit, rules: Rules, threads: int
    ) -> None:
        self.meter = Meter()
        self.summary = Summary()
        self._state = state
        self._threads = threads
        self._work = Work(source, target, state, rate_limit, rules, self.meter.add)

    def list_both(self, compares_all: bool) -> None:
        """Makes the lists, and ticks off what needs no look. Raises StorageFault, Unavailable.

        Parameters:
            compares_all: whether also what an earlier pass did is read again, on both sides.
        """
        for collection_dir, target_dir in self._work.rules.collection_dirs.items():
            if not self._work.target.is_new(target_dir):
                self._state.note_target(collection_dir, self._work.target.storage.originals(target_dir))
            self._state.note_source(collection_dir, self._work.source.storage.originals(collection_dir))
        self.summary.files, self.summary.bytes = self._state.count()
        if not self.summary.files and self._state.has_notes():
            raise StorageFault("The source is empty, though files were copied from it before. Is its disk mounted?")
        if not compares_all:
            self._state.settle_unchanged()
        self.meter.all_files, self.meter.all_bytes = self._state.count(is_open=True)
        self.summary.outcomes[migration_outcomes.UNCHANGED] = self.summary.files - self.meter.all_files
        self.summary.only_at_target = self._state.strangers()

    def tasks(self) -> Iterator[Task]:
        """Yields what there is to do."""
        return self._state.tasks()

    def take_over(self, look: Callable[[], None]) -> Iterator[Told]:
        """Takes over what there is to do, and yields what became of each file, as they are ready.

        Parameters:
            look: called now and then, by the thread that asks for the results.

        Raises OutOfSpace (the target is full), Unavailable or StorageFault (nothing works any more).
        """
        cut_off = 0
        with self._workers() as workers:
            pending: dict[Future[Result], tuple[Task, Turn]] = {}
            tasks, is_over = self.tasks(), False
            while pending or not is_over:
                while not is_over and len(pending) < 2 * self._threads:
                    task = next(tasks, None)
                    is_over = task is None
                    if task is not None:
                        turn = Turn(self._work, task)
                        pending[workers.submit(turn.run)] = (task, turn)
                ready, _ = wait(pending, _LOOK_SECONDS, FIRST_COMPLETED)
                for future in ready:
                    task, turn = pending.pop(future)
                    yield self._settle(task, future.result())
                    cut_off = cut_off + 1 if turn.is_cut_off else 0
                look()
                if cut_off >= max(_LEAST_CUT_OFF, self._threads):
                    raise StorageFault("Given up, nothing works any more. What is done is noted; call it again.")

    def _settle(self, task: Task, result: Result) -> Told:
        self._state.settle(task, result)
        self.summary.outcomes[result.outcome] += 1
        self.meter.files += 1
        return Told(task.collection_dir, task.name, result)

    @contextlib.contextmanager
    def _workers(self) -> Iterator[ThreadPoolExecutor]:
        """Gives the threads; whatever ends the pass before its time ends them soon."""
        workers = ThreadPoolExecutor(self._threads, "migration")
        try:
            yield workers
        except BaseException:
            self._work.rate_limit.ending.set()
            raise
        finally:
            workers.shutdown(cancel_futures=True)

    def tell_vanished(self, removes: bool) -> Iterator[Told]:
        """Yields what was copied before and is gone from the source.

        Parameters:
            removes: whether it is moved to the target's trash, if nobody has changed it there.

        Raises StorageFault, Unavailable.
        """
        storage = self._work.target.storage
        for collection_dir, name, size, tag in self._state.vanished(list(self._work.rules.collection_dirs)):
            outcome, target_dir = migration_outcomes.DELETED, self._work.rules.collection_dirs[collection_dir]
            if removes:
                with storage.locked_original(target_dir, name), contextlib.suppress(NotFound):
                    if storage.version(target_dir, name).tag == tag:
                        storage.delete_original(target_dir, name, keep_old=True)
                        self._state.forget(collection_dir, name)
                        outcome = migration_outcomes.REMOVED
            self.summary.outcomes[outcome] += 1
            yield Told(collection_dir, name, Result(outcome, size))
