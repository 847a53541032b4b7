"""File operations of the stores on disk: safe opening, versions, and the exchange of files.

Nothing is written in place: bytes go to a private file on the same file system, are synced, and get their name by
rename(2) or link(2), which are atomic.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Set
from pathlib import Path

from assetstore.errors import NotFound, StorageFault
from assetstore.files.private_folders import private_folder
from assetstore.files.unfinished import create_locked
from assetstore.storage.models import StoredFile, Version

#: The error numbers for a name without a file.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)

_COPIED_AT_ONCE = 1 << 20

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def relative_path(collection_dir: str, folder: str, name: str) -> str:
    """Returns `[COLLECTION_DIR/]FOLDER/NAME`, as a plain string, because Path is slow and every read calls this."""
    return f"{collection_dir}/{folder}/{name}" if collection_dir else f"{folder}/{name}"


def open_file(base: Path, collection_dir: str, folder: str, name: str) -> StoredFile:
    """Opens a regular file `BASE/[COLLECTION_DIR/]FOLDER/NAME` for reading.

    Parameters:
        base, collection_dir, folder, name: where it is. A symbolic link is followed only to a file below
            *base* that is directly in a folder of this name.

    Raises:
        NotFound: no such regular file exists.
        StorageFault: the file cannot be read.
    """
    shown: str | None = relative_path(collection_dir, folder, name)
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


def refuse_folder(path: Path) -> None:
    """Raises IsADirectoryError if a folder has the name of the file."""
    if stat.S_ISDIR(path.lstat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
