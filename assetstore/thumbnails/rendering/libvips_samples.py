"""Converts the samples of a TIFF that libvips leaves as they are: to unsigned numbers of 8 bits, in sRGB or grey."""

from collections.abc import Callable
from typing import Any

from assetstore.thumbnails.rendering import tiff_tags
from assetstore.thumbnails.rendering.tiff_tags import Page

#: Y, Cb and Cr to red, green and blue.
_BT_601 = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]

#: SGI LogL: the binary logarithm of the luminance, plus the first, times the second (libtiff, tif_luv.c).
_LOG_OFFSET, _LOG_STEPS = 64, 256

#: The 16-bit format, which libvips inverts itself if 0 is white, and its largest value.
_USHORT, _MOST_SHORT = "ushort", 65535

#: Usual value ranges, if the file does not specify one: microscope cameras deliver 12 bits in 16.
_USUAL_RANGES = (1.0, 255.0, 4095.0, 65535.0)

#: Floating-point images up to 1 often exceed it a little, where light is reflected; those pixels are white.
_MOST_OVEREXPOSED = 2.0

#: If floating-point samples use less than this part of a usual range, they have another one: they would be black.
_LEAST_USED = 0.25

_FLOATS = ("float", "double")

#: Signed formats, and how the same bytes are read as unsigned; values of PhotometricInterpretation that may need it.
_UNSIGNED, _MAYBE_UNSIGNED = {"char": "uchar", "short": "ushort"}, (1, 2, 5)

#: How much smoother an image must be as unsigned; noise is almost equal both ways.
_SMOOTHER = 0.8

#: Column of the mean in the result of `stats`.
_MEAN = 4


def loaded(load: Callable[[], Any], page: Page) -> Any:
    """Returns the page as libvips reads it, or unsigned if it looks as if only its SampleFormat tag were signed.

    Neighbouring pixels of a photograph are similar. Other programs ignore whether the tag says signed, so some files
    have a wrong one.

    Parameters:
        load: opens the page; called again if its pixels must be read to decide.
        page: its directory.
    """
    picture = load()
    unsigned = _UNSIGNED.get(picture.format)
    if unsigned is None or page.number(tiff_tags.PHOTOMETRIC) not in _MAYBE_UNSIGNED or picture.width == 1:
        return picture
    both = picture.bandjoin(picture.copy(format=unsigned))
    steps = (both.crop(1, 0, both.width - 1, both.height) - both.crop(0, 0, both.width - 1, both.height)).abs().stats()
    means = [steps.getpoint(_MEAN, 1 + band)[0] for band in range(both.bands)]
    is_smoother = sum(means[picture.bands :]) < _SMOOTHER * sum(means[: picture.bands])
    return load().copy(format=unsigned) if is_smoother else load()


def from_ycbcr(picture: Any) -> Any:
    """Converts by ITU-R BT.601; libvips leaves YCbCr without JPEG or subsampling as it is."""
    return (picture - [0, 128, 128]).recomb(_BT_601).cast("uchar").copy(interpretation="srgb")


def from_log_luminance(picture: Any) -> Any:
    """Converts SGI LogL; what is lighter than white becomes white."""
    light = 2 ** (picture / _LOG_STEPS - _LOG_OFFSET)
    return light.bandjoin([light, light]).copy(interpretation="scrgb").colourspace("b-w")


def in_bytes(picture: Any, sample: Any, page: Page) -> Any:
    """Scales the range in use to 0 to 255; full 16-bit ranges remain.

    Parameters:
        picture: the page with other samples than bytes.
        sample: a small copy of it in memory, in which the range is looked up.
        page: its directory.
    """
    if picture.format in _FLOATS and picture.hasalpha():
        opacity = (255 * picture[-1]).cast("uchar")
        return in_bytes(picture[:-1], sample[:-1], page).bandjoin(opacity)
    low, high = _range(sample, page)
    if picture.format == _USHORT and high >= _MOST_SHORT:
        return picture
    scaled = (picture - low) * (255.0 / (high - low))
    if page.number(tiff_tags.PHOTOMETRIC, 1) == 0 and picture.format != _USHORT:
        scaled = 255 - scaled
    kind = "b-w" if picture.bands < 3 else "cmyk" if picture.interpretation == "cmyk" else "srgb"
    return scaled.cast("uchar").copy(interpretation=kind)


def _range(picture: Any, page: Page) -> tuple[float, float]:
    low = float(page.number(tiff_tags.S_MIN_SAMPLE, 0))
    high = float(page.number(tiff_tags.S_MAX_SAMPLE, page.number(tiff_tags.MAX_SAMPLE, 0)))
    if high > low:
        return low, high
    darkest, lightest = picture.min(), picture.max()
    if darkest >= 0:
        if picture.format in _FLOATS and lightest <= _MOST_OVEREXPOSED:
            return 0.0, 1.0
        usual = next((most for most in _usual_ranges(picture) if lightest <= most), lightest)
        is_used = picture.format not in _FLOATS or lightest >= _LEAST_USED * usual
        return 0.0, usual if is_used else lightest
    return darkest, lightest if lightest > darkest else darkest + 1.0


def _usual_ranges(picture: Any) -> tuple[float, ...]:
    if picture.format != _USHORT:
        return _USUAL_RANGES
    return _USUAL_RANGES[3:] if picture.interpretation == "cmyk" else _USUAL_RANGES[2:]
