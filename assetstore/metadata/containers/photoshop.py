"""Finds metadata in Photoshop's image resources, in PSD, JPEG, TIFF and PNG (Adobe Photoshop File Formats)."""

from collections.abc import Iterator
from typing import BinaryIO

from assetstore.metadata.containers.blocks import EXIF, IPTC, MOST_BYTES, XMP, Block

SIGNATURE = b"8BPS"
RESOURCE = b"8BIM"

_KINDS = {0x0404: IPTC, 0x0422: EXIF, 0x0424: XMP}

_HEADER_BYTES = 26


def find(file: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of a Photoshop file."""
    file.seek(_HEADER_BYTES)
    colour_table = int.from_bytes(file.read(4))
    file.seek(_HEADER_BYTES + 4 + colour_table)
    length = int.from_bytes(file.read(4))
    yield from resources(file.read(min(length, MOST_BYTES)))


def resources(data: bytes) -> Iterator[Block]:
    """Yields the blocks in a list of image resources."""
    position = 0
    while data[position : position + 4] == RESOURCE:
        number = int.from_bytes(data[position + 4 : position + 6])
        name = data[position + 6 : position + 7]
        # The name and the contents are both padded to an even length.
        position += 6 + (len(name) + int.from_bytes(name) + 1 & ~1)
        length = int.from_bytes(data[position : position + 4])
        contents = data[position + 4 : position + 4 + length]
        if number in _KINDS and contents:
            yield Block(_KINDS[number], contents)
        position += 4 + (length + 1 & ~1)
