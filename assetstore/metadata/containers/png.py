"""Finds metadata in the chunks of PNG (third edition, 11.3), also as ImageMagick and older programs write it."""

import binascii
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from assetstore.metadata.containers import photoshop
from assetstore.metadata.containers.blocks import EXIF, IPTC, MOST_BYTES, XMP, Block

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_PROFILE_KEYWORD = b"Raw profile type "
_XMP_IN_APP1 = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"

_MOST_CHUNKS = 100_000


def find(file: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of a PNG."""
    for kind, position, length in _chunks(file):
        if kind == b"eXIf":
            file.seek(position)
            yield Block(EXIF, file.read(min(length, MOST_BYTES)).removeprefix(b"Exif\0\0"))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(position)
            yield from _from_text(kind, file.read(min(length, MOST_BYTES)))


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    position = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(8)
        length, kind = int.from_bytes(header[:4]), header[4:]
        if len(header) < 8 or kind == b"IEND":
            return
        yield kind, position + 8, length
        position += 12 + length


def _from_text(kind: bytes, chunk: bytes) -> Iterator[Block]:
    keyword, _, rest = chunk.partition(b"\0")
    if keyword == _XMP_KEYWORD and kind == b"iTXt":
        yield Block(XMP, _international_text(rest))
    elif keyword.startswith(_PROFILE_KEYWORD) and kind in (b"tEXt", b"zTXt"):
        text = rest if kind == b"tEXt" else _inflated(rest[1:])
        yield from _from_profile(keyword.removeprefix(_PROFILE_KEYWORD).lower(), _raw_profile(text))


def _international_text(rest: bytes) -> bytes:
    is_compressed = rest[:1] == b"\1"
    _language, _, rest = rest[2:].partition(b"\0")
    _keyword, _, text = rest.partition(b"\0")
    return _inflated(text) if is_compressed else text


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_BYTES)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Decodes a profile, which has lines with its name, its length, and its bytes as hexadecimal digits."""
    digits = b"".join(text.split()[2:])
    try:
        return binascii.unhexlify(digits[: len(digits) & ~1])
    except binascii.Error:
        return b""


def _from_profile(name: bytes, data: bytes) -> Iterator[Block]:
    if name in (b"exif", b"app1") and data.startswith(_XMP_IN_APP1):
        yield Block(XMP, data.removeprefix(_XMP_IN_APP1))
    elif name in (b"exif", b"app1"):
        yield Block(EXIF, data.removeprefix(b"Exif\0\0"))
    elif name == b"xmp":
        yield Block(XMP, data)
    elif name in (b"iptc", b"8bim"):
        data = data.removeprefix(_PHOTOSHOP)
        if data.startswith(photoshop.RESOURCE):
            yield from photoshop.resources(data)
        else:
            yield Block(IPTC, data)
