"""Unfinished files in private folders: locked files have an owner; files that a crash left are removed."""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Set
from pathlib import Path

from assetstore.files import locks
from assetstore.files.private_folders import make_private

_log = logging.getLogger(__name__)

#: Prefix of the names of unfinished uploads.
UPLOAD = "upload-"

#: Prefix of the names of folders in which a thumbnail is rendered.
RENDERING = "thumbnail-"

#: Errors of file systems that do not support locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

#: Other unfinished files that are older than this have no owner any more, because rendering times out much earlier.
_ABANDONED_AFTER_SECONDS = 24 * 3600


def create_locked(path: Path) -> int:
    """Creates a file that is locked as long as it is open, to show that it has an owner. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _is_locked(path, descriptor):
            return descriptor


@contextlib.contextmanager
def rendering_folder(parent: Path) -> Iterator[Path]:
    """Yields a new folder for rendering a thumbnail, which is removed at the end. Until then, it is locked.

    Raises OSError.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=RENDERING, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # as in `_is_locked`
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            if _is_locked(folder, descriptor):
                break
    try:
        yield folder
    finally:
        # A tool that was killed may still be closing files there. `sweep` removes what is left.
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _is_locked(path: Path, descriptor: int) -> bool:
    """Locks a new file or folder. Returns False, and closes it, if `sweep` has just removed it. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:  # without locks, `sweep` does not remove it either
            os.close(descriptor)
            raise
    if locks.is_at(path, descriptor):
        return True
    os.close(descriptor)
    return False


def sweep(private: Path, spared: Set[str]) -> None:
    """Creates a private folder, and removes files and folders from it that a crashed process left. Raises OSError.

    What is locked while it is in use is removed at once, and everything else after a day.

    Parameters:
        private: the folder.
        spared: names of files that stay, however old they are.
    """
    make_private(private)
    sweep_locks(private)
    oldest = time.time() - _ABANDONED_AFTER_SECONDS
    for entry in private.iterdir():
        with _each(entry):
            if entry.name.startswith(UPLOAD) or (entry.name.startswith(RENDERING) and entry.is_dir()):
                locks.remove_unless_held(entry)
            elif entry.name in spared or entry.lstat().st_mtime >= oldest:
                continue
            elif entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


def sweep_locks(private: Path) -> None:
    """Removes the lock files that a crashed process left in a private folder. Raises OSError."""
    for entry in private.iterdir():
        if entry.name.startswith(locks.PREFIX):
            with _each(entry):
                locks.remove_unless_held(entry)


@contextlib.contextmanager
def _each(entry: Path) -> Iterator[None]:
    """Ignores that another server process has removed an entry, and logs that it may not be removed, or is a link."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
            raise
        _log.warning("%s is left over, but was not removed: %s", entry, error.strerror)
