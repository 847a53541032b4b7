"""How many pixels a picture may have: asked of its header, before anything is decoded."""

from assetstore.thumbnails.rendering import refusals
from assetstore.thumbnails.rendering.job import Limits

#: Red, green, blue and opacity, 16 bit each.
_BYTES_PER_PIXEL = 8

#: Of pictures that are decoded strip by strip, or at a part of their size, memory holds only a part.
_STREAMED = 8

_LONGEST_SIDE = 100_000


def check(width: int, height: int, limits: Limits, *, is_streamed: bool = False) -> None:
    """Raises Refused if a picture has too many pixels, Damaged if it has none.

    Parameters:
        width, height: in pixels.
        limits: of memory.
        is_streamed: the engine never holds the whole picture.
    """
    if width < 1 or height < 1:
        raise refusals.damaged(f"{width} x {height} pixels")
    most = 2 * (limits.megabytes << 20) // _BYTES_PER_PIXEL * (_STREAMED if is_streamed else 1)
    if width * height > most or max(width, height) > _LONGEST_SIDE:
        raise refusals.too_large(f"{width} x {height} pixels")
