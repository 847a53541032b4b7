"""Unfinished files in private folders: locked files have an owner; files that a crash left are removed."""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Set
from pathlib import Path

from assetstore.files.private_folders import make_private

#: Prefix of the names of unfinished uploads.
UPLOAD = "upload-"

#: Other unfinished files that are older than this have no owner any more, because rendering times out much earlier.
_ABANDONED_AFTER_SECONDS = 24 * 3600


def create_locked(path: Path) -> int:
    """Creates a file that is locked as long as it is open, to show that it has an owner. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            return descriptor  # without locks, `sweep` does not remove the file either
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # `sweep` removed it just before it was locked


def sweep(private: Path, spared: Set[str]) -> None:
    """Creates a private folder, and removes files from it that a crashed process left. Raises OSError.

    Parameters:
        private: the folder.
        spared: names of files that stay, however old they are.
    """
    make_private(private)
    oldest = time.time() - _ABANDONED_AFTER_SECONDS
    for entry in private.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another server process may do the same
            if entry.name.startswith(UPLOAD):
                _remove_unless_locked(entry)
            elif entry.name in spared or entry.lstat().st_mtime >= oldest:
                continue
            elif entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


def _remove_unless_locked(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # its owner is running, or locks are not supported
        path.unlink()
    finally:
        os.close(descriptor)
