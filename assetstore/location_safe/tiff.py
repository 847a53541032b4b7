"""Copies of TIFF and BigTIFF files (TIFF 6.0), with all their pages.

The image data stays where it is, and everything else becomes zeros. New directories are written behind it, which have
only the tags of an allow-list, with values of the types and numbers that these tags have. Camera RAW is refused, and so
are compressions whose data may contain metadata of its own, except JPEG, in which it is found and becomes zeros.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from assetstore.location_safe import exif, icc, jpeg, parts, tiff_writing
from assetstore.location_safe.exif import BYTE, LONG, RATIONAL, SHORT, UNDEFINED, Field
from assetstore.location_safe.fields import Kept
from assetstore.location_safe.recipe import CannotClean, Draft, Recipe
from assetstore.location_safe.tiff_writing import SUB_DIRECTORIES, Page, Writer
from assetstore.metadata.containers.tiff import Entry, TiffFile

_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 277, 279, 324, 325
_JPEG_TABLES, _XMP, _PROFILE = 347, 700, 34675
_GPS, _INTEROPERABILITY = 0x8825, 0xA005

#: Tags that only camera RAW has: of DNG, and of colour filters.
_CAMERA_RAW = frozenset((33421, 33422, 50706, 50707, 50711))

_JPEG = 7
#: none, CCITT, LZW, JPEG, Deflate, PackBits, SGI LogLuv, LZMA, Zstandard.
_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, _JPEG, 8, 32771, 32773, 32946, 34676, 34677, 34925, 50000))
_PHOTOMETRICS = frozenset((0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 32844, 32845))

_INTEGERS = {BYTE: "B", SHORT: "H", LONG: "I", 13: "I", 16: "Q", 18: "Q"}

#: The types of values: whole numbers, ratios, and any numbers of at least two bytes.
_WHOLE, _RATIOS = frozenset((SHORT, LONG, 16)), frozenset((RATIONAL, 10, 11, 12))
_ANY = _WHOLE | _RATIOS | {8, 9}

#: Some programs write whole numbers as bytes. More of them could be a text.
_MOST_BYTES = 4

#: The largest numbers of values: for each sample of a pixel, and for tables.
_PER_SAMPLE, _TABLE = 1024, 3 << 16

#: The tags of the image that are copied, with the largest number of their values and their types.
_IMAGE: Mapping[int, tuple[int, frozenset[int]]] = {
    **dict.fromkeys((_SUBFILE_TYPE, 255, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, 263, 264, 265, 266), (1, _WHOLE)),
    **dict.fromkeys((274, _SAMPLES, 278, 284, 290, 292, 293, 296, 317, 322, 323, 332, 334, 531), (1, _WHOLE)),
    **dict.fromkeys((_BITS, 280, 281, 336, 338, 339), (_PER_SAMPLE, _WHOLE)),
    **dict.fromkeys((340, 341), (_PER_SAMPLE, _ANY)),
    **dict.fromkeys((291, 301, 320), (_TABLE, _WHOLE)),
    **{282: (1, _RATIOS), 283: (1, _RATIOS), 297: (2, _WHOLE), 318: (2, _RATIOS), 319: (6, _RATIOS), 321: (2, _WHOLE)},
    **{529: (3, _RATIOS), 530: (2, _WHOLE), 532: (6, _ANY)},
}

#: The tags of which decoders may need more than a copy would have. Others that are damaged are left out.
_DECISIVE = frozenset((*range(254, 260), 262, 266, _SAMPLES, 278, 284, 292, 293, 317, 320, 322, 323, 332, 338, 339))

_MOST_PAGES, _MOST_VALUE_BYTES, _MOST_PROFILE, _DEEPEST = 20_000, 32 << 20, 16 << 20, 3

_Span = tuple[int, int]


def clean(file: BinaryIO, size: int, kept: Kept) -> Recipe:
    """Returns the recipe of a copy. Raises CannotClean, and the errors of damaged files (`blocks.BROKEN`)."""
    reader = _Reader(file, size)
    pages = reader.pages(kept)
    image, other = reader.image, sorted(reader.other)
    _refuse_overlaps(sorted(image), other)
    start = reader.header_bytes
    end = max((last for _, last in image), default=start)
    end += end % 2
    writer = Writer(reader.tiff, end)
    first = writer.chain(pages)
    draft = Draft()
    draft.write(tiff_writing.header(reader.tiff, first))
    draft.lay(start, min(end, size), image)
    draft.fill(end - min(end, size))
    draft.write(bytes(writer.data))
    return draft.recipe()


def _refuse_overlaps(image: Sequence[_Span], other: Sequence[_Span]) -> None:
    """Raises CannotClean if image data would take metadata along."""
    index = 0
    for start, end in image:
        while index < len(other) and other[index][1] <= start:
            index += 1
        if any(first < end for first, _ in other[index : index + 1]):
            raise CannotClean("image data and metadata overlap")


class _Reader:
    """Reads the directories of a file.

    Attributes:
        image: the starts and ends of the image data.
        other: those of everything else that a directory refers to.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.tiff = TiffFile(file)
        self.header_bytes = 16 if self.tiff.is_big else 8
        self.image: list[_Span] = []
        self.other: list[_Span] = [(0, self.header_bytes)]
        self._file, self._size = file, size
        self._seen: set[int] = set()
        self._value_bytes = 0

    def pages(self, kept: Kept) -> list[Page]:
        """Returns all pages; the first one has the XMP packet."""
        pages: list[Page] = []
        offset = self.tiff.first
        while offset:
            xmp = kept.xmp if not pages else None
            page, offset = self._page(offset, xmp, 0)
            pages.append(page)
        if not pages:
            raise CannotClean("there is no image in it")
        return pages

    def _page(self, offset: int, xmp: bytes | None, depth: int) -> tuple[Page, int]:
        entries, following = self._directory(offset)
        by_tag = {entry.tag: entry for entry in reversed(entries)}
        if _CAMERA_RAW & by_tag.keys():
            raise CannotClean("it is camera RAW")
        compression = self._number(by_tag, _COMPRESSION, 1)
        if compression not in _COMPRESSIONS or self._number(by_tag, _PHOTOMETRIC, 0) not in _PHOTOMETRICS:
            raise CannotClean("it is camera RAW, or compressed in a way that may contain metadata")
        fields = [*self._image_fields(by_tag), *self._data_fields(by_tag, compression)]
        fields += [tag for tag in exif.kept(self.tiff, entries, exif.IMAGE) if tag.tag not in _IMAGE]
        fields += self._block_fields(by_tag, xmp)
        page = Page(fields, exif.photo_fields(self.tiff, entries))
        self._note_pointers(entries)
        if SUB_DIRECTORIES in by_tag:
            if depth >= _DEEPEST:
                raise CannotClean("it has too many directories in each other")
            for inner in self._integers(by_tag[SUB_DIRECTORIES]):
                page.inner.append(self._page(inner, None, depth + 1)[0])
        return page, following

    def _directory(self, offset: int) -> tuple[list[Entry], int]:
        if offset in self._seen or len(self._seen) > _MOST_PAGES:
            raise CannotClean("its directories form a loop, or are too many")
        self._seen.add(offset)
        entries, following = self.tiff.directory(offset)
        if not entries:
            raise CannotClean("a directory is empty")
        self._note(offset, entries)
        return entries, following

    def _note(self, offset: int, entries: Sequence[Entry]) -> None:
        """Adds the places of a directory and its values to those that image data may not contain."""
        inline, length = (8, 8 + 20 * len(entries) + 8) if self.tiff.is_big else (4, 2 + 12 * len(entries) + 4)
        self.other.append((offset, offset + length))
        self.other += [(entry.position, entry.position + entry.length) for entry in entries if entry.length > inline]

    def _note_pointers(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.tag in (exif.EXIF_POINTER, _GPS, _INTEROPERABILITY) and entry.type in _INTEGERS:
                for offset in self._integers(entry)[:1]:
                    if offset not in self._seen and 0 < offset < self._size:
                        self._seen.add(offset)
                        try:
                            inner, _ = self.tiff.directory(offset)
                        except (ValueError, struct.error):
                            continue  # damaged, so no reader finds anything there
                        self._note(offset, inner)
                        self._note_pointers(inner)

    def _image_fields(self, by_tag: Mapping[int, Entry]) -> Iterator[Field]:
        for tag, (most, types) in _IMAGE.items():
            entry = by_tag.get(tag)
            if entry is None:
                continue
            is_bytes = entry.type == BYTE and SHORT in types and entry.count <= _MOST_BYTES
            if (entry.type in types or is_bytes) and 0 < entry.count <= most:
                yield Field(tag, entry.type, entry.count, self._value(entry))
            elif tag in _DECISIVE:
                raise CannotClean("a tag of the image is damaged")

    def _data_fields(self, by_tag: Mapping[int, Entry], compression: int) -> Iterator[Field]:
        """Yields the places of the image data, and adds these to `image`."""
        is_found = False
        for offsets_tag, lengths_tag in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
            if offsets_tag not in by_tag:
                continue
            is_found, entry = True, by_tag[offsets_tag]
            offsets, lengths = self._integers(entry), self._lengths(by_tag, lengths_tag, compression)
            if len(offsets) > len(lengths):
                raise CannotClean("the lengths of the image data are missing")
            for offset, length in zip(offsets, lengths, strict=False):
                self._add_image(offset, length, compression)
            yield Field(offsets_tag, entry.type, entry.count, self._value(entry))
            if lengths_tag in by_tag:
                found = by_tag[lengths_tag]
                yield Field(lengths_tag, found.type, found.count, self._value(found))
        if not is_found:
            raise CannotClean("a directory has no image")

    def _add_image(self, offset: int, length: int, compression: int) -> None:
        end = min(offset + length, self._size)
        if offset >= end:
            return
        start = offset
        if compression == _JPEG:
            for first, last in jpeg.unsafe_parts(self._file, offset, end):
                self.image.append((start, first))
                self.other.append((first, last))
                start = last
        self.image.append((start, end))

    def _lengths(self, by_tag: Mapping[int, Entry], tag: int, compression: int) -> list[int]:
        if tag in by_tag:
            return self._integers(by_tag[tag])
        if compression != 1 or _BITS not in by_tag or tag != _STRIP_BYTES:
            return []
        # Some old programs write one uncompressed strip without its length.
        bits = self._integers(by_tag[_BITS])
        row = (self._number(by_tag, _WIDTH, 0) * bits[0] * self._number(by_tag, _SAMPLES, 1) + 7) // 8
        return [row * self._number(by_tag, _HEIGHT, 0)]

    def _block_fields(self, by_tag: Mapping[int, Entry], xmp: bytes | None) -> Iterator[Field]:
        if _PROFILE in by_tag and 0 < by_tag[_PROFILE].length <= _MOST_PROFILE:
            profile = icc.clean(self._value(by_tag[_PROFILE]))
            if profile is not None:
                yield Field(_PROFILE, UNDEFINED, len(profile), profile)
        if _JPEG_TABLES in by_tag:
            tables = by_tag[_JPEG_TABLES]
            if jpeg.unsafe_parts(self._file, tables.position, tables.position + tables.length):
                raise CannotClean("its JPEG tables contain other data")
            yield Field(_JPEG_TABLES, UNDEFINED, tables.length, self._value(tables))
        if xmp is not None:
            yield Field(_XMP, BYTE, len(xmp), xmp)

    def _value(self, entry: Entry) -> bytes:
        self._value_bytes += entry.length
        if self._value_bytes > _MOST_VALUE_BYTES:
            raise CannotClean("its directories are too large")
        return parts.read(self._file, entry.position, entry.length)

    def _integers(self, entry: Entry) -> list[int]:
        code = _INTEGERS.get(entry.type)
        if code is None:
            raise CannotClean("a number has another type")
        return list(struct.unpack(f"{self.tiff.order}{entry.count}{code}", self._value(entry)))

    def _number(self, by_tag: Mapping[int, Entry], tag: int, default: int) -> int:
        return self._integers(by_tag[tag])[0] if tag in by_tag and by_tag[tag].count else default
