"""The trash of one place: objects named `2026-11-24T10.31.07.123456789-deleted-1764000000000000000/NAME`.

The first moment is when it went (UTC), the number is when its bytes were last changed (nanoseconds since
1970): a listing says neither. The slash is there because some services take no more than 255 bytes between two.

S3 cannot rename, so an object goes there by a copy that the service makes, and only then goes from where it was;
a crash in between leaves it in both places, which loses nothing.
"""

import re
import time
from collections.abc import Iterator

from assetstore.names import is_store_name
from assetstore.storage.models import DELETED, REPLACED, TrashEntry
from assetstore.storage.s3.layout import Folder
from assetstore.storage.s3.object_info import Found
from assetstore.storage.s3.parts import copy
from assetstore.storage.trash_names import STAMP_PATTERN, stamp, timestamp_ns

_ENTRY = re.compile(rf"{STAMP_PATTERN}-({DELETED}|{REPLACED})-(\d{{1,20}})/(.+)", re.ASCII | re.DOTALL)


def keep(folder: Folder, original: Found, name: str, reason: str) -> None:
    """Copies an original to the trash. Raises NotFound, OutOfSpace, Unavailable, StorageFault."""
    identifier = f"{stamp(time.time_ns())}-{reason}-{original.modified_ns}/{name}"
    copy(folder.bucket, original, folder.key(identifier))


def entries(folder: Folder, collection_dir: str) -> Iterator[TrashEntry]:
    """Yields the entries, oldest first; other objects are passed over. Raises Unavailable, StorageFault."""
    for object in folder.bucket.list(folder.path):
        identifier = folder.name(object.key)
        match = _ENTRY.fullmatch(identifier)
        if match is None or not is_store_name(match[5]):
            continue
        removed_ns = timestamp_ns(match[1], match[2])
        if removed_ns is not None:
            yield TrashEntry(identifier, collection_dir, match[5], removed_ns, match[3], object.size, int(match[4]))
