"""From a store name to the Content-Type of the response.

The table is the one in Python, without the files of the operating system, so that a file has the same type on
every machine. Types that museums use and that some versions of Python lack are added.
"""

import functools
import mimetypes

from assetstore.names import split_extension

UNKNOWN = "application/octet-stream"

#: Compressed files have a media type of their own; with Content-Encoding, clients would unpack them.
_COMPRESSED = {
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".z": "application/x-compress",
    ".zst": "application/zstd",
    ".br": UNKNOWN,
}

_ADDED = {
    ".7z": "application/x-7z-compressed",
    ".arw": "image/x-sony-arw",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".cr2": "image/x-canon-cr2",
    ".cr3": "image/x-canon-cr3",
    ".dng": "image/x-adobe-dng",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".fasta": "text/plain",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".gpx": "application/gpx+xml",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".hif": "image/heif",
    ".j2k": "image/jp2",
    ".jfif": "image/jpeg",
    ".jp2": "image/jp2",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jxl": "image/jxl",
    ".kml": "application/vnd.google-earth.kml+xml",
    ".kmz": "application/vnd.google-earth.kmz",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".nef": "image/x-nikon-nef",
    ".obj": "model/obj",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".orf": "image/x-olympus-orf",
    ".pef": "image/x-pentax-pef",
    ".ply": "model/ply",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".psd": "image/vnd.adobe.photoshop",
    ".raf": "image/x-fuji-raf",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".rw2": "image/x-panasonic-rw2",
    ".stl": "model/stl",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".wav": "audio/x-wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".xhtml": "application/xhtml+xml",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xml": "text/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}


@functools.cache
def _table() -> dict[str, str]:
    # Created at first use, because Python's module reads system files before it returns its own table.
    return {**mimetypes.MimeTypes().types_map[True], **_ADDED, **_COMPRESSED}


@functools.lru_cache(maxsize=1000)
def guess(name: str) -> str:
    """Returns the media type of a store name without parameters, `application/octet-stream` if unknown."""
    return _table().get(split_extension(name)[1].lower(), UNKNOWN)


def header(name: str) -> str:
    """Returns the Content-Type header of a store name; text types carry `charset=UTF-8`."""
    media_type = guess(name)
    return f"{media_type}; charset=UTF-8" if media_type.startswith("text/") else media_type
