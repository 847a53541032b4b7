"""Renders TIFF with libvips: selects the page and interprets its samples by the tags, some of which libvips ignores."""

from collections.abc import Callable
from typing import Any

import pyvips

from assetstore.thumbnails.rendering import libvips_color, libvips_samples, refusals, tiff_planes, tiff_tags
from assetstore.thumbnails.rendering.tiff_tags import Page

#: PhotometricInterpretation -> number of colour bands; libvips converts a palette to red, green and blue.
_COLOR_BANDS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}

_OLD_JPEG, _JPEG = 6, 7

#: PhotometricInterpretation of SGI LogL.
_LOG_L = 32844

#: Values of ExtraSamples: premultiplied alpha and unassociated alpha.
_ASSOCIATED, _UNASSOCIATED = 1, 2

#: The side in pixels of the copy in which the range of values is looked up.
_SAMPLE = 500

#: Pixels count as not square if the resolutions differ by more than the first; more than the second is an error.
_LEAST_STRETCH, _MOST_STRETCH = 1.02, 5.0


def thumbnail(descriptor: int, pages: list[Page], size: int, fail_on: str) -> Any:
    """Returns an image that fits into a square of *size* pixels, in sRGB.

    Parameters:
        descriptor: the open file.
        pages: its directories; empty if they could not be read.
        size: side of the square.
        fail_on: the option of libvips.

    Raises pyvips.Error, Damaged, Refused.
    """
    number = _first_full_page(pages)
    page = pages[number] if pages else Page({})
    _check(page)
    options = _smallest_level(pages, number, size)

    def load() -> Any:
        return _opened(descriptor, page, options, fail_on, "sequential")

    def shrunk(picture: Any) -> tuple[Any, Any]:
        small = _shrunk(picture, size)
        return small, small

    return libvips_color.thumbnail(_interpreted(libvips_samples.loaded(load, page), page, shrunk), size)


def full_page(descriptor: int, page: Page, options: dict[str, int], fail_on: str, access: str) -> Any:
    """Returns a page at its full size, with 8 bits, not yet in sRGB.

    Parameters:
        descriptor: the open file.
        page: its directory.
        options: the options `page` and `subifd` of tiffload.
        fail_on, access: the options of libvips.

    Raises pyvips.Error, Damaged, Refused.
    """
    _check(page)

    def load() -> Any:
        return _opened(descriptor, page, options, fail_on, access)

    def with_sample(picture: Any) -> tuple[Any, Any]:
        same = load().copy(format=picture.format)
        return picture, _shrunk(_without_other_bands(same, page), _SAMPLE)

    return _interpreted(libvips_samples.loaded(load, page), page, with_sample)


def full_pages(pages: list[Page]) -> list[int]:
    """Returns the numbers of the pages that are not previews of others; of the first page if all are."""
    return [number for number, page in enumerate(pages) if not page.is_reduced] or [0]


def levels(pages: list[Page], number: int) -> list[tuple[dict[str, int], Page]]:
    """Returns the versions of a page, itself included, with the options of tiffload that select them; largest first."""
    full = pages[number]
    found = [(options, level) for options, level in _smaller_versions(pages, number) if level.shows_the_same_as(full)]
    smaller = [(options, level) for options, level in found if level.is_reduced and level.longest < full.longest]
    return [({"page": number}, full), *sorted(smaller, key=lambda pair: -pair[1].longest)]


def square_size(page: Page) -> tuple[int, int]:
    """Returns width and height of a page in pixels after pixels that are not square were scaled."""
    width, height = int(page.number(tiff_tags.WIDTH)), int(page.number(tiff_tags.HEIGHT))
    across, down = _stretch(page)
    return max(1, round(width * across)), max(1, round(height * down))


def _check(page: Page) -> None:
    """Raises Damaged for pages that libvips reads wrongly, without an error."""
    if page.number(tiff_tags.COMPRESSION) == _OLD_JPEG:
        raise refusals.damaged("libvips renders some TIFFs with old-style JPEG as white, without an error")


