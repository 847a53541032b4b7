"""Which bucket and key belong to which place and name: the same layout as on disk, below a prefix.

    [prefix/][collection folder/]originals/NAME
    [prefix/][collection folder/]thumbnails/ROOT_SCALE.EXT
    [prefix/][collection folder/]trash/…

A collection may have a bucket of its own: its folder is then `s3://bucket` or `s3://bucket/prefix`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assetstore.storage.s3.client import Bucket

_SCHEME = "s3://"


@dataclass(frozen=True)
class Root:
    """Where the files of a collection are: a bucket, and a prefix in it, with a slash at its end unless it is empty."""

    bucket: Bucket
    prefix: str


@dataclass(frozen=True)
class Folder:
    """One folder of files: the keys `path/NAME` in a bucket."""

    bucket: Bucket
    path: str

    def key(self, name: str) -> str:
        """Returns the key of a file."""
        return f"{self.path}/{name}"

    def name(self, key: str) -> str:
        """Returns the rest of a key behind the folder and its slash; empty if it does not lie there."""
        return key[len(self.path) + 1 :] if key.startswith(self.path + "/") else ""


class Layout:
    """The layout of one store.

    Parameters:
        url: `s3://bucket` or `s3://bucket/prefix` (STORAGE_URL).
        places: the folders of all collections.
        new_bucket: gives a bucket by its name; asked once for each.
    """

    def __init__(self, url: str, places: Sequence[str], new_bucket: Callable[[str], Bucket]) -> None:
        buckets: dict[str, Bucket] = {}
        self._roots: dict[str, Root] = {}
        for place in places:
            address = place if place.startswith(_SCHEME) else f"{url}/{place}".rstrip("/")
            name, _, prefix = address.removeprefix(_SCHEME).partition("/")
            if name not in buckets:
                buckets[name] = new_bucket(name)
            self._roots[place] = Root(buckets[name], f"{prefix}/" if prefix else "")

    def folder(self, place: str, name: str) -> Folder:
        """Returns a folder of the collection whose folder is *place*."""
        root = self._roots[place]
        return Folder(root.bucket, root.prefix + name)

    def roots(self) -> list[Root]:
        """Returns one root for each bucket."""
        return list({root.bucket.name: root for root in self._roots.values()}.values())
