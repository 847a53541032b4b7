"""What a request without a token gets of a file: the file as it is, a copy, or nothing."""

import enum

from assetstore import formats, media_types

_CLEANED = frozenset((formats.JPEG, formats.TIFF, formats.HEIC, formats.AVIF, formats.PNG, formats.WEBP))

#: Sound may be in the same containers as video: MP4 and QuickTime, Matroska, Ogg, ASF.
_CONTAINERS = (b"\x1aE\xdf\xa3", b"OggS", b"0&\xb2u\x8ef\xcf\x11")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"JXL ", b"jP  ")

#: The brands of MP4 that contain only sound.
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")

#: MPEG transport streams: this byte begins each packet, in cameras' files after four others. It is also the letter G.
_SYNC, _PACKETS, _LEAST_PACKETS = 0x47, ((0, 188), (4, 192)), 4

#: Videos: MPEG, Flash, MXF, RealMedia, Windows TV, DV, IVF.
_VIDEOS = (
    *(b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV", b"\x06\x0e\x2b\x34", b".RMF", b"\xb7\xd8\0 7I\xdaM"),
    *(b"\x1f\x07\0", b"DKIF"),
)

#: Pictures without thumbnails. Camera RAW: all variants of TIFF, Sigma, Minolta. Others with metadata of cameras: large
#: files of Photoshop (PSB), GIMP, OpenEXR, BPG, FLIF, JNG and MNG.
_PICTURES = (
    *(b"II", b"MM", b"FOVb", b"\0MRM", b"8BPS", b"gimp xcf", b"\x76\x2f\x31\x01", b"BPG\xfb", b"FLIF"),
    *(b"\x8bJNG", b"\x8aMNG"),
)


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
    is_picture = format is not None or media_type.startswith(("image/", "video/"))
    if is_picture or head.startswith(_PICTURES) or _may_be_video(head, media_type):
        return Kind.NOTHING
    return Kind.AS_IT_IS


def _may_be_video(head: bytes, media_type: str) -> bool:
    if head[4:8] in _BOXES and head[8:12] not in _SOUND_BRANDS:
        return True
    if head.startswith(_CONTAINERS) or head[4:8] in _BOXES:
        return not media_type.startswith("audio/")
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return is_avi or _is_transport_stream(head) or head.startswith(_VIDEOS)


def _is_transport_stream(head: bytes) -> bool:
    starts = (head[first::length] for first, length in _PACKETS)
    return any(len(found) >= _LEAST_PACKETS and set(found) == {_SYNC} for found in starts)
