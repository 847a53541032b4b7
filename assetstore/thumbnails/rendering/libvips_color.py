"""Scales decoded images down and converts them to sRGB with libvips, CMYK by formula if it has no usable profile."""

from typing import Any

#: Name of the ICC profile in libvips, and positions of the colour space and the signature in a profile's header.
_PROFILE = "icc-profile-data"
_SPACE, _SIGNATURE = slice(16, 20), slice(36, 40)

#: libvips' names of sRGB and grey, with 8 and 16 bits.
_SRGB = ("srgb", "rgb16", "b-w", "grey16")


def thumbnail(picture: Any, size: int) -> Any:
    """Returns the image scaled down to fit into a square of *size* pixels, upright and in sRGB. Raises pyvips.Error."""
    if picture.interpretation == "cmyk" and not _has_cmyk_profile(picture):
        picture = _plainly(picture)
    # Without a profile, the conversion would change nothing, and cost a sixth of the time.
    is_srgb = picture.interpretation in _SRGB and not picture.get_typeof(_PROFILE)
    profile = {} if is_srgb else {"export_profile": "srgb"}
    return picture.thumbnail_image(size, height=size, size="down", **profile)


def _has_cmyk_profile(picture: Any) -> bool:
    if not picture.get_typeof(_PROFILE):
        return False
    profile = bytes(picture.get(_PROFILE))
    is_whole = len(profile) >= int.from_bytes(profile[:4], "big") > 128
    return is_whole and profile[_SIGNATURE] == b"acsp" and profile[_SPACE] == b"CMYK"


def _plainly(picture: Any) -> Any:
    """Converts CMYK with the formula that browsers use; libvips would use the profile of a printing press."""
    most = 65535.0 if picture.format == "ushort" else 255.0
    inks = picture.extract_band(0, n=3)
    colors = ((most - inks) * (most - picture[3]) / most).cast(picture.format)
    if picture.bands > 4:
        colors = colors.bandjoin(picture[4])
    colors = colors.copy(interpretation="rgb16" if most > 255 else "srgb")
    if colors.get_typeof(_PROFILE):
        colors.remove(_PROFILE)
    return colors
