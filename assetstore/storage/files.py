"""What the stores on disk share: private folders, locks, syncing, safe opening, the system's errors.

Nothing is ever written in place: bytes go to a private file on the same file system, are synced,
and take their name by rename(2) or link(2), which are atomic.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Set
from pathlib import Path

from assetstore.errors import AssetError, BadRequest, NotFound, OutOfSpace, StorageFault
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage import StoredFile, Version

#: Unfinished files untouched for this long have no living owner: a silent upload is cut off long before.
_ABANDONED_AFTER_SECONDS = 24 * 3600

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: What the system says of a name under which there is no file.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)

#: What the system says where a file cannot have two names.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def private_folder(folder: Path) -> Path:
    """Returns the server's own folder inside *folder*, hence on its file system."""
    return folder / PRIVATE_FOLDER


def make_private(folder: Path) -> None:
    """Makes a folder that only this user may look into. Raises OSError.

    Not its parents: if these are missing, their disk is not mounted, and what we write would
    end up on another one.
    """
    folder.mkdir(mode=0o700, exist_ok=True)


def open_file(base: Path, place: str, folder: str, name: str) -> StoredFile:
    """Opens a regular file `BASE/[PLACE/]FOLDER/NAME` for reading.

    Parameters:
        base, place, folder, name: where it is. A symbolic link is followed only to a file below
            *base* that lies directly in a folder of this name.

    Raises:
        NotFound: there is no such regular file.
        StorageFault: it cannot be read.
    """
    # Plain texts: every read of a thumbnail comes here twice, and Path takes its time.
    shown: str | None = f"{place}/{folder}/{name}" if place else f"{folder}/{name}"
    path = f"{base}/{shown}"
    try:
        try:
            descriptor = _open_no_link(path)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            shown = None
            descriptor = _open_no_link(resolve(Path(path), base, {folder}))
    except OSError as error:
        if error.errno in (*ABSENT, errno.ELOOP):
            raise NotFound("There is no such file.") from None
        raise StorageFault("The file cannot be read.", str(error)) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotFound("There is no such file.", f"{path} is not a regular file")
    return StoredFile(open(descriptor, "rb", buffering=0), version(status), shown)


def _open_no_link(path: str | Path) -> int:
    # O_NONBLOCK: a named pipe that somebody put there must not hang the server.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def resolve(path: Path, base: Path, folders: Set[str]) -> Path:
    """Follows a symbolic link only to a file below *base* in a folder of one of these names. Raises NotFound."""
    try:
        target = path.resolve(strict=True) if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise NotFound("There is no such file.", str(error)) from error
    if target != path and not (target.is_relative_to(base.resolve()) and target.parent.name in folders):
        raise NotFound("There is no such file.", f"{path} links out of the store, to {target}")
    return target


def version(status: os.stat_result) -> Version:
    """Returns the version of an open file.

    The tag has the time of the inode's last change, too: nobody can set it, so bytes that were
    changed in place get another tag even if somebody put size and date back.
    """
    etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"'
    return Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, etag)


def link_or_rename(source: Path, target: Path) -> bool:
    """Gives a file a second name that is still free; where files have one name only, moves it.

    Returns whether *source* is still there. Raises OSError, FileExistsError if *target* is taken.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        os.rename(source, target)
        return False
    return True


def rename(source: Path, target: Path) -> None:
    """Moves a private file to its place, whole and at once, also to another file system. Raises OSError."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A collection on a file system of its own, and the file came before its collection's name.
        private = private_folder(target.parent)
        make_private(private)
        copy = private / source.name
        try:
            shutil.copy2(source, copy)
            with open(copy, "rb") as copied:
                os.fsync(copied.fileno())
            os.rename(copy, target)
        finally:
            copy.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Holds off everybody else, in other processes too, who calls this for the same name.

    Parameters:
        folder: whose private folder holds the lock.
        name: what is locked.

    The system takes the lock back when a process ends. Raises OutOfSpace, StorageFault.
    """
    key = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    path = private_folder(folder) / f"lock-{key}"
    with faults():
        make_private(path.parent)
        descriptor = _lock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Makes and locks a file, waiting for its turn; the holder removes it before letting go."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # it was removed while we waited for it


def sync_folder(folder: Path) -> None:
    """Makes a rename or removal in *folder* durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do this with folders; the file itself is synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sweep(private: Path, spared: Set[str]) -> None:
    """Makes a private folder, and removes from it what a crashed process left.

    Parameters:
        private: the folder.
        spared: names in it that stay, however old. Raises OSError.
    """
    make_private(private)
    oldest = time.time() - _ABANDONED_AFTER_SECONDS
    for entry in private.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another server process sweeps, too
            if entry.name in spared or entry.lstat().st_mtime >= oldest:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turns errors of the operating system into ours; the path goes to the log only."""
    try:
        yield
    except AssetError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace("The server's disk is full; nothing was stored or changed.", str(error)) from error
        if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
            raise BadRequest("There is a folder of this name where the file would have to be.", str(error)) from error
        if error.errno == errno.ENAMETOOLONG:
            raise BadRequest("The file name is too long for the server's file system.", str(error)) from error
        raise StorageFault("The server cannot write to its attachment folder.", str(error)) from error
