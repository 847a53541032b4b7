"""The file formats that have thumbnails: how to recognise and decode them, and the format of their thumbnails.

The first bytes of a file determine its format, and only they choose the decoder. The name of the file determines the
format of its thumbnail, because clients expect the thumbnail of a `.JPG` to be a JPEG (docs/protocol.md).
These tables are an allow-list at a security boundary, so they are written out here instead of using a library
that detects hundreds of types.
"""

import functools
import hashlib
from dataclasses import dataclass

from assetstore.names import LONGEST_NAME, split_extension

#: How many of a file's first bytes `recognise` requires; PDF allows other bytes before its header.
HEAD_LENGTH = 1024

#: Characters reserved for the scale in the name of a thumbnail.
_SCALE_DIGITS = 6

#: Possible lengths of the second header of a bitmap, which follows the first header of 14 bytes.
_BMP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))


@dataclass(frozen=True)
class Format:
    """An image format.

    Fields:
        title: the name to show to people.
        decoder: its key in the table of engines (`thumbnails/rendering/engines.py`).
    """

    title: str
    decoder: str


JPEG = Format("JPEG", "jpeg")
PNG = Format("PNG", "png")
GIF = Format("GIF", "gif")
TIFF = Format("TIFF", "tiff")
HEIC = Format("HEIC", "heic")
AVIF = Format("AVIF", "avif")
WEBP = Format("WebP", "webp")
BMP = Format("BMP", "bmp")
PDF = Format("PDF", "pdf")
JPEG_2000 = Format("JPEG 2000", "jp2")
JPEG_XL = Format("JPEG XL", "jxl")
PSD = Format("Photoshop", "psd")
CAMERA_RAW = Format("camera RAW", "raw")
SVG = Format("SVG", "svg")

_ALL = (JPEG, PNG, GIF, TIFF, HEIC, AVIF, WEBP, BMP, PDF, JPEG_2000, JPEG_XL, PSD, CAMERA_RAW, SVG)
FORMATS = {format.decoder: format for format in _ALL}

#: The brands that follow `ftyp` in files of the ISO base media format.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": CAMERA_RAW,  # CR3
}

_SIGNATURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),  # BigTIFF
    (b"MM\x00+", TIFF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),  # without a container
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),  # without a container
    (b"8BPS\0\x01", PSD),
    (b"IIRO", CAMERA_RAW),  # ORF of Olympus
    (b"IIRS", CAMERA_RAW),
    (b"MMOR", CAMERA_RAW),
    (b"IIU\0", CAMERA_RAW),  # RW2 of Panasonic
    (b"FUJIFILMCCD-RAW", CAMERA_RAW),  # RAF
)

#: The bytes after the first pointer of a TIFF that is a Canon CR2.
_CANON_MARK = b"CR"

