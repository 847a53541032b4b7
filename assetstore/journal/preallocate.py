"""Room on disk for files that a library maps into memory.

Writing to mapped memory has no error to return: where the disk has no room for the page, the kernel ends the process
(SIGBUS). SQLite gives every 4 KiB of its shared memory (`-shm`) one written byte first. That suffices on file systems
with blocks of 4 KiB; with smaller ones most of the page is a hole, and the first full disk ends the server.
"""

import errno
import os
import shutil
import subprocess
from pathlib import Path

#: SQLite gives room to its mapped files in these steps (unixShmMap in os_unix.c).
_PAGE_BYTES = 4096

_SECONDS = 10


def allocate(path: Path, size: int) -> None:
    """Gives the first bytes of an existing file room on disk, if its file system has blocks so small that they may not.

    Parameters:
        path: of a file that processes may have mapped and locked; its content and length stay.
        size: in bytes; may lie beyond the end of the file.

    Raises OSError, if there is no room or the disk does not answer.
    """
    command = shutil.which("fallocate")
    if command is None or os.statvfs(path.parent).f_frsize >= _PAGE_BYTES:
        return
    # By another process: were the file opened and closed in this one, its locks would be lost (close, POSIX.1).
    arguments = [command, "--keep-size", "--length", str(size), str(path)]
    try:
        run = subprocess.run(  # noqa: S603 - our own arguments
            arguments, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(path)) from error
    disk = os.statvfs(path.parent)
    # A file system that cannot allocate is left as it is.
    if run.returncode and disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
