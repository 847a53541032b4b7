"""HEIC by the newest libheif (pillow-heif). Phones embed a preview; if it is large enough, only that is decoded."""

import pillow_heif

from assetstore.thumbnails.rendering import pillow
from assetstore.thumbnails.rendering.job import Job, Limits


def render(job: Job, limits: Limits) -> str:
    """Makes the thumbnail that *job* describes; the rest as for `pillow.render`."""
    pillow_heif.register_heif_opener(decode_threads=1, depth_images=False, aux_images=False)
    return pillow.render(job, limits)
