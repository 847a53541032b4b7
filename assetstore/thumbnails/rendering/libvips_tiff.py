"""Renders TIFF with libvips: selects the page and interprets its samples by the tags, some of which libvips ignores."""

from typing import Any

import pyvips

from assetstore.thumbnails.rendering import libvips_color, refusals, tiff_tags
from assetstore.thumbnails.rendering.tiff_tags import Page

#: PhotometricInterpretation -> number of colour bands; libvips converts a palette to red, green and blue.
_COLOR_BANDS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}

_OLD_JPEG, _JPEG = 6, 7

#: Y, Cb and Cr to red, green and blue.
_BT_601 = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]

#: Values of ExtraSamples: premultiplied alpha and unassociated alpha.
_ASSOCIATED, _UNASSOCIATED = 1, 2

#: The 16-bit format, which libvips inverts itself if 0 is white, and its largest value.
_USHORT, _MOST_SHORT = "ushort", 65535

#: Usual value ranges, if the file does not specify one: microscope cameras deliver 12 bits in 16.
_USUAL_RANGES = (1.0, 255.0, 4095.0, 65535.0)

#: Floating-point images up to 1 often exceed it a little, where light is reflected; those pixels are white.
_MOST_OVEREXPOSED = 2.0

#: Pixels count as not square if the resolutions differ by more than the first; more than the second is an error.
_LEAST_STRETCH, _MOST_STRETCH = 1.02, 5.0


def thumbnail(source: Any, pages: list[Page], size: int, fail_on: str) -> Any:
    """Returns an image that fits into a square of *size* pixels, in sRGB.

    Parameters:
        source: the open file, as a source of libvips.
        pages: its directories; empty if they could not be read.
        size: side of the square.
        fail_on: the option of libvips.

    Raises pyvips.Error, Damaged.
    """
    number = _first_full_page(pages)
    page = pages[number] if pages else Page({})
    if page.number(tiff_tags.COMPRESSION) == _OLD_JPEG:
        raise refusals.damaged("libvips renders some TIFFs with old-style JPEG as white, without an error")
    if page.has_unusual_planes:
        raise refusals.unsupported_planes("libvips would mix up rows and planes, without an error")
    options = _smallest_level(pages, number, size)
    picture = pyvips.Image.tiffload_source(source, access="sequential", fail_on=fail_on, **options)
    picture = _without_other_bands(picture, page)
    if picture.interpretation == "labs":
        picture = picture.extract_band(0, n=3)  # libvips misreads the opacity of Lab
    elif _is_plain_ycbcr(page) and picture.format == "uchar" and picture.bands == 3:
        picture = _from_ycbcr(picture)
    elif picture.format != "uchar":
        picture = _shrunk(picture, size)
        low, high = _range(picture, page)
        if picture.format != _USHORT or high < _MOST_SHORT:
            picture = _in_bytes(picture, page, low, high)
    picture = _with_square_pixels(picture, page)
    return libvips_color.thumbnail(picture, size)


def _is_plain_ycbcr(page: Page) -> bool:
    return page.has_full_chroma and page.number(tiff_tags.COMPRESSION) != _JPEG


def _from_ycbcr(picture: Any) -> Any:
    """Converts by ITU-R BT.601; libvips leaves YCbCr without JPEG or subsampling as it is."""
    return (picture - [0, 128, 128]).recomb(_BT_601).cast("uchar").copy(interpretation="srgb")


def _first_full_page(pages: list[Page]) -> int:
    """The number of the first page that is not a preview of another."""
    return next((number for number, page in enumerate(pages) if not page.is_reduced), 0)


def _smallest_level(pages: list[Page], number: int, size: int) -> dict[str, int]:
    """The options `page` and `subifd` of tiffload for the smallest version of the page that is large enough."""
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
    """Removes bands after the colours, except the first one if it is alpha."""
    colors = _COLOR_BANDS.get(int(page.number(tiff_tags.PHOTOMETRIC, 1)))
    if colors is None or picture.bands != page.number(tiff_tags.SAMPLES, 1) or picture.bands <= colors:
        return picture
    has_alpha = page.number(tiff_tags.EXTRA_SAMPLES) in (_ASSOCIATED, _UNASSOCIATED)
    return picture.extract_band(0, n=colors + has_alpha)


def _shrunk(picture: Any, size: int) -> Any:
    """A smaller copy in memory, because the next steps read it several times."""
    factor = max(1, min(picture.width, picture.height) // (2 * size))
    return picture.shrink(factor, factor).copy_memory()


def _in_bytes(picture: Any, page: Page, low: float, high: float) -> Any:
    """Scales the used range to 0 to 255."""
    scaled = (picture - low) * (255.0 / (high - low))
    if page.number(tiff_tags.PHOTOMETRIC, 1) == 0 and picture.format != _USHORT:
        scaled = 255 - scaled
    kind = "b-w" if picture.bands < 3 else "cmyk" if picture.interpretation == "cmyk" else "srgb"
    return scaled.cast("uchar").copy(interpretation=kind)


def _range(picture: Any, page: Page) -> tuple[float, float]:
    low = float(page.number(tiff_tags.S_MIN_SAMPLE, 0))
    high = float(page.number(tiff_tags.S_MAX_SAMPLE, page.number(tiff_tags.MAX_SAMPLE, 0)))
    if high > low:
        return low, high
    darkest, lightest = picture.min(), picture.max()
    if darkest >= 0:
        if picture.format == "float" and lightest <= _MOST_OVEREXPOSED:
            return 0.0, 1.0
        for usual in _USUAL_RANGES[2:] if picture.format == _USHORT else _USUAL_RANGES:
            if lightest <= usual:
                return 0.0, usual
    return darkest, lightest if lightest > darkest else darkest + 1.0


def _with_square_pixels(picture: Any, page: Page) -> Any:
    """Scales images of faxes and scanners whose horizontal and vertical resolutions differ."""
    across, down = page.number(tiff_tags.X_RESOLUTION), page.number(tiff_tags.Y_RESOLUTION)
    if across <= 0 or down <= 0 or not _LEAST_STRETCH < max(across, down) / min(across, down) < _MOST_STRETCH:
        return picture
    if across > down:
        return picture.resize(down / across, vscale=1.0)
    return picture.resize(1.0, vscale=across / down)
