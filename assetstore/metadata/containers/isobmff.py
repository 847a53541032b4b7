"""Finds metadata in ISO boxes: HEIF and AVIF (ISO 23008-12), JPEG XL, JPEG 2000, and Canon's CR3."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from uuid import UUID

from assetstore.metadata.containers.blocks import EXIF, MOST_BYTES, XMP, Block

#: The first box of JPEG XL and JPEG 2000 files, instead of `ftyp`.
SIGNATURES = (b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  ")

_XMP = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_EXIF_IN_JPEG_2000 = b"JpgTiffExif->JP2"
_CANON = UUID("85c0b687-820f-11e0-8111-f4ce462b6a48").bytes
_CANON_DIRECTORIES = {b"CMT1": "Image", b"CMT2": "EXIF", b"CMT4": "GPS"}

_MOST_BOXES, _MOST_ITEMS = 1000, 10_000

#: Some phones write zeros or nothing instead of the offset and name before EXIF.
_TIFF_HEADER = re.compile(rb"II\*\0|MM\0\*")
_LONGEST_PREFIX = 64


@dataclass
class _Items:
    """The items that the boxes in `meta` describe."""

    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    inner: int = 0


def find(file: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of a file that consists of boxes."""
    for kind, start, end in _boxes(file, 0, 1 << 62):
        if kind == b"meta":
            yield from _from_items(file, _items(file, start + 4, end))
        elif kind == b"Exif":
            yield from _exif(_read(file, start, end))
        elif kind == b"xml ":
            yield Block(XMP, _read(file, start, end))
        elif kind == b"uuid":
            yield from _from_uuid(file, start, end)
        elif kind == b"moov":
            for inner, first, last in _boxes(file, start, end):
                if inner == b"uuid":
                    yield from _from_uuid(file, first, last)


def _boxes(file: BinaryIO, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind of each box, and the start and end of its contents."""
    for _ in range(_MOST_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8 or position + 8 > end:
            return
        length, kind, contents = int.from_bytes(header[:4]), header[4:8], position + 8
        if length == 1:
            length, contents = int.from_bytes(header[8:]), position + 16
        elif length == 0:
            length = end - position
        if length < contents - position:
            return
        yield kind, contents, min(position + length, end)
        position += length


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(max(0, min(end - start, MOST_BYTES)))


def _from_uuid(file: BinaryIO, start: int, end: int) -> Iterator[Block]:
    number = _read(file, start, min(end, start + 16))
    start += 16
    if number == _XMP:
        yield Block(XMP, _read(file, start, end))
    elif number == _EXIF_IN_JPEG_2000:
        yield Block(EXIF, _read(file, start, end))
    elif number == _CANON:
        for kind, first, last in _boxes(file, start, end):
            if kind in _CANON_DIRECTORIES:
                yield Block(EXIF, _read(file, first, last), _CANON_DIRECTORIES[kind])


def _items(file: BinaryIO, start: int, end: int) -> _Items:
    items = _Items()
    for kind, first, last in _boxes(file, start, end):
        if kind == b"iinf":
            items.kinds = _item_kinds(file, first, last)
        elif kind == b"iloc":
            items.extents = _item_extents(_read(file, first, last))
        elif kind == b"idat":
            items.inner = first
    return items


def _item_kinds(file: BinaryIO, start: int, end: int) -> dict[int, bytes]:
    kinds: dict[int, bytes] = {}
    version = _read(file, start, start + 1)
    for kind, first, last in _boxes(file, start + (6 if version == b"\0" else 8), end):
        if kind != b"infe":
            continue
        entry = _read(file, first, min(last, first + 256))
        width = {2: 2, 3: 4}.get(entry[0])
        if width is not None:
            rest = entry[4 + width + 2 :]
            kinds[int.from_bytes(entry[4 : 4 + width])] = XMP_ITEM if b"\0application/rdf+xml\0" in rest else rest[:4]
    return kinds


XMP_ITEM = b"XMP "


def _item_extents(data: bytes) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    """Parses `iloc`: the positions of each item's parts, in the file (0) or in `idat` (1)."""
    version, position = data[0], 4

    def number(width: int) -> int:
        nonlocal position
        position += width
        if position > len(data):
            raise ValueError("the list of items is truncated")
        return int.from_bytes(data[position - width : position])

    sizes = number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    found: dict[int, tuple[int, list[tuple[int, int]]]] = {}
    for _ in range(min(number(wide), _MOST_ITEMS)):
        item = number(wide)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)  # the data reference index: this file
        base = number(base_size)
        extents = []
        for _ in range(number(2)):
            number(index_size)
            offset = base + number(offset_size)
            extents.append((offset, number(length_size)))
        found[item] = method, extents
    return found


def _from_items(file: BinaryIO, items: _Items) -> Iterator[Block]:
    for item, kind in items.kinds.items():
        if kind in (b"Exif", XMP_ITEM) and item in items.extents:
            method, extents = items.extents[item]
            shift = items.inner if method == 1 else 0
            data = b""
            for offset, length in extents:
                data += _read(file, shift + offset, shift + offset + min(length, MOST_BYTES - len(data)))
            if kind == b"Exif":
                yield from _exif(data)
            else:
                yield Block(XMP, data)


def _exif(data: bytes) -> Iterator[Block]:
    start = 4 + int.from_bytes(data[:4])
    if not _TIFF_HEADER.match(data, start):
        found = _TIFF_HEADER.search(data, 0, _LONGEST_PREFIX)
        if found is None:
            return
        start = found.start()
    yield Block(EXIF, data[start:])
