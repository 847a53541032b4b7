"""Copies of JPEG files (ISO 10918-1, annex B).

The image itself is copied: its tables, frame and scans. Of the application segments, the headers of JFIF and Adobe are
written again, because they determine the colours, and the colour profile is cleaned. All others, comments, bytes
between segments, and everything after the end of the image are left out: the other images of MPO files, previews, gain
maps, and the videos and trailers of phones.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from assetstore.location_safe import icc, parts
from assetstore.location_safe.fields import Kept
from assetstore.location_safe.recipe import CannotClean, Draft, Recipe

_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_APPLICATION = range(0xE0, 0xF0)

#: Frames of all kinds but hierarchical ones; tables of Huffman and arithmetic codes; DQT, DNL, DRI.
_IMAGE = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xD0), 0xC4, 0xDB, 0xDC, 0xDD)) - {0xC8}

_JFIF, _ADOBE, _ICC, _EXIF = b"JFIF\0", b"Adobe", b"ICC_PROFILE\0", b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JFIF_BYTES, _ADOBE_BYTES = 12, 12

#: The contents of the largest segment, and of the largest one with a part of a colour profile.
_MOST_CONTENTS, _MOST_PROFILE = 65_533, 65_519

_MOST_SEGMENTS, _MOST_PROFILE_PARTS = 10_000, 255

#: A marker in the data of a scan: not a stuffed zero, a restart marker or a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_READ_BYTES = 1 << 20


@dataclass
class _Segments:
    """The segments of a file, sorted by what becomes of them.

    Fields:
        jfif, adobe: the first of each, if there is one.
        profile: the parts of the colour profile, by their numbers.
        image: the places of the segments and scans that are copied: offset and length.
    """

    jfif: bytes = b""
    adobe: bytes = b""
    profile: dict[int, bytes] = field(default_factory=dict)
    profile_parts: int = 0
    image: list[tuple[int, int]] = field(default_factory=list)


def clean(file: BinaryIO, size: int, kept: Kept) -> Recipe:
    """Returns the recipe of a copy. Raises CannotClean."""
    found = _segments(file, size)
    draft = Draft()
    draft.write(bytes((0xFF, _START)))
    if found.jfif:
        draft.write(_segment(_APP0, found.jfif[:_JFIF_BYTES] + bytes(2)))  # without a thumbnail
    if kept.exif is not None:
        draft.write(_segment(_APP1, _EXIF + kept.exif.as_tiff()))
    if kept.xmp is not None:
        draft.write(_segment(_APP1, _XMP + kept.xmp))
    for part in _profile(found):
        draft.write(part)
    if found.adobe:
        draft.write(_segment(_APP14, found.adobe[:_ADOBE_BYTES]))
    for offset, length in found.image:
        draft.copy(offset, length)
    draft.write(bytes((0xFF, _END)))
    return draft.recipe()


def _segments(file: BinaryIO, size: int) -> _Segments:
    found, position, has_scan = _Segments(), 2, False
    for _ in range(_MOST_SEGMENTS):
        position, marker = _next_marker(file, position)
        if marker == _END:
            if not has_scan:
                raise CannotClean("there is no image in it")
            return found
        length = 2 + int.from_bytes(parts.read(file, position + 2, 2))
        end = position + length
        if length < 4:
            raise CannotClean("a segment is damaged")
        if marker == _SCAN:
            end, has_scan = _end_of_scan(file, end, size), True
        if marker == _SCAN or marker in _IMAGE:
            found.image.append((position, end - position))
        elif marker in _APPLICATION:
            _sort(found, marker, parts.read(file, position + 4, length - 4))
        elif marker != _COMMENT:
            raise CannotClean(f"it has an unknown marker {marker:#x}")
        position = end
    raise CannotClean("it has too many segments")


def _next_marker(file: BinaryIO, position: int) -> tuple[int, int]:
    """The position of the next marker's last two bytes, and its number; some programs pad segments with zeros."""
    for _ in range(_MOST_SEGMENTS):
        head = parts.read(file, position, 2)
        if head[0] == 0xFF and head[1] not in (0x00, 0xFF):
            return position, head[1]
        position += 1
    raise CannotClean("it has too many bytes between segments")


def _end_of_scan(file: BinaryIO, position: int, size: int) -> int:
    while position < size - 1:
        data = parts.read(file, position, min(_READ_BYTES, size - position))
        if match := _MARKER.search(data):
            return position + match.start()
        position += len(data) - 1  # the last byte may begin a marker
    raise CannotClean("the image has no end")


def _sort(found: _Segments, marker: int, contents: bytes) -> None:
    if marker == _APP0 and contents.startswith(_JFIF) and len(contents) >= _JFIF_BYTES:
        found.jfif = found.jfif or contents
    elif marker == _APP14 and contents.startswith(_ADOBE) and len(contents) >= _ADOBE_BYTES:
        found.adobe = found.adobe or contents
    elif marker == _APP2 and contents.startswith(_ICC) and len(contents) > len(_ICC) + 2:
        number, found.profile_parts = contents[len(_ICC)], contents[len(_ICC) + 1]
        found.profile.setdefault(number, contents[len(_ICC) + 2 :])


def _profile(found: _Segments) -> Iterator[bytes]:
    count = found.profile_parts
    if not count or set(found.profile) != set(range(1, count + 1)):
        return
    profile = icc.clean(b"".join(found.profile[number] for number in range(1, count + 1)))
    pieces = [profile[at : at + _MOST_PROFILE] for at in range(0, len(profile), _MOST_PROFILE)] if profile else []
    if len(pieces) <= _MOST_PROFILE_PARTS:
        for number, piece in enumerate(pieces, 1):
            yield _segment(_APP2, _ICC + bytes((number, len(pieces))) + piece)


def _segment(marker: int, contents: bytes) -> bytes:
    if len(contents) > _MOST_CONTENTS:
        raise CannotClean("a segment is too large")
    return struct.pack(">BBH", 0xFF, marker, len(contents) + 2) + contents


def unsafe_parts(file: BinaryIO, start: int, end: int) -> list[tuple[int, int]]:
    """Returns the starts and ends of the contents of all segments of a JPEG stream that are not part of the image.

    Only those before its first scan, as in the strips of a TIFF. Raises CannotClean.
    """
    found: list[tuple[int, int]] = []
    position = start
    if parts.read(file, position, 2) != bytes((0xFF, _START)):
        raise CannotClean("a part of the image is no JPEG")
    position += 2
    for _ in range(_MOST_SEGMENTS):
        position, marker = _next_marker(file, position)
        if marker in (_SCAN, _END):
            return found
        length = 2 + int.from_bytes(parts.read(file, position + 2, 2))
        if position + length > end or length < 4:
            raise CannotClean("a part of the image is truncated")
        if marker not in _IMAGE and not _is_bare_header(parts.read(file, position, min(length, 32))):
            found.append((position + 4, position + length))
        position += length
    raise CannotClean("it has too many segments")


def _is_bare_header(segment: bytes) -> bool:
    """Whether a segment is a header of JFIF without a thumbnail, or of Adobe, and nothing else."""
    jfif, adobe = bytes((0xFF, _APP0, 0, 16)) + _JFIF, bytes((0xFF, _APP14, 0, 14)) + _ADOBE
    return (segment.startswith(jfif) and segment.endswith(bytes(2)) and len(segment) == 18) or (
        segment.startswith(adobe) and len(segment) == 16
    )
