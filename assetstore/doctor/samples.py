"""A small sample of each format that has thumbnails. The PDF has text without embedded fonts; the JPEG has a date."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "samples"

#: When the photograph was taken, according to its EXIF.
DATE = "2009:05:30 12:34:56"


@dataclass(frozen=True)
class Sample:
    """A sample: the display name of its format, its media type, its extension."""

    title: str
    media_type: str
    extension: str

    @property
    def path(self) -> Path:
        """The path of the file."""
        return _FOLDER / f"sample{self.extension}"

    def read(self) -> bytes:
        """Returns its content."""
        return self.path.read_bytes()


JPEG = Sample("JPEG", "image/jpeg", ".jpg")
PDF = Sample("PDF", "application/pdf", ".pdf")

ALL = (
    JPEG,
    Sample("PNG", "image/png", ".png"),
    Sample("GIF", "image/gif", ".gif"),
    Sample("TIFF", "image/tiff", ".tif"),
    PDF,
    Sample("HEIC", "image/heic", ".heic"),
    Sample("AVIF", "image/avif", ".avif"),
    Sample("WebP", "image/webp", ".webp"),
    Sample("BMP", "image/bmp", ".bmp"),
    Sample("JPEG 2000", "image/jp2", ".jp2"),
    Sample("JPEG XL", "image/jxl", ".jxl"),
    Sample("Photoshop", "image/vnd.adobe.photoshop", ".psd"),
    Sample("SVG", "image/svg+xml", ".svg"),
    Sample("camera RAW", "image/x-adobe-dng", ".dng"),
)
