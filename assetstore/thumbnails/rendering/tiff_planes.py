"""Reads TIFFs with a plane for each sample, in colour spaces in which libvips mixes up the planes.

Each strip of a plane becomes a grey TIFF of its own in memory, which libvips reads.
"""

import os
import struct
from typing import Any

import pyvips

from assetstore.thumbnails.rendering import refusals, tiff_tags
from assetstore.thumbnails.rendering.tiff_tags import Page

#: The tags that a strip has in common with the page, and their defaults.
_SHARED = {tiff_tags.BITS: 8, tiff_tags.COMPRESSION: 1, tiff_tags.FILL_ORDER: 1, tiff_tags.PREDICTOR: 1}
_SHARED |= {tiff_tags.ORIENTATION: 1}

#: Values of PhotometricInterpretation: grey. Of Compression: JPEG. Of ExtraSamples: premultiplied alpha.
_GREY, _JPEG, _ASSOCIATED = (0, 1), 7, 1

#: The type of all tags.
_LONG = 4


def joined(descriptor: int, page: Page, fail_on: str) -> Any:
    """Returns grey with opacity, or YCbCr as it is stored. Raises pyvips.Error, and Refused for other kinds."""
    samples, photometric = int(page.number(tiff_tags.SAMPLES)), page.number(tiff_tags.PHOTOMETRIC)
    is_known = (photometric in _GREY and samples == 2) or (photometric == tiff_tags.YCBCR and samples == 3)
    strips = _strips(descriptor, page)
    if not is_known or not strips or len(strips) % samples or page.number(tiff_tags.COMPRESSION) == _JPEG:
        raise refusals.unsupported_planes("only grey with opacity and YCbCr are read from planes, in strips")
    each = len(strips) // samples
    width, height = int(page.number(tiff_tags.WIDTH)), int(page.number(tiff_tags.HEIGHT))
    order = ">" if os.pread(descriptor, 2, 0) == b"MM" else "<"
    planes = [_plane(strips[number * each :][:each], page, order, fail_on, number) for number in range(samples)]
    first, *others = (plane.crop(0, 0, width, height) for plane in planes)
    picture = first.bandjoin(others)
    is_multiplied = photometric in _GREY and page.number(tiff_tags.EXTRA_SAMPLES) == _ASSOCIATED
    return picture.unpremultiply().cast(picture.format) if is_multiplied else picture


def _strips(descriptor: int, page: Page) -> list[bytes]:
    offsets, lengths = (page.tags.get(tag, ()) for tag in (tiff_tags.STRIP_OFFSETS, tiff_tags.STRIP_LENGTHS))
    if len(offsets) != len(lengths) or len(offsets) >= tiff_tags.MOST_STRIPS:
        return []
    return [os.pread(descriptor, int(length), int(offset)) for offset, length in zip(offsets, lengths, strict=True)]


def _plane(strips: list[bytes], page: Page, order: str, fail_on: str, number: int) -> Any:
    """A plane at the size of the page, or slightly larger."""
    across, down = 1, 1
    if number > 0 and page.number(tiff_tags.PHOTOMETRIC) == tiff_tags.YCBCR:
        across, down = (int(factor) for factor in page.tags.get(tiff_tags.YCBCR_SUBSAMPLING, (2, 2)))
    height = -(-int(page.number(tiff_tags.HEIGHT)) // down)
    rows = min(height, -(-int(page.number(tiff_tags.ROWS_PER_STRIP, height)) // down))
    tags = {tag: int(page.number(tag, usual)) for tag, usual in _SHARED.items()}
    tags[tiff_tags.WIDTH] = -(-int(page.number(tiff_tags.WIDTH)) // across)
    tags[tiff_tags.PHOTOMETRIC] = min(1, int(page.number(tiff_tags.PHOTOMETRIC))) if number == 0 else 1
    pictures = []
    for index, strip in enumerate(strips):
        tags[tiff_tags.HEIGHT] = tags[tiff_tags.ROWS_PER_STRIP] = min(rows, height - index * rows)
        pictures.append(pyvips.Image.tiffload_buffer(_grey_tiff(tags, strip, order), fail_on=fail_on))
    return pyvips.Image.arrayjoin(pictures, across=1).resize(across, vscale=down, kernel="linear")


def _grey_tiff(tags: dict[int, int], strip: bytes, order: str) -> bytes:
    """A TIFF of one strip (TIFF 6.0, section 2)."""
    mark, start = b"MM" if order == ">" else b"II", 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = {**tags, tiff_tags.STRIP_OFFSETS: start, tiff_tags.STRIP_LENGTHS: len(strip)}
    directory = b"".join(struct.pack(f"{order}HHII", tag, _LONG, 1, entries[tag]) for tag in sorted(entries))
    return mark + struct.pack(f"{order}HIH", 42, 8, len(entries)) + directory + bytes(4) + strip
