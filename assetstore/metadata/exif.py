"""Reads EXIF as groups of texts, with ExifRead.

Files are not trusted: an error in a tag or directory affects only this one. ExifRead itself stops at the first
error, so its traversal of the directories is repeated here.
"""

import logging
import re
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

from exifread.core.exif_header import ExifHeader
from exifread.core.ifd_tag import IfdTag
from exifread.tags import DEFAULT_STOP_TAG
from exifread.tags.exif import GPS_TAGS
from exifread.tags.fields import RATIO_FIELD_TYPES, FieldType
from exifread.tags.makernote.canon import CAMERA_INFO_TAG_NAME
from exifread.utils import Ratio

from assetstore.concurrency.remote_file import TooMuchToRead
from assetstore.errors import AssetError
from assetstore.metadata import dates, exif_texts
from assetstore.metadata.containers.blocks import Block, Window

_log = logging.getLogger(__name__)

#: Real files have a few hundred tags.
_MOST_TAGS = 5000

_DATE_TAG = "EXIF DateTimeOriginal"
_GROUPS_OF_TWO_WORDS = re.compile(r"((?:IFD [0-9]+|EXIF SubIFD[0-9]+)) (.+)", re.ASCII)

#: Codes of `struct` for arrays of numbers, which ExifRead would read one by one.
_CODES = {
    **{FieldType.BYTE: "B", FieldType.UNDEFINED: "B", FieldType.SHORT: "H", FieldType.LONG: "I", FieldType.IFD: "I"},
    **{FieldType.SIGNED_BYTE: "b", FieldType.SIGNED_SHORT: "h", FieldType.SIGNED_LONG: "i"},
    **{FieldType.RATIO: "I", FieldType.SIGNED_RATIO: "i"},
}

#: ExifRead returns no values of longer arrays, except for these tags.
_LONGEST_ARRAY = 1000
_LONG_TAGS = ("MakerNote", CAMERA_INFO_TAG_NAME)

Groups = dict[str, dict[str, str]]


def read(blocks: Iterable[Block]) -> tuple[Groups, str | None]:
    """Returns the tags of the first readable block of each name as `{group: {tag: text}}`, and DateTimeOriginal.

    Raises StorageFault.
    """
    groups: Groups = {}
    date: str | None = None
    for block in blocks:
        if block.name in groups:
            continue
        header = _Header(block.exif())
        header.read(block.name)
        for full_name, tag in header.tags.items():
            group, name = _split(full_name)
            if name and isinstance(tag, IfdTag) and not exif_texts.is_block_of_its_own(tag):
                groups.setdefault(group, {})[name] = exif_texts.text(tag, header.raw, header.endian == "I")
        if date is None and _DATE_TAG in header.tags:
            date = dates.date_time(str(header.tags[_DATE_TAG]))
    return groups, date


def _split(full_name: str) -> tuple[str, str]:
    match = _GROUPS_OF_TWO_WORDS.fullmatch(full_name)
    if match:
        return match[1], match[2]
    group, _, name = full_name.partition(" ")
    return group, name


class _Header(ExifHeader):
    """ExifRead's reader of directories, which continues after a damaged one."""

    def __init__(self, file: Window) -> None:
        endian = file.read(1).decode("latin-1")
        super().__init__(cast(BinaryIO, file), endian, 0, 0, strict=False)
        self._directories: set[tuple[str, int]] = set()

    def read(self, name: str) -> None:
        """Reads all directories; the first one is called *name*."""
        try:
            if name == "Image":
                self._guarded("EXIF", self._read_all)
            else:
                self.dump_ifd(self._first_ifd(), name, GPS_TAGS if name == "GPS" else None)
        except TooMuchToRead as error:
            _log.info("EXIF was read only in part: %s", error)

    def raw(self, tag: Any) -> bytes:
        """Returns the bytes of a tag's values."""
        self.file_handle.seek(self.offset + tag.field_offset)
        try:
            return self.file_handle.read(min(tag.field_length, exif_texts.LONGEST_TEXT * 4))
        except TooMuchToRead:
            return b""

    def _read_all(self) -> None:
        offset, seen = self._first_ifd(), set[int]()
        while offset and offset not in seen:
            self.dump_ifd(offset, {0: "Image", 1: "Thumbnail"}.get(len(seen), f"IFD {len(seen)}"))
            seen.add(offset)
            offset = self._next_ifd(offset)
        for offset in self._offsets("Image ExifOffset")[:1]:
            self.dump_ifd(offset, "EXIF")
        for number, offset in enumerate(self._offsets("Image SubIFDs")):
            self.dump_ifd(offset, f"EXIF SubIFD{number}")
        if "EXIF MakerNote" in self.tags and "Image Make" in self.tags:
            self._guarded("maker note", self.decode_maker_note)

    def _offsets(self, name: str) -> list[int]:
        tag = self.tags.get(name)
        return (
            [offset for offset in tag.values if isinstance(offset, int)] if tag and isinstance(tag.values, list) else []
        )

    def dump_ifd(
        self, ifd: int, ifd_name: str, tag_dict: Any = None, relative: int = 0, stop_tag: str = DEFAULT_STOP_TAG
    ) -> None:
        """Reads a directory, once, because directories may form loops. An error affects only the rest of this one."""
        if (ifd_name, ifd) not in self._directories:
            self._directories.add((ifd_name, ifd))
            self._guarded(ifd_name, super().dump_ifd, ifd, ifd_name, tag_dict, relative, stop_tag)

    def _process_tag(self, ifd: int, ifd_name: str, *arguments: Any, **named: Any) -> None:
        if len(self.tags) > _MOST_TAGS:
            raise TooMuchToRead("too many tags")
        self._guarded(ifd_name, super()._process_tag, ifd, ifd_name, *arguments, **named)

    def _process_field(self, tag_name: str, count: int, field_type: int, type_length: int, offset: int) -> list[Any]:
        is_long = tag_name in _LONG_TAGS
        if field_type in _CODES and (0 < count < _LONGEST_ARRAY or is_long):
            self.file_handle.seek(self.offset + offset)
            data = self.file_handle.read(count * type_length)
            if len(data) == count * type_length or is_long:
                return self._numbers(data, FieldType(field_type), type_length)
        return super()._process_field(tag_name, count, field_type, type_length, offset)

    def _numbers(self, data: bytes, field_type: FieldType, type_length: int) -> list[Any]:
        code = struct.Struct(("<" if self.endian == "I" else ">") + _CODES[field_type])
        numbers = [number for (number,) in code.iter_unpack(data[: len(data) - len(data) % type_length])]
        if field_type in RATIO_FIELD_TYPES:
            return [Ratio(*numbers[at : at + 2]) for at in range(0, len(numbers), 2)]
        return numbers

    @staticmethod
    def _guarded(what: str, function: Any, *arguments: Any, **named: Any) -> None:
        try:
            function(*arguments, **named)
        except (AssetError, TooMuchToRead):
            raise  # it concerns the store, or the whole file
        except Exception as error:  # noqa: BLE001 - forged bytes can make ExifRead raise anything
            _log.info("%s cannot be read: %r", what, error)
