"""The trash of a collection folder: objects named `2026-11-24T10.31.07.123456789-deleted-1764000000000000000/NAME`.

The date and time is when the original was removed (UTC), and the number when its bytes were last changed (nanoseconds
since 1970); a listing has neither. The slash is necessary because some services limit the text between two slashes to
255 bytes.

S3 cannot rename objects. The service copies an object to the trash, and then the original is removed. A crash in
between leaves the object in both, and nothing is lost.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from assetstore.errors import AssetError, NotFound, OutOfSpace
from assetstore.names import is_store_name
from assetstore.storage.models import DELETED, REPLACED, TrashEntry
from assetstore.storage.s3.client import existing
from assetstore.storage.s3.errors import Rejected
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.object_info import Found
from assetstore.storage.s3.objects import opened
from assetstore.storage.s3.parts import copy
from assetstore.storage.s3.spool import Spool
from assetstore.storage.trash_names import STAMP_PATTERN, stamp, timestamp_ns

_ENTRY = re.compile(rf"{STAMP_PATTERN}-({DELETED}|{REPLACED})-(\d{{1,20}})/(.+)", re.ASCII | re.DOTALL)


@contextlib.contextmanager
def kept(folder: Folder, original: Found, name: str, reason: str) -> Iterator[None]:
    """Copies an original to the trash, for a change that removes it.

    If the service rejects the change, the copy is removed, too. If it is uncertain whether the change was made, the
    copy stays. Raises NotFound, OutOfSpace, Unavailable, StorageFault.
    """
    key = folder.key(f"{stamp(time.time_ns())}-{reason}-{original.modified_ns}/{name}")
    copy(folder.bucket, original, key)
    try:
        yield
    except (Rejected, OutOfSpace):
        with contextlib.suppress(AssetError):  # the first error says why
            folder.bucket.delete([key])
        raise


def _entries(folder: Folder, collection_dir: str) -> Iterator[TrashEntry]:
    """Yields the entries, oldest first, and skips other objects. Raises Unavailable, StorageFault."""
    for object in folder.bucket.list(folder.path):
        entry = _entry(folder.name(object.key), collection_dir, object.size)
        if entry is not None:
            yield entry


def _entry(identifier: str, collection_dir: str, size: int) -> TrashEntry | None:
    match = _ENTRY.fullmatch(identifier)
    if match is None or not is_store_name(match[5]):
        return None
    removed_ns = timestamp_ns(match[1], match[2])
    if removed_ns is None:
        return None
    return TrashEntry(identifier, collection_dir, match[5], removed_ns, match[3], size, int(match[4]))


class S3TrashStorage:
    """The deleted and replaced originals of all collections.

    Parameters:
        layout: the buckets and keys of collection folders.
        spool: for temporary local files.
    """

    def __init__(self, layout: Layout, spool: Spool) -> None:
        self._layout = layout
        self._spool = spool

    def entries(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields the trash of a collection folder, oldest entries first. Raises Unavailable, StorageFault."""
        return _entries(self._layout.trash(collection_dir), collection_dir)

    def entry(self, collection_dir: str, identifier: str) -> TrashEntry:
        """Returns one entry. Raises NotFound, Unavailable, StorageFault."""
        folder = self._layout.trash(collection_dir)
        object = existing(folder.bucket, folder.key(identifier)) if _entry(identifier, "", 0) else None
        found = None if object is None else _entry(identifier, collection_dir, object.size)
        if found is None:
            raise NotFound("The file is no longer in the trash.", identifier)
        return found

    @contextlib.contextmanager
    def local_file(self, entry: TrashEntry) -> Iterator[Path]:
        """Yields a path at which tools can read a copy. Raises NotFound, Unrenderable, Unavailable, StorageFault."""
        folder = self._layout.trash(entry.collection_dir)
        with opened(folder.bucket, folder.key(entry.identifier), True) as stored, self._spool.copy(stored) as path:
            yield path

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Restores an original from the trash. Returns whether it replaced one.

        Raises NotFound (the entry no longer exists), OutOfSpace, Unavailable, StorageFault.
        """
        folder, trash_folder = self._layout.originals(entry.collection_dir), self._layout.trash(entry.collection_dir)
        try:
            entered = trash_folder.bucket.head(trash_folder.key(entry.identifier))
        except NotFound as error:
            raise NotFound("The file is no longer in the trash.", entry.identifier) from error
        key = folder.key(entry.name)
        with contextlib.ExitStack() as stack:
            old = existing(folder.bucket, key)
            if keep_old and old is not None and old.etag != entered.etag:  # equal after a crash before it was removed
                with contextlib.suppress(NotFound):
                    stack.enter_context(kept(trash_folder, old, entry.name, REPLACED))
            copy(folder.bucket, entered, key)
        trash_folder.bucket.delete([entered.key])
        return old is not None

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash permanently. Returns whether it existed. Raises Unavailable, StorageFault."""
        folder = self._layout.trash(entry.collection_dir)
        object = existing(folder.bucket, folder.key(entry.identifier))
        if object is not None:
            folder.bucket.delete([object.key])
        return object is not None
