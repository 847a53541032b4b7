"""Periodic tasks that the server runs besides serving requests, each in only one process.

Concurrency: each task has a thread of its own. Of all server processes on one store, only the one that holds the
task's file lock runs it. The system releases the lock when that process ends, and another process takes over.
"""

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from assetstore.errors import AssetError
from assetstore.names import PRIVATE_FOLDER

_log = logging.getLogger(__name__)


class PeriodicTask:
    """A task that runs at the start and then at a fixed interval.

    Parameters:
        name: for the log and the lock.
        base: the folder that holds the server's private folder.
        seconds: the interval between two runs.
        work: called for each run, with an event that is set when it has to end soon.
    """

    def __init__(self, name: str, base: Path, seconds: float, work: Callable[[threading.Event], object]) -> None:
        self._name = name
        self._lock_path = base / PRIVATE_FOLDER / f"{name}.lock"
        self._seconds = seconds
        self._work = work
        self._ending = threading.Event()
        self._logged = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the first run, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Ends the task and waits until it has ended."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._do_exclusively()
            self._ending.wait(self._seconds)

    def _do_exclusively(self) -> None:
        try:
            descriptor = self._opened_lock()
        except OSError as error:
            if str(error) != self._logged:
                _log.error("the periodic task %s cannot run: %s", self._name, error)
            self._logged = str(error)
            return
        self._logged = ""
        try:
            if _is_ours(descriptor):
                self._work(self._ending)
        except AssetError as error:
            _log.error("the periodic task %s failed: %s %s", self._name, error.public, error.detail)
        except Exception:  # noqa: BLE001 - the task must run again at the next interval
            _log.exception("the periodic task %s failed", self._name)
        finally:
            os.close(descriptor)

    def _opened_lock(self) -> int:
        try:
            self._lock_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
        # Tasks that only read can run. Without their own files, tasks share the lock of a folder.
        path = next(path for path in (self._lock_path, *self._lock_path.parents) if path.exists())
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _is_ours(descriptor: int) -> bool:
    """Takes the lock; False if another process holds it and so runs the task. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
