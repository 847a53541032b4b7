"""Tests the buckets of a store, and creates the local folders that it needs."""

import errno
import functools
import logging
import time

from assetstore.errors import StorageFault
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage.s3 import multipart_uploads
from assetstore.storage.s3.client import existing
from assetstore.storage.s3.layout import Layout, Root
from assetstore.storage.s3.pyramids import pyramid_folder
from assetstore.storage.s3.spool import Spool

_log = logging.getLogger(__name__)

#: How often to test writing. Each time costs two requests and, in a bucket with versions, two versions.
_WRITING_SECONDS = 60.0


class S3Space:
    """The buckets of a store.

    Parameters:
        layout: the buckets and keys of collection folders.
        spool: for temporary local files.
    """

    def __init__(self, layout: Layout, spool: Spool) -> None:
        self._layout = layout
        self._spool = spool
        self._written_at: dict[Root, float] = {}

    def prepare(self) -> None:
        """Creates the local folders and removes abandoned files; does not use the buckets. Raises StorageFault."""
        try:
            self._spool.prepare()
        except OSError as error:
            if error.errno == errno.EROFS:
                _log.warning("%s is on a read-only disk: the server only reads for now", self._spool.base)
                return
            detail = f"{self._spool.base}: {error.strerror or error}"
            raise StorageFault("The server's own folder cannot be written.", detail) from error

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Does nothing, because a bucket has no folders."""

    def sweep(self) -> None:
        """Removes local files that a crash left, and uploads in parts that were begun days ago. Raises StorageFault."""
        self.prepare()
        pyramids = functools.partial(pyramid_folder, self._layout)
        folders = (self._layout.originals, self._layout.trash, pyramids)
        multipart_uploads.abort_abandoned(
            folder(collection_dir) for collection_dir in self._layout.collection_dirs for folder in folders
        )

    def refill_reserve(self) -> None:
        """Does nothing, because deletes in a bucket require no free space."""

    def probe(self) -> None:
        """Looks into each bucket, and at least once a minute stores and removes a small object there.

        Raises OutOfSpace, Unavailable, StorageFault.
        """
        for root in self._layout.roots():
            key = f"{root.prefix}{PRIVATE_FOLDER}/probe"
            existing(root.bucket, key)
            if time.monotonic() - self._written_at.get(root, -_WRITING_SECONDS) < _WRITING_SECONDS:
                continue
            root.bucket.put(key, b"probe", {"Content-Type": "text/plain"})
            root.bucket.delete([key])
            self._written_at[root] = time.monotonic()

    def probe_thumbnails(self) -> None:
        """Does nothing: thumbnails are in the same buckets, which `probe` tests."""

    def free_bytes(self) -> None:
        """Returns None: the free space of a bucket is unknown."""
