"""Finds metadata in TIFF and BigTIFF, and in camera RAW formats, most of which are based on TIFF."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from assetstore.metadata.containers import photoshop
from assetstore.metadata.containers.blocks import EXIF, IPTC, MOST_BYTES, XMP, Block, Window

_XMP, _IPTC, _PHOTOSHOP = 700, 33723, 34377

#: Tags that point to a directory: EXIF, GPS, interoperability; SubIFDs can point to several.
_SUB_DIRECTORIES = frozenset((0x8769, 0x8825, 0xA005, 0x014A))

_LENGTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

#: BigTIFF's types with eight bytes -> the classic types with four.
_CLASSIC_TYPES = {16: 4, 17: 9, 18: 13}

#: Longer values are image data or its tables; ExifRead does not get them.
_LARGEST_VALUE = 64 << 10

_MOST_ENTRIES, _MOST_DIRECTORIES = 4096, 64


@dataclass(frozen=True)
class Entry:
    """An entry of a directory: tag, type, and the number and position of its values."""

    tag: int
    type: int
    count: int
    position: int

    @property
    def length(self) -> int:
        """The size of all values, in bytes."""
        return self.count * _LENGTHS.get(self.type, 0)


class TiffFile:
    """The directories of a TIFF or BigTIFF file. Raises struct.error if the file is truncated."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        head = file.read(16)
        self.order = "<" if head[:1] == b"I" else ">"
        self.is_big = head[2:4] in (b"+\0", b"\0+")
        self.first: int = self._unpack("Q", head[8:16]) if self.is_big else self._unpack("I", head[4:8])

    def directory(self, offset: int) -> tuple[list[Entry], int]:
        """Returns the entries of the directory at *offset*, and the offset of the next one (0 if there is none)."""
        count_width, entry_width, pointer, width = (8, 20, "Q", 8) if self.is_big else (2, 12, "I", 4)
        count = self._unpack("Q" if self.is_big else "H", self._read(offset, count_width))
        if count > _MOST_ENTRIES:
            raise ValueError("too many entries")
        data = self._read(offset + count_width, count * entry_width)
        entries = []
        for place in range(0, len(data) - entry_width + 1, entry_width):
            tag, kind, number = struct.unpack_from(f"{self.order}HH{pointer}", data, place)
            entry = Entry(tag, kind, number, offset + count_width + place + entry_width - width)
            if entry.length > width:
                position = self._unpack(pointer, data[place + entry_width - width : place + entry_width])
                entry = Entry(tag, kind, number, position)
            entries.append(entry)
        following = self._read(offset + count_width + count * entry_width, width)
        return entries, self._unpack(pointer, following) if len(following) == width else 0

    def value(self, entry: Entry) -> bytes:
        """Returns the values of an entry as stored in the file."""
        return self._read(entry.position, min(entry.length, MOST_BYTES))

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def _unpack(self, code: str, data: bytes) -> int:
        [number] = struct.unpack(self.order + code, data)
        return int(number)


def find(file: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of a TIFF: the file itself is one of EXIF."""
    tiff = TiffFile(file)
    yield Block(EXIF, _as_classic(tiff) if tiff.is_big else Window(file))
    entries, _ = tiff.directory(tiff.first)
    for entry in entries:
        if entry.tag == _XMP:
            yield Block(XMP, tiff.value(entry))
        elif entry.tag == _IPTC:
            yield Block(IPTC, tiff.value(entry))
        elif entry.tag == _PHOTOSHOP:
            yield from photoshop.resources(tiff.value(entry))


def _as_classic(tiff: TiffFile) -> bytes:
    """Returns the directories of a BigTIFF as a classic TIFF, because ExifRead does not support BigTIFF."""
    out = bytearray(b"II*\0" if tiff.order == "<" else b"MM\0*") + bytes(4)
    link, offset, seen = 4, tiff.first, 0
    while offset and seen < _MOST_DIRECTORIES:
        place, following = _copy_directory(tiff, offset, out, depth=0)
        struct.pack_into(f"{tiff.order}I", out, link, place)
        [count] = struct.unpack_from(f"{tiff.order}H", out, place)
        link, offset, seen = place + 2 + 12 * count, following, seen + 1
    return bytes(out)


def _copy_directory(tiff: TiffFile, offset: int, out: bytearray, depth: int) -> tuple[int, int]:
    """Appends a directory and its values; returns its offset, and the offset of the next one in *tiff*."""
    entries, following = tiff.directory(offset)
    copied = []
    for entry in entries:
        if 0 < entry.length <= _LARGEST_VALUE:
            kind, data = _classic_value(tiff, entry)
            if entry.tag in _SUB_DIRECTORIES and depth < 3:
                data = _copied_sub_directories(tiff, data, out, depth)
            if len(data) > 4:
                position = len(out)
                out += data + bytes(len(data) % 2)
                data = struct.pack(f"{tiff.order}I", position)
            copied.append(struct.pack(f"{tiff.order}HHI", entry.tag, kind, entry.count) + data.ljust(4, b"\0"))
    place = len(out)
    out += struct.pack(f"{tiff.order}H", len(copied)) + b"".join(copied) + bytes(4)
    return place, following


def _classic_value(tiff: TiffFile, entry: Entry) -> tuple[int, bytes]:
    data = tiff.value(entry)
    if entry.type not in _CLASSIC_TYPES:
        return entry.type, data
    numbers = struct.unpack(f"{tiff.order}{len(data) // 8}{'q' if entry.type == 17 else 'Q'}", data)
    code, most = ("i", 0x7FFFFFFF) if entry.type == 17 else ("I", 0xFFFFFFFF)
    return _CLASSIC_TYPES[entry.type], struct.pack(
        f"{tiff.order}{len(numbers)}{code}", *(min(n, most) for n in numbers)
    )


def _copied_sub_directories(tiff: TiffFile, data: bytes, out: bytearray, depth: int) -> bytes:
    positions = []
    for offset in struct.unpack(f"{tiff.order}{len(data) // 4}I", data)[:_MOST_DIRECTORIES]:
        try:
            positions.append(_copy_directory(tiff, offset, out, depth + 1)[0])
        except (ValueError, struct.error):
            positions.append(0)  # only the damaged directory is left out
    return struct.pack(f"{tiff.order}{len(positions)}I", *positions)
