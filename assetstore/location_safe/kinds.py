"""What a request without a token gets of a file: the file as it is, a copy, or nothing."""

import enum

from assetstore import formats, media_types

_CLEANED = frozenset((formats.JPEG, formats.TIFF, formats.HEIC, formats.AVIF, formats.PNG, formats.WEBP))

#: Sound may be in the same containers as video: MP4 and QuickTime, Matroska, Ogg, ASF.
_CONTAINERS = (b"\x1aE\xdf\xa3", b"OggS", b"0&\xb2u\x8ef\xcf\x11")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

#: Videos (MPEG, Flash), and camera RAW that has no thumbnails: all variants of TIFF, Sigma, Minolta.
_OTHERS = (b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV", b"II", b"MM", b"FOVb", b"\0MRM")


class Kind(enum.Enum):
    """What a request without a token gets."""

    AS_IT_IS = "as it is"
    COPY = "copy"
    NOTHING = "nothing"


def kind(name: str, head: bytes) -> Kind:
    """Returns what a request without a token gets of a file.

    Parameters:
        name: the store name.
        head: the first `formats.HEAD_LENGTH` bytes.
    """
    media_type, format = media_types.guess(name), formats.recognise(head)
    if media_type in formats.CAMERA_RAW_TYPES:
        return Kind.NOTHING
    if format in _CLEANED:
        return Kind.COPY
    if format is formats.PDF:
        return Kind.AS_IT_IS
    if format is not None or media_type.startswith(("image/", "video/")):
        return Kind.NOTHING
    if head.startswith(_CONTAINERS) or head[4:8] in _BOXES:
        return Kind.AS_IT_IS if media_type.startswith("audio/") else Kind.NOTHING
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return Kind.NOTHING if is_avi or head.startswith(_OTHERS) else Kind.AS_IT_IS
