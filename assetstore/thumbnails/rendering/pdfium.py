"""Renders the first page of a PDF with PDFium like a viewer: crop box, rotation, annotations and forms, on white."""

import math
from typing import Any, BinaryIO

import pypdfium2

from assetstore.thumbnails.rendering import pillow, refusals
from assetstore.thumbnails.rendering.job import Job, Limits

#: FPDF_GetLastError: the document requires a password, or uses encryption that PDFium does not support.
_PASSWORD, _SECURITY = 4, 5

#: Pixels of the longer side at least: PDFium draws no line thinner than a pixel, so smaller tables would be black.
_LEAST_DRAWN = 1200

#: Full pages have 300 dots per inch, or fewer if there would be more pixels than this in all, or on a side.
_RESOLUTION, _MOST_PIXELS, _LONGEST_SIDE = 300 / 72, 50_000_000, 12_000

#: How many pages of a PDF can be shown.
_MOST_PAGES = 5000


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes.

    Raises:
        Blank: the page was rendered, but is empty.
        Damaged: there is no page that can be rendered.
        Refused: encrypted.
    """
    with open(job.source, "rb") as file:
        try:
            page = _document(file)[0]
            # Not more, although a long and narrow page can then be less than a pixel wide.
            drawn = max(2 * job.size, _LEAST_DRAWN)
            scale = drawn / max(page.get_width(), page.get_height(), 1e-3)
            picture = page.render(scale=scale, rev_byteorder=True).to_pil()
        except pypdfium2.PdfiumError as error:
            raise _explained(error) from None
        pillow.save(pillow.fit(picture, job.size), job)
        if all(lowest == 255 for lowest, _ in picture.convert("RGB").getextrema()):
            raise refusals.Blank("The PDF is damaged: its first page shows nothing.", "PDFium: a blank page")
    return ""


def _document(file: BinaryIO) -> pypdfium2.PdfDocument:
    document = pypdfium2.PdfDocument(file)
    if len(document) == 0:
        raise refusals.Damaged("The PDF is damaged: it has no page that can be shown.", "no pages")
    if document.get_formtype():
        document.init_forms()
    return document


def page_sizes(path: str) -> list[tuple[int, int]]:
    """Returns width and height in pixels of each page as `full_page` draws it. Raises Damaged, Refused."""
    with open(path, "rb") as file:
        try:
            document = _document(file)
            points = [document.get_page_size(number) for number in range(min(len(document), _MOST_PAGES))]
        except pypdfium2.PdfiumError as error:
            raise _explained(error) from None
    return [
        (math.ceil(width * _factor(width, height)), math.ceil(height * _factor(width, height)))
        for width, height in points
    ]


def full_page(path: str, number: int) -> Any:
    """Returns a page (from 0), drawn on white at a resolution for print, as an array of red, green and blue.

    Raises Damaged, Refused.
    """
    with open(path, "rb") as file:
        try:
            page = _document(file)[number]
            factor = _factor(page.get_width(), page.get_height())
            return page.render(scale=factor, rev_byteorder=True).to_numpy()[:, :, :3]
        except pypdfium2.PdfiumError as error:
            raise _explained(error) from None


def _factor(width: float, height: float) -> float:
    """The pixels per point at which a page is drawn, for its size in points."""
    area, longest = max(width * height, 1e-6), max(width, height, 1e-3)
    return min(_RESOLUTION, math.sqrt(_MOST_PIXELS / area), _LONGEST_SIDE / longest)


def _explained(error: pypdfium2.PdfiumError) -> refusals.Damaged | refusals.Refused:
    code = getattr(error, "err_code", None)
    if code == _PASSWORD:
        return refusals.encrypted(f"PDFium: {error}")
    if code == _SECURITY:
        return refusals.encrypted_otherwise(f"PDFium: {error}")
    return refusals.Damaged("The PDF is damaged: it has no page that can be shown.", f"PDFium: {error}")
