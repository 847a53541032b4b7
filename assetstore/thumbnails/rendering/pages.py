"""Describes the pages of an original by its headers: size, orientation, and whether parts of them require a pyramid."""

import json

import pyvips

from assetstore.errors import Unavailable
from assetstore.thumbnails.rendering import (
    engines,
    full_pages,
    libvips,
    libvips_tiff,
    orientation,
    output,
    pillow,
    refusals,
    tiff_tags,
)
from assetstore.thumbnails.rendering.job import Page, PagesJob

#: Up to how many pixels each part is rendered from the whole original. JPEG is decoded fastest.
_DIRECT_PIXELS, _DIRECT_JPEG_PIXELS = 1_000_000, 4_000_000


def describe(job: PagesJob) -> str:
    """Writes the pages of an original, and whether the file has more, to the target, as JSON; returns an empty note.

    Raises Damaged, Refused, Unavailable.
    """
    try:
        pages = _pages(job)
    except pyvips.Error as error:
        pages = [_by_pillow(job, f"libvips: {error}")]
    if any(page.width < 1 or page.height < 1 for page in pages):
        raise refusals.damaged(f"pages without pixels: {pages}")
    output.write(job.target, json.dumps({"pages": pages, "has_more": _has_more(job)}).encode())
    return ""


def _has_more(job: PagesJob) -> bool:
    if job.decoder != "tiff":
        return False
    with open(job.source, "rb") as file:
        return tiff_tags.has_more_pages(file.fileno())


def _pages(job: PagesJob) -> list[Page]:
    if job.decoder == "tiff":
        return _of_tiff(job)
    if job.decoder in libvips.LOADERS:
        return [_by_libvips(job)]
    engine = engines.TABLE[job.decoder][0]
    module = engine.load()
    if module is None:
        raise Unavailable(f"The server cannot render this file: {engine.title} is not installed.", retry_after=300)
    if job.decoder == "pdf":
        sizes: list[tuple[int, int]] = module.page_sizes(job.source)
        return [Page(*size, 1, number, True) for number, size in enumerate(sizes)]
    has_own = engine in (engines.LIBHEIF, engines.LIBRAW)
    width, height = module.upright_size(job.source) if has_own else pillow.upright_size(job.source, job.decoder)
    return [Page(width, height, 1, 0, True)]


def _by_libvips(job: PagesJob) -> Page:
    with open(job.source, "rb") as file:
        picture = full_pages.open_header(job.decoder, file.fileno())
        turned = full_pages.stored_orientation(picture)
        most = _DIRECT_JPEG_PIXELS if job.decoder == "jpeg" else _DIRECT_PIXELS
        needs_pyramid = picture.width * picture.height > most
        size = (picture.height, picture.width) if orientation.swaps_sides(turned) else (picture.width, picture.height)
        return Page(*size, turned, 0, needs_pyramid)


def _of_tiff(job: PagesJob) -> list[Page]:
    with open(job.source, "rb") as file:
        pages = tiff_tags.read_pages(file.fileno())
    if not pages:
        raise refusals.damaged("the TIFF has no directory that can be read")
    found = []
    for number in libvips_tiff.full_pages(pages):
        width, height = libvips_tiff.square_size(pages[number])
        turned = orientation.known(pages[number].number(tiff_tags.ORIENTATION, 1))
        # A pyramid can be made by other engines if libvips does not support the compression.
        is_small = width * height <= _DIRECT_PIXELS and not pages[number].has_rare_compression
        is_quick = is_small or full_pages.is_quick_tiff(pages, number)
        size = (height, width) if orientation.swaps_sides(turned) else (width, height)
        found.append(Page(*size, turned, number, not is_quick))
    return found


def _by_pillow(job: PagesJob, complaint: str) -> Page:
    """The page of a file whose header libvips cannot read."""
    try:
        return Page(*pillow.upright_size(job.source, job.decoder), 1, 0, True)
    except KeyError:
        raise refusals.damaged(complaint) from None
