"""The dimensions of JPEG and PNG files, from their first bytes, for an open file that others read, too."""

import os

#: Start of frame: baseline, progressive and the rest; C4, C8 and CC mean other things.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

#: More segments than this before the picture have a purpose of their own.
_MOST_SEGMENTS = 10_000

#: Bytes that may fill the space before a marker.
_LONGEST_FILLING = 64


def png_dimensions(descriptor: int) -> tuple[int, int]:
    """Returns width and height in pixels, (0, 0) if there are none (PNG specification, 11.2.1)."""
    head = os.pread(descriptor, 24, 0)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def jpeg_dimensions(descriptor: int) -> tuple[int, int]:
    """Returns width and height in pixels, (0, 0) if they cannot be found (ITU-T T.81, annex B)."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        data = os.pread(descriptor, _LONGEST_FILLING, position)
        filling = len(data) - len(data.lstrip(b"\xff"))
        segment = data[filling : filling + 9]
        if filling == 0 or len(segment) < 9:
            break
        if segment[0] in _FRAMES:
            return int.from_bytes(segment[6:8], "big"), int.from_bytes(segment[4:6], "big")
        position += filling + 1 + int.from_bytes(segment[1:3], "big")
    return 0, 0
