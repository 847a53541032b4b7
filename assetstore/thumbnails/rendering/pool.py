"""The server's side of the render workers: a bounded number of processes.

Concurrency: any thread may call `render`. It borrows a worker from a queue of idle ones, talks to
it alone, and gives it back; so one worker has one job, and a thread that finds none idle waits its
turn. A worker that dies is started anew and tries once more; one that does not answer in time is
killed with all its children: that costs one picture.
"""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assetstore.concurrency.worker_process import WorkerProcess
from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.refusals import KINDS

_log = logging.getLogger(__name__)

_MODULE = "assetstore.thumbnails.rendering.worker"

#: How long a job may wait for a worker; browsers do not wait much longer.
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Workers:
    """How a pool stands: processes at most, running, and busy with a picture; and whether it is closed."""

    most: int
    running: int
    busy: int
    closed: bool


class RenderPool:
    """Worker processes that make thumbnails.

    Parameters:
        workers: how many processes at most; they start when first needed.
        limits: of time and memory for one picture.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self._all = [_Worker(limits) for _ in range(workers)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._closed = False
        #: Told after every picture: format of the original, "made" or the error's name, seconds.
        self.on_render: Callable[[str, str, float], None] = lambda _format, _outcome, _seconds: None
        for worker in self._all:
            self._idle.put(worker)

    def render(self, job: Job) -> None:
        """Makes one thumbnail and returns when it is there.

        Raises:
            Unavailable: no worker was free in time, a tool is missing, or the server stops.
            Unrenderable: the file cannot be made into a picture.
            AssetError: the worker failed.
        """
        try:
            worker = self._idle.get(timeout=TIMEOUT_SECONDS)
        except queue.Empty:
            raise busy(f"no worker was free for {TIMEOUT_SECONDS} seconds") from None
        began, outcome = time.monotonic(), "made"
        try:
            worker.render(job)
        except AssetError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._idle.put(worker)
            self.on_render(job.decoder, outcome, time.monotonic() - began)

    def workers(self) -> Workers:
        """Returns how many workers there are and what they do."""
        most = len(self._all)
        running = sum(worker.is_running for worker in self._all)
        return Workers(most, running, most - self._idle.qsize(), self._closed)

    def close(self) -> None:
        """Ends all workers and whatever they run; none starts again."""
        self._closed = True
        for worker in self._all:
            worker.close()


def busy(detail: str) -> Unavailable:
    """The refusal when more thumbnails are wanted than can be made."""
    return Unavailable("The server is making many thumbnails; please try again soon.", detail, retry_after=10)


class _Worker:
    """A process and its limits. One thread at a time uses it; any may close it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process = WorkerProcess(_MODULE, (str(limits.seconds), str(limits.megabytes)))

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def render(self, job: Job) -> None:
        try:
            answer = self._answer(job)
        except (OSError, ValueError) as accident:
            # Somebody killed the worker. Once is an accident; twice in a row it is the picture.
            if not self._process.is_closed:
                _log.warning("a render worker died and is started again: %r", accident)
            try:
                answer = self._answer(job)
            except (OSError, ValueError) as error:
                raise AssetError("The thumbnail could not be made.", f"the render worker died: {error!r}") from error
        if "error" in answer:
            kind = KINDS[answer["error"]]
            raise kind(answer["public"], answer["detail"], retry_after=answer["retry_after"])
        if answer["note"]:
            _log.warning("%s: %s", Path(job.source).name, answer["note"])

    def _answer(self, job: Job) -> dict[str, Any]:
        try:
            return self._process.ask(asdict(job), self._limits.seconds)
        except TimeoutError:
            raise Unrenderable("The picture takes too long to make.", "the worker and its tools were killed") from None

    def close(self) -> None:
        self._process.close()
