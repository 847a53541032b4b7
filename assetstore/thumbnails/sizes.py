"""The periodic task for the cached sizes: applies PREVIEW_SIZES, and removes the thumbnails of retired sizes.

`assetstore.storage.thumbnail_sizes` has the rules by which sizes are cached and retired.

Concurrency: requests only mark a size as retired. The thumbnails are removed here, because that takes long in a large
collection.
"""

import threading
from collections.abc import Sequence

from assetstore.storage.protocols import CachedSizes

#: The interval of the task in seconds.
ROUND_SECONDS = 60


def update(store: CachedSizes, collection_dirs: Sequence[str], ending: threading.Event) -> None:
    """Does one round, for all collection folders.

    Parameters:
        store: of the thumbnails.
        collection_dirs: the collection folders.
        ending: ends the round early if it is set.

    Raises StorageFault.
    """
    for collection_dir in collection_dirs:
        if ending.is_set():
            return
        store.update_previews(collection_dir)
        store.remove_retired(collection_dir, ending)
