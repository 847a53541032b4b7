"""The formats that have thumbnails: how to recognise one, how to decode it, what it becomes.

A table, not a ladder of ifs. Two questions are kept apart: what a file *is* its first bytes say,
and they alone choose the decoder; what its thumbnail *becomes* its name says, because clients
expect the thumbnail of a `.JPG` to be a JPEG (protocol.md, "Words" and "Routes"). This is an
allow-list at a security boundary, so it is spelled out here instead of asked of a library that
guesses among hundreds of types.
"""

import hashlib
from dataclasses import dataclass

from assetstore.names import LONGEST_NAME, split_extension

#: How many of a file's first bytes `recognise` wants to see; PDF allows junk before its header.
HEAD_LENGTH = 1024

#: Room left for the scale in a thumbnail's name.
_SCALE_DIGITS = 6

#: Lengths of the second header of a bitmap, which follows its first of 14 bytes.
_BMP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))


@dataclass(frozen=True)
class Format:
    """One kind of picture as the tools know it.

    Fields:
        title: for people.
        decoder: ImageMagick's name for it; `pdf` is Ghostscript's.
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

FORMATS = {format.decoder: format for format in (JPEG, PNG, GIF, TIFF, HEIC, AVIF, WEBP, BMP, PDF)}

#: What follows `ftyp` in files of the ISO family.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
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
)

#: What a file is whose name has this media type.
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
}

#: Media type of the name -> (encoder of the thumbnail, its extension; None keeps the original's).
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
}

#: The extensions whose thumbnails are PNGs, so that two of them can want one thumbnail name.
_EXTENSIONS = (".png", ".pdf", ".tif", ".tiff", ".heic", ".heif", ".avif", ".webp", ".bmp")

#: Every media type that can have a thumbnail; the setting CAN_THUMBNAIL chooses among them.
THUMBNAIL_TYPES = frozenset(_THUMBNAILS)


def recognise(head: bytes) -> Format | None:
    """Returns the format that a file's first bytes announce, None if it is not on the list."""
    for signature, format in _SIGNATURES:
        if head.startswith(signature):
            return format
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    # Ghostscript runs as a program whatever begins as PostScript, also with a PDF's header behind it.
    before, header, _ = head[:HEAD_LENGTH].partition(b"%PDF-")
    return PDF if header and b"%!" not in before else None


def is_misnamed(media_type: str, head: bytes) -> bool:
    """Says whether a file is another format than the media type of its name announces.

    Parameters:
        media_type: of the name; those of other files than pictures announce nothing.
        head: the first HEAD_LENGTH bytes of the file.
    """
    announced = _ANNOUNCED.get(media_type)
    return announced is not None and recognise(head) != announced


def encoder(media_type: str) -> Format:
    """Returns the format of the thumbnails of originals of this media type (a key of the table)."""
    return _THUMBNAILS[media_type][0]


def thumbnail_parts(name: str, media_type: str) -> tuple[str, str]:
    """Returns what all thumbnails of an original begin and end with, around `_SCALE`.

    `a.att.tif` gives (`a.att`, `.png`): its thumbnail at 100 is `a.att_100.png`. A root so long
    that nothing can be added to it gives way to its hash.

    Parameters:
        name: the store name of the original.
        media_type: of the original, a key of the table.
    """
    root, own_extension = split_extension(name)
    extension = _THUMBNAILS[media_type][1] or own_extension
    if len(f"{root}_{extension}".encode()) + _SCALE_DIGITS > LONGEST_NAME:
        root = hashlib.blake2b(root.encode(), digest_size=16).hexdigest()
    return root, extension


def thumbnail_name(name: str, media_type: str, scale: int) -> str:
    """Returns the file name of the thumbnail of *name* at *scale* pixels."""
    root, extension = thumbnail_parts(name, media_type)
    return f"{root}_{scale}{extension}"


def same_root(name: str) -> list[str]:
    """Returns the store names that differ from *name* in a usual picture extension only, itself included."""
    root = split_extension(name)[0]
    spellings = (str.lower, str.upper, lambda extension: "." + extension[1:].capitalize())
    return [root + spelling(extension) for extension in _EXTENSIONS for spelling in spellings]
