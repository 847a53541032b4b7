"""File operations of the stores on disk: private folders, locks, syncing, safe opening, errors of the system.

Nothing is written in place: bytes go to a private file on the same file system, are synced, and get their name by
rename(2) or link(2), which are atomic.
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

#: Other unfinished files that are older than this have no owner any more: rendering times out much earlier.
_ABANDONED_AFTER_SECONDS = 24 * 3600

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: The error numbers for a name without a file.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)

#: Prefix of the names of unfinished uploads.
UPLOAD = "upload-"

_COPIED_AT_ONCE = 1 << 20

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def private_folder(folder: Path) -> Path:
    """Returns the private folder in *folder*, which is on the same file system."""
    return folder / PRIVATE_FOLDER


def make_private(folder: Path) -> None:
    """Creates a folder that only this user may read. Raises OSError.

    Its parent folders are not created: if they are missing, their disk is not mounted, and files would end up on
    another disk.
    """
    folder.mkdir(mode=0o700, exist_ok=True)


def open_file(base: Path, collection_dir: str, folder: str, name: str) -> StoredFile:
    """Opens a regular file `BASE/[COLLECTION_DIR/]FOLDER/NAME` for reading.

    Parameters:
        base, collection_dir, folder, name: where it is. A symbolic link is followed only to a file below
            *base* that is directly in a folder of this name.

    Raises:
        NotFound: no such regular file exists.
        StorageFault: the file cannot be read.
    """
    # Plain strings, because Path is slow and every read of a thumbnail calls this twice.
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
    # O_NONBLOCK: a named pipe in the folder must not block the server.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def resolve(path: Path, base: Path, folders: Set[str]) -> Path:
    """Resolves a symbolic link, but only to a file below *base* in a folder of one of these names. Raises NotFound."""
    try:
        target = path.resolve(strict=True) if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links, before Python 3.13
        raise NotFound("There is no such file.", str(error)) from error
    if target != path and not (target.is_relative_to(base.resolve()) and target.parent.name in folders):
        raise NotFound("There is no such file.", f"{path} is a symbolic link to {target}, which is outside the store")
    return target


def version(status: os.stat_result) -> Version:
    """Returns the version of an open file.

    The ETag includes the time of the inode's last change. It cannot be set, so bytes that were changed in place get
    another ETag even if size and modification time were restored.
    """
    etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"'
    return Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, etag)


def exchange(one: Path, other: Path) -> None:
    """Exchanges the names of two files of one file system, atomically (renameat2(2), RENAME_EXCHANGE).

    Raises OSError: ENOSYS or EINVAL if the system or the file system does not support it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


@contextlib.contextmanager
def brought_to(folder: Path, path: Path) -> Iterator[Path]:
    """Yields a private file on the file system of *folder*: the file itself, or a synced copy. Raises OSError.

    A copy is necessary if the collection has a file system of its own and the file arrived before the name of the
    collection. It is removed at the end if it still exists.
    """
    # Folders are compared, because on an overlay file system files have other device numbers.
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
    """Holds the lock of a name, among all threads and processes.

    Parameters:
        folder: the folder whose private folder has the lock file.
        name: what to lock.

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


def confirm(folder: Path) -> None:
    """Makes a completed change in *folder* durable. Raises Unsynced."""
    try:
        sync_folder(folder)
    except OSError as error:
        raise Unsynced("The server's disk did not confirm the change; please try again.", str(error)) from error


def sync_folder(folder: Path) -> None:
    """Makes a rename or removal in *folder* durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems do not support this for folders. The file itself is synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sweep(private: Path, spared: Set[str]) -> None:
    """Creates a private folder, and removes files from it that a crashed process left. Raises OSError.

    Parameters:
        private: the folder.
        spared: names in it that stay, however old they are.
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


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turns errors of the operating system into errors of ours, with the path only in the detail for the log.

    Raises OutOfSpace, BadRequest (the file system does not accept the name), StorageFault.
    """
    try:
        yield
    except AssetError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace("The server's disk is full; nothing was stored or changed.", str(error)) from error
        if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
            raise BadRequest("The file cannot be stored, because a folder has its name.", str(error)) from error
        if error.errno == errno.ENAMETOOLONG:
            raise BadRequest("The file name is too long for the server's file system.", str(error)) from error
        raise StorageFault("The server cannot write to its attachment folder.", str(error)) from error


def make_private_folder(base: Path, name: str) -> Path:
    """Returns a folder in the private folder; creates both if they do not exist. Raises OSError.

    Parameters:
        base: the folder of all attachments.
        name: of the folder.
    """
    folder = base / PRIVATE_FOLDER / name
    # One by one, because mkdir applies the mode only to the last folder.
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
