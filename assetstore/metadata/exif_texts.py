"""Converts the value of an EXIF tag to readable text."""

from collections.abc import Callable
from typing import Any

from exifread.tags.fields import FieldType

#: The longest text of a tag. Real texts are shorter; binary data would fill the response.
LONGEST_TEXT = 2000

#: XPTitle, XPComment, XPAuthor, XPKeywords and XPSubject, which Windows writes in UTF-16.
_WINDOWS_TAGS = range(0x9C9B, 0x9CA0)

#: UserComment; GPSProcessingMethod and GPSAreaInformation in the GPS directory.
_USER_COMMENT = 0x9286
_GPS_TEXTS = (0x001B, 0x001C)

#: XMP, IPTC, and Photoshop's resources, which have separate groups.
_BLOCKS = (0x02BC, 0x83BB, 0x8649)

_CODE_LENGTH = 8

#: A shorter array of characters may also be an array of numbers.
_SHORTEST_TEXT = 4

#: Returns the bytes of a tag.
Raw = Callable[[Any], bytes]


def is_block_of_its_own(tag: Any) -> bool:
    """Whether a tag contains a block of other metadata."""
    return tag.tag in _BLOCKS and tag.field_type in (FieldType.BYTE, FieldType.UNDEFINED, FieldType.LONG)


def text(tag: Any, raw: Raw, is_little_endian: bool) -> str:
    """Returns the text of a tag, at most about LONGEST_TEXT long.

    Parameters:
        tag: the tag, from ExifRead.
        raw: returns its bytes.
        is_little_endian: the byte order of the file.
    """
    text = (_meant_text(tag, raw, is_little_endian) or str(tag)).replace("\0", "").strip()
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _meant_text(tag: Any, raw: Raw, is_little_endian: bool) -> str | None:
    """The text if ExifRead cannot decode it; None if ExifRead can, or if there is none."""
    is_array = tag.field_type in (FieldType.BYTE, FieldType.UNDEFINED)
    if tag.field_type == FieldType.ASCII:
        return latin(tag.values) if isinstance(tag.values, bytes) else None
    if not is_array:
        return None
    if tag.tag in _WINDOWS_TAGS:
        return _until_zero(raw(tag).decode("utf-16-le", "replace"))
    if tag.tag == _USER_COMMENT or (tag.tag in _GPS_TEXTS and tag.field_length > _CODE_LENGTH):
        return _coded(raw(tag), is_little_endian)
    if tag.field_type == FieldType.UNDEFINED and str(tag).startswith("[") and tag.field_length >= _SHORTEST_TEXT:
        data = raw(tag).rstrip(b"\0")
        return data.decode("ascii") if len(data) >= _SHORTEST_TEXT and data.isascii() and _is_printable(data) else None
    return None


def _coded(data: bytes, is_little_endian: bool) -> str | None:
    """Decodes a text that begins with the name of its encoding (EXIF 4.6.6, UserComment)."""
    code, rest = data[:_CODE_LENGTH].rstrip(b"\0 ").upper(), data[_CODE_LENGTH:]
    if code == b"UNICODE":
        return _until_zero(_utf_16(rest, is_little_endian)).strip()
    if code == b"JIS":
        return rest.rstrip(b"\0 ").decode("iso2022_jp", "replace")
    if code not in (b"ASCII", b""):
        rest = data
    return latin(rest.partition(b"\0")[0].rstrip(b" ")) if _is_printable(rest.strip(b"\0 ")) else None


def _utf_16(data: bytes, is_little_endian: bool) -> str:
    """Decodes UTF-16 of unknown byte order: the standard does not specify it, and programs differ."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    data = data[: len(data) & ~1]
    # In common scripts, letters share their high byte, so the half with fewer different values has the high bytes.
    even, odd = len(set(data[::2])), len(set(data[1::2]))
    is_little = odd < even if odd != even else is_little_endian
    return data.decode("utf-16-le" if is_little else "utf-16-be", "replace")


def latin(data: bytes) -> str:
    """Decodes a text of unknown encoding: UTF-8 if it is valid, otherwise the Western European encoding."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _is_printable(data: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r" for byte in data)


def _until_zero(text: str) -> str:
    return text.partition("\0")[0]
