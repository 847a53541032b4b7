"""rendering.pixels: images that are too large, or have no pixels, are refused before they are decoded."""

import pytest

from assetstore.thumbnails.rendering import pixels, refusals
from assetstore.thumbnails.rendering.job import Limits

#: The limits of 64 MB allow 16 million pixels.
LIMITS, MOST = Limits(30, 64), 16 << 20


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (0, 0), (-1, 10), (10, -1)])
def test_an_image_without_pixels_is_damaged(width: int, height: int) -> None:
    with pytest.raises(refusals.Damaged):
        pixels.check(width, height, LIMITS)


@pytest.mark.parametrize(("is_streamed", "most"), [(False, MOST), (True, 8 * MOST)])
def test_the_number_of_pixels_is_limited(is_streamed: bool, most: int) -> None:
    pixels.check(1, 1, LIMITS, is_streamed=is_streamed)
    pixels.check(most // 4096, 4096, LIMITS, is_streamed=is_streamed)
    with pytest.raises(refusals.Refused, match="too large"):
        pixels.check(most // 4096 + 1, 4096, LIMITS, is_streamed=is_streamed)


@pytest.mark.parametrize("is_high", [False, True])
def test_the_longest_side_is_limited(is_high: bool) -> None:
    def check(long: int) -> None:
        pixels.check(*((1, long) if is_high else (long, 1)), LIMITS)

    check(100_000)
    with pytest.raises(refusals.Refused, match="too large"):
        check(100_001)
