"""Reads parts of a picture of which all bytes are needed."""

from typing import BinaryIO

from assetstore.location_safe.recipe import CannotClean


def read(file: BinaryIO, offset: int, length: int) -> bytes:
    """Returns *length* bytes from *offset*. Raises CannotClean if the file is shorter."""
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        raise CannotClean("the file is truncated")
    return data
