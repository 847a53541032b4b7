"""The validation of store names and thumbnail sizes.

Clients choose the store name, and it becomes a file name, so it must be exactly one safe path component. Only names
that were validated here may be joined to a path.
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
