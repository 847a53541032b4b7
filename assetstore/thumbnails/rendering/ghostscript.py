"""The first page of a PDF by Ghostscript, on white, at the resolution that the thumbnail needs.

Called directly, because Debian's and Ubuntu's ImageMagick policy forbids PDF. `-dSAFER` keeps it from
all files but the PDF and temporary ones, for which each job has a folder of its own.
"""

import math
import mmap
from pathlib import Path

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import headers, imagemagick, refusals
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.tools import GHOSTSCRIPT, disk_is_full, has_bytes, open_source, run

#: Dots per inch as long as the size of the page is unknown: a page of 200 inches, the largest that
#: most programs make, then stays below 16,000 pixels. Larger ones run into the time limit.
_BLIND_RESOLUTION = 80

#: The picture of the page; a name without a path, because a `%` in it would be taken for a pattern.
_PAGE = "page.png"

#: Below this the narrow pages of labels are less than a pixel wide; above, no page is real.
_LOWEST_RESOLUTION, _HIGHEST_RESOLUTION = 36, 2400

#: The long side of an A4 page in points (1/72 inch).
_A4_POINTS = 842


def render(job: Job, limits: Limits) -> None:
    """Makes the thumbnail that *job* describes; raises as `draw_page`."""
    folder = Path(job.target).parent
    with open_source(job.source) as descriptor:
        _check_encryption(descriptor)
        page = draw_page(descriptor, folder, job.size, limits)
    with open_source(str(folder / page)) as descriptor:
        imagemagick.draw(descriptor, "png", job, limits, is_srgb=True)


def _check_encryption(descriptor: int) -> None:
    """Raises Encrypted if certificates open the PDF: Ghostscript would draw what it cannot read."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"/Encrypt") >= 0 and content.find(b"/Adobe.PubSec") >= 0:
            raise refusals.encrypted_otherwise("Ghostscript was not asked: encryption by Adobe.PubSec")


def draw_page(descriptor: int, folder: Path, size: int, limits: Limits) -> str:
    """Draws the first page, at least *size* pixels long, as a PNG in *folder*; returns its name.

    Parameters:
        descriptor: the open PDF.
        folder: private to this job.
        size: pixels of the longer side.
        limits: of memory.

    Raises:
        Damaged: there is no page that can be drawn.
        Refused: encrypted.
        Unavailable, OutOfSpace: see `tools.run`.
    """
    # Somewhat more than needed, so that rounding is evened out when the page is made smaller.
    resolution = min(_BLIND_RESOLUTION, max(_LOWEST_RESOLUTION, math.ceil(1.25 * 72 * size / _A4_POINTS)))
    _draw(descriptor, folder, resolution, limits)
    with open(folder / _PAGE, "rb") as picture:
        longest = max(headers.png_dimensions(picture.fileno()))
    if longest < size:
        # The page is small or the thumbnail large; now the resolution can be computed.
        better = min(_HIGHEST_RESOLUTION, math.ceil(1.25 * resolution * size / longest))
        _draw(descriptor, folder, better, limits)
    return _PAGE


def _draw(descriptor: int, folder: Path, resolution: int, limits: Limits) -> None:
    page = folder / _PAGE
    page.unlink(missing_ok=True)
    source = f"/dev/fd/{descriptor}"
    complaint = run(
        GHOSTSCRIPT,
        [
            *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dNOPROMPT", "-dFirstPage=1", "-dLastPage=1"),
            *("-sDEVICE=png16m", "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4", "-dInterpolateControl=-1"),
            *("-dUseCropBox", f"-r{resolution}", f"-sOutputFile={_PAGE}", f"--permit-file-read={source}"),
            # As a PDF and nothing else: a file given by its name may also be a program in PostScript.
            *("-c", f"({source}) (r) file runpdf"),
        ],
        descriptor,
        folder,
        limits.megabytes,
    )
    if not has_bytes(page):
        if disk_is_full(folder):
            raise OutOfSpace("The server's disk is full; the thumbnail cannot be made.", complaint)
        if "password" in complaint.lower():
            raise refusals.encrypted(complaint)
        raise refusals.Damaged("The PDF is damaged: it has no page that can be shown.", complaint)
