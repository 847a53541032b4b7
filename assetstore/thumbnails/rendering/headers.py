"""Reads the headers of JPEG, PNG and GIF files, without changing the position of the open file."""

import os
from dataclasses import dataclass

#: Markers of a start of frame: baseline, progressive and others. C4, C8 and CC have other meanings.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

#: Frames that cannot be decoded at a reduced size.
_LOSSLESS = frozenset((0xC3, 0xC7, 0xCB, 0xCF))

#: Frames that are decoded row by row: baseline and extended sequential.
_IN_ROWS = frozenset((0xC0, 0xC1))

#: The segment that contains colour profiles, among other data.
_APP2 = 0xE2

#: Only forged files have more segments than this before the image.
_MOST_SEGMENTS = 10_000

#: The largest number of fill bytes before a marker.
_LONGEST_FILLING = 64


def png_dimensions(descriptor: int) -> tuple[int, int]:
    """Returns width and height in pixels, or (0, 0) if there are none (PNG specification, 11.2.1)."""
    head = os.pread(descriptor, 24, 0)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@dataclass(frozen=True)
class JpegHeader:
    """The contents of the segments before the image data of a JPEG; zeros if they cannot be read."""

    width: int = 0
    height: int = 0
    has_profile: bool = False
    is_lossless: bool = False
    is_progressive: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it was read and contains no colour profile."""
        return self.width > 0 and not self.has_profile


def jpeg_header(descriptor: int) -> JpegHeader:
    """Reads the segments up to the start of the frame (ITU-T T.81, annex B)."""
    position, has_profile = 2, False
    for _ in range(_MOST_SEGMENTS):
        data = os.pread(descriptor, _LONGEST_FILLING, position)
        filling = len(data) - len(data.lstrip(b"\xff"))
        segment = data[filling : filling + 12]
        if filling == 0 or len(segment) < 9:
            break
        if segment[0] in _FRAMES:
            height, width = int.from_bytes(segment[4:6], "big"), int.from_bytes(segment[6:8], "big")
            return JpegHeader(width, height, has_profile, segment[0] in _LOSSLESS, segment[0] not in _IN_ROWS)
        has_profile = has_profile or (segment[0] == _APP2 and segment[3:].startswith(b"ICC_PROFI"))
        position += filling + 1 + int.from_bytes(segment[1:3], "big")
    return JpegHeader()


@dataclass(frozen=True)
class GifFrame:
    """The position and size of a GIF's first frame on its canvas, in pixels."""

    canvas_width: int
    canvas_height: int
    left: int
    top: int
    width: int
    height: int

    @property
    def covers_canvas(self) -> bool:
        """Whether the frame covers the whole canvas."""
        is_at_origin = self.left == 0 and self.top == 0
        return is_at_origin and self.width >= self.canvas_width and self.height >= self.canvas_height


def gif_first_frame(descriptor: int) -> GifFrame | None:
    """Reads the first image descriptor (GIF89a, section 20); None if there is none."""
    head = os.pread(descriptor, 13, 0)
    if len(head) < 13:
        return None
    position = 13 + (3 << (head[10] & 7) + 1 if head[10] & 0x80 else 0)
    for _ in range(_MOST_SEGMENTS):
        block = os.pread(descriptor, 10, position)
        if block[:1] == b"," and len(block) == 10:
            numbers = [int.from_bytes(part, "little") for part in (head[6:8], head[8:10])]
            numbers += [int.from_bytes(block[at : at + 2], "little") for at in (1, 3, 5, 7)]
            return GifFrame(*numbers)
        if block[:1] != b"!":
            return None
        position += 2
        while length := int.from_bytes(os.pread(descriptor, 1, position)):
            position += 1 + length
        position += 1
    return None
