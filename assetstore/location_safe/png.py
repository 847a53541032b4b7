"""Copies of PNG files (third edition, 11): the image, animation and colour chunks, and new chunks for the metadata."""

import struct
import zlib
from typing import BinaryIO

from assetstore.location_safe import icc, parts
from assetstore.location_safe.fields import Kept
from assetstore.location_safe.recipe import CannotClean, Draft, Recipe
from assetstore.metadata.containers.png import SIGNATURE

_COPIED = frozenset(
    b"IHDR PLTE IDAT tRNS cHRM gAMA sBIT sRGB bKGD hIST pHYs tIME cICP mDCV mDCv cLLI cLLi acTL fcTL fdAT".split()
)

#: The largest chunks that are copied whole, except those with image data.
_LARGEST = 4096
_IMAGE_DATA = (b"IDAT", b"fdAT")

_MOST_CHUNKS, _MOST_PROFILE = 2_000_000, 16 << 20

#: Keywords of texts before the image that become XMP properties.
_CREDITS = {b"Author": "dc:creator", b"Copyright": "dc:rights"}

_XMP_KEYWORD = b"XML:com.adobe.xmp"


def clean(file: BinaryIO, size: int, kept: Kept) -> Recipe:
    """Returns the recipe of a copy. Raises CannotClean."""
    draft, position, has_metadata = Draft(), len(SIGNATURE), False
    credits: dict[str, str] = {}
    draft.write(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", parts.read(file, position, 8))
        if position + 12 + length > size:
            raise CannotClean("the file is truncated")
        if kind == b"IEND":
            draft.write(_chunk(kind, b""))
            return draft.recipe()
        if kind == b"IDAT" and not has_metadata:
            has_metadata = True
            draft.write(_metadata(kept.with_properties(credits)))
        if kind == b"tEXt" and length <= _LARGEST:
            credits |= _credit(parts.read(file, position + 8, length))
        if kind == b"iCCP":
            draft.write(_profile(parts.read(file, position + 8, min(length, _MOST_PROFILE))))
        elif kind in _COPIED and (kind in _IMAGE_DATA or length <= _LARGEST):
            draft.copy(position, 12 + length)
        elif not kind[0] & 0x20:
            raise CannotClean(f"it has an unknown critical chunk {kind!r}")
        position += 12 + length
    raise CannotClean("it has too many chunks")


def _chunk(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def _credit(text: bytes) -> dict[str, str]:
    """The XMP property for a text chunk; {} if it is no credit."""
    keyword, _, value = text.partition(b"\0")
    return {_CREDITS[keyword]: value.decode("latin-1")} if keyword in _CREDITS else {}


def _metadata(kept: Kept) -> bytes:
    chunks = b""
    if kept.exif is not None:
        chunks += _chunk(b"eXIf", kept.exif.as_tiff())
    if kept.xmp is not None:
        chunks += _chunk(b"iTXt", _XMP_KEYWORD + bytes(5) + kept.xmp)
    return chunks


def _profile(contents: bytes) -> bytes:
    _name, _, rest = contents.partition(b"\0")
    try:
        profile = icc.clean(zlib.decompressobj().decompress(rest[1:], _MOST_PROFILE))
    except zlib.error:
        profile = None
    return b"" if profile is None else _chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))
