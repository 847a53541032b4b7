"""The server's side of the render workers: a bounded number of processes.

Concurrency: any thread may call `render`. It borrows a worker from a queue of idle ones, talks to
it alone, and gives it back; so one worker has one job, and a thread that finds none idle waits its
turn. A worker that dies is started anew and tries once more; one that does not answer in time is
killed with all its children: that costs one picture.
"""

import contextlib
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.refusals import KINDS

_log = logging.getLogger(__name__)

_PROJECT = Path(__file__).resolve().parents[3]
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from assetstore.thumbnails.rendering import worker; worker.main(sys.argv[2:])"
)

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
    """One process, started when it has its first job. One thread at a time uses it; any may close it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._changing = threading.Lock()
        self._in_use = threading.Lock()

    def render(self, job: Job) -> None:
        with self._in_use:
            self._render(job)

    @property
    def is_running(self) -> bool:
        process = self._process
        return process is not None and process.poll() is None

    def _render(self, job: Job) -> None:
        try:
            answer = self._answer(job)
        except (OSError, ValueError) as accident:
            # Somebody killed the worker. Once is an accident; twice in a row it is the picture.
            if not self._closed:
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
        process = self._started()
        try:
            return _ask(process, json.dumps(asdict(job)).encode() + b"\n", self._limits.seconds)
        except TimeoutError:
            self._kill()
            raise Unrenderable("The picture takes too long to make.", "the worker and its tools were killed") from None
        except (OSError, ValueError):
            self._kill()
            raise

    def close(self) -> None:
        self._closed = True
        with self._changing:
            if self._process is not None:
                _kill_session(self._process)
        # A thread that is reading from the worker sees its end now; only then may the pipes be closed.
        with self._in_use:
            self._kill()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self._kill()
        with self._changing:
            if self._closed:
                raise Unavailable("The server is about to stop.", retry_after=10)
            if self._process is None:
                # Popen is safe in a threaded process: between fork and exec it runs no Python.
                limits = (str(self._limits.seconds), str(self._limits.megabytes))
                self._process = subprocess.Popen(  # noqa: S603 - our own code, no shell
                    [_python(), "-c", _CODE, str(_PROJECT), *limits],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                )
            return self._process

    def _kill(self) -> None:
        """Kills the process and its children; the session that it leads holds them all."""
        with self._changing:
            process, self._process = self._process, None
            if process is None:
                return
            _kill_session(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _kill_session(process: "subprocess.Popen[bytes]") -> None:
    # Also when the leader has ended: its tools may live on in the session.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _ask(process: "subprocess.Popen[bytes]", question: bytes, seconds: float) -> dict[str, Any]:
    """Sends one line, returns the answer. Raises TimeoutError, OSError, ValueError."""
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    process.stdin.write(question)
    answer: dict[str, Any] = json.loads(_read_line(process.stdout.fileno(), seconds))
    return answer


def _read_line(descriptor: int, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    line = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not line.endswith(b"\n"):
        if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        data = os.read(descriptor, 65536)
        if not data:
            raise OSError("it closed its output")
        line += data
    return line


def _python() -> str:
    # Inside uWSGI and mod_wsgi, sys.executable is the web server.
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix) / "bin" / "python3")
