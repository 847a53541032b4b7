"""Finds metadata in the segments of JPEG (ISO 10918-1, annex B; EXIF 4.7; XMP part 3)."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from assetstore.metadata.containers import photoshop
from assetstore.metadata.containers.blocks import EXIF, XMP, Block, Window

_EXIF = b"Exif"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"

_APP1, _APP13 = 0xE1, 0xED
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

#: The number of segments is not limited, but no real file has more than this.
_MOST_SEGMENTS = 2000

#: After a break in the chain of segments, EXIF is searched for in this many bytes.
_SEARCHED_BYTES = 256 << 10
_EXIF_SEGMENT = re.compile(rb"\xff\xe1..Exif\0\0(?=II\*\0|MM\0\*)", re.DOTALL)


def find(file: BinaryIO, start: int = 0) -> Iterator[Block]:
    """Yields the blocks of a JPEG that begins at byte *start*."""
    resources = b""
    for marker, position, length in _segments(file, start):
        file.seek(position)
        if marker == _APP1:
            head = file.read(len(_XMP))
            if head.startswith(_EXIF):
                # Up to the end of the file, because maker notes of some cameras refer to data behind their segment.
                yield Block(EXIF, Window(file, position + len(_EXIF) + 2))
            elif head == _XMP:
                yield Block(XMP, file.read(length - len(_XMP)))
        elif marker == _APP13 and file.read(len(_PHOTOSHOP)) == _PHOTOSHOP:
            resources += file.read(length - len(_PHOTOSHOP))  # a long list of resources uses several segments
    yield from photoshop.resources(resources)


def _segments(file: BinaryIO, start: int) -> Iterator[tuple[int, int, int]]:
    """Yields the marker of each segment before the image data, and the position and length of its contents."""
    position = start + 2
    for _ in range(_MOST_SEGMENTS):
        file.seek(position)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            yield from _after_break(file, position)
            return
        marker, length = head[1], int.from_bytes(head[2:])
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        else:
            yield marker, position + 4, max(0, length - 2)
            position += 2 + max(2, length)


def _after_break(file: BinaryIO, position: int) -> Iterator[tuple[int, int, int]]:
    file.seek(position)
    rest = file.read(_SEARCHED_BYTES)
    if found := _EXIF_SEGMENT.search(rest):
        yield _APP1, position + found.start() + 4, int.from_bytes(rest[found.start() + 2 : found.start() + 4]) - 2
