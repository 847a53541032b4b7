"""JPEG XL by libjxl (pillow-jxl-plugin), which Pillow lacks."""

import pillow_jxl  # noqa: F401 - registers itself with Pillow

from assetstore.thumbnails.rendering import pillow
from assetstore.thumbnails.rendering.job import Job, Limits


def render(job: Job, limits: Limits) -> str:
    """Makes the thumbnail that *job* describes; the rest as for `pillow.render`."""
    return pillow.render(job, limits)
