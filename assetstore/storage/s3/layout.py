"""The bucket and key of a collection folder and a name: the same layout as on disk, below a prefix.

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
class FolderNames:
    """The names of the folders of a collection: originals (ORIG_DIR), thumbnails (THUMB_DIR) and trash."""

    originals: str
    thumbnails: str
    trash: str


@dataclass(frozen=True)
class Root:
    """The bucket of a collection and the prefix of its files in it; the prefix is empty or ends with a slash."""

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
        """Returns the name in this folder that belongs to a key; empty if the key is not in the folder."""
        return key[len(self.path) + 1 :] if key.startswith(self.path + "/") else ""


class Layout:
    """The layout of one store.

    Parameters:
        url: `s3://bucket` or `s3://bucket/prefix` (STORAGE_URL).
        collection_dirs: the folders of all collections; others may be added later.
        names: of the folders.
        new_bucket: opens a bucket by its name; called once for each bucket.

    Concurrency: any thread may call.
    """

    def __init__(
        self, url: str, collection_dirs: Sequence[str], names: FolderNames, new_bucket: Callable[[str], Bucket]
    ) -> None:
        self._url = url
        self.collection_dirs = collection_dirs
        self._names = names
        self._new_bucket = new_bucket
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}

    def originals(self, collection_dir: str) -> Folder:
        """Returns the folder of originals of a collection."""
        return self._folder(collection_dir, self._names.originals)

    def thumbnails(self, collection_dir: str) -> Folder:
        """Returns the folder of thumbnails of a collection."""
        return self._folder(collection_dir, self._names.thumbnails)

    def trash(self, collection_dir: str) -> Folder:
        """Returns the folder of the trash of a collection."""
        return self._folder(collection_dir, self._names.trash)

    def _folder(self, collection_dir: str, name: str) -> Folder:
        root = self.root(collection_dir)
        return Folder(root.bucket, root.prefix + name)

    def root(self, collection_dir: str) -> Root:
        """Returns the bucket and prefix of a collection folder."""
        address = collection_dir if collection_dir.startswith(_SCHEME) else f"{self._url}/{collection_dir}".rstrip("/")
        name, _, prefix = address.removeprefix(_SCHEME).partition("/")
        with self._lock:
            bucket = self._buckets.get(name) or self._buckets.setdefault(name, self._new_bucket(name))
        return Root(bucket, f"{prefix}/" if prefix else "")

    def roots(self) -> list[Root]:
        """Returns one root for each bucket."""
        roots = [self.root(collection_dir) for collection_dir in self.collection_dirs]
        return list({root.bucket.name: root for root in roots}.values())
