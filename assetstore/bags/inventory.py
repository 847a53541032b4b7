"""The table of the originals in a bag, `attachments.csv`, which maps paths in the bag to store names.

Names that another system or the format itself does not support (RFC 8493, 2.1.3: line breaks and percent signs) are
replaced in the bag. In the table, names that are no store names have the spelling of `assetstore.names.spelled`.
"""

import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from assetstore import csv_io
from assetstore.errors import BadRequest
from assetstore.names import is_store_name, spelled, split_extension

#: The table of the originals in a bag.
INVENTORY = "attachments.csv"

_COLUMNS = ("path", "collection", "folder", "name", "size", "modified", "sha256")

#: Characters that other file systems, or the lines of a manifest, do not support.
_ODD = re.compile(r'[<>:"|?*\\%\x7f-\x9f\u2028\u2029]|[. ]$|^\s|\s$')
_PLAIN_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}", re.ASCII)

_LONGEST_PLAIN = 200


@dataclass(frozen=True, slots=True)
class Item:
    """One original in a bag.

    Fields:
        path: in the bag, with slashes; begins with `data/`.
        collection: its collection, as named in Specify; empty if there are no collections.
        collection_dir: its collection folder in the exporting store.
        name: the store name.
        size: in bytes.
        modified_ns: modification time, nanoseconds since 1970.
        sha256: hexadecimal.
    """

    path: str
    collection: str
    collection_dir: str
    name: str
    size: int
    modified_ns: int
    sha256: str


def payload_path(collection_dir: str, name: str, taken: set[str]) -> str:
    """Returns the path of an original in a bag, and adds it to *taken* (in lower case).

    The path has the store name if all file systems and the manifest support it, otherwise a hash of it.
    """
    folders = [folder if _is_plain(folder) else _hashed(folder) for folder in collection_dir.split("/") if folder]
    path = "/".join(("data", *folders, name if _is_plain(name) else _hashed(name)))
    if path.lower() in taken:  # there is a path that differs only in case
        path = "/".join(("data", *folders, _hashed(name)))
    taken.add(path.lower())
    return path


def _is_plain(name: str) -> bool:
    if not is_store_name(name):
        return False
    is_short = len(name.encode()) <= _LONGEST_PLAIN
    return is_short and not _ODD.search(name) and unicodedata.normalize("NFC", name) == name


def _hashed(name: str) -> str:
    extension = split_extension(name)[1]
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return f"renamed-{digest}{extension if _PLAIN_EXTENSION.fullmatch(extension) else ''}"


def write_inventory(path: Path, items: Iterable[Item]) -> None:
    """Writes the table. Raises OSError."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for item in items:
            name = spelled(item.name)
            row = (item.path, item.collection, item.collection_dir, name, item.size, item.modified_ns, item.sha256)
            writer.writerow(row)


def read_inventory(path: Path) -> Iterator[Item]:
    """Yields the rows of the table, which are untrusted. Raises BadRequest."""
    for line, row in csv_io.read(path, _COLUMNS):
        try:
            size, modified_ns = int(row["size"]), int(row["modified"])
            yield Item(row["path"], row["collection"], row["folder"], row["name"], size, modified_ns, row["sha256"])
        except (KeyError, ValueError):
            raise BadRequest(f"{INVENTORY}, line {line}, is incomplete or has an invalid number.") from None
