"""Renders images with libvips (pyvips): upright, in sRGB, without metadata, decoded in strips no larger than necessary.

The header is read first, and only the loader of the recognised format may run. Truncated files are rendered as far as
possible. SVG is drawn at the final size by librsvg, which runs no scripts, and opens no other files and no connections
because libvips gives it no base address.
"""

import os
from pathlib import Path
from typing import Any

import pyvips

from assetstore.thumbnails.rendering import headers, libvips_color, libvips_tiff, output, pixels, refusals, tiff_tags
from assetstore.thumbnails.rendering.job import Job, Limits

#: Decoder -> the class of its loader, and whether the loader streams to a thumbnail.
LOADERS = {
    "jpeg": ("VipsForeignLoadJpeg", True),
    "png": ("VipsForeignLoadPng", False),
    "gif": ("VipsForeignLoadNsgif", False),
    "tiff": ("VipsForeignLoadTiff", True),
    "webp": ("VipsForeignLoadWebp", False),
    "avif": ("VipsForeignLoadHeif", False),
    "svg": ("VipsForeignLoadSvg", True),
}

#: Values of libvips' option `fail_on`: fail on any error in the pixels, or only if there are none.
STRICT, LENIENT = "error", "none"

#: Words in libvips' error messages about size.
_TOO_LARGE = ("out of memory", "allocate", "limit exceeded", "too large", "exceeds", "insufficient memory")

#: Standard deviation of the pixels below which a partial image counts as blank.
_LEAST_DEVIATION = 2.0

_WHITE = [255, 255, 255]


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes; returns a note for the log, empty if there were no problems.

    Raises:
        Damaged: nothing can be rendered.
        Refused: the image is too large, or its compression is not supported.
    """
    set_up(job.decoder, limits, Path(job.target).parent)
    with open(job.source, "rb") as file:
        descriptor = file.fileno()
        try:
            width, height = _dimensions(job, descriptor)
            pixels.check(width, height, limits, is_streamed=LOADERS[job.decoder][1])
            return _render(job, descriptor, _reduction(job, descriptor, max(width, height)))
        except pyvips.Error as error:
            raise explained(job.decoder, descriptor, f"libvips: {error}") from None


def set_up(decoder: str, limits: Limits, folder: Path) -> None:
    """Prepares libvips, in this process, for one file.

    Parameters:
        decoder: the format of the file, one of LOADERS; all other loaders are blocked.
        limits: the memory limit.
        folder: for temporary files.
    """
    # libvips must not use temporary files instead of memory: only memory has the right limit.
    os.environ["VIPS_DISC_THRESHOLD"] = f"{2 * limits.megabytes}m"
    # An SVG with text uses Fontconfig, which must not write its cache elsewhere.
    os.environ["XDG_CACHE_HOME"] = str(folder)
    pyvips.cache_set_max(0)
    pyvips.operation_block_set("VipsForeignLoad", True)
    pyvips.operation_block_set(LOADERS[decoder][0], False)


def _dimensions(job: Job, descriptor: int) -> tuple[int, int]:
    if job.decoder == "png":
        # libvips would decompress all text chunks here, and again when it decodes the image.
        return headers.png_dimensions(descriptor)
    if job.decoder == "jpeg":
        jpeg = headers.jpeg_header(descriptor)
        if jpeg.width and jpeg.height:
            return jpeg.width, jpeg.height
    header = _open(descriptor, LENIENT)
    return header.width, header.height


def _render(job: Job, descriptor: int, options: dict[str, float]) -> str:
    try:
        _save(_thumbnail(job, descriptor, STRICT, options), job)
    except pyvips.Error as error:
        picture = _thumbnail(job, descriptor, LENIENT, options)
        if is_blank(picture):
            raise
        _save(picture, job)
        return f"rendered as far as it can be read: libvips: {error}"
    return ""


def _thumbnail(job: Job, descriptor: int, fail_on: str, options: dict[str, float]) -> Any:
    """The thumbnail, in memory. Raises pyvips.Error."""
    if job.decoder == "tiff":
        pages = tiff_tags.read_pages(descriptor)
        picture = libvips_tiff.thumbnail(descriptor, pages, job.size, fail_on)
    else:
        # libvips' own shortcut for all of this would render truncated files without an error.
        picture = libvips_color.thumbnail(_open(descriptor, fail_on, **options), job.size)
    if picture.interpretation not in ("srgb", "b-w"):
        picture = picture.colourspace("b-w" if picture.interpretation == "grey16" else "srgb")
    if job.decoder == "gif":
        picture = uncovered_is_transparent(picture, headers.gif_first_frame(descriptor))
    return picture.cast("uchar").copy_memory()


def _reduction(job: Job, descriptor: int, longest: int) -> dict[str, float]:
    """Options that reduce the image in the decoder, to twice the size at least; this saves most of the work."""
    if job.decoder == "svg":
        return {"scale": min(1.0, job.size / longest)}
    ratio = longest / (2 * job.size)
    if job.decoder == "jpeg" and not headers.jpeg_header(descriptor).is_lossless:
        return {"shrink": next((factor for factor in (8, 4, 2) if ratio >= factor), 1)}
    return {"scale": min(1.0, 1 / max(ratio, 1e-9))} if job.decoder == "webp" else {}


def uncovered_is_transparent(picture: Any, frame: headers.GifFrame | None) -> Any:
    """Makes the area around the first frame of a GIF transparent, as browsers do; libvips makes it black."""
    if frame is None or frame.covers_canvas or picture.hasalpha():
        return picture
    across, down = picture.width / frame.canvas_width, picture.height / frame.canvas_height
    covered = pyvips.Image.black(max(1, round(frame.width * across)), max(1, round(frame.height * down))) + 255
    alpha = covered.embed(round(frame.left * across), round(frame.top * down), picture.width, picture.height)
    return picture.bandjoin(alpha.cast("uchar"))


def is_blank(picture: Any) -> bool:
    """Whether a partial image shows nothing."""
    opaque = picture.flatten(background=_WHITE) if picture.hasalpha() else picture
    return all(band.deviate() < _LEAST_DEVIATION for band in opaque.bandsplit())


def _save(picture: Any, job: Job) -> None:
    if job.encoder == "jpeg":
        # JPEG does not support transparency: transparent pixels would become black.
        opaque = picture.flatten(background=_WHITE) if picture.hasalpha() else picture
        encoded = opaque.jpegsave_buffer(Q=88, optimize_coding=True, keep="none")
    elif job.encoder == "gif":
        encoded = picture.gifsave_buffer(keep="none")
    else:
        encoded = picture.pngsave_buffer(keep="none")
    output.write(job.target, encoded)


def _open(descriptor: int, fail_on: str, **options: float) -> Any:
    return pyvips.Image.new_from_source(_source(descriptor), "", access="sequential", fail_on=fail_on, **options)


def _source(descriptor: int) -> Any:
    return pyvips.Source.new_from_descriptor(descriptor)


def explained(decoder: str, descriptor: int, complaint: str) -> refusals.Damaged | refusals.Refused:
    """Returns the reason why libvips cannot render a file, by its error message."""
    if any(words in complaint.lower() for words in _TOO_LARGE):
        return refusals.too_large(complaint)
    compression = tiff_tags.unsupported_compression(descriptor) if decoder == "tiff" else None
    if compression:
        return refusals.unsupported_compression(compression, complaint)
    return refusals.damaged(complaint)
