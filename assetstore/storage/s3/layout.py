"""Which bucket and key belong to which place and name: the same layout as on disk, below a prefix.

    [prefix/][collection folder/]originals/NAME
    [prefix/][collection folder/]thumbnails/ROOT_SCALE.EXT
    [prefix/][collection folder/]trash/…

A collection may have a bucket of its own: its folder is then `s3://bucket` or `s3://bucket/prefix`.
"""

import threading
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
        collection_dirs: the folders of all collections; others may come later.
        new_bucket: gives a bucket by its name; asked once for each.

    Concurrency: any thread may ask.
    """

    def __init__(self, url: str, collection_dirs: Sequence[str], new_bucket: Callable[[str], Bucket]) -> None:
        self._url = url
        self._collection_dirs = collection_dirs
        self._new_bucket = new_bucket
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}

    def folder(self, collection_dir: str, name: str) -> Folder:
        """Returns a folder of the collection whose folder is *collection_dir*."""
        root = self.root(collection_dir)
        return Folder(root.bucket, root.prefix + name)

    def root(self, collection_dir: str) -> Root:
        """Returns where the files of the collection are whose folder is *collection_dir*."""
        address = collection_dir if collection_dir.startswith(_SCHEME) else f"{self._url}/{collection_dir}".rstrip("/")
        name, _, prefix = address.removeprefix(_SCHEME).partition("/")
        with self._lock:
            bucket = self._buckets.get(name) or self._buckets.setdefault(name, self._new_bucket(name))
        return Root(bucket, f"{prefix}/" if prefix else "")

    def roots(self) -> list[Root]:
        """Returns one root for each bucket."""
        roots = [self.root(collection_dir) for collection_dir in self._collection_dirs]
        return list({root.bucket.name: root for root in roots}.values())
