"""Renders the first page of a PDF with Ghostscript, on white, at the resolution that the thumbnail needs.

Ghostscript is called directly, because the ImageMagick policy of Debian and Ubuntu forbids PDF. `-dSAFER` denies access
to all files except the PDF and temporary files, for which each job has its own folder.
"""

import math
import mmap
from pathlib import Path

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import headers, imagemagick, refusals
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.tools import GHOSTSCRIPT, disk_is_full, has_bytes, open_source, run

#: Dots per inch while the size of the page is unknown: a page of 200 inches, the largest that most programs create,
#: then has at most 16,000 pixels. Larger pages reach the time limit.
_BLIND_RESOLUTION = 80

#: The image of the page; a name without a path, because Ghostscript would treat a `%` in the path as a pattern.
_PAGE = "page.png"

#: Below the lowest, narrow pages of labels are less than a pixel wide; no real page needs more than the highest.
_LOWEST_RESOLUTION, _HIGHEST_RESOLUTION = 36, 2400

#: The long side of an A4 page in points (1/72 inch).
_A4_POINTS = 842


def render(job: Job, limits: Limits) -> None:
    """Renders the thumbnail that *job* describes; raises the same errors as `render_page`."""
    folder = Path(job.target).parent
    with open_source(job.source) as descriptor:
        _check_encryption(descriptor)
        page = render_page(descriptor, folder, job.size, limits)
    with open_source(str(folder / page)) as descriptor:
        imagemagick.render_open(descriptor, "png", job, limits, is_srgb=True)


def _check_encryption(descriptor: int) -> None:
    """Raises Encrypted if the PDF requires a certificate: Ghostscript would render the encrypted data as it is."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"/Encrypt") >= 0 and content.find(b"/Adobe.PubSec") >= 0:
            raise refusals.encrypted_otherwise("Ghostscript was not started: encryption by Adobe.PubSec")


def render_page(descriptor: int, folder: Path, size: int, limits: Limits) -> str:
    """Renders the first page as a PNG in *folder*, at least *size* pixels long; returns its name.

    Parameters:
        descriptor: the open PDF.
        folder: the private folder of this job.
        size: pixels of the longer side.
        limits: the memory limit.

    Raises:
        Damaged: there is no page that can be rendered.
        Refused: encrypted.
        Unavailable, OutOfSpace: see `tools.run`.
    """
    # Somewhat more than needed, so that scaling the page down evens out rounding.
    resolution = min(_BLIND_RESOLUTION, max(_LOWEST_RESOLUTION, math.ceil(1.25 * 72 * size / _A4_POINTS)))
    _run(descriptor, folder, resolution, limits)
    with open(folder / _PAGE, "rb") as picture:
        longest = max(headers.png_dimensions(picture.fileno()))
    if longest < size:
        # The page is small or the thumbnail is large; now the required resolution can be computed.
        better = min(_HIGHEST_RESOLUTION, math.ceil(1.25 * resolution * size / longest))
        _run(descriptor, folder, better, limits)
    return _PAGE


def _run(descriptor: int, folder: Path, resolution: int, limits: Limits) -> None:
    page = folder / _PAGE
    page.unlink(missing_ok=True)
    source = f"/dev/fd/{descriptor}"
    complaint = run(
        GHOSTSCRIPT,
        [
            *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dNOPROMPT", "-dFirstPage=1", "-dLastPage=1"),
            *("-sDEVICE=png16m", "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4", "-dInterpolateControl=-1"),
            *("-dUseCropBox", f"-r{resolution}", f"-sOutputFile={_PAGE}", f"--permit-file-read={source}"),
            # As a PDF only: Ghostscript could also run a file given by its name as PostScript.
            *("-c", f"({source}) (r) file runpdf"),
        ],
        descriptor,
        folder,
        limits.megabytes,
    )
    if not has_bytes(page):
        if disk_is_full(folder):
            raise OutOfSpace("The server's disk is full; the thumbnail cannot be rendered.", complaint)
        if "password" in complaint.lower():
            raise refusals.encrypted(complaint)
        raise refusals.Damaged("The PDF is damaged: it has no page that can be shown.", complaint)