def _opened(descriptor: int, page: Page, options: dict[str, int], fail_on: str, access: str) -> Any:
    """The page as libvips reads it; called again if its pixels must be read for its range of values or sign first."""
    if page.has_unusual_planes:
        return tiff_planes.joined(descriptor, page, fail_on)
    source = pyvips.Source.new_from_descriptor(descriptor)
    return pyvips.Image.tiffload_source(source, access=access, fail_on=fail_on, **options)


def _interpreted(picture: Any, page: Page, prepared: Callable[[Any], tuple[Any, Any]]) -> Any:
    """Converts the samples as the tags say, to 8 bits and square pixels.

    Parameters:
        picture: the page as libvips reads it.
        page: its directory.
        prepared: returns the image to convert, and a small copy of it in which the range of values is looked up.
    """
    picture = _without_other_bands(picture, page)
    if picture.interpretation == "labs":
        picture = picture.extract_band(0, n=3)  # libvips misreads the opacity of Lab
    elif _is_plain_ycbcr(page) and picture.format == "uchar" and picture.bands == 3:
        picture = libvips_samples.from_ycbcr(picture)
    elif picture.interpretation == "xyz":
        picture = picture.colourspace("srgb")  # LogLuv; what is lighter than white becomes white
    elif page.number(tiff_tags.PHOTOMETRIC) == _LOG_L and picture.format == "short":
        picture = libvips_samples.from_log_luminance(picture)
    elif picture.format != "uchar":
        picture = libvips_samples.in_bytes(*prepared(picture), page)
    return _with_square_pixels(picture, page)


def _is_plain_ycbcr(page: Page) -> bool:
    is_ycbcr = page.has_full_chroma or (
        page.has_unusual_planes and page.number(tiff_tags.PHOTOMETRIC) == tiff_tags.YCBCR
    )
    return is_ycbcr and page.number(tiff_tags.COMPRESSION) != _JPEG


def _first_full_page(pages: list[Page]) -> int:
    """The number of the first page that is not a preview of another."""
    return next((number for number, page in enumerate(pages) if not page.is_reduced), 0)


def _smallest_level(pages: list[Page], number: int, size: int) -> dict[str, int]:
    """The options `page` and `subifd` of tiffload for the smallest version of the page that is large enough."""
    if not pages:
        return {"page": 0}
    full = pages[number]
    usable = [
        (level.longest, options)
        for options, level in _smaller_versions(pages, number)
        if level.is_reduced and size <= level.longest < full.longest and level.shows_the_same_as(full)
    ]
    return min(usable, key=lambda pair: pair[0])[1] if usable else {"page": number}


def _smaller_versions(pages: list[Page], number: int) -> list[tuple[dict[str, int], Page]]:
    """The pages and subdirectories that may be smaller versions of a page, with the options that select them."""
    later = [({"page": index}, page) for index, page in enumerate(pages) if page.is_reduced and index > number]
    children = [({"page": number, "subifd": index}, child) for index, child in enumerate(pages[number].children)]
    return later + children


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


def _with_square_pixels(picture: Any, page: Page) -> Any:
    """Scales images of faxes and scanners whose horizontal and vertical resolutions differ."""
    across, down = _stretch(page)
    return picture if across == down else picture.resize(across, vscale=down)


def _stretch(page: Page) -> tuple[float, float]:
    """The factors for width and height that make the pixels square; both 1 if they are."""
    across, down = float(page.number(tiff_tags.X_RESOLUTION)), float(page.number(tiff_tags.Y_RESOLUTION))
    if across <= 0 or down <= 0 or not _LEAST_STRETCH < max(across, down) / min(across, down) < _MOST_STRETCH:
        return 1.0, 1.0
    return (down / across, 1.0) if across > down else (1.0, across / down)
