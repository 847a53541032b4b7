"""The parameters of an image request: region, size, rotation, quality and format (Image API 3.0 and 2.1, section 4).

The versions differ only in the names and forms of sizes. A size is never larger than its region.
"""

import math
import re
from dataclasses import dataclass

from assetstore.errors import BadRequest
from assetstore.iiif import levels

#: Format of the address -> the name of its encoder, and its media type.
FORMATS = {"jpg": ("jpeg", "image/jpeg"), "png": ("png", "image/png"), "webp": ("webp", "image/webp")}

#: Quality of the address -> that of the job.
_QUALITIES = {"default": "color", "color": "color", "gray": "gray", "bitonal": "bitonal"}

_WHOLE = r"([0-9]{1,9})"
_PERCENT = r"([0-9]{1,9}(?:\.[0-9]{0,9})?)"
_PIXELS = re.compile(f"{_WHOLE},{_WHOLE},{_WHOLE},{_WHOLE}", re.ASCII)
_SHARES = re.compile(f"pct:{_PERCENT},{_PERCENT},{_PERCENT},{_PERCENT}", re.ASCII)
_SIDES = re.compile("([0-9]{0,9}),([0-9]{0,9})", re.ASCII)
_SCALE = re.compile(f"pct:{_PERCENT}", re.ASCII)
_ROTATION = re.compile(r"(!?)([0-9]{1,3})(?:\.0*)?", re.ASCII)

Region = tuple[int, int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """A part of a page as requested.

    Fields:
        region: left, top, width and height in pixels of the upright page.
        size: width and height in pixels, before rotation.
        is_mirrored, rotation: mirrored left to right, and then rotated clockwise by 0, 90, 180 or 270 degrees.
        quality: `color`, `gray` or `bitonal`.
        format: one of FORMATS.
    """

    region: Region
    size: Size
    is_mirrored: bool
    rotation: int
    quality: str
    format: str


def parse(version: int, segments: tuple[str, str, str, str], page: Size) -> Part:
    """Returns the part of a page that an address requests.

    Parameters:
        version: of the Image API, 2 or 3.
        segments: region, size, rotation, and quality with format.
        page: width and height of the page in pixels.

    Raises BadRequest.
    """
    region_text, size_text, rotation_text, file = segments
    quality, _, format = file.rpartition(".")
    if quality not in _QUALITIES:
        raise BadRequest(f"The quality must be one of {', '.join(_QUALITIES)}.")
    if format not in FORMATS:
        raise BadRequest(f"The format must be one of {', '.join(FORMATS)}.")
    is_mirrored, rotation = _rotation(rotation_text)
    region = _region(region_text, *page)
    return Part(region, _size(version, size_text, region[2:]), is_mirrored, rotation, _QUALITIES[quality], format)


def canonical(version: int, part: Part, page: Size) -> str:
    """Returns the canonical form of a part: the end of its address (section 4.7 of both versions)."""
    region = "full" if part.region == (0, 0, *page) else ",".join(map(str, part.region))
    rotation = f"{'!' if part.is_mirrored else ''}{part.rotation}"
    quality = "default" if part.quality == "color" else part.quality
    return f"{region}/{_canonical_size(version, part)}/{rotation}/{quality}.{part.format}"


def _canonical_size(version: int, part: Part) -> str:
    width, height = part.size
    whole = part.region[2:]
    if version >= 3:
        return "max" if part.size == levels.largest(*whole) else f"{width},{height}"
    if part.size == whole:
        return "full"
    return f"{width}," if height == _in_proportion(width, whole[1], whole[0]) else f"{width},{height}"


def _region(text: str, width: int, height: int) -> Region:
    if text == "full":
        return 0, 0, width, height
    if text == "square":
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side, side
    if match := _PIXELS.fullmatch(text):
        left, top, across, down = map(int, match.groups())
    elif match := _SHARES.fullmatch(text):
        shares = [float(share) / 100 for share in match.groups()]
        if shares[2] == 0 or shares[3] == 0:
            raise BadRequest("The region has no pixels.")
        left, top = round(shares[0] * width), round(shares[1] * height)
        across, down = max(1, round(shares[2] * width)), max(1, round(shares[3] * height))
    else:
        raise BadRequest("The region must be full, square, x,y,w,h or pct:x,y,w,h.")
    if across == 0 or down == 0 or left >= width or top >= height:
        raise BadRequest(f"The region has no pixels of the image, which has {width} x {height}.")
    return left, top, min(across, width - left), min(down, height - top)


def _size(version: int, text: str, region: Size) -> Size:
    if text.startswith("^"):
        raise BadRequest("This server does not enlarge images, so the size must not begin with ^.")
    size = _given_size(version, text, region)
    if size[0] > region[0] or size[1] > region[1]:
        raise BadRequest(f"The size is larger than the region, which has {region[0]} x {region[1]} pixels.")
    if not levels.is_allowed(*size):
        most = f"{levels.MAX_SIDE} pixels on a side, and {levels.MAX_AREA} in all"
        raise BadRequest(f"The size is larger than this server allows: {most}.")
    return size


def _given_size(version: int, text: str, region: Size) -> Size:
    width, height = region
    if text == "max":
        return levels.largest(*region)
    if text == "full" and version < 3:
        return region
    if match := _SCALE.fullmatch(text):
        share = float(match[1]) / 100
        if share > 0:
            return _at_least_1(width * share), _at_least_1(height * share)
    if match := _SIDES.fullmatch(text.removeprefix("!")):
        across, down = (int(side) if side else None for side in match.groups())
        if across != 0 and down != 0:
            if across is not None and down is not None:
                return _fitted(region, across, down) if text.startswith("!") else (across, down)
            if not text.startswith("!"):
                if across is not None:
                    return across, _in_proportion(across, height, width)
                if down is not None:
                    return _in_proportion(down, width, height), down
    raise BadRequest("The size must be max, w,, ,h, w,h, !w,h or pct:n, with positive numbers.")


def _fitted(region: Size, across: int, down: int) -> Size:
    """The largest size that fits into a box, and is not larger than the region or the server's limits."""
    width, height = region
    factor = min(1.0, across / width, down / height)
    fitted = (min(across, _at_least_1(width * factor)), min(down, _at_least_1(height * factor)))
    return levels.largest(*fitted)


def _in_proportion(side: int, other: int, own: int) -> int:
    return _at_least_1(other * side / own)


def _at_least_1(number: float) -> int:
    return max(1, math.floor(number + 0.5))


def _rotation(text: str) -> tuple[bool, int]:
    match = _ROTATION.fullmatch(text)
    degrees = int(match[2]) if match else -1
    if match is None or degrees % 90 or not 0 <= degrees <= 360:
        raise BadRequest("The rotation must be 0, 90, 180 or 270, after ! to mirror the image.")
    return match[1] == "!", degrees % 360