#: What an SVG begins with; `<svg` follows, after comments and entities in some files.
_SVG_STARTS = (b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")

#: Media types of camera RAW. Most of these files are TIFFs by their first bytes; their tags say more.
_RAW_TYPES = (
    *("image/x-canon-cr2", "image/x-canon-cr3", "image/x-nikon-nef", "image/x-sony-arw", "image/x-adobe-dng"),
    *("image/x-olympus-orf", "image/x-fuji-raf", "image/x-panasonic-rw2", "image/x-pentax-pef"),
)

#: The expected format of a file whose name has this media type.
_ANNOUNCED = {
    "image/jpeg": JPEG,
    "image/png": PNG,
    "image/gif": GIF,
    "image/tiff": TIFF,
    "image/heic": HEIC,
    "image/heif": HEIC,
    "image/avif": AVIF,
    "image/webp": WEBP,
    "image/bmp": BMP,
    "application/pdf": PDF,
    "image/jp2": JPEG_2000,
    "image/jxl": JPEG_XL,
    "image/vnd.adobe.photoshop": PSD,
    "image/svg+xml": SVG,
    **dict.fromkeys(_RAW_TYPES, CAMERA_RAW),
}

#: Media type of the name -> (format of the thumbnail, its extension; None: the extension of the original).
_THUMBNAILS: dict[str, tuple[Format, str | None]] = {
    "image/jpeg": (JPEG, None),
    "image/png": (PNG, None),
    "image/gif": (GIF, None),
    "image/tiff": (PNG, ".png"),
    "image/heic": (PNG, ".png"),
    "image/heif": (PNG, ".png"),
    "image/avif": (PNG, ".png"),
    "image/webp": (PNG, ".png"),
    "image/bmp": (PNG, ".png"),
    "application/pdf": (PNG, ".png"),
    "image/jp2": (PNG, ".png"),
    "image/jxl": (PNG, ".png"),
    "image/vnd.adobe.photoshop": (PNG, ".png"),
    "image/svg+xml": (PNG, ".png"),
    **dict.fromkeys(_RAW_TYPES, (PNG, ".png")),
}

#: The media types of camera RAW.
CAMERA_RAW_TYPES = frozenset(_RAW_TYPES)

#: Extensions whose thumbnails are PNG files, so that two originals can have the same thumbnail name.
_EXTENSIONS = (
    *(".png", ".pdf", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".webp", ".bmp", ".jp2", ".j2k", ".jxl"),
    *(".psd", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".pef", ".svg"),
)

#: Every media type that can have a thumbnail; the setting CAN_THUMBNAIL chooses among them.
THUMBNAIL_TYPES = frozenset(_THUMBNAILS)


def recognise(head: bytes) -> Format | None:
    """Returns the format of a file by its first bytes, None if the format is not supported."""
    for signature, format in _SIGNATURES:
        if head.startswith(signature):
            return CAMERA_RAW if format is TIFF and head[8:10] == _CANON_MARK else format
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    if b"<svg" in head and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_SVG_STARTS):
        return SVG
    # Ghostscript executes a file that begins as PostScript, even if a PDF header follows.
    before, header, _ = head[:HEAD_LENGTH].partition(b"%PDF-")
    return PDF if header and b"%!" not in before else None


def is_complete(picture: bytes, format: Format) -> bool:
    """Returns whether a thumbnail is complete: it begins and ends as its format requires."""
    ends = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82", GIF: b"\x3b"}
    return recognise(picture[:HEAD_LENGTH]) == format and picture.endswith(ends[format])


def is_misnamed(media_type: str, head: bytes) -> bool:
    """Returns whether the format of a file differs from the media type of its name.

    Parameters:
        media_type: of the name; for other types than images the result is always False.
        head: the first HEAD_LENGTH bytes of the file.
    """
    announced, found = _ANNOUNCED.get(media_type), recognise(head)
    if announced is CAMERA_RAW and found is TIFF:
        return False
    return announced is not None and found != announced


def title(media_type: str) -> str:
    """Returns the name to show to people of the format that a media type announces; the type itself if unknown."""
    announced = _ANNOUNCED.get(media_type)
    return announced.title if announced else media_type


def encoder(media_type: str) -> Format:
    """Returns the format of the thumbnails of originals of this media type, which must be in THUMBNAIL_TYPES."""
    return _THUMBNAILS[media_type][0]


def thumbnail_parts(name: str, media_type: str) -> tuple[str, str]:
    """Returns the parts of the name of a thumbnail before and after `_SCALE`.

    `a.att.tif` gives (`a.att`, `.png`): its thumbnail at 100 pixels is `a.att_100.png`. If the name would be too
    long, its first part is replaced by a hash.

    Parameters:
        name: the store name of the original.
        media_type: of the original, one of THUMBNAIL_TYPES.
    """
    root, own_extension = split_extension(name)
    extension = _THUMBNAILS[media_type][1] or own_extension
    if len(f"{root}_{extension}".encode()) + _SCALE_DIGITS > LONGEST_NAME:
        root = hashlib.blake2b(root.encode(), digest_size=16).hexdigest()
    return root, extension


@functools.lru_cache(maxsize=1000)
def thumbnail_name(name: str, media_type: str, scale: int) -> str:
    """Returns the file name of the thumbnail of *name* at *scale* pixels."""
    root, extension = thumbnail_parts(name, media_type)
    return f"{root}_{scale}{extension}"


def same_root(name: str) -> list[str]:
    """Returns *name* with each of the usual image extensions, itself included."""
    root = split_extension(name)[0]
    spellings = (str.lower, str.upper, lambda extension: "." + extension[1:].capitalize())
    return [root + spelling(extension) for extension in _EXTENSIONS for spelling in spellings]
