"""Makes the pyramid of a page: a tiled TIFF whose levels each have half the width and height of the one before.

The tiles are JPEG, or lossless if the page has transparent parts. The page is read from top to bottom and all levels
are made at the same time, so it is never in memory as a whole. The pixels stay as they are stored, because turning
them would require the whole page; their parts are turned later (`regions`).
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyvips

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import full_pages, libvips, orientation, refusals, tools
from assetstore.thumbnails.rendering.job import Limits, PyramidJob

#: The side of the tiles in pixels: that of the tiles that viewers request.
TILE = 512

#: The longest side of a page in pixels; more would require too much memory for a row of tiles.
_LONGEST_SIDE = 100_000

#: How often to write the progress, in seconds.
_PROGRESS_SECONDS = 0.2


def make(job: PyramidJob, limits: Limits) -> str:
    """Makes the pyramid that *job* describes; returns a note for the log, empty if there were no problems.

    Raises:
        Damaged: nothing can be read.
        Refused: the page is too large.
    """
    if job.decoder == "pdf":
        return _make_of_pdf(job, limits)
    libvips.set_up(job.decoder, limits, Path(job.target).parent)
    with open(job.source, "rb") as file:
        descriptor = file.fileno()

        def save(fail_on: str) -> None:
            _save(full_pages.open_page(job.decoder, descriptor, job.page, limits, fail_on), job)

        try:
            return _as_far_as_possible(save, job, limits)
        except pyvips.Error as error:
            _check_space(job, f"libvips: {error}")
            raise libvips.explained(job.decoder, descriptor, f"libvips: {error}") from None


def make_of_upright(job: PyramidJob, limits: Limits) -> str:
    """Makes the pyramid from an upright PNG of the page. Raises as `make`."""
    libvips.set_up("png", limits, Path(job.target).parent)
    with open(job.source, "rb") as file:
        try:
            picture = full_pages.open_page("png", file.fileno(), 0, limits, libvips.STRICT)
            if job.orientation != 1:
                picture = orientation.upright(picture.copy_memory(), orientation.inverse(job.orientation))
            _save(picture, job)
        except pyvips.Error as error:
            raise libvips.explained("png", file.fileno(), f"libvips: {error}") from None
    return ""


def _make_of_pdf(job: PyramidJob, limits: Limits) -> str:
    from assetstore.thumbnails.rendering import pdfium  # noqa: PLC0415 - PDFium may be missing

    libvips.set_up("png", limits, Path(job.target).parent)
    page = pdfium.full_page(job.source, job.page)
    _save(pyvips.Image.new_from_array(page).copy(interpretation="srgb"), job)
    return ""


def _check_space(job: PyramidJob, complaint: str) -> None:
    """Raises OutOfSpace if there is too little space for the pyramid: libvips does not say that."""
    if tools.disk_is_full(Path(job.target).parent):
        raise OutOfSpace("The server's disk is full; the image cannot be prepared for zooming.", complaint)


def _as_far_as_possible(save: Callable[[str], None], job: PyramidJob, limits: Limits) -> str:
    try:
        save(libvips.STRICT)
    except pyvips.Error as error:
        save(libvips.LENIENT)
        libvips.set_up("tiff", limits, Path(job.target).parent)
        if libvips.is_blank(pyvips.Image.tiffload(job.target, page=_number_of_levels(job.target) - 1)):
            raise
        return f"read as far as possible: libvips: {error}"
    return ""


def _number_of_levels(path: str) -> int:
    header = pyvips.Image.tiffload(path)
    return int(header.get("n-pages")) if header.get_typeof("n-pages") else 1


def _save(picture: Any, job: PyramidJob) -> None:
    if max(picture.width, picture.height) > _LONGEST_SIDE:
        raise refusals.too_large(f"{picture.width} x {picture.height} pixels")
    compression = {"compression": "deflate"} if picture.hasalpha() else {"compression": "jpeg", "Q": 90}
    _report(picture, job.progress)
    # BigTIFF, because the length is not known yet.
    picture.tiffsave(
        job.target,
        tile=True,
        tile_width=TILE,
        tile_height=TILE,
        pyramid=True,
        depth="onetile",
        region_shrink="mean",
        bigtiff=True,
        keep="none",
        **compression,
    )


def _report(picture: Any, path: str) -> None:
    """Has the share of a picture that was processed written to a file from time to time."""
    if not path:
        return
    written_at = 0.0

    def write(_picture: Any, progress: Any) -> None:
        nonlocal written_at
        now = time.monotonic()
        if now - written_at >= _PROGRESS_SECONDS:
            written_at = now
            _write(path, f"{progress.percent}")

    picture.set_progress(True)
    picture.signal_connect("eval", write)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, os.pwrite(descriptor, text.encode(), 0))
    finally:
        os.close(descriptor)
