"""The render workers as the server sees them: a limited number of processes.

Concurrency: any thread may call `render` and `lend`. A worker has one job at a time. If no worker is free, the thread
waits in a queue that serves client addresses round robin and jobs in the background last (concurrency/fair_queue.py).
If a worker dies, it is restarted and the job is tried once more. If it exceeds the time limit, it is killed with all
its children, and only this job fails.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from assetstore.concurrency.fair_queue import FairQueue, NoneFree
from assetstore.concurrency.worker_process import ReadPart, WorkerProcess
from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.thumbnails.rendering.job import AnyJob, Limits, PagesJob, PyramidJob, RegionJob, seconds
from assetstore.thumbnails.rendering.refusals import KINDS

_log = logging.getLogger(__name__)

_MODULE = "assetstore.thumbnails.rendering.worker"

#: How much later than its engines a worker is stopped, in seconds.
_MARGIN_SECONDS = 2

#: How long a job may wait for a worker; browsers do not wait much longer.
TIMEOUT_SECONDS = 60

#: The kinds of jobs that are no thumbnails, for metrics.
_NAMES: dict[type[AnyJob], str] = {PagesJob: "pages", PyramidJob: "pyramid", RegionJob: "region"}

#: The niceness of rendering in the background: the lowest priority, so that uploads are not slower. If other programs
#: use all processors, large images may exceed the time limit.
BACKGROUND_NICENESS = 19


@dataclass(frozen=True)
class Workers:
    """The state of a pool.

    Fields:
        most: the limit of processes.
        running, busy: how many processes run, and how many have a job.
        waiting, in_background: how many jobs wait for a worker, without and in the background.
        closed: whether the pool is closed.
    """

    most: int
    running: int
    busy: int
    waiting: int
    in_background: int
    closed: bool


class Render(Protocol):
    """A function that does a job with a worker."""

    def __call__(self, job: AnyJob, read_part: ReadPart | None = None) -> None:
        """Does a job; *read_part* returns parts of a source without a path."""


class RenderPool:
    """Worker processes that render thumbnails.

    Parameters:
        workers: the largest number of processes; they start when first needed.
        limits: limits of time and memory for one thumbnail.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self._all = [_Worker(limits) for _ in range(workers)]
        self._queue = FairQueue(self._all)
        self._closed = False
        #: Called after every job: format of the original, or the kind of job if it is no thumbnail, "made" or the
        #: error's name, seconds.
        self.on_render: Callable[[str, str, float], None] = lambda _format, _outcome, _seconds: None

    def render(self, job: AnyJob, client: str, *, background: bool = False, read_part: ReadPart | None = None) -> None:
        """Does one job and returns when it is complete.

        Parameters:
            job: such as a thumbnail to render.
            client, background: see `lend`.
            read_part: returns parts of a source without a path; its errors are passed on.

        Raises:
            Unavailable: no worker was free in time, a tool is missing, or the server is stopping.
            Unrenderable: the file cannot be rendered.
            AssetError: the worker failed.
        """
        with self.lend(client, background=background) as render:
            render(job, read_part)

    @contextmanager
    def lend(self, client: str, *, background: bool = False) -> Iterator["Render"]:
        """Waits for a worker, and returns a function that does a job with it, in a `with` statement.

        Parameters:
            client: the address of the client that needs the worker; clients are served round robin.
            background: whether all others that wait come first; the background never gets the last free worker.

        Raises Unavailable: no worker was free in time. The function raises the other errors of `render`.
        """
        try:
            with self._queue.lend(client, TIMEOUT_SECONDS, background=background) as worker:
                yield functools.partial(self._render, worker, BACKGROUND_NICENESS if background else 0)
        except NoneFree:
            raise busy(f"no worker was free for {TIMEOUT_SECONDS} seconds") from None

    def workers(self) -> Workers:
        """Returns the state of the pool."""
        return Workers(
            most=len(self._all),
            running=sum(worker.is_running for worker in self._all),
            busy=self._queue.busy,
            waiting=self._queue.waiting,
            in_background=self._queue.waiting_in_background,
            closed=self._closed,
        )

    def _render(self, worker: "_Worker", niceness: int, job: AnyJob, read_part: ReadPart | None = None) -> None:
        began, outcome = time.monotonic(), "made"
        try:
            worker.render(replace(job, niceness=max(niceness, job.niceness)), read_part)
        except AssetError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.on_render(_NAMES.get(type(job)) or job.decoder, outcome, time.monotonic() - began)

    def close(self) -> None:
        """Stops all workers and their children; none is started again."""
        self._closed = True
        for worker in self._all:
            worker.close()


def busy(detail: str) -> Unavailable:
    """Returns the error for more requests than the server can handle."""
    return Unavailable("The server is rendering many thumbnails; please try again soon.", detail, retry_after=10)


class _Worker:
    """A process and its limits. One thread at a time uses it; any thread may close it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process = WorkerProcess(_MODULE, (str(limits.seconds), str(limits.megabytes)))

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def render(self, job: AnyJob, read_part: ReadPart | None) -> None:
        """Does one job; a job whose process died is tried once more. Raises AssetError."""
        try:
            answer = self._answer(job, read_part)
        except (OSError, ValueError) as accident:
            # The worker died. The first time may be an accident; the second time, the image is the cause.
            if not self._process.is_closed:
                _log.warning("a render worker died and is started again: %r", accident)
            try:
                answer = self._answer(job, read_part)
            except (OSError, ValueError) as error:
                detail = f"the render worker died: {error!r}"
                raise AssetError("The thumbnail could not be rendered.", detail) from error
        if "error" in answer:
            if read_part is not None:
                self._process.stop()  # its child may have been killed before it had read all bytes that it requested
            kind = KINDS[answer["error"]]
            raise kind(answer["public"], answer["detail"], retry_after=answer["retry_after"])
        if answer["note"]:
            _log.warning("%s: %s", Path(job.source).name, answer["note"])

    def _answer(self, job: AnyJob, read_part: ReadPart | None) -> dict[str, Any]:
        try:
            # Engines are stopped earlier, by the worker, which then says which one it was.
            question = {"kind": type(job).__name__, **asdict(job)}
            return self._process.ask(question, seconds(job, self._limits) + _MARGIN_SECONDS, read_part)
        except TimeoutError:
            raise Unrenderable("The image takes too long to render.", "the worker and its tools were killed") from None

    def close(self) -> None:
        self._process.close()
