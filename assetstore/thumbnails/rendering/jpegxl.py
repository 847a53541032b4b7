"""Renders JPEG XL with libjxl (pillow-jxl-plugin); Pillow itself does not support it."""

import pillow_jxl  # noqa: F401 - registers itself with Pillow

from assetstore.thumbnails.rendering import pillow
from assetstore.thumbnails.rendering.job import Job, Limits


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes, like `pillow.render`."""
    return pillow.render(job, limits)
