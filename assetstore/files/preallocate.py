"""Preallocates disk space for files that a library maps into memory.

Writing to mapped memory cannot return an error: if the disk has no space for the page, the kernel kills the process
(SIGBUS). SQLite first writes one byte to every 4 KiB of its shared memory (`-shm`). This is enough on file systems
with blocks of 4 KiB. With smaller blocks most of the page is a hole, and a full disk would kill the server.
"""

import errno
import os
import shutil
import subprocess
from pathlib import Path

#: SQLite extends its mapped files in steps of this size (unixShmMap in os_unix.c).
_PAGE_BYTES = 4096

_SECONDS = 10


def allocate(path: Path, size: int) -> None:
    """Allocates disk space for the first bytes of an existing file, if its file system has small blocks.

    Parameters:
        path: of the file, which processes may have mapped and locked. Its content and length do not change.
        size: in bytes; may be beyond the end of the file.

    Raises OSError if there is not enough space or the disk does not respond.
    """
    command = shutil.which("fallocate")
    if command is None or os.statvfs(path.parent).f_frsize >= _PAGE_BYTES:
        return
    # In another process, because closing the file in this one would release its locks (close, POSIX.1).
    arguments = [command, "--keep-size", "--length", str(size), str(path)]
    try:
        run = subprocess.run(  # noqa: S603 - only our own arguments
            arguments, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(path)) from error
    disk = os.statvfs(path.parent)
    # If the file system does not support allocation, nothing more can be done.
    if run.returncode and disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
