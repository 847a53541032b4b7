"""Renders images with Pillow. Other engines also use its steps from a decoded image to a thumbnail."""

import io
from typing import Any

from PIL import Image, ImageCms, ImageFile, ImageOps, ImageStat, UnidentifiedImageError

from assetstore.thumbnails.rendering import output, pixels, refusals, tiff_tags
from assetstore.thumbnails.rendering.job import Job, Limits

#: Decoder -> Pillow's names of the formats; Pillow tries no others.
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

#: Colour space of an ICC profile -> the mode of the images that it applies to.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}

#: Modes that can be scaled without conversion.
_SCALABLE = ("L", "RGB", "RGBA", "CMYK", "LAB", "YCbCr")

#: The tag of EXIF with the orientation, and its values for images that lie on their side.
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)

#: Usual value ranges of images with more than 8 bits.
_USUAL_RANGES = (1.0, 255.0, 4095.0, 65535.0)

#: An image is first reduced with a fast method, to this many times its final size at least.
_REDUCING_GAP = 3.0

#: Standard deviation of the pixels below which a partial image counts as blank.
_LEAST_DEVIATION = 2.0

#: Exceptions of Pillow's decoders for files that they cannot read.
FAULTS = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes; returns a note for the log, empty if there were no problems.

    Raises:
        Damaged: nothing can be rendered.
        Refused: the image is too large.
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
    return f"rendered as far as it can be read: {complaint}"


def save(picture: Image.Image, job: Job) -> None:
    """Writes a thumbnail in sRGB or grey to `job.target`."""
    encoded = io.BytesIO()
    if job.encoder == "jpeg":
        # JPEG does not support transparency: transparent pixels would become black.
        _on_white(picture).save(encoded, "JPEG", quality=88, optimize=True, exif=b"")
    elif job.encoder == "gif":
        picture.save(encoded, "GIF")
    else:
        picture.save(encoded, "PNG", exif=b"")
    output.write(job.target, encoded.getvalue())


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Returns an image that fits into a square of *size* pixels: upright, in sRGB, with 8 bits, without metadata."""
    profile = picture.info.get("icc_profile")
    if picture.mode not in _SCALABLE:
        picture = _scalable(picture)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    ImageOps.exif_transpose(picture, in_place=True)
    picture = _to_srgb(picture, profile)
    picture.info = {}
    return picture


def is_white(path: str) -> bool:
    """Returns whether a thumbnail is white everywhere."""
    with Image.open(path) as picture:
        return picture.convert("L").getextrema() == (255, 255)


def upright_size(source: str, decoder: str) -> tuple[int, int]:
    """Returns width and height in pixels of an image when it is upright, by its header. Raises Damaged."""
    Image.MAX_IMAGE_PIXELS = None
    try:
        with open(source, "rb") as file, Image.open(file, formats=_FORMATS[decoder]) as picture:
            return size_when_upright(picture)
    except FAULTS as fault:
        raise refusals.damaged(f"Pillow: {fault!r}") from None


def size_when_upright(picture: Image.Image) -> tuple[int, int]:
    """Returns the size of an image after it is turned as its EXIF says."""
    return picture.size[::-1] if picture.getexif().get(_ORIENTATION, 1) in _TURNED else picture.size


def _thumbnail(job: Job, limits: Limits) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # `pixels.check` below has the limit
    with open(job.source, "rb") as file, Image.open(file, formats=_FORMATS[job.decoder]) as picture:
        # JPEG is decoded at a reduced size.
        pixels.check(*picture.size, limits, is_streamed=job.decoder == "jpeg" and max(picture.size) > 16 * job.size)
        if job.decoder == "tiff":
            page = tiff_tags.first_page(file.fileno())
            if page.has_unusual_planes and page.is_uncompressed:
                raise refusals.unsupported_planes("Pillow would mix up the planes, without an error")
            _skip_previews(picture)
        elif job.decoder == "heic":
            _use_preview(picture, job.size)
        return fit(picture, job.size)


def _skip_previews(picture: Any) -> None:
    """Selects the first page of a TIFF that is not a smaller version of another."""
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        if not picture.tag_v2.get(254, 0) & 1:
            return
    picture.seek(0)


def _use_preview(picture: Image.Image, size: int) -> None:
    """Decodes the preview of a HEIC if it is a copy of the image and at least as large as the thumbnail."""
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
    """Scales the used range to 0 to 255."""
    numbers = picture.convert("F")
    low, high = (float(number) for number in numbers.getextrema())  # type: ignore[arg-type]
    is_short = picture.mode.startswith("I;16")
    if low >= 0:
        ranges = _USUAL_RANGES if not is_short else _USUAL_RANGES[2:] if picture.format == "TIFF" else _USUAL_RANGES[3:]
        usual = next((most for most in ranges if high <= most), high)
        low, high = 0.0, usual
    factor = 255.0 / ((high - low) or 1.0)
    return numbers.point(lambda value: value * factor - low * factor).convert("L")


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts with the profile if it is readable and has the image's colour space, otherwise by formula."""
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
    """Whether a partial image shows nothing."""
    return all(deviation < _LEAST_DEVIATION for deviation in ImageStat.Stat(_on_white(picture)).stddev)
