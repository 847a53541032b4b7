"""Locks of names, across all threads and processes. Each lock is a file in a private folder."""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from assetstore.errors import Unavailable
from assetstore.files.faults import faults
from assetstore.files.private_folders import private_folder

_log = logging.getLogger(__name__)

#: Prefix of the names of the lock files.
PREFIX = "lock-"


@contextlib.contextmanager
def locked(folder: Path, name: str, *, waits: bool = True) -> Iterator[None]:
    """Holds the lock of a name, across all threads and processes.

    Parameters:
        folder: the folder whose private folder contains the lock file.
        name: the name to lock.
        waits: whether to wait until the lock is free.

    The system releases the lock when the process ends.

    Raises:
        Unavailable: the lock is not free, and *waits* is false.
        OutOfSpace, StorageFault: the lock file cannot be created.
    """
    key = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    path = private_folder(folder) / f"{PREFIX}{key}"
    with faults():
        descriptor = _lock(path, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("a lock file was not removed: %s", error)
        os.close(descriptor)


def _lock(path: Path, operation: int) -> int:
    """Creates and locks a file; the holder removes it before it releases the lock. Raises Unavailable, OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            os.close(descriptor)
            raise Unavailable("The file is in use; please try again soon.", str(path), retry_after=10) from None
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # the holder removed it while we waited


def is_at(path: Path, descriptor: int) -> bool:
    """Says whether a path still leads to an open file or folder; another process may have removed or replaced it."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_ino == os.fstat(descriptor).st_ino
    return False


def remove_unless_held(path: Path) -> None:
    """Removes a file or folder that a crashed process left, unless it is locked.

    Raises OSError; FileNotFoundError if another process has removed it.
    """
    # NFS locks only what is open for writing. Folders cannot be, and another user's file need not be.
    is_writable = not path.is_dir() and os.access(path, os.W_OK)
    descriptor = os.open(path, (os.O_RDWR if is_writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # its holder is running, or locks are not supported
        if not is_at(path, descriptor):
            return  # it belongs to a new holder
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
