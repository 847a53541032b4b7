"""TIFF by libvips: which page, and what its numbers mean. The tags say so; libvips asks for some of them only."""

from typing import Any

import pyvips

from assetstore.thumbnails.rendering import libvips_color, refusals, tiff_tags
from assetstore.thumbnails.rendering.tiff_tags import Page

#: PhotometricInterpretation -> how many bands have the colour; a palette becomes red, green and blue.
_COLOR_BANDS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}

_OLD_JPEG = 6

#: Values of ExtraSamples: opacity by which the colours are multiplied already, and opacity beside them.
_ASSOCIATED, _UNASSOCIATED = 1, 2

#: The format of 16 bits, which libvips turns if the least is white, and its greatest number.
_USHORT, _MOST_SHORT = "ushort", 65535

#: The ranges that pixels are known to use, if the file does not say: cameras of microscopes deliver 12 bits in 16.
_USUAL_RANGES = (1.0, 255.0, 4095.0, 65535.0)

#: Resolutions that differ by more than this are a mistake.
_LEAST_STRETCH, _MOST_STRETCH = 1.02, 5.0


def thumbnail(source: Any, pages: list[Page], size: int, fail_on: str) -> Any:
    """Returns a picture that fits into a square of *size* pixels, in sRGB.

    Parameters:
        source: the open file, for libvips.
        pages: its directories; empty if they could not be read.
        size: of the square.
        fail_on: what libvips is to fail on.

    Raises pyvips.Error, Damaged.
    """
    number = _first_full_page(pages)
    page = pages[number] if pages else Page({})
    if page.number(tiff_tags.COMPRESSION) == _OLD_JPEG:
        raise refusals.damaged("libvips draws some TIFFs with old-style JPEG white, and does not say so")
    options = _smallest_level(pages, number, size)
    picture = pyvips.Image.tiffload_source(source, access="sequential", fail_on=fail_on, **options)
    picture = _without_other_bands(picture, page)
    if picture.format != "uchar":
        picture = _shrunk(picture, size)
        low, high = _range(picture, page)
        if picture.format != _USHORT or high < _MOST_SHORT:
            picture = _in_bytes(picture, page, low, high)
    picture = _with_square_pixels(picture, page)
    return libvips_color.thumbnail(picture, size)


def _first_full_page(pages: list[Page]) -> int:
    """The first page that is no preview of another."""
    return next((number for number, page in enumerate(pages) if not page.is_reduced), 0)


def _smallest_level(pages: list[Page], number: int, size: int) -> dict[str, int]:
    """Where the smallest version of the page is that is large enough: tiffload's options `page` and `subifd`."""
    if not pages:
        return {"page": 0}
    full = pages[number]
    levels = [({"page": index}, page) for index, page in enumerate(pages) if page.is_reduced and index > number]
    levels += [({"page": number, "subifd": index}, child) for index, child in enumerate(full.children)]
    usable = [
        (level.longest, options)
        for options, level in levels
        if level.is_reduced and size <= level.longest < full.longest and level.shows_the_same_as(full)
    ]
    return min(usable, key=lambda pair: pair[0])[1] if usable else {"page": number}


def _without_other_bands(picture: Any, page: Page) -> Any:
    """Leaves the colours, and the band after them only if the file says that it is opacity."""
    colors = _COLOR_BANDS.get(int(page.number(tiff_tags.PHOTOMETRIC, 1)))
    if colors is None or picture.bands != page.number(tiff_tags.SAMPLES, 1) or picture.bands <= colors:
        return picture
    kind = page.number(tiff_tags.EXTRA_SAMPLES)
    kept = picture.extract_band(0, n=colors + (kind in (_ASSOCIATED, _UNASSOCIATED)))
    if kind == _ASSOCIATED and kept.format in ("uchar", "ushort"):
        return kept.unpremultiply().cast(kept.format)
    return kept


def _shrunk(picture: Any, size: int) -> Any:
    """A smaller version in memory, for several passes."""
    factor = max(1, min(picture.width, picture.height) // (2 * size))
    return picture.shrink(factor, factor).copy_memory()


def _in_bytes(picture: Any, page: Page, low: float, high: float) -> Any:
    """Scales the range that is used to 0 to 255."""
    scaled = (picture - low) * (255.0 / (high - low))
    if page.number(tiff_tags.PHOTOMETRIC, 1) == 0 and picture.format != _USHORT:
        scaled = 255 - scaled
    kind = "srgb" if picture.bands >= 3 else "b-w"
    return scaled.cast("uchar").copy(interpretation=kind)


def _range(picture: Any, page: Page) -> tuple[float, float]:
    low = float(page.number(tiff_tags.S_MIN_SAMPLE, 0))
    high = float(page.number(tiff_tags.S_MAX_SAMPLE, page.number(tiff_tags.MAX_SAMPLE, 0)))
    if high > low:
        return low, high
    darkest, lightest = picture.min(), picture.max()
    if darkest >= 0:
        for usual in _USUAL_RANGES[2:] if picture.format == _USHORT else _USUAL_RANGES:
            if lightest <= usual:
                return 0.0, usual
    return darkest, lightest if lightest > darkest else darkest + 1.0


def _with_square_pixels(picture: Any, page: Page) -> Any:
    """Faxes and some scanners have other resolutions across than down."""
    across, down = page.number(tiff_tags.X_RESOLUTION), page.number(tiff_tags.Y_RESOLUTION)
    if across <= 0 or down <= 0 or not _LEAST_STRETCH < max(across, down) / min(across, down) < _MOST_STRETCH:
        return picture
    if across > down:
        return picture.resize(down / across, vscale=1.0)
    return picture.resize(1.0, vscale=across / down)
