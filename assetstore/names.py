"""The validation of store names and thumbnail sizes.

Clients choose the store name, and it becomes a file name, so it must be exactly one safe path component. Only names
that were validated here may be joined to a path.

A folder may contain files whose names clients cannot request, for example with a line break, or in Latin-1. Python has
the bytes of a name that are not UTF-8 as surrogates (PEP 383), which cannot be stored or printed. `spelled` returns a
spelling that can, and `unspelled` the name.
"""

import re

from assetstore.errors import BadRequest

#: Name of the server's private folders, in BASE_DIR and in the folders of originals and thumbnails. They contain the
#: key, the journal, the trash, locks and unfinished uploads.
PRIVATE_FOLDER = ".asset-server"

#: Last parts of paths that never name a file: the folder itself, its parent folder and the private folder.
FOLDERS = frozenset(("", ".", "..", PRIVATE_FOLDER))

#: The longest file name of the common Linux file systems, in bytes.
LONGEST_NAME = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_UNPRINTABLE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4}))", re.ASCII)

#: Python has the byte 0xNN of a name that is not UTF-8 as this code point plus 0xNN (PEP 383).
_BYTES = 0xDC00
_NOT_ASCII = 0x80

#: Space in a repaired name for `-2` and so on, in bytes.
_ROOM_FOR_NUMBER = 5

_SCALE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


def store_name(text: str) -> str:
    """Returns *text* unchanged if it is one safe path component.

    Parameters:
        text: the name as decoded from the request.

    Raises:
        BadRequest: empty, `.` or `..`, a slash or backslash, a control character, more than 255
            bytes in UTF-8, not encodable as UTF-8, or the name of the server's own folder.
    """
    if not text:
        raise BadRequest("The file name is empty.")
    if text in FOLDERS:
        raise BadRequest("This file name is reserved.")
    if "/" in text or "\\" in text:
        raise BadRequest("A file name must not contain a slash or backslash.")
    if _CONTROL.search(text):
        raise BadRequest("A file name must not contain control characters.")
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadRequest("The file name is not valid UTF-8.") from None
    if length > LONGEST_NAME:
        raise BadRequest(f"The file name is too long: it has {length} bytes, and the limit is {LONGEST_NAME}.")
    return text


def is_store_name(text: str) -> bool:
    """Says whether a file of this name can be requested; a folder may contain others as well."""
    try:
        store_name(text)
    except BadRequest:
        return False
    return True


def spelled(name: str) -> str:
    r"""Returns a file name in a spelling that can be printed and stored; a valid store name stays as it is.

    In other names, backslashes, control characters and bytes that are not UTF-8 become escapes such as `\x0a` and
    `\u0085`. The result is unambiguous, because a store name contains no backslash.
    """
    return name if is_store_name(name) else _UNPRINTABLE.sub(_escaped, name)


def unspelled(text: str) -> str:
    """Returns the name of which `spelled` made *text*; *text* itself if it is no such spelling."""
    name = _ESCAPE.sub(lambda match: chr(_code_point(match)), text)
    return name if "/" not in name and spelled(name) == text else text


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if _BYTES <= code < _BYTES + 0x100:
        return f"\\x{code - _BYTES:02x}"
    return f"\\x{code:02x}" if code < _NOT_ASCII else f"\\u{code:04x}"


def _code_point(match: re.Match[str]) -> int:
    if match[2]:
        return int(match[2], 16)
    code = int(match[1], 16)
    return code if code < _NOT_ASCII else code + _BYTES


def repaired(name: str) -> str:
    """Returns a store name that resembles a file name that clients cannot request.

    Bytes that are not UTF-8 are read as Windows-1252, which old programs used. What cannot be in a store name becomes
    an underscore.
    """
    data = name.encode("utf-8", "surrogateescape")
    for charset in ("utf-8", "cp1252", "latin-1"):
        try:
            text = data.decode(charset)
            break
        except UnicodeDecodeError:
            continue
    text = re.sub(r"[/\\]", "_", _CONTROL.sub("_", text))
    root, extension = split_extension(text)
    while len(f"{root}{extension}".encode()) > LONGEST_NAME - _ROOM_FOR_NUMBER and root:
        root = root[:-1]
    return store_name(root + extension)


def scale(text: str | None) -> int:
    """Returns the size of a thumbnail in pixels.

    Parameters:
        text: a positive decimal number without sign, blanks or leading zeros.

    Raises:
        BadRequest: it is missing or malformed.
    """
    if text is None:
        raise BadRequest("A thumbnail requires the parameter scale, its size in pixels.")
    if not _SCALE.fullmatch(text):
        raise BadRequest("The parameter scale must be a whole number of pixels, at least 1.")
    return int(text)


def split_extension(name: str) -> tuple[str, str]:
    """Splits a store name into root and last extension: `a.att.JPG` gives (`a.att`, `.JPG`).

    A name that only begins with a dot has no extension.
    """
    dot = name.rfind(".")
    if dot <= 0 or not name[:dot].strip("."):
        return name, ""
    return name[:dot], name[dot:]


def is_bucket_url(folder: str) -> bool:
    """Says whether the folder of a collection is a bucket, or a prefix in one."""
    return folder.startswith("s3://")
