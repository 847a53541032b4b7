"""The names of the files of pyramids: `ORIGINAL/PAGE.tif`.

ORIGINAL is a hash of the store name, because a store name can be as long as a file name can be.
"""

import hashlib
import re

#: The folder of pyramids in the private folder of thumbnails. Nothing but pyramids is in it, and they can all be
#: removed at any time.
FOLDER = "pyramids"

#: Extension of the file with the progress of a pyramid that is being made.
PROGRESS = ".progress"

_FILE = re.compile(r"([0-9a-f]{32})/([1-9][0-9]{0,4})\.tif", re.ASCII)


def original_id(name: str) -> str:
    """Returns what stands for an original in the names of its pyramids."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def file_name(original: str, page: int) -> str:
    """Returns the name of a pyramid in the folder of pyramids."""
    return f"{original}/{page}.tif"


def parsed(file: str) -> tuple[str, int] | None:
    """Returns the original and the page of a name in the folder of pyramids; None if it is no pyramid."""
    match = _FILE.fullmatch(file)
    return (match[1], int(match[2])) if match else None
