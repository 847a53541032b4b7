"""The server's side of the render workers: a bounded number of processes, a bounded queue.

Concurrency: any thread may call `render`. It borrows a worker from a queue of idle ones, talks to
it alone, and gives it back; so one worker has one job, and a thread that finds none idle waits its
turn. A worker that dies or does not answer in time is killed with all its children and started
anew for the next job: it costs one picture.
"""

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.rendering import Job
from assetstore.rendering.worker import KINDS

_ROOT = Path(__file__).resolve().parents[2]
_START_WORKER = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from assetstore.rendering.worker import main; main()"

#: What a worker may need beyond the time of its tools before it counts as hung.
_GRACE_SECONDS = 5


class RenderPool:
    """Worker processes that make thumbnails.

    Parameters:
        workers: how many processes at most; they start when first needed.
        waiting: how many jobs may wait for a worker.
        patience: how long a job may wait, in seconds.
    """

    def __init__(self, workers: int, waiting: int, patience: float) -> None:
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(_Worker())
        self._all = list(self._idle.queue)
        self._places = threading.BoundedSemaphore(workers + waiting)
        self._patience = patience

    def render(self, job: Job) -> None:
        """Makes one thumbnail and returns when it is there.

        Raises:
            Unavailable: the queue is full, or a tool is missing.
            Unrenderable: the file cannot be made into a picture.
            AssetError: the worker failed.
        """
        if not self._places.acquire(blocking=False):
            raise _busy("the queue is full")
        try:
            try:
                worker = self._idle.get(timeout=self._patience)
            except queue.Empty:
                raise _busy(f"no worker was free for {self._patience} seconds") from None
            try:
                worker.render(job)
            finally:
                self._idle.put(worker)
        finally:
            self._places.release()

    def close(self) -> None:
        """Ends all workers and whatever they run."""
        for worker in self._all:
            worker.stop()


class _Worker:
    """One process, started when it has its first job."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Lock()

    def render(self, job: Job) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        try:
            answer = _ask(process, json.dumps(asdict(job)).encode() + b"\n", job.seconds + _GRACE_SECONDS)
        except TimeoutError:
            self.stop()
            raise Unrenderable("The picture takes too long to make.", "the render worker hung and was killed") from None
        except (OSError, ValueError) as error:
            self.stop()
            raise AssetError("The thumbnail could not be made.", f"the render worker died: {error!r}") from error
        if "error" in answer:
            kind = KINDS[answer["error"]]
            raise kind(answer["public"], answer["detail"], retry_after=answer.get("retry_after"))

    def stop(self) -> None:
        """Kills the process and its children; the session that it leads holds them all."""
        with self._stopping:
            process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        self.stop()
        # Popen is safe in a threaded process: between fork and exec it runs no Python.
        self._process = subprocess.Popen(  # noqa: S603 - our own code, no shell
            [_python(), "-c", _START_WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        return self._process


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


def _busy(detail: str) -> Unavailable:
    return Unavailable("The server is making many thumbnails; please try again soon.", detail, retry_after=10)


def _python() -> str:
    # Inside uWSGI and mod_wsgi, sys.executable is the web server.
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix) / "bin" / "python3")
