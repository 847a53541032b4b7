"""Originals that share the names of their thumbnails, such as x.tif and x.png: a cached x_200.png may be of either."""

from collections.abc import Iterator

from assetstore import formats, media_types
from assetstore.errors import NotFound
from assetstore.storage.models import Version
from assetstore.storage.protocols import OriginalReader
from assetstore.thumbnails import fingerprint


def have_other(storage: OriginalReader, collection_dir: str, name: str) -> bool:
    """Returns whether another original has the same thumbnail names. Raises StorageFault."""
    return any(other != name for other, _ in with_same_thumbnails(storage, collection_dir, name))


def spared_stamps(storage: OriginalReader, collection_dir: str, name: str) -> frozenset[int]:
    """Returns the stamps of thumbnails that stay when an original was deleted or replaced. Raises StorageFault."""
    # Those of this original stay if it was replaced by the same bytes. A stamp of an earlier version of the server does
    # not prove that.
    return frozenset(
        stamp(other, version)
        for other, version in with_same_thumbnails(storage, collection_dir, name)
        for stamp in (fingerprint.stamp, fingerprint.former_stamp)
        if other != name or stamp is fingerprint.stamp
    )


def with_same_thumbnails(storage: OriginalReader, collection_dir: str, name: str) -> Iterator[tuple[str, Version]]:
    """Yields *name* and the other originals whose thumbnails have the same names. Raises StorageFault."""
    parts = formats.thumbnail_parts(name, media_types.guess(name))
    for other in sorted({name, *formats.same_root(name)}):
        if formats.thumbnail_parts(other, media_types.guess(other)) == parts:
            try:
                yield other, storage.version(collection_dir, other)
            except NotFound:
                continue
