"""Renders HEIC with a current libheif (pillow-heif). If the embedded preview is large enough, only that is decoded."""

import contextlib

import pillow_heif

from assetstore.thumbnails.rendering import pillow, refusals
from assetstore.thumbnails.rendering.job import Job, Limits


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes, like `pillow.render`.

    Also raises Refused if the compression is not HEVC.
    """
    _register()
    try:
        return pillow.render(job, limits)
    except refusals.Damaged as failure:
        with contextlib.suppress(ValueError, OSError, RuntimeError, EOFError, SyntaxError):
            if len(pillow_heif.open_heif(job.source)) == 0:
                # The container is valid, but libheif supports none of its items, such as uncompressed pixels.
                raise refusals.unsupported_compression("HEIF without HEVC", failure.detail) from None
        raise


def upright_size(source: str) -> tuple[int, int]:
    """Returns width and height in pixels of an image when it is upright. Raises Damaged."""
    _register()
    return pillow.upright_size(source, "heic")


def _register() -> None:
    pillow_heif.register_heif_opener(decode_threads=1, depth_images=False, aux_images=False)
