"""Reads and writes the boxes of ISO files (ISO 14496-12, 4.2), strictly: damaged ones are refused."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from assetstore.location_safe import parts
from assetstore.location_safe.recipe import CannotClean

_MOST_BOXES = 10_000


class Box(NamedTuple):
    """A box of a file: kind, first byte of its header and of its contents, and its end."""

    kind: bytes
    start: int
    contents: int
    end: int

    @property
    def length(self) -> int:
        """The length with the header, in bytes."""
        return self.end - self.start


def boxes(file: BinaryIO, position: int, end: int) -> Iterator[Box]:
    """Yields the boxes between two positions.

    Bytes after the last box that are too few for another one are left out. Raises CannotClean.
    """
    for _ in range(_MOST_BOXES):
        if position + 8 > end:
            return
        length, kind = struct.unpack(">I4s", parts.read(file, position, 8))
        contents = position + 8
        if length == 1:
            [length] = struct.unpack(">Q", parts.read(file, contents, 8))
            contents += 8
        elif length == 0:
            length = end - position
        if length < contents - position or position + length > end:
            raise CannotClean(f"a box {kind!r} is damaged or truncated")
        yield Box(kind, position, contents, position + length)
        position += length
    raise CannotClean("it has too many boxes")


def box(kind: bytes, contents: bytes) -> bytes:
    """Returns a box."""
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


def full_box(kind: bytes, version: int, flags: int, contents: bytes) -> bytes:
    """Returns a box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags) + contents)


def number(data: bytes, position: int, width: int) -> int:
    """Returns a number of *width* bytes (0: the number 0). Raises CannotClean if the data is too short."""
    if position + width > len(data):
        raise CannotClean("a box is truncated")
    return int.from_bytes(data[position : position + width])
