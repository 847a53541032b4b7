"""Opens a page of an original at its full size, in sRGB, as its pixels are stored: for pyramids and their parts.

libvips reads the formats of `libvips.LOADERS`. All other formats are first rendered as an upright PNG by the engines
for thumbnails (`assetstore.thumbnails.rendering.zooming`).
"""

import itertools
from typing import Any

import pyvips

from assetstore.thumbnails.rendering import (
    headers,
    libvips,
    libvips_color,
    libvips_tiff,
    orientation,
    pixels,
    refusals,
    tiff_tags,
)
from assetstore.thumbnails.rendering.job import Limits

#: The size at which SVG is drawn: its longer side in pixels.
_SVG_SIDE = 4096

#: TIFF that libvips reads in parts as it is: the compressions and colours of tiled scans.
_COMPRESSIONS, _PLAIN, _RGB, _YCBCR, _JPEG = (1, 5, 7, 8, 32773, 32946), (1, 2), 2, 6, 7


def open_page(decoder: str, descriptor: int, number: int, limits: Limits, fail_on: str, *, shrink: int = 1) -> Any:
    """Returns a page as an image of libvips that is read from top to bottom.

    Parameters:
        decoder: format of the file, one of `libvips.LOADERS`.
        descriptor: the open file.
        number: of the page, from 0.
        limits: the memory limit.
        fail_on: the option of libvips.
        shrink: the factor, 1 to 8, by which a JPEG is reduced.

    Raises pyvips.Error, Damaged, Refused.
    """
    if decoder == "tiff":
        pages = tiff_tags.read_pages(descriptor)
        if number >= len(pages):
            raise refusals.damaged(f"there is no page {number}")
        return open_level(descriptor, pages[number], {"page": number}, fail_on, access="sequential")
    picture = open_header(decoder, descriptor, fail_on, **({"shrink": shrink} if shrink > 1 else {}))
    if not is_streamed(decoder, descriptor, picture):
        pixels.check(picture.width, picture.height, limits)
    picture = libvips_color.in_srgb(picture)
    if decoder == "gif":
        return libvips.uncovered_is_transparent(picture, headers.gif_first_frame(descriptor))
    return picture


def open_level(
    descriptor: int, page: tiff_tags.Page, options: dict[str, int], fail_on: str, *, access: str = "random"
) -> Any:
    """Returns a version of a page of a TIFF that *options* of tiffload select. Raises pyvips.Error, Damaged."""
    return libvips_color.in_srgb(libvips_tiff.full_page(descriptor, page, options, fail_on, access))


def open_header(decoder: str, descriptor: int, fail_on: str = libvips.LENIENT, **options: float) -> Any:
    """Returns the image as libvips reads it, SVG at a large size; only its header is read yet. Raises pyvips.Error."""
    if decoder == "svg":
        header = _load(descriptor, fail_on)
        options = {"scale": _SVG_SIDE / max(header.width, header.height, 1)}
    return _load(descriptor, fail_on, **options)


def _load(descriptor: int, fail_on: str, **options: float) -> Any:
    source = pyvips.Source.new_from_descriptor(descriptor)
    return pyvips.Image.new_from_source(source, "", access="sequential", fail_on=fail_on, **options)


def stored_orientation(picture: Any) -> int:
    """Returns the orientation of an image of libvips."""
    return orientation.known(picture.get("orientation")) if picture.get_typeof("orientation") else 1


def is_streamed(decoder: str, descriptor: int, picture: Any) -> bool:
    """Whether the image is never in memory as a whole, however large it is."""
    if decoder == "jpeg":
        return not headers.jpeg_header(descriptor).is_progressive
    if decoder == "png":
        return not picture.get_typeof("interlaced")
    return decoder in ("tiff", "svg")


def is_quick_tiff(pages: list[tiff_tags.Page], number: int) -> bool:
    """Whether every part of a page can be read directly: tiled, with levels down to a small one, in usual colours."""
    levels = [page for _, page in libvips_tiff.levels(pages, number)]
    is_dense = all(larger.longest <= 4.5 * smaller.longest for larger, smaller in itertools.pairwise(levels))
    return levels[-1].longest <= 2048 and is_dense and all(map(_is_plain_and_tiled, levels))


def _is_plain_and_tiled(page: tiff_tags.Page) -> bool:
    compression, photometric = page.number(tiff_tags.COMPRESSION, 1), page.number(tiff_tags.PHOTOMETRIC, -1)
    return (
        tiff_tags.TILE_WIDTH in page.tags
        and compression in _COMPRESSIONS
        and (photometric in _PLAIN or (photometric == _YCBCR and compression == _JPEG))
        and set(page.tags.get(tiff_tags.BITS, ())) == {8}
        and page.number(tiff_tags.SAMPLES, 1) in (1, 3)
        and page.number(tiff_tags.PLANAR, 1) == 1
        and page.number(tiff_tags.SAMPLE_FORMAT, 1) == 1
        and libvips_tiff.square_size(page)[0] == page.number(tiff_tags.WIDTH)
        and libvips_tiff.square_size(page)[1] == page.number(tiff_tags.HEIGHT)
    )
