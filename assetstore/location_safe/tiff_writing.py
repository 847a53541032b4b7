"""Writes the directories of TIFF and BigTIFF files."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from assetstore.location_safe import exif
from assetstore.location_safe.exif import LONG, Field
from assetstore.location_safe.recipe import CannotClean
from assetstore.metadata.containers.tiff import TiffFile

SUB_DIRECTORIES = 330

_LONG8 = 16


@dataclass
class Page:
    """A directory of the copy.

    Fields:
        fields: its tags, except pointers to other directories.
        photo: the tags of its EXIF directory.
        inner: its other directories (SubIFDs): images of other resolutions.
    """

    fields: list[Field]
    photo: list[Field]
    inner: "list[Page]" = field(default_factory=list)


def header(tiff: TiffFile, first: int) -> bytes:
    """Returns the header of a file of the same kind, whose first directory is at *first*."""
    mark = b"II" if tiff.order == "<" else b"MM"
    return (
        mark + struct.pack(f"{tiff.order}HHHQ", 43, 8, 0, first)
        if tiff.is_big
        else mark + struct.pack(f"{tiff.order}HI", 42, first)
    )


class Writer:
    """Writes directories and their values.

    Parameters:
        tiff: the original, for its byte order and kind.
        start: the position in the copy of the first byte that is written.
    """

    def __init__(self, tiff: TiffFile, start: int) -> None:
        self.data = bytearray()
        self._start = start
        self._order = tiff.order
        self._pointer, self._pointer_type, self._count = ("Q", _LONG8, "Q") if tiff.is_big else ("I", LONG, "H")
        self._width = 8 if tiff.is_big else 4

    def chain(self, pages: Sequence[Page]) -> int:
        """Writes pages that follow each other; returns the position of the first one. Raises CannotClean."""
        following = 0
        for page in reversed(pages):
            following = self._page(page, following)
        return following

    def _page(self, page: Page, following: int) -> int:
        fields = list(page.fields)
        if page.photo:
            fields.append(self._pointers(exif.EXIF_POINTER, [self._directory(page.photo, 0)]))
        if page.inner:
            fields.append(self._pointers(SUB_DIRECTORIES, [self._page(inner, 0) for inner in page.inner]))
        return self._directory(fields, following)

    def _pointers(self, tag: int, positions: Sequence[int]) -> Field:
        data = struct.pack(f"{self._order}{len(positions)}{self._pointer}", *positions)
        return Field(tag, self._pointer_type, len(positions), data)

    def _directory(self, fields: Sequence[Field], following: int) -> int:
        rows = []
        for tag, type, count, data in sorted(fields):
            value = data.ljust(self._width, b"\0")
            if len(data) > self._width:
                value = self._packed(self._put(data))
            rows.append(struct.pack(f"{self._order}HH{self._pointer}", tag, type, count) + value)
        head = struct.pack(f"{self._order}{self._count}", len(rows))
        return self._put(head + b"".join(rows) + self._packed(following))

    def _packed(self, position: int) -> bytes:
        return struct.pack(f"{self._order}{self._pointer}", position)

    def _put(self, data: bytes) -> int:
        position = self._start + len(self.data)
        if self._width == 4 and position + len(data) > 0xFFFFFFFF:
            raise CannotClean("it is too large for a classic TIFF")
        self.data += data + bytes(len(data) % 2)
        return position
