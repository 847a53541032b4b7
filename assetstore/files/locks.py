"""Locks of names, across all threads and processes. Each lock is a file in a private folder."""

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from assetstore.files.faults import faults
from assetstore.files.private_folders import private_folder

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Holds the lock of a name, across all threads and processes.

    Parameters:
        folder: the folder whose private folder contains the lock file.
        name: the name to lock.

    The system releases the lock when the process ends. Raises OutOfSpace, StorageFault.
    """
    key = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    path = private_folder(folder) / f"lock-{key}"
    with faults():
        descriptor = _lock(path)
    try:
        yield
    finally:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("a lock file was not removed: %s", error)
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Creates and locks a file, and waits for the lock. The holder removes the file before it releases the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # the holder removed it while we waited
