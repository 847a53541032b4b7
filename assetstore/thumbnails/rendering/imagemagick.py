"""Pictures by ImageMagick, 6 or 7: decoded no larger than needed, upright, in sRGB, without metadata."""

from pathlib import Path

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import headers, pixels, refusals
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.tools import (
    IMAGEMAGICK,
    POLICY_FOLDER,
    disk_is_full,
    has_bytes,
    open_source,
    run,
)


def render(job: Job, limits: Limits) -> None:
    """Makes the thumbnail that *job* describes; raises as `draw`."""
    with open_source(job.source) as descriptor:
        draw(descriptor, job.decoder, job, limits)


def draw(descriptor: int, decoder: str, job: Job, limits: Limits, *, is_srgb: bool = False) -> None:
    """Makes the thumbnail of an open picture at `job.target`.

    Parameters:
        descriptor: the open file.
        decoder: ImageMagick's name of its format; always said, so that contents cannot choose one.
        job: size, encoder and target; the tool runs in the target's folder, because it would
            take a `%` in a path for a pattern.
        limits: of memory.
        is_srgb: the picture is in sRGB already, whatever profile it holds.

    Raises:
        Unavailable, Damaged, Refused: see `tools.run`.
    """
    target = Path(job.target)
    if decoder == "png":
        # Version 6 says nothing when a PNG needs more memory than it may have.
        pixels.check(*headers.png_dimensions(descriptor), limits)
    header = headers.jpeg_header(descriptor) if decoder == "jpeg" else headers.JpegHeader()
    arguments = [
        *("-limit", "memory", f"{limits.megabytes}MiB", "-limit", "map", f"{limits.megabytes}MiB"),
        *_jpeg_hint(header, 2 * job.size),
        f"{decoder}:/dev/fd/{descriptor}[0]",
        # What -thumbnail does, but quicker: every n-th pixel down to five times the size, and a good
        # filter from there. Turned when it is small: the square to fit into is the same either way.
        *("-sample", f"{5 * job.size}x{5 * job.size}>"),
        *("-filter", "Catrom", "-resize", f"{job.size}x{job.size}>", "-auto-orient"),
        # Without an embedded profile a JPEG's colours need no second look.
        *([] if is_srgb or header.is_plain else _to_srgb(decoder)),
        *("-colorspace", "sRGB"),
        *_encoding(decoder, job.encoder),
        f"{job.encoder}:{target.name}",
    ]
    complaint = run(IMAGEMAGICK, arguments, descriptor, target.parent, 2 * limits.megabytes)
    _check(target, complaint)


def _check(target: Path, complaint: str) -> None:
    """Raises if the tool was content but the picture is not there or not whole."""
    if not has_bytes(target):
        if disk_is_full(target.parent):
            raise OutOfSpace("The server's disk is full; the thumbnail cannot be made.", complaint)
        raise refusals.Damaged("The file is damaged: it holds no picture.", complaint)
    if "remature end" in complaint:
        # Also if there is not one row of pixels, so it is not drawn.
        target.unlink()
        raise refusals.Damaged("The file is damaged: the picture is cut off.", complaint)


def _encoding(decoder: str, encoder: str) -> list[str]:
    # JPEG has no transparency, which would turn black.
    opaque = ["-background", "white", "-alpha", "remove"] if encoder == "jpeg" and decoder != "jpeg" else []
    return [*opaque, "-strip", "-depth", "8", "-quality", "88" if encoder == "jpeg" else "95"]


def _jpeg_hint(header: headers.JpegHeader, wanted: int) -> tuple[str, ...]:
    """Lets a JPEG be decoded at a half, a quarter or an eighth of its size, which saves most of the work.

    Twice the size of the thumbnail leaves enough for a good picture. A picture that is smaller than
    the hint would be enlarged, so it gets none.
    """
    is_larger = min(header.width, header.height) > wanted
    return ("-define", f"jpeg:size={wanted}x{wanted}") if is_larger else ()


def _to_srgb(decoder: str) -> list[str]:
    """Converts from the embedded profile; without one, CMYK and grey become sRGB plainly, later."""
    # Version 6 leaves HEIC in YCbCr, to which no profile applies.
    plainly = ["-colorspace", "sRGB"] if decoder in ("heic", "avif") else []
    return [*plainly, "-profile", f"icc:{POLICY_FOLDER}/srgb.icc"]
