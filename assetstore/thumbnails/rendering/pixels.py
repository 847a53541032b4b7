"""Limits the number of pixels, which is known from the header, before anything is decoded."""

from assetstore.thumbnails.rendering import refusals
from assetstore.thumbnails.rendering.job import Limits

#: Red, green, blue and alpha, 16 bits each.
_BYTES_PER_PIXEL = 8

#: Factor for images that are decoded strip by strip or at a reduced size, and are never in memory completely.
_STREAMED = 8

_LONGEST_SIDE = 100_000


def check(width: int, height: int, limits: Limits, *, is_streamed: bool = False) -> None:
    """Raises Refused if an image has too many pixels, Damaged if it has none.

    Parameters:
        width, height: in pixels.
        limits: the memory limit.
        is_streamed: the engine never has the whole image in memory.
    """
    if width < 1 or height < 1:
        raise refusals.damaged(f"{width} x {height} pixels")
    most = 2 * (limits.megabytes << 20) // _BYTES_PER_PIXEL * (_STREAMED if is_streamed else 1)
    if width * height > most or max(width, height) > _LONGEST_SIDE:
        raise refusals.too_large(f"{width} x {height} pixels")
