"""Finds metadata in the chunks of WebP (WebP container specification, "Metadata")."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from assetstore.metadata.containers.blocks import EXIF, MOST_BYTES, XMP, Block

_MOST_CHUNKS = 10_000


def find(file: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of a WebP file."""
    file.seek(12)
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return
        kind, length = header[:4], int.from_bytes(header[4:], "little")
        end = file.tell() + length + length % 2
        if kind == b"EXIF":
            yield Block(EXIF, file.read(min(length, MOST_BYTES)).removeprefix(b"Exif\0\0"))
        elif kind == b"XMP ":
            yield Block(XMP, file.read(min(length, MOST_BYTES)))
        file.seek(end, io.SEEK_SET)
