"""Reads the tags of a TIFF file that define the meaning of its samples; libraries ignore some of them.

Layout: TIFF 6.0, section 2; BigTIFF has 8 bytes where TIFF has 4. Invalid entries are left out; the decoder determines
whether the file is damaged.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
SAMPLES, MAX_SAMPLE, X_RESOLUTION, Y_RESOLUTION, PLANAR, SUB_IFDS, EXTRA_SAMPLES = 277, 281, 282, 283, 284, 330, 338
FILL_ORDER, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_LENGTHS, PREDICTOR = 266, 273, 278, 279, 317
ORIENTATION, TILE_WIDTH = 274, 322
SAMPLE_FORMAT, S_MIN_SAMPLE, S_MAX_SAMPLE, YCBCR_SUBSAMPLING, DNG_VERSION = 339, 340, 341, 530, 50706

#: PhotometricInterpretation of a camera's raw data.
COLOR_FILTER_ARRAY = 32803

#: PlanarConfiguration of one plane per sample; the usual values of PhotometricInterpretation then: RGB, CMYK, Lab.
_SEPARATE, _USUAL_IN_PLANES = 2, (2, 5, 8)

#: PhotometricInterpretation of YCbCr, and its subsampling if each pixel has its own chroma.
YCBCR, FULL_CHROMA = 6, (1, 1)

#: The tags in use; others are not read, because they may be long.
_WANTED = frozenset(
    (
        FILL_ORDER,
        STRIP_OFFSETS,
        ROWS_PER_STRIP,
        STRIP_LENGTHS,
        PREDICTOR,
        ORIENTATION,
        TILE_WIDTH,
        SUBFILE_TYPE,
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        SAMPLES,
        MAX_SAMPLE,
        X_RESOLUTION,
        Y_RESOLUTION,
    )
) | {PLANAR, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, S_MIN_SAMPLE, S_MAX_SAMPLE, YCBCR_SUBSAMPLING, DNG_VERSION}

#: Type -> code of `struct`; rationals are two numbers.
_TYPES = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i"}
_TYPES |= {10: "ii", 11: "f", 12: "d", 13: "I", 16: "Q", 18: "Q"}
_RATIONALS = (5, 10)

#: Limits of pages, tags of a page, and values of a tag that are read.
_MOST_PAGES, _MOST_TAGS, _MOST_VALUES = 64, 4096, 64

#: Strips of a page that are read.
MOST_STRIPS = 4096

Number = int | float


@dataclass(frozen=True)
class Page:
    """One directory: its tags, and the directories that belong to it (previews, pyramid levels, raw data)."""

    tags: dict[int, tuple[Number, ...]]
    children: tuple["Page", ...] = field(default=())

    def number(self, tag: int, default: Number = 0) -> Number:
        """Returns the first value of a tag."""
        return self.tags.get(tag, (default,))[0]

    @property
    def longest(self) -> Number:
        """The longer side in pixels."""
        return max(self.number(WIDTH), self.number(HEIGHT))

    @property
    def is_reduced(self) -> bool:
        """Whether it is a smaller version of another page."""
        return bool(int(self.number(SUBFILE_TYPE)) & 1)

    def shows_the_same_as(self, other: "Page") -> bool:
        """Whether both have the same aspect ratio, allowing for rounding."""
        one = self.number(WIDTH) * other.number(HEIGHT)
        return abs(one - other.number(WIDTH) * self.number(HEIGHT)) <= max(other.longest, 1)

    @property
    def is_uncompressed(self) -> bool:
        """Whether the samples are stored as they are."""
        return self.number(COMPRESSION, 1) == 1

    @property
    def has_rare_compression(self) -> bool:
        """Whether few libraries support the compression."""
        return int(self.number(COMPRESSION)) in _RARE

    @property
    def has_unusual_planes(self) -> bool:
        """Whether each sample has its own plane, in a colour space that libraries read wrongly then."""
        is_separate = self.number(PLANAR) == _SEPARATE and self.number(SAMPLES, 1) > 1
        return is_separate and self.number(PHOTOMETRIC) not in _USUAL_IN_PLANES

    @property
    def has_full_chroma(self) -> bool:
        """Whether it is YCbCr with luminance and chroma for each pixel; ImageMagick also reads this in planes."""
        return self.number(PHOTOMETRIC) == YCBCR and self.tags.get(YCBCR_SUBSAMPLING) == FULL_CHROMA

    @property
    def is_camera_raw(self) -> bool:
        """Whether the page comes from a camera's sensor: DNG, NEF, ARW and the like are TIFFs."""
        raw = (self, *self.children)
        return DNG_VERSION in self.tags or any(page.number(PHOTOMETRIC) == COLOR_FILTER_ARRAY for page in raw)


