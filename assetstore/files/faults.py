"""Converts errors of the operating system to AssetErrors."""

import contextlib
import errno
from collections.abc import Iterator

from assetstore.errors import AssetError, BadRequest, OutOfSpace, StorageFault

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Converts errors of the operating system to AssetErrors, with the path only in the detail for the log.

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
