"""Converts errors of the operating system to AssetErrors."""

import contextlib
import errno
from collections.abc import Iterator

from assetstore.errors import AssetError, BadRequest, NotWritable, OutOfSpace, ReadOnly, StorageFault

#: After how many seconds clients may try again if the disk is read-only.
_RETRY_SECONDS = 60

_WRITE_FAULT = "The server cannot write to its attachment folder."

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Converts errors of the operating system to AssetErrors, with the path only in the detail for the log.

    Raises OutOfSpace, BadRequest (the file system does not accept the name), ReadOnly, NotWritable, StorageFault.
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
        if error.errno == errno.EROFS:
            sentence = "The server's disk is read-only, so nothing can be stored or deleted; files can still be read."
            raise ReadOnly(sentence, str(error), retry_after=_RETRY_SECONDS) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST):  # also a file in place of a folder
            raise NotWritable(_WRITE_FAULT, str(error)) from error
        raise StorageFault(_WRITE_FAULT, str(error)) from error
