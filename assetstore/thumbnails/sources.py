"""Which original a cached thumbnail was made of, for requests that name only the thumbnail."""

import contextlib
from collections.abc import Iterable

from assetstore import formats, media_types
from assetstore.errors import NotFound, NotPublic
from assetstore.names import split_extension
from assetstore.storage.models import StoredFile
from assetstore.storage.protocols import OriginalReader, ThumbnailStore
from assetstore.thumbnails import fingerprint


def candidates(thumbnail: str, named: str | None = None) -> list[str]:
    """Returns the names of originals whose thumbnails may have this file name; opens no file.

    Parameters:
        thumbnail: the file name.
        named: the store name that the request gives, if any. Without it, originals are missing whose names are too
            long, so that a hash replaces them, or have extensions of unusual spelling, such as `.TiF`.
    """
    stem, extension = split_extension(thumbnail)
    root, _, scale = stem.rpartition("_")
    if not root or not (scale.isascii() and scale.isdecimal()):
        return []
    name = root + extension
    given = () if named is None else (named,)
    names = dict.fromkeys((*given, name, *(formats.same_root(name) if extension == ".png" else ())))
    return [name for name in names if _parts(name) == (root, extension)]


def _parts(name: str) -> tuple[str, str] | None:
    media_type = media_types.guess(name)
    return formats.thumbnail_parts(name, media_type) if media_type in formats.THUMBNAIL_TYPES else None


def open_cached_of(
    storage: OriginalReader, store: ThumbnailStore, collection_dir: str, thumbnail: str, names: Iterable[str]
) -> StoredFile:
    """Opens a cached thumbnail if it was made of the current version of one of these originals.

    Parameters:
        storage, store: of the originals and of the thumbnails.
        collection_dir: the folder of the collection.
        thumbnail: its file name.
        names: of the originals.

    Raises NotPublic (it was made of another one, or does not exist), StorageFault.
    """
    try:
        cached = store.open(collection_dir, thumbnail)
    except NotFound:
        raise NotPublic from None
    for name in names:
        with contextlib.suppress(NotFound):
            version = storage.version(collection_dir, name)
            if fingerprint.has_stamp(cached.version, fingerprint.stamp(name, version)):
                return fingerprint.as_served(cached)
    cached.file.close()
    raise NotPublic
