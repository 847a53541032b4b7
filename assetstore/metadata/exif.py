"""EXIF metadata of an original, as plain groups and texts (protocol.md, `getmetadata`).

ExifRead understands JPEG, TIFF, HEIC, PNG and WebP. Files are strangers: whatever is wrong with
one costs some work and gives less metadata, never an error. A disk that does not give the bytes is one.
"""

import io
import logging
import re
from typing import Any, BinaryIO, cast

import exifread

from assetstore import formats
from assetstore.errors import AssetError, StorageFault

_log = logging.getLogger(__name__)

#: The longest text of one tag; real tags are shorter, binary ones would fill the answer.
LONGEST_TEXT = 2000

#: What ExifRead may read of one file. Honest metadata needs some hundred reads of some kilobytes; a
#: forged table of contents can send it round for ever, or have it take a megabyte for a text.
MOST_READS = 20_000
MOST_BYTES = 4 << 20
LARGEST_READ = 128 << 10

#: In so much of a HEIF or WebP file its EXIF is looked for.
_SEARCHED_BYTES = 64 << 20

#: The EXIF of a HEIF file begins so, with four zeros instead of its name on some phones (ISO/IEC
#: 23008-12, annex A); what follows it does no harm.
_EXIF_IN_HEIF = re.compile(rb"(?:Exif\0\0|\0{4})((?:II\*\0\x08\0{3}|MM\0\*\0{3}\x08).{1,1048576})", re.DOTALL)

_MOST_CHUNKS = 1000

_DATE_TAG = "EXIF DateTimeOriginal"
_GROUPS_OF_TWO_WORDS = re.compile(r"((?:IFD [0-9]+|EXIF SubIFD[0-9]+)) (.+)", re.ASCII)


def read_groups(file: BinaryIO) -> list[dict[str, object]]:
    """Returns the EXIF tags of an open file as `[{"Name": group, "Fields": {tag: text}}]`.

    Parameters:
        file: seekable, opened for reading in binary mode.

    Tags that hold only bytes, as embedded pictures do, are left out.

    Raises:
        StorageFault: the bytes cannot be read.
    """
    groups: dict[str, dict[str, str]] = {}
    for full_name, tag in _read_tags(file).items():
        group, name = _split(full_name)
        if name and not isinstance(tag, bytes):
            groups.setdefault(group, {})[name] = _text(tag)
    return [{"Name": group, "Fields": fields} for group, fields in groups.items()]


def read_date(file: BinaryIO) -> str | None:
    """Returns DateTimeOriginal as the camera wrote it (`2009:05:30 12:34:56`), None if there is none.

    Raises StorageFault.
    """
    tag = _read_tags(file).get(_DATE_TAG)
    text = _text(tag).strip("\0 ") if tag is not None else ""
    return text or None


def _read_tags(file: BinaryIO) -> dict[str, Any]:
    source = _exif_source(file)
    if source is None:
        return {}
    # Maker notes are where broken files break most: without them the rest can often be read.
    for details in (True, False):
        try:
            return exifread.process_file(cast(BinaryIO, _Bounded(source)), details=details, extract_thumbnail=False)
        except AssetError:
            raise  # of the store, not of the file
        except Exception as error:  # noqa: BLE001 - ExifRead raises whatever forged bytes lead it to
            _log.info("EXIF cannot be read (%s maker notes): %r", "with" if details else "without", error)
    return {}


def _exif_source(file: BinaryIO) -> BinaryIO | None:
    """What to give to ExifRead: the file, or of WebP and HEIF the small TIFF file that is their EXIF.

    ExifRead finds that in some of these files only: it wants a prefix that WebP does not have, and
    overlooks the base offset with which libheif writes HEIC. It also keeps parts of a HEIC file in
    class attributes, where threads would mix them up.
    """
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return _webp_exif(file)
    if formats.recognise(head) in (formats.HEIC, formats.AVIF):
        found = _EXIF_IN_HEIF.search(file.read(_SEARCHED_BYTES))
        return io.BytesIO(found[1]) if found else None
    return file


def _webp_exif(file: BinaryIO) -> BinaryIO | None:
    """Walks the chunks of a WebP file (WebP container specification, "Metadata")."""
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"EXIF":
            return io.BytesIO(file.read(min(length, MOST_BYTES)).removeprefix(b"Exif\0\0"))
        file.seek(length + length % 2, io.SEEK_CUR)
    return None


def _text(tag: Any) -> str:
    text = str(tag).replace("\0", "").strip()
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _split(full_name: str) -> tuple[str, str]:
    match = _GROUPS_OF_TWO_WORDS.fullmatch(full_name)
    if match:
        return match[1], match[2]
    group, _, name = full_name.partition(" ")
    return group, name


class _Bounded(io.RawIOBase):
    """Reads from *file* until a limit is reached, then fails."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads = 0
        self._bytes = 0

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if size is None or size < 0 or size > LARGEST_READ:
            size = LARGEST_READ
        try:
            data = self._file.read(size)
        except OSError as error:  # of the disk; forged bytes lead to places that cannot be sought, at most
            raise StorageFault("The file cannot be read.", str(error)) from error
        self._bytes += len(data)
        if self._reads > MOST_READS or self._bytes > MOST_BYTES:
            raise ValueError("too much to read")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._reads += 1
        if self._reads > MOST_READS:
            raise ValueError("too much to read")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
