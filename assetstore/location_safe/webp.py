"""Copies of WebP files (RFC 9649, 2.7): the image chunks, the cleaned colour profile, and new chunks for metadata."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from assetstore.location_safe import icc, parts
from assetstore.location_safe.fields import Kept
from assetstore.location_safe.recipe import CannotClean, Copied, Draft, Recipe

_IMAGE = (b"VP8 ", b"VP8L", b"ALPH")
_EXTENDED, _ANIMATION, _FRAME, _PROFILE = b"VP8X", b"ANIM", b"ANMF", b"ICCP"
_EXTENDED_BYTES, _ANIMATION_BYTES, _FRAME_BYTES = 10, 6, 16

#: Bits of the first byte of VP8X.
_HAS_PROFILE, _HAS_ALPHA, _HAS_EXIF, _HAS_XMP, _IS_ANIMATED = 0x20, 0x10, 0x08, 0x04, 0x02

_MOST_CHUNKS, _MOST_PROFILE, _MOST_RIFF = 100_000, 16 << 20, 0xFFFFFFFE

_Part = bytes | Copied


def clean(file: BinaryIO, size: int, kept: Kept) -> Recipe:
    """Returns the recipe of a copy. Raises CannotClean."""
    end = min(size, 8 + int.from_bytes(parts.read(file, 4, 4), "little"))
    extended, profile = b"", None
    image: list[_Part] = []
    for kind, start, length in _chunks(file, 12, end):
        if kind == _EXTENDED and length == _EXTENDED_BYTES and not extended:
            extended = parts.read(file, start, length)
        elif kind == _PROFILE and profile is None:
            profile = icc.clean(parts.read(file, start, min(length, _MOST_PROFILE)))
        elif kind == _ANIMATION and length == _ANIMATION_BYTES:
            image.append(_chunk(kind, parts.read(file, start, length)))
        elif kind == _FRAME:
            image += _frame(file, start, length)
        elif kind in _IMAGE:
            image += _copied(kind, start, length)
    if not image:
        raise CannotClean("there is no image in it")
    around = _around(extended, profile, kept) if extended else ([], [])
    return _recipe([*around[0], *image, *around[1]])


def _around(extended: bytes, profile: bytes | None, kept: Kept) -> tuple[list[bytes], list[bytes]]:
    """The chunks before and after the image."""
    tags = None if kept.exif is None else kept.exif.as_tiff()
    flags = extended[0] & (_HAS_ALPHA | _IS_ANIMATED)
    after = []
    for content, kind, flag in ((tags, b"EXIF", _HAS_EXIF), (kept.xmp, b"XMP ", _HAS_XMP)):
        if content is not None:
            flags |= flag
            after.append(_chunk(kind, content))
    before = [] if profile is None else [_chunk(_PROFILE, profile)]
    flags |= _HAS_PROFILE if before else 0
    return [_chunk(_EXTENDED, bytes((flags, 0, 0, 0)) + extended[4:]), *before], after


def _chunks(file: BinaryIO, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(_MOST_CHUNKS):
        if position + 8 > end:
            return
        kind, length = struct.unpack("<4sI", parts.read(file, position, 8))
        if position + 8 + length > end:
            raise CannotClean("the file is truncated")
        yield kind, position + 8, length
        position += 8 + length + length % 2
    raise CannotClean("it has too many chunks")


def _frame(file: BinaryIO, start: int, length: int) -> list[_Part]:
    if length < _FRAME_BYTES:
        raise CannotClean("a frame is damaged")
    content: list[_Part] = [parts.read(file, start, _FRAME_BYTES)]
    for kind, first, inner in _chunks(file, start + _FRAME_BYTES, start + length):
        if kind in _IMAGE:
            content += _copied(kind, first, inner)
    return [struct.pack("<4sI", _FRAME, _size(content)), *content]


def _copied(kind: bytes, start: int, length: int) -> list[_Part]:
    return [struct.pack("<4sI", kind, length), Copied(start, length), bytes(length % 2)]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)


def _size(content: list[_Part]) -> int:
    return sum(len(part) if isinstance(part, bytes) else part.length for part in content)


def _recipe(content: list[_Part]) -> Recipe:
    size = 4 + _size(content)
    if size > _MOST_RIFF:
        raise CannotClean("it is too large")
    draft = Draft()
    draft.write(struct.pack("<4sI4s", b"RIFF", size, b"WEBP"))
    for part in content:
        if isinstance(part, bytes):
            draft.write(part)
        else:
            draft.copy(*part)
    return draft.recipe()
