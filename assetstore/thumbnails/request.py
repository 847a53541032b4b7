"""A request for a thumbnail."""

from typing import NamedTuple

from assetstore.storage.models import Version


class ThumbnailRequest(NamedTuple):
    """A requested thumbnail: the original and its version, and the file name and size of the thumbnail."""

    collection_dir: str
    name: str
    version: Version
    thumbnail: str
    size: int
