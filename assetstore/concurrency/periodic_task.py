"""What the server does by itself, beside answering requests: again and again, in one process only.

Concurrency: each duty has a thread of its own. Of all server processes on one store, the one that
holds the duty's file lock does it; the system takes the lock back when that process ends, and
another takes over.
"""

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
    """Something to do at the start and then every so many seconds.

    Parameters:
        name: for the log and the lock.
        base: the folder that holds the server's private folder.
        seconds: between two rounds.
        work: called once a round; it gets an event that is set when it has to end soon.
    """

    def __init__(self, name: str, base: Path, seconds: float, work: Callable[[threading.Event], object]) -> None:
        self._name = name
        self._lock_path = base / PRIVATE_FOLDER / f"{name}.lock"
        self._seconds = seconds
        self._work = work
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins the first round, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Ends the duty and waits until it has ended."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._do_exclusively()
            self._ending.wait(self._seconds)

    def _do_exclusively(self) -> None:
        try:
            self._lock_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _log.error("%s cannot be done: %s", self._name, error)
            return
        try:
            if _is_ours(descriptor):
                self._work(self._ending)
        except AssetError as error:
            _log.error("%s failed: %s %s", self._name, error.public, error.detail)
        except Exception:  # noqa: BLE001 - a duty must go on next time, whatever happened
            _log.exception("%s failed", self._name)
        finally:
            os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Takes the lock; False if another process has it, and with it the duty. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