def read_pages(descriptor: int) -> list[Page]:
    """Returns the pages of an open TIFF file, as far as they can be read."""
    return _reader(descriptor).pages()


def _reader(descriptor: int) -> "_Reader":
    size = os.fstat(descriptor).st_size
    # BigTIFF offsets can be larger than pread accepts.
    return _Reader(lambda length, offset: os.pread(descriptor, length, offset) if offset < size else b"")


def has_more_pages(descriptor: int) -> bool:
    """Returns whether an open TIFF file has more pages than `read_pages` reads."""
    reader = _reader(descriptor)
    return len(reader.pages()) == _MOST_PAGES and reader.next != 0


def first_page(descriptor: int) -> Page:
    """Returns the first page of an open TIFF file, without tags if it cannot be read."""
    return next(iter(read_pages(descriptor)), Page({}))


class _Reader:
    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        head = read(16, 0)
        self._order = ">" if head[:2] == b"MM" else "<"
        self._is_big = head[2:4] in (b"+\0", b"\0+")
        self._seen: set[int] = set()
        pointer = head[8:16] if self._is_big else head[4:8]
        self._first = self.next = self._number(pointer)

    def pages(self) -> list[Page]:
        found: list[Page] = []
        offset = self._first
        while offset and len(found) < _MOST_PAGES:
            page, offset = self._page(offset, with_children=True)
            if page is None:
                break
            found.append(page)
        self.next = offset
        return found

    def _page(self, offset: int, *, with_children: bool) -> tuple[Page | None, int]:
        """The directory at *offset*, and the offset of the next one."""
        count_length, entry_length, pointer_length = (8, 20, 8) if self._is_big else (2, 12, 4)
        count = self._number(self._read(count_length, offset))
        if offset in self._seen or not 0 < count <= _MOST_TAGS:
            return None, 0
        self._seen.add(offset)
        data = self._read(count * entry_length + pointer_length, offset + count_length)
        tags: dict[int, tuple[Number, ...]] = {}
        for at in range(0, min(count * entry_length, len(data) - entry_length + 1), entry_length):
            self._add(tags, data[at : at + entry_length])
        children: list[Page] = []
        for child in tags.get(SUB_IFDS, ()) if with_children else ():
            if not isinstance(child, int) or child < 0:
                continue  # no offset at all
            page, _ = self._page(child, with_children=False)
            children += [] if page is None else [page]
        return Page(tags, tuple(children)), self._number(data[count * entry_length :][:pointer_length])

    def _add(self, tags: dict[int, tuple[Number, ...]], entry: bytes) -> None:
        tag, kind = struct.unpack(f"{self._order}HH", entry[:4])
        code = _TYPES.get(kind)
        if tag not in _WANTED or code is None:
            return
        most = MOST_STRIPS if tag in (STRIP_OFFSETS, STRIP_LENGTHS) else _MOST_VALUES
        count = min(self._number(entry[4:12] if self._is_big else entry[4:8]), most)
        value = entry[12:] if self._is_big else entry[8:]
        length = struct.calcsize(f"{self._order}{code * count}")
        if length > len(value):
            value = self._read(length, self._number(value))
        if count == 0 or len(value) < length:
            return
        numbers = struct.unpack(f"{self._order}{code * count}", value[:length])
        if kind in _RATIONALS:
            numbers = tuple(a / b if b else 0 for a, b in zip(numbers[::2], numbers[1::2], strict=True))
        tags[tag] = numbers

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "big" if self._order == ">" else "little")


#: Compressions that libtiff can support, but that most builds leave out.
_RARE = {
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34715: "JBIG2",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    32809: "ThunderScan",
    32766: "NeXT",
}


def unsupported_compression(descriptor: int) -> str | None:
    """Returns the name of the first page's compression if few libraries support it, else None."""
    pages = read_pages(descriptor)
    return _RARE.get(int(pages[0].number(COMPRESSION))) if pages else None
