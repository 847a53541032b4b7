"""The first page of a PDF by Ghostscript, on white, at the resolution that the thumbnail needs.

Called directly, because Debian's and Ubuntu's ImageMagick policy forbids PDF. `-dSAFER` keeps
PostScript from files, except temporary ones, for which each job has a folder of its own.
"""

import math
from pathlib import Path

from assetstore.errors import Unrenderable
from assetstore.rendering.tools import GHOSTSCRIPT, has_bytes, run

#: Dots per inch as long as the size of the page is unknown: a page of 200 inches, the largest that
#: most programs make, then stays below 16,000 pixels. Larger ones run into the time limit.
_BLIND_RESOLUTION = 80

#: The picture of the page; a name without a path, because a `%` in it would be taken for a pattern.
_PAGE = "page.png"

#: The long side of an A4 page in points (1/72 inch).
_A4_POINTS = 842


def draw_page(descriptor: int, folder: Path, size: int) -> str:
    """Draws the first page, at least *size* pixels long, as a PNG in *folder*; returns its name.

    Parameters:
        descriptor: the open PDF.
        folder: private to this job.
        size: pixels of the longer side.

    Raises:
        Unrenderable: encrypted, damaged, or without a page.
        Unavailable: Ghostscript is not installed.
    """
    # Somewhat more than needed, so that rounding is evened out when the page is made smaller.
    resolution = min(_BLIND_RESOLUTION, math.ceil(1.25 * 72 * size / _A4_POINTS))
    _draw(descriptor, folder, resolution)
    longest = max(_png_size(folder / _PAGE))
    if longest < size:
        # The page is small or the thumbnail large; now the resolution can be computed.
        _draw(descriptor, folder, math.ceil(1.25 * resolution * size / longest))
    return _PAGE


def _draw(descriptor: int, folder: Path, resolution: int) -> None:
    page = folder / _PAGE
    page.unlink(missing_ok=True)
    complaint = run(
        GHOSTSCRIPT,
        [
            *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dNOPROMPT", "-dFirstPage=1", "-dLastPage=1"),
            *("-sDEVICE=png16m", "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4", "-dInterpolateControl=-1"),
            *(f"-r{resolution}", f"-sOutputFile={_PAGE}"),
            *("-f", f"/dev/fd/{descriptor}"),
        ],
        descriptor,
        folder,
    )
    if not has_bytes(page):
        if "password" in complaint.lower():
            raise Unrenderable("The PDF is encrypted: it opens with a password only.", complaint)
        raise Unrenderable("The PDF is damaged: it has no page that can be shown.", complaint)


def _png_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels from a PNG's first chunk (PNG specification, 11.2.1)."""
    with open(path, "rb") as file:
        head = file.read(24)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
