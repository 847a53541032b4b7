"""A process of our own that works through questions, so that the web process does not have to.

Questions and answers are JSON objects, one a line, on its standard input and output. While it works, it may ask for
parts of a file: it writes `{"read": [offset, length]}` and gets the length of what there is (4 bytes, big-endian) and
the bytes themselves.

Concurrency: one thread at a time asks; others wait. Any thread may close it, also while another one asks.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from assetstore.errors import Unavailable

_PROJECT = Path(__file__).resolve().parents[2]
_CODE = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2]).main(sys.argv[3:])"
)

#: Gives the bytes at an offset, as many as asked unless the end comes before.
ReadPart = Callable[[int, int], bytes]


class WorkerProcess:
    """One process, started when it is first asked, and again after it has died.

    Parameters:
        module: its `main` is called with *arguments* and serves until standard input ends.
        arguments: texts.
    """

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._command = [module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._in_use = threading.Lock()
        self.is_closed = False

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        process = self._process
        return process is not None and process.poll() is None

    def ask(self, question: dict[str, Any], seconds: float, read_part: ReadPart | None = None) -> dict[str, Any]:
        """Returns the answer to a question.

        Parameters:
            question: anything that JSON can say.
            seconds: how long the answer may take, all parts of the file included.
            read_part: gives parts of the file that the question is about; what it raises is passed on.

        Raises:
            Unavailable: the process is closed.
            TimeoutError: it took too long and was killed, with all its children.
            OSError, ValueError: it died, or does not keep to the protocol.
        """
        with self._in_use:
            process = self._started()
            try:
                return _ask(process, json.dumps(question).encode() + b"\n", seconds, read_part)
            except BaseException:
                self._kill()
                raise

    def close(self) -> None:
        """Ends the process and whatever it runs; it does not start again."""
        self.is_closed = True
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
            if self.is_closed:
                raise Unavailable("The server is about to stop.", retry_after=10)
            if self._process is None:
                # Popen is safe in a threaded process: between fork and exec it runs no Python.
                self._process = subprocess.Popen(  # noqa: S603 - our own code, no shell
                    [_python(), "-c", _CODE, str(_PROJECT), *self._command],
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


def _ask(
    process: "subprocess.Popen[bytes]", question: bytes, seconds: float, read_part: ReadPart | None
) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    deadline = time.monotonic() + seconds
    _write(process.stdin.fileno(), question)
    while True:
        answer: dict[str, Any] = json.loads(_read_line(process.stdout.fileno(), deadline))
        if read_part is None or "read" not in answer:
            return answer
        data = read_part(*answer["read"])
        _write(process.stdin.fileno(), len(data).to_bytes(4) + data)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_line(descriptor: int, deadline: float) -> bytes:
    line = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not line.endswith(b"\n"):
        if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        data = os.read(descriptor, 65536)
        if not data:
            raise OSError("it closed its output")
        line += data
    return bytes(line)


def _python() -> str:
    # Inside uWSGI and mod_wsgi, sys.executable is the web server.
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix) / "bin" / "python3")
