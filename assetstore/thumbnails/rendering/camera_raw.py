"""Renders camera RAW with LibRaw (rawpy): the embedded preview, rotated to be upright.

If a file has no preview, or a broken one, the sensor data is developed at half its size.
"""

import io

import numpy
import rawpy
from PIL import Image

from assetstore.thumbnails.rendering import pillow, pixels, refusals
from assetstore.thumbnails.rendering.job import Job, Limits

#: LibRaw's code for the camera's rotation -> the operation that makes the image upright.
_TURNS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}

#: The codes for a camera that was held on its side.
_ON_THE_SIDE = (5, 6)

_ORIENTATION = 0x0112


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes.

    Raises:
        Damaged: LibRaw can read neither a preview nor the sensor data.
        Refused: larger than allowed.
    """
    try:
        with rawpy.imread(job.source) as raw:
            pixels.check(raw.sizes.raw_width, raw.sizes.raw_height, limits)
            preview = _preview(raw)
            if preview is None:
                preview = Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))
                if preview.convert("L").getextrema() == (0, 0):
                    raise refusals.damaged("LibRaw: no preview, and black sensor data")
            pillow.save(pillow.fit(preview, job.size), job)
    except (rawpy.LibRawError, *pillow.FAULTS) as error:
        raise refusals.damaged(f"LibRaw: {error!r}") from None
    return ""


def upright_size(source: str) -> tuple[int, int]:
    """Returns width and height in pixels of the image that is rendered at full size. Raises Damaged."""
    try:
        with rawpy.imread(source) as raw:
            preview = _preview(raw)
            if preview is not None:
                return pillow.size_when_upright(preview)
            width, height = raw.sizes.iwidth // 2, raw.sizes.iheight // 2
            return (height, width) if raw.sizes.flip in _ON_THE_SIDE else (width, height)
    except (rawpy.LibRawError, *pillow.FAULTS) as error:
        raise refusals.damaged(f"LibRaw: {error!r}") from None


def _preview(raw: rawpy.RawPy) -> Image.Image | None:
    """The embedded preview, upright; None if there is none."""
    try:
        preview = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    if preview.format == rawpy.ThumbFormat.JPEG:
        picture: Image.Image = Image.open(io.BytesIO(bytes(preview.data)), formats=["JPEG", "MPO"])
        if picture.getexif().get(_ORIENTATION, 1) != 1:
            return picture  # its own EXIF has the rotation
    else:
        picture = Image.fromarray(numpy.asarray(preview.data))
    turn = _TURNS.get(raw.sizes.flip)
    return picture if turn is None else picture.transpose(turn)
