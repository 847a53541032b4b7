"""Renders the first page of a PDF with PDFium like a viewer: crop box, rotation, annotations and forms, on white."""

import pypdfium2

from assetstore.thumbnails.rendering import pillow, refusals
from assetstore.thumbnails.rendering.job import Job, Limits

#: FPDF_GetLastError: the document requires a password, or uses encryption that PDFium does not support.
_PASSWORD, _SECURITY = 4, 5

#: Pixels of the longer side at least: PDFium draws no line thinner than a pixel, so smaller tables would be black.
_LEAST_DRAWN = 1200


def render(job: Job, limits: Limits) -> str:
    """Renders the thumbnail that *job* describes.

    Raises:
        Blank: the page was rendered, but is empty.
        Damaged: there is no page that can be rendered.
        Refused: encrypted.
    """
    with open(job.source, "rb") as file:
        try:
            document = pypdfium2.PdfDocument(file)
            if len(document) == 0:
                raise refusals.Damaged("The PDF is damaged: it has no page that can be shown.", "no pages")
            if document.get_formtype():
                document.init_forms()
            page = document[0]
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


def _explained(error: pypdfium2.PdfiumError) -> refusals.Damaged | refusals.Refused:
    code = getattr(error, "err_code", None)
    if code == _PASSWORD:
        return refusals.encrypted(f"PDFium: {error}")
    if code == _SECURITY:
        return refusals.encrypted_otherwise(f"PDFium: {error}")
    return refusals.Damaged("The PDF is damaged: it has no page that can be shown.", f"PDFium: {error}")
