"""Renders a part of a page at the requested size, from its pyramid or from the original."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyvips

from assetstore.thumbnails.rendering import (
    full_pages,
    libvips,
    libvips_tiff,
    orientation,
    output,
    refusals,
    requested_parts,
    tiff_tags,
)
from assetstore.thumbnails.rendering.headers import jpeg_header
from assetstore.thumbnails.rendering.job import PYRAMID, Limits, RegionJob
from assetstore.thumbnails.rendering.orientation import Region

_WHITE = [255, 255, 255]

#: From this brightness on, pixels are white in quality `bitonal`.
_THRESHOLD = 128

_QUALITY = {"jpeg": 90, "webp": 85}

#: The operations of libvips for most parts. Their parameters are looked up here, once, and not again in each child
#: process. This runs none of them, so that no threads are started before a fork.
for _operation in ("tiffload_source", "crop", "jpegsave_buffer", "resize", "cast", "colourspace"):
    pyvips.voperation.Introspect.get(_operation)


class _Level(NamedTuple):
    """A smaller version of the stored page: by how much it is smaller, and how to open it."""

    factor: float
    width: int
    height: int
    load: Callable[[], Any]


def render(job: RegionJob, limits: Limits) -> str:
    """Renders the part that *job* describes; returns a note for the log, empty if there were no problems.

    Raises Damaged, Refused, OutOfSpace.
    """
    decoder = "tiff" if job.decoder == PYRAMID else job.decoder
    libvips.set_up(decoder, limits, Path(job.target).parent)
    with open(job.source, "rb") as file:
        descriptor = file.fileno()
        try:
            return _render(job, lambda fail_on: _levels(job, descriptor, limits, fail_on))
        except pyvips.Error as error:
            raise libvips.explained(decoder, descriptor, f"libvips: {error}") from None


def _render(job: RegionJob, levels: Callable[[str], list[_Level]]) -> str:
    """Renders the part as far as it can be read, unless nothing of the whole page can be read. Raises pyvips.Error."""

    def save(fail_on: str) -> None:
        output.write(job.target, _encoded(_finished(_part(job, levels(fail_on)), job), job.encoder))

    try:
        save(libvips.STRICT)
    except pyvips.Error as error:
        if libvips.is_blank(levels(libvips.LENIENT)[-1].load().copy_memory()):
            raise
        save(libvips.LENIENT)
        return f"rendered as far as it can be read: libvips: {error}"
    return ""


def render_requested(job: RegionJob, limits: Limits, source: BinaryIO, sink: BinaryIO) -> str:
    """Renders a part of a pyramid that the server reads for this process, as `render`.

    Parameters:
        job, limits: as for `render`.
        source, sink: of `requested_parts.connection`.
    """
    libvips.set_up("tiff", limits, Path(job.target).parent)
    file = requested_parts.RequestedFile(job.source_bytes, source, sink)
    try:
        levels = _levels_of_pyramid(file.new_source, _stored_size(job)[0])
        output.write(job.target, _encoded(_finished(_part(job, levels), job), job.encoder))
    except pyvips.Error as error:
        raise refusals.damaged(f"libvips: {error}") from None
    return ""


def _levels(job: RegionJob, descriptor: int, limits: Limits, fail_on: str) -> list[_Level]:
    """The versions of the stored page, largest first; *fail_on* is the option of libvips for originals."""
    width, height = _stored_size(job)
    if job.decoder == PYRAMID:
        return _levels_of_pyramid(lambda: pyvips.Source.new_from_descriptor(descriptor), width)
    if job.decoder == "tiff":
        return _levels_of_tiff(descriptor, job.page, width, fail_on)

    def load(shrink: int = 1) -> Any:
        return full_pages.open_page(job.decoder, descriptor, job.page, limits, fail_on, shrink=shrink)

    levels = [_Level(1.0, width, height, load)]
    if job.decoder == "jpeg" and not jpeg_header(descriptor).is_lossless:
        levels += [_reduced_jpeg(width, height, shrink, load) for shrink in (2, 4, 8)]
    return levels


def _reduced_jpeg(width: int, height: int, shrink: int, load: Callable[[int], Any]) -> _Level:
    return _Level(float(shrink), -(-width // shrink), -(-height // shrink), lambda: load(shrink))


def _levels_of_pyramid(new_source: Callable[[], Any], width: int) -> list[_Level]:
    first = _load_level(new_source, 0)
    number = int(first.get("n-pages")) if first.get_typeof("n-pages") else 1
    # The page may have been rendered at another size than its header says.
    unit = width / first.width
    return [
        _Level(
            unit * 2**index,
            max(1, first.width >> index),
            max(1, first.height >> index),
            functools.partial(_load_level, new_source, index),
        )
        for index in range(number)
    ]


def _load_level(new_source: Callable[[], Any], index: int) -> Any:
    return pyvips.Image.tiffload_source(new_source(), page=index, access="random")


def _levels_of_tiff(descriptor: int, number: int, width: int, fail_on: str) -> list[_Level]:
    """The levels that a tiled TIFF has itself; only the page, which is small, if it has none."""
    pages = tiff_tags.read_pages(descriptor)
    if not full_pages.is_quick_tiff(pages, number):
        size = libvips_tiff.square_size(pages[number])
        options = {"page": number}
        load = full_pages.open_level
        return [_Level(1.0, *size, lambda: load(descriptor, pages[number], options, fail_on, access="sequential"))]
    levels = []
    for options, page in libvips_tiff.levels(pages, number):
        own = int(page.number(tiff_tags.WIDTH))
        nearest = round(width / own)
        # Most programs round sizes down or up, so that the factor is a whole number.
        factor = float(nearest) if abs(width / nearest - own) < 1 else width / own

        def load_level(options: dict[str, int] = options, page: tiff_tags.Page = page) -> Any:
            return full_pages.open_level(descriptor, page, options, fail_on)

        levels.append(_Level(factor, own, int(page.number(tiff_tags.HEIGHT)), load_level))
    return levels


def _stored_size(job: RegionJob) -> tuple[int, int]:
    is_turned = orientation.swaps_sides(job.orientation)
    return (job.height, job.width) if is_turned else (job.width, job.height)


def _part(job: RegionJob, levels: list[_Level]) -> Any:
    """The region at the requested size, as it is stored."""
    region = orientation.stored_region(tuple(job.region), job.orientation, *_stored_size(job))  # type: ignore[arg-type]  # a list, from JSON
    across, down = job.size[::-1] if orientation.swaps_sides(job.orientation) else job.size
    factor = min(region[2] / across, region[3] / down)
    usable = [level for level in levels if level.factor <= factor * 1.0001] or levels[:1]
    level = usable[-1]
    exact = _exact(region, level, across, down)
    if exact is not None:
        return level.load().crop(*exact)
    # With a level of twice the size, rounding to its pixels moves the part by a quarter of a pixel at most.
    level = usable[-2] if len(usable) > 1 else level
    left, top = (
        min(round(region[0] / level.factor), level.width - 1),
        min(round(region[1] / level.factor), level.height - 1),
    )
    right = max(left + 1, min(level.width, round((region[0] + region[2]) / level.factor)))
    bottom = max(top + 1, min(level.height, round((region[1] + region[3]) / level.factor)))
    return _resized(level.load().crop(left, top, right - left, bottom - top), across, down)


def _exact(region: Region, level: _Level, across: int, down: int) -> Region | None:
    """The pixels of a level that are the result; None if it must be scaled."""
    if not level.factor.is_integer():
        return None
    factor = int(level.factor)
    left, top, width, height = region
    is_aligned = left % factor == 0 and top % factor == 0 and (width, height) == (across * factor, down * factor)
    is_inside = left // factor + across <= level.width and top // factor + down <= level.height
    return (left // factor, top // factor, across, down) if is_aligned and is_inside else None


def _resized(picture: Any, across: int, down: int) -> Any:
    if (picture.width, picture.height) == (across, down):
        return picture
    has_alpha = picture.hasalpha()
    picture = picture.premultiply() if has_alpha else picture
    picture = picture.resize(across / picture.width, vscale=down / picture.height)
    return (picture.unpremultiply() if has_alpha else picture).cast("uchar")


def _finished(picture: Any, job: RegionJob) -> Any:
    """Turns a part of the page upright, and then as the job says, and applies the quality."""
    picture = orientation.upright(picture.copy_memory(), job.orientation)
    if job.is_mirrored:
        picture = picture.flip("horizontal")
    if job.rotation:
        picture = getattr(picture, f"rot{job.rotation}")()
    if job.encoder == "jpeg" and picture.hasalpha():
        picture = picture.flatten(background=_WHITE)
    if job.quality == "color":
        return picture
    if picture.hasalpha():
        picture = picture.flatten(background=_WHITE)
    gray = picture.colourspace("b-w")
    return (gray >= _THRESHOLD) if job.quality == "bitonal" else gray


def _encoded(picture: Any, encoder: str) -> bytes:
    if encoder == "jpeg":
        data = picture.jpegsave_buffer(Q=_QUALITY["jpeg"], optimize_coding=True, keep="none")
    elif encoder == "webp":
        data = picture.webpsave_buffer(Q=_QUALITY["webp"], effort=2, keep="none")
    else:
        data = picture.pngsave_buffer(compression=6, keep="none")
    return bytes(data)
