"""Pictures by Pillow: its own decoders, and the steps from a decoded picture to a thumbnail that others use, too."""

import io
from typing import Any

from PIL import Image, ImageCms, ImageFile, ImageOps, ImageStat, UnidentifiedImageError

from assetstore.thumbnails.rendering import output, pixels, refusals
from assetstore.thumbnails.rendering.job import Job, Limits

#: Decoder -> Pillow's names; no others are tried.
_FORMATS = {
    "jpeg": ("JPEG", "MPO"),
    "png": ("PNG",),
    "gif": ("GIF",),
    "tiff": ("TIFF",),
    "webp": ("WEBP",),
    "avif": ("AVIF",),
    "bmp": ("BMP",),
    "heic": ("HEIF",),
    "jp2": ("JPEG2000",),
    "psd": ("PSD",),
    "jxl": ("JXL",),
}

#: Colour space of an ICC profile -> the mode of the pictures that it is for.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}

#: Modes that can be made smaller as they are.
_SCALABLE = ("L", "RGB", "RGBA", "CMYK", "LAB", "YCbCr")

#: The ranges that numbers of more than 8 bits are known to use.
_USUAL_RANGES = (1.0, 255.0, 4095.0, 65535.0)

#: A picture is first made smaller the quick way, but no smaller than this many times its last size.
_REDUCING_GAP = 3.0

#: Standard deviation of the pixels below which a part of a picture shows nothing: one block is no picture.
_LEAST_DEVIATION = 2.0

#: What Pillow's decoders raise about a file that they cannot read.
FAULTS = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)


def render(job: Job, limits: Limits) -> str:
    """Makes the thumbnail that *job* describes; returns a note for the log, empty if all is well.

    Raises:
        Damaged: nothing can be drawn.
        Refused: larger than allowed.
    """
    try:
        save(_thumbnail(job, limits), job)
    except FAULTS as fault:
        complaint = f"Pillow: {fault!r}"
    else:
        return ""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        picture = _thumbnail(job, limits)
    except FAULTS:
        raise refusals.damaged(complaint) from None
    if _is_blank(picture):
        raise refusals.damaged(complaint)
    save(picture, job)
    return f"drawn as far as it can be read: {complaint}"


def save(picture: Image.Image, job: Job) -> None:
    """Writes a thumbnail, which is in sRGB or grey, to `job.target`."""
    encoded = io.BytesIO()
    if job.encoder == "jpeg":
        # JPEG has no transparency, which would turn black.
        _on_white(picture).save(encoded, "JPEG", quality=88, optimize=True, exif=b"")
    elif job.encoder == "gif":
        picture.save(encoded, "GIF")
    else:
        picture.save(encoded, "PNG", exif=b"")
    output.write(job.target, encoded.getvalue())


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Returns a picture that fits into a square of *size* pixels: upright, in sRGB, of 8 bits, without metadata."""
    profile = picture.info.get("icc_profile")
    if picture.mode not in _SCALABLE:
        picture = _scalable(picture)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    ImageOps.exif_transpose(picture, in_place=True)
    picture = _to_srgb(picture, profile)
    picture.info = {}
    return picture


def _thumbnail(job: Job, limits: Limits) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # our own limit follows
    with open(job.source, "rb") as file, Image.open(file, formats=_FORMATS[job.decoder]) as picture:
        # JPEG is decoded at a part of its size.
        pixels.check(*picture.size, limits, is_streamed=job.decoder == "jpeg" and max(picture.size) > 16 * job.size)
        if job.decoder == "tiff":
            _skip_previews(picture)
        elif job.decoder == "heic":
            _use_preview(picture, job.size)
        return fit(picture, job.size)


def _skip_previews(picture: Any) -> None:
    """Goes to the first page of a TIFF that is no smaller version of another."""
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        if not picture.tag_v2.get(254, 0) & 1:
            return
    picture.seek(0)


def _use_preview(picture: Image.Image, size: int) -> None:
    """Decodes the preview of a HEIC if it is a copy of the picture and as large as the thumbnail."""
    factor = size / max(picture.size)
    picture.draft(None, (int(picture.width * factor), int(picture.height * factor)))


def _scalable(picture: Image.Image) -> Image.Image:
    exif = picture.getexif()
    if picture.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in picture.info:
        converted = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    elif picture.mode == "1":
        converted = picture.convert("L")
    elif picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        converted = _in_bytes(picture)
    else:
        converted = picture.convert("RGB")
    converted.info["exif"] = exif.tobytes()
    return converted


def _in_bytes(picture: Image.Image) -> Image.Image:
    """Scales the range that is used to 0 to 255."""
    numbers = picture.convert("F")
    low, high = (float(number) for number in numbers.getextrema())  # type: ignore[arg-type]
    is_short = picture.mode.startswith("I;16")
    if low >= 0:
        usual = 65535.0 if is_short else next((most for most in _USUAL_RANGES if high <= most), high)
        low, high = 0.0, usual
    factor = 255.0 / ((high - low) or 1.0)
    return numbers.point(lambda value: value * factor - low * factor).convert("L")


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts by the profile if it is of the picture's colour space and can be read, else plainly."""
    color = picture.convert("RGB") if picture.mode in ("RGBA", "YCbCr") else picture
    converted = _by_profile(color, profile)
    if converted is None and color.mode == "LAB":
        converted = _convert(color, ImageCms.createProfile("LAB"))
    if converted is None:
        converted = color if color.mode in ("L", "RGB") else color.convert("RGB")
    if picture.mode == "RGBA":
        converted.putalpha(picture.getchannel("A"))
    return converted


def _by_profile(picture: Image.Image, profile: bytes | None) -> Image.Image | None:
    if not profile:
        return None
    try:
        known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(known.profile.xcolor_space) != picture.mode:
            return None
        return _convert(picture, known)
    except (OSError, ImageCms.PyCMSError):
        return None


def _convert(picture: Image.Image, profile: Any) -> Image.Image | None:
    return ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _is_blank(picture: Image.Image) -> bool:
    """Whether nothing of a broken picture can be seen."""
    return all(deviation < _LEAST_DEVIATION for deviation in ImageStat.Stat(_on_white(picture)).stddev)
