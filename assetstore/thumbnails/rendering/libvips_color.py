"""Scales decoded images down and converts them to sRGB with libvips, CMYK by formula if it has no usable profile."""

import contextlib
from typing import Any

import pyvips

#: Name of the ICC profile in libvips, and positions of the colour space and the signature in a profile's header.
_PROFILE = "icc-profile-data"
_SPACE, _SIGNATURE = slice(16, 20), slice(36, 40)

#: libvips' names of sRGB and grey, with 8 and 16 bits.
_SRGB = ("srgb", "rgb16", "b-w", "grey16")


def thumbnail(picture: Any, size: int) -> Any:
    """Returns the image scaled down to fit into a square of *size* pixels, upright and in sRGB. Raises pyvips.Error."""
    picture = _with_known_colors(picture)
    # Without a profile, the conversion would change nothing, and cost a sixth of the time.
    profile = {} if _is_srgb(picture) else {"export_profile": "srgb"}
    return picture.thumbnail_image(size, height=size, size="down", **profile)


def in_srgb(picture: Any) -> Any:
    """Returns the image in sRGB or grey with 8 bits, at its size and as it is stored. Raises pyvips.Error."""
    picture = _with_known_colors(picture)
    if not _is_srgb(picture) and picture.interpretation != "multiband":
        with contextlib.suppress(pyvips.Error):  # an unusable profile
            picture = picture.icc_transform("srgb", embedded=True, depth=8)
    if picture.interpretation not in ("srgb", "b-w"):
        picture = picture.colourspace("b-w" if picture.interpretation == "grey16" else "srgb")
    return picture.cast("uchar")


def _is_srgb(picture: Any) -> bool:
    return picture.interpretation in _SRGB and not picture.get_typeof(_PROFILE)


def _with_known_colors(picture: Any) -> Any:
    """Converts CMYK that has no usable profile."""
    is_unknown = picture.interpretation == "cmyk" and not _has_cmyk_profile(picture)
    return _plainly(picture) if is_unknown else picture


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
