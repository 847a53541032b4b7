"""HEIC by the newest libheif (pillow-heif). Phones embed a preview; if it is large enough, only that is decoded."""

import contextlib

import pillow_heif

from assetstore.thumbnails.rendering import pillow, refusals
from assetstore.thumbnails.rendering.job import Job, Limits


def render(job: Job, limits: Limits) -> str:
    """Makes the thumbnail that *job* describes; the rest as for `pillow.render`.

    Raises also Refused if the pixels are compressed otherwise.
    """
    pillow_heif.register_heif_opener(decode_threads=1, depth_images=False, aux_images=False)
    try:
        return pillow.render(job, limits)
    except refusals.Damaged as failure:
        with contextlib.suppress(ValueError, OSError, RuntimeError, EOFError, SyntaxError):
            if len(pillow_heif.open_heif(job.source)) == 0:
                # The container is sound, but holds no item that libheif knows, such as uncompressed pixels.
                raise refusals.unsupported_compression("HEIF without HEVC", failure.detail) from None
        raise
