"""A request for a thumbnail."""

from dataclasses import dataclass

from assetstore.storage.models import Version


@dataclass(frozen=True)
class ThumbnailRequest:
    """A requested thumbnail: the original and its version, and the file name and size of the thumbnail."""

    collection_dir: str
    name: str
    version: Version
    thumbnail: str
    size: int
