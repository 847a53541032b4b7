"""One pass of a migration: lists both sides, copies in parallel, and reports the result for each original.

Concurrency: the sides are listed one after the other. Then several threads process one original at a time, and the
thread that runs the pass counts, reports and records their results. Servers can run on both sides. Changes at the
source after it was listed are left to the next pass.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from assetstore.concurrency.rate_limit import RateLimit
from assetstore.errors import BadRequest, NotFound, StorageFault
from assetstore.migration import outcomes as migration_outcomes
from assetstore.migration.endpoints import End
from assetstore.migration.state import MigrationState, Result, Task
from assetstore.migration.transfer import Rules, Transfer, Work
from assetstore.names import is_store_name, spelled
from assetstore.storage.models import Listed

_PROGRESS_SECONDS = 0.3

#: The pass ends when this many files in a row, and at least one per thread, failed because a side is unreachable.
_LEAST_CUT_OFF = 4


@dataclass(frozen=True)
class FileResult:
    """The result for one original."""

    collection_dir: str
    name: str
    result: Result


@dataclass
class Summary:
    """Totals of a pass: files and bytes at the source, files by outcome, and files that exist only at the target."""

    files: int = 0
    bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    only_at_target: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all originals of the source are at the target."""
        return not (self.outcomes[migration_outcomes.CONFLICT] or self.outcomes[migration_outcomes.FAILED])


class Meter:
    """The progress of a pass: bytes and files, and their totals. Thread-safe for `add`."""

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
        source, target: the stores; that of the target is prepared.
        state: newly opened.
        rate_limit: limits reading.
        rules: how to migrate.
        threads: how many originals are processed at a time.
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
        """Lists both sides, and marks the originals that have not changed since an earlier pass.

        Parameters:
            compares_all: whether unchanged originals are compared again, too.

        Raises StorageFault, Unavailable.
        """
        for collection_dir, target_dir in self._work.rules.collection_dirs.items():
            if not self._work.target.is_new(target_dir):
                self._state.note_target(collection_dir, self._work.target.store.originals.originals(target_dir))
            listed = self._work.source.store.originals.originals(collection_dir)
            self._state.note_source(collection_dir, map(_with_store_name, listed))
        self.summary.files, self.summary.bytes = self._state.count()
        if not self.summary.files and self._state.has_notes():
            raise StorageFault("The source is empty, but files were copied from it before. Check that it is mounted.")
        if not compares_all:
            self._state.settle_unchanged()
        self.meter.all_files, self.meter.all_bytes = self._state.count(is_open=True)
        self.summary.outcomes[migration_outcomes.UNCHANGED] = self.summary.files - self.meter.all_files
        self.summary.only_at_target = self._state.count_only_at_target()

    def tasks(self) -> Iterator[Task]:
        """Yields the originals that have to be copied or compared."""
        return self._state.tasks()

    def transfer_all(self, on_progress: Callable[[], None]) -> Iterator[FileResult]:
        """Processes all tasks, and yields each result when it is available.

        Parameters:
            on_progress: called regularly, in the thread that iterates over the results.

        Raises OutOfSpace (the target is full), Unavailable or StorageFault (a side is unreachable).
        """
        cut_off = 0
        with self._workers() as workers:
            pending: dict[Future[Result], tuple[Task, Transfer]] = {}
            tasks, is_over = self.tasks(), False
            while pending or not is_over:
                while not is_over and len(pending) < 2 * self._threads:
                    task = next(tasks, None)
                    is_over = task is None
                    if task is not None:
                        transfer = Transfer(self._work, task)
                        pending[workers.submit(transfer.run)] = (task, transfer)
                ready, _ = wait(pending, _PROGRESS_SECONDS, FIRST_COMPLETED)
                for future in ready:
                    task, transfer = pending.pop(future)
                    yield self._settle(task, future.result())
                    cut_off = cut_off + 1 if transfer.is_cut_off else 0
                on_progress()
                if cut_off >= max(_LEAST_CUT_OFF, self._threads):
                    raise StorageFault("Too many files failed in a row. Repeat the command later to resume.")

    def _settle(self, task: Task, result: Result) -> FileResult:
        self._state.settle(task, result)
        self.summary.outcomes[result.outcome] += 1
        self.meter.files += 1
        return FileResult(task.collection_dir, task.name, result)

    @contextlib.contextmanager
    def _workers(self) -> Iterator[ThreadPoolExecutor]:
        """Gives the threads. An error in the pass ends them early."""
        workers = ThreadPoolExecutor(self._threads, "migration")
        try:
            yield workers
        except BaseException:
            self._work.rate_limit.ending.set()
            raise
        finally:
            workers.shutdown(cancel_futures=True)

    def report_deleted(self, removes: bool) -> Iterator[FileResult]:
        """Yields the originals that were copied before and have been deleted at the source.

        Parameters:
            removes: whether they are moved to the target's trash, unless they were changed there.

        Raises StorageFault, Unavailable.
        """
        storage = self._work.target.store.originals
        for collection_dir, name, size, tag in self._state.deleted(list(self._work.rules.collection_dirs)):
            outcome, target_dir = migration_outcomes.DELETED, self._work.rules.collection_dirs[collection_dir]
            if removes:
                with storage.locked_original(target_dir, name), contextlib.suppress(NotFound):
                    if storage.version(target_dir, name).tag == tag:
                        storage.delete_original(target_dir, name, keep_old=True)
                        self._state.forget(collection_dir, name)
                        outcome = migration_outcomes.REMOVED
            self.summary.outcomes[outcome] += 1
            yield FileResult(collection_dir, name, Result(outcome, size))


def _with_store_name(listed: Listed) -> Listed:
    """Raises BadRequest: the name is no store name, so the target may be unable to store it."""
    if not is_store_name(listed.name):
        raise BadRequest(
            f"No client can request the file {spelled(listed.name)}, and it cannot be migrated. "
            "The command `names repair --dry-run` shows a better name for each such file."
        )
    return listed
