"""Writes finished thumbnails, because libraries do not report that a disk is full."""

import errno
from pathlib import Path

from assetstore.errors import OutOfSpace


def write(target: str, picture: bytes) -> None:
    """Writes a thumbnail to the path *target*. Raises OutOfSpace."""
    try:
        Path(target).write_bytes(picture)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfSpace("The server's disk is full; the thumbnail cannot be rendered.", str(error)) from None
