"""Renders images with ImageMagick 6 or 7: upright, in sRGB, without metadata, decoded no larger than necessary."""

from pathlib import Path

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import headers, pixels, refusals, tiff_tags
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
    """Renders the thumbnail that *job* describes; raises the same errors as `render_open`."""
    with open_source(job.source) as descriptor:
        page = tiff_tags.first_page(descriptor) if job.decoder == "tiff" else None
        if page and page.has_unusual_planes and not page.has_full_chroma:
            raise refusals.unsupported_planes("ImageMagick would mix up the planes, without an error")
        render_open(descriptor, job.decoder, job, limits)


def render_open(descriptor: int, decoder: str, job: Job, limits: Limits, *, is_srgb: bool = False) -> None:
    """Renders the thumbnail of an open image at `job.target`.

    Parameters:
        descriptor: the open file.
        decoder: ImageMagick's name of its format; always given, so that the content cannot select another one.
        job: size, encoder and target; the tool runs in the target's folder, because it would
            treat a `%` in a path as a pattern.
        limits: the memory limit.
        is_srgb: the image is already in sRGB; an embedded profile is ignored.

    Raises:
        Unavailable, Damaged, Refused: see `tools.run`.
    """
    target = Path(job.target)
    if decoder == "png":
        # Version 6 reports no error when a PNG needs more memory than the limit.
        pixels.check(*headers.png_dimensions(descriptor), limits)
    header = headers.jpeg_header(descriptor) if decoder == "jpeg" else headers.JpegHeader()
    arguments = [
        *("-limit", "memory", f"{limits.megabytes}MiB", "-limit", "map", f"{limits.megabytes}MiB"),
        *_jpeg_hint(header, 2 * job.size),
        f"{decoder}:/dev/fd/{descriptor}[0]",
        # Like -thumbnail, but faster: every n-th pixel down to five times the size, then a good filter.
        # Rotated when it is small, because the square to fit into is the same in both orientations.
        *("-sample", f"{5 * job.size}x{5 * job.size}>"),
        *("-filter", "Catrom", "-resize", f"{job.size}x{job.size}>", "-auto-orient"),
        # A JPEG without an embedded profile needs no conversion.
        *([] if is_srgb or header.is_plain else _to_srgb(decoder)),
        *("-colorspace", "sRGB"),
        *_encoding(decoder, job.encoder),
        f"{job.encoder}:{target.name}",
    ]
    complaint = run(IMAGEMAGICK, arguments, descriptor, target.parent, 2 * limits.megabytes)
    _check(target, complaint)


def _check(target: Path, complaint: str) -> None:
    """Raises if the tool reported success, but the image is missing or incomplete."""
    if not has_bytes(target):
        if disk_is_full(target.parent):
            raise OutOfSpace("The server's disk is full; the thumbnail cannot be rendered.", complaint)
        raise refusals.Damaged("The file is damaged: it contains no image.", complaint)
    if "remature end" in complaint:
        # ImageMagick reports this even if there is not a single row of pixels, so the output is not used.
        target.unlink()
        raise refusals.Damaged("The file is damaged: the image is cut off.", complaint)


def _encoding(decoder: str, encoder: str) -> list[str]:
    # JPEG does not support transparency: transparent pixels would become black.
    opaque = ["-background", "white", "-alpha", "remove"] if encoder == "jpeg" and decoder != "jpeg" else []
    return [*opaque, "-strip", "-depth", "8", "-quality", "88" if encoder == "jpeg" else "95"]


def _jpeg_hint(header: headers.JpegHeader, wanted: int) -> tuple[str, ...]:
    """Decodes a JPEG at a half, a quarter or an eighth of its size, which saves most of the work.

    Twice the size of the thumbnail is enough for good quality. There is no hint for images that are smaller, because
    they would be enlarged.
    """
    is_larger = min(header.width, header.height) > wanted
    return ("-define", f"jpeg:size={wanted}x{wanted}") if is_larger else ()


def _to_srgb(decoder: str) -> list[str]:
    """Converts from the embedded profile. Without one, `-colorspace` converts CMYK and grey later."""
    # Version 6 leaves HEIC in YCbCr, to which no profile applies.
    plainly = ["-colorspace", "sRGB"] if decoder in ("heic", "avif") else []
    return [*plainly, "-profile", f"icc:{POLICY_FOLDER}/srgb.icc"]
