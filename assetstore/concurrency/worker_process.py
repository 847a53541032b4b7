"""A worker process, which handles requests outside the web process.

Requests and results are JSON objects, one per line, on its standard input (`worker_requests`) and output. While it
handles a request, it may read parts of a file: it writes `{"read": [offset, length]}`, and gets the number of available
bytes (4 bytes, big-endian) and the bytes. If the file cannot be read, it gets READ_FAILED instead, and its result is
not used.

Concurrency: one thread at a time sends a request; others wait. Any thread may close the process at any time.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from assetstore.concurrency import worker_requests
from assetstore.concurrency.remote_file import READ_FAILED
from assetstore.errors import AssetError, Unavailable

_PROJECT = Path(__file__).resolve().parents[2]
_CODE = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2]).main(sys.argv[3:])"
)

#: For the C library: one heap in large pages, of which nothing is returned to the system. Decoders allocate and free
#: large buffers, and in a new process, most of the time of some of them was the cost of page faults. Other C libraries
#: ignore this.
_TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=33554432"
_TUNABLES += ":glibc.malloc.trim_threshold=4294967296"

#: Returns the bytes at an offset: the requested number, or fewer at the end of the file.
ReadPart = Callable[[int, int], bytes]


class WorkerProcess:
    """One process, started for the first request, and restarted after it has died.

    Parameters:
        module: the module whose `main` is called with *arguments*; it runs until standard input ends.
        arguments: the arguments, as texts.
    """

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._command = [module, *arguments]
        self._mark = secrets.token_hex(16).encode()
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._in_use = threading.Lock()
        self.is_closed = False

    @property
    def is_running(self) -> bool:
        """Whether the process is running."""
        process = self._process
        return process is not None and process.poll() is None

    def ask(self, question: dict[str, Any], seconds: float, read_part: ReadPart | None = None) -> dict[str, Any]:
        """Sends a request and returns the result.

        Parameters:
            question: the request, as an object for JSON.
            seconds: the time limit, including all reads of the file.
            read_part: returns parts of the file; its exceptions are passed on. After an AssetError, the process
                continues with the next request.

        Raises:
            Unavailable: the process is closed.
            TimeoutError: it took too long and was killed, with all its children.
            OSError, ValueError: it died, or violated the protocol.
        """
        with self._in_use:
            process = self._started()
            try:
                answer = _ask(process, worker_requests.line(self._mark, question), seconds, read_part)
            except BaseException:
                self._kill()
                raise
        if isinstance(answer, AssetError):
            raise answer
        return answer

    def stop(self) -> None:
        """Kills the process and its children; the next request starts it again."""
        with self._in_use:
            self._kill()

    def close(self) -> None:
        """Kills the process and its children; it is not started again."""
        self.is_closed = True
        with self._changing:
            if self._process is not None:
                _kill_group(self._process)
        # A thread that is reading from the process now gets an end of file. Only then may the pipes be closed.
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
                    env={"GLIBC_TUNABLES": _TUNABLES, **os.environ},
                    # Not a new session, which would be an autogroup (sched(7)): as a whole, it would get as much of the
                    # processors as the server, however nice its processes are.
                    process_group=0,
                )
                _write(_pipe(self._process.stdin), self._mark + b"\n")
            return self._process

    def _kill(self) -> None:
        """Kills the process and its children, which are all in its process group."""
        with self._changing:
            process, self._process = self._process, None
            if process is None:
                return
            _kill_group(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    # Even if the process itself has ended, because its children may still run in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _ask(
    process: "subprocess.Popen[bytes]", question: bytes, seconds: float, read_part: ReadPart | None
) -> dict[str, Any] | AssetError:
    """The result, or the error of *read_part*."""
    sink = _pipe(process.stdin)
    failure: AssetError | None = None
    _write(sink, question)
    for line in _lines(_pipe(process.stdout), time.monotonic() + seconds):
        answer: dict[str, Any] = json.loads(line)
        if read_part is None or "read" not in answer:
            return failure or answer
        try:
            data = b"" if failure else read_part(*answer["read"])
        except AssetError as error:
            failure = error
        _write(sink, READ_FAILED if failure else len(data).to_bytes(4) + data)
    raise OSError("it closed its output")


def _pipe(file: IO[bytes] | None) -> int:
    if file is None:
        raise OSError("it has no pipes")
    return file.fileno()


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _lines(descriptor: int, deadline: float) -> Iterator[bytes]:
    """Yields lines until the end of the output. Two may come at once, if a child was killed after its request."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    rest = b""
    while poll.poll(max(0, deadline - time.monotonic()) * 1000):
        data = os.read(descriptor, 65536)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    raise TimeoutError


def _python() -> str:
    # Inside uWSGI and mod_wsgi, sys.executable is the web server.
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix) / "bin" / "python3")
