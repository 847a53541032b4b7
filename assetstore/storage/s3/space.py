"""Tests the buckets of a store, and creates the local folders that it needs."""

import uuid

from assetstore.errors import StorageFault
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage.s3 import multipart_uploads
from assetstore.storage.s3.layout import Layout
from assetstore.storage.s3.spool import Spool


class S3Space:
    """The buckets of a store.

    Parameters:
        layout: the buckets and keys of collection folders.
        spool: for temporary local files.
    """

    def __init__(self, layout: Layout, spool: Spool) -> None:
        self._layout = layout
        self._spool = spool

    def prepare(self) -> None:
        """Creates the local folders and removes abandoned files; does not use the buckets. Raises StorageFault."""
        try:
            self._spool.prepare()
        except OSError as error:
            detail = f"{self._spool.base}: {error.strerror or error}"
            raise StorageFault("The server's own folder cannot be written.", detail) from error

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Does nothing, because a bucket has no folders."""

    def sweep(self) -> None:
        """Removes local files that a crash left, and uploads in parts that were begun days ago. Raises StorageFault."""
        self.prepare()
        folders = (self._layout.originals, self._layout.trash)
        multipart_uploads.abort_abandoned(
            folder(collection_dir) for collection_dir in self._layout.collection_dirs for folder in folders
        )

    def probe(self) -> None:
        """Stores and removes a small object in each bucket. Raises OutOfSpace, Unavailable, StorageFault."""
        for root in self._layout.roots():
            key = f"{root.prefix}{PRIVATE_FOLDER}/probe-{uuid.uuid4()}"
            root.bucket.put(key, b"probe", {"Content-Type": "text/plain"})
            root.bucket.delete([key])

    def free_bytes(self) -> None:
        """Returns None: the free space of a bucket is unknown."""
