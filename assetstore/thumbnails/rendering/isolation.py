"""Runs each attempt of an engine in its own child process, so that a crash or excessive use ends only this attempt.

The worker is single-threaded and decodes nothing itself, so forking it is safe. It is also cheap: the child has all
libraries loaded, and starts within a few milliseconds. The system limits memory, CPU time and the length of each file.
The worker limits the time and the temporary files of all processes together: it looks at them while it waits, and kills
the child; its tool dies with it.
"""

import contextlib
import json
import math
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from assetstore.errors import AssetError
from assetstore.thumbnails.rendering import refusals
from assetstore.thumbnails.rendering.job import Limits

_MEGABYTE = 1 << 20

#: Number of calls of a traceback to report: the last ones, because the log cuts long texts.
_LAST_CALLS = -4

#: Number of files that an engine may have open, which also limits its temporary files. The divisor of the memory limit
#: gives the longest file.
_MOST_FILES, _PART_PER_FILE = 32, 4

#: How often to look at the temporary files, in milliseconds.
_LOOK_EVERY = 100

#: Megabytes for small allocations of every library, in addition to the limit.
_DATA_BESIDES = 64


def run(work: Callable[[], str], limits: Limits, seconds: float, folder: Path, niceness: int = 0) -> str:
    """Calls *work* in a child process and returns what it returns.

    Parameters:
        work: renders one image.
        limits: limits of memory and of bytes written.
        seconds: the limit of time, and of CPU time of each process.
        folder: the private folder of the job, which contains all temporary files.
        niceness: by how much their priority is lowered; only here, because a worker could not raise it again.

    Raises every AssetError that *work* raises; Damaged if the process died, Refused if it exceeded a limit.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.nice(niceness)
        _be_child(work, limits, math.ceil(seconds), writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        excess = _watch(pipe.fileno(), child, limits, time.monotonic() + seconds, folder)
        if excess is not None:
            os.kill(child, signal.SIGKILL)
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if excess is not None:
        raise excess
    answer: dict[str, Any] = json.loads(said) if said else _death(os.waitstatus_to_exitcode(status))
    if "error" in answer:
        raise refusals.KINDS[answer["error"]](answer["public"], answer["detail"], retry_after=answer["retry_after"])
    return str(answer["note"])


def _watch(reading: int, child: int, limits: Limits, deadline: float, folder: Path) -> AssetError | None:
    """Waits for the child's answer or end; returns an error if it exceeds a limit before that."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while not poll.poll(_LOOK_EVERY):
        if time.monotonic() > deadline:
            return refusals.too_slow("stopped at the time limit")
        if _temporary_bytes(child, folder) > max(limits.megabytes, limits.file_megabytes or 0) * _MEGABYTE:
            return refusals.too_large("the temporary files are too large")
    return None


def _temporary_bytes(child: int, folder: Path) -> int:
    """Bytes on disk of the files in the folder, and of deleted files that the child or its tool has open."""
    used = {}
    for paths in (folder.rglob("*"), _open_files(child)):
        with contextlib.suppress(OSError):  # files and processes disappear while this code looks at them
            for path in paths:
                with contextlib.suppress(OSError):
                    found = path.stat()
                    if path.is_relative_to(folder) or found.st_nlink == 0:
                        used[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(used.values())


def _open_files(process: int) -> Iterator[Path]:
    """Links to the open files of a process and its children (proc(5))."""
    yield from Path(f"/proc/{process}/fd").iterdir()
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield from _open_files(int(child))


def as_answer(error: AssetError) -> dict[str, object]:
    """Returns an error as a dictionary for JSON."""
    return {
        "error": next(name for name, kind in refusals.KINDS.items() if isinstance(error, kind)),
        "public": error.public,
        "detail": error.detail,
        "retry_after": error.retry_after,
    }


def _be_child(work: Callable[[], str], limits: Limits, cpu_seconds: int, writing: int) -> None:
    status = 1
    try:
        _limit(limits, cpu_seconds)
        os.write(writing, json.dumps(_answer(work)).encode())
        status = 0
    finally:
        # Does not flush buffers or run exit handlers, which belong to the worker.
        os._exit(status)


def _answer(work: Callable[[], str]) -> dict[str, object]:
    try:
        return {"note": work()}
    except AssetError as error:
        return as_answer(error)
    except MemoryError:
        return as_answer(refusals.too_large("out of memory"))
    except Exception:  # noqa: BLE001 - another engine may succeed; the traceback goes to the log
        return as_answer(refusals.damaged(traceback.format_exc(limit=_LAST_CALLS)))


def _limit(limits: Limits, cpu_seconds: int) -> None:
    size = limits.megabytes * _MEGABYTE
    data = _data_so_far() + size + _DATA_BESIDES * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    longest = size // _PART_PER_FILE if limits.file_megabytes is None else limits.file_megabytes * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, _MOST_FILES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries print messages; the result uses its own pipe.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _data_so_far() -> int:
    """Bytes in use that count towards RLIMIT_DATA (proc(5): statm, sixth field)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _death(exit_code: int) -> dict[str, object]:
    detail = f"the process ended with {exit_code}"
    if exit_code == -signal.SIGXCPU:
        return as_answer(refusals.too_slow(detail))
    if exit_code in (-signal.SIGXFSZ, -signal.SIGKILL):
        # The server never kills only this process: the system lacks memory, or the output reached its limit.
        return as_answer(refusals.too_large(detail))
    return as_answer(refusals.damaged(detail))
