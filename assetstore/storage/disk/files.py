"""What the stores on disk share: private folders, locks, syncing, safe opening, the system's errors.

Nothing is ever written in place: bytes go to a private file on the same file system, are synced,
and take their name by rename(2) or link(2), which are atomic.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator, Set
from pathlib import Path

from assetstore.errors import AssetError, BadRequest, NotFound, OutOfSpace, StorageFault, Unsynced
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage.models import StoredFile, Version

_log = logging.getLogger(__name__)

#: Other unfinished files untouched for this long have no living owner: a picture is given up long before.
_ABANDONED_AFTER_SECONDS = 24 * 3600

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: What the system says of a name under which there is no file.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)

#: How the names of unfinished uploads begin.
UPLOAD = "upload-"

_COPIED_AT_ONCE = 1 << 20

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def private_folder(folder: Path) -> Path:
    """Returns the server's own folder inside *folder*, hence on its file system."""
    return folder / PRIVATE_FOLDER


def make_private(folder: Path) -> None:
    """Makes a folder that only this user may look into. Raises OSError.

    Not its parents: if these are missing, their disk is not mounted, and what we write would
    end up on another one.
    """
    folder.mkdir(mode=0o700, exist_ok=True)


def open_file(base: Path, collection_dir: str, folder: str, name: str) -> StoredFile:
    """Opens a regular file `BASE/[PLACE/]FOLDER/NAME` for reading.

    Parameters:
        base, collection_dir, folder, name: where it is. A symbolic link is followed only to a file below
            *base* that lies directly in a folder of this name.

    Raises:
        NotFound: there is no such regular file.
        StorageFault: it cannot be read.
    """
    # Plain texts: every read of a thumbnail comes here twice, and Path takes its time.
    shown: str | None = f"{collection_dir}/{folder}/{name}" if collection_dir else f"{folder}/{name}"
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


def exchange(one: Path, other: Path) -> None:
    """Lets two files of one file system change names, at once (renameat2(2), RENAME_EXCHANGE).

    Raises OSError; ENOSYS or EINVAL where the system or the file system cannot do that.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


@contextlib.contextmanager
def brought_to(folder: Path, path: Path) -> Iterator[Path]:
    """Gives a private file as one of the file system of *folder*: itself, or a synced copy. Raises OSError.

    Two file systems: a collection has one of its own, and the file came before its collection's name. The copy
    is removed in the end if it is still there.
    """
    # Folders with folders: on a union of file systems (overlay) files have numbers of their own.
    if path.parent.stat().st_dev == folder.stat().st_dev:
        yield path
        return
    copy = private_folder(folder) / path.name
    descriptor = create_locked(copy)
    try:
        with open(path, "rb") as file, open(descriptor, "wb", closefd=False) as copied:
            shutil.copyfileobj(file, copied, _COPIED_AT_ONCE)
        status = path.stat()
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(descriptor)
        yield copy
    finally:
        copy.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Holds off everybody else, in other processes too, who calls this for the same name.

    Parameters:
        folder: whose private folder holds the lock.
        name: what is locked.

    The system takes the lock back when a process ends. Raises OutOfSpace, StorageFault.
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
            _log.error("a lock file is left over: %s", error)
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


def confirm(folder: Path) -> None:
    """Makes a change in *folder*, which has been made, durable. Raises Unsynced."""
    try:
        sync_folder(folder)
    except OSError as error:
        raise Unsynced("The server's disk does not confirm the change; please try again.", str(error)) from error


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
            if entry.name.startswith(UPLOAD):
                _remove_unless_locked(entry)
            elif entry.name in spared or entry.lstat().st_mtime >= oldest:
                continue
            elif entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


def create_locked(path: Path) -> int:
    """Makes a file that is locked as long as it is open: everybody sees that it has an owner. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            return descriptor  # no locks here: then nobody sweeps it, either
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # somebody swept it in the moment before it was locked


def _remove_unless_locked(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # its owner lives, or there are no locks here
        path.unlink()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turns errors of the operating system into ours; the path goes to the log only.

    Raises OutOfSpace, BadRequest (the file system takes no such name), StorageFault.
    """
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


def make_private_folder(base: Path, name: str) -> Path:
    """Returns a folder in the private folder; makes both if need be. Raises OSError.

    Parameters:
        base: the folder of all attachments.
        name: of the folder.
    """
    folder = base / PRIVATE_FOLDER / name
    # One by one: mkdir gives its mode only to the last of them.
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
