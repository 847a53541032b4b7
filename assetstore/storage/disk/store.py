"""Creates a store on disk."""

from collections.abc import Sequence
from pathlib import Path

from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.originals import DiskOriginalStorage
from assetstore.storage.disk.space import DiskSpace
from assetstore.storage.disk.trash_storage import DiskTrashStorage
from assetstore.storage.protocols import Store


def disk_store(base: Path, originals: str, thumbnails: str, collection_dirs: Sequence[str], reserve: int = 0) -> Store:
    """Returns the store. Does not access the disk yet.

    Parameters:
        base, originals, thumbnails, collection_dirs: as for `DiskLayout`.
        reserve: free space that uploads must leave on the file system, in bytes.
    """
    layout = DiskLayout(base, originals, thumbnails, collection_dirs)
    return Store(DiskOriginalStorage(layout, reserve), DiskTrashStorage(layout), DiskSpace(layout))
