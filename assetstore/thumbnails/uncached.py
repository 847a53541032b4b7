"""Thumbnails that are rendered although they cannot be cached, because the disk is read-only for example."""

import contextlib
import hashlib
import io
import logging
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assetstore.errors import NotWritable
from assetstore.files.faults import faults
from assetstore.storage.models import StoredFile, Version
from assetstore.thumbnails.request import ThumbnailRequest

_log = logging.getLogger(__name__)


@dataclass
class Uncached:
    """A thumbnail in a temporary folder of the system, which is not cached."""

    path: Path

    def publish(self, modified_ns: int) -> bool:
        """Returns False: it is not cached."""
        return False


@contextlib.contextmanager
def temporary() -> Iterator[Uncached]:
    """Yields a thumbnail that is removed at the end. Raises OutOfSpace, StorageFault."""
    with faults(), tempfile.TemporaryDirectory(prefix="asset-server-", ignore_cleanup_errors=True) as folder:
        yield Uncached(Path(folder) / "picture")


def in_memory(picture: bytes, request: ThumbnailRequest) -> StoredFile:
    """Returns a thumbnail that is not cached as an open file."""
    tag = hashlib.blake2b(picture, digest_size=16).hexdigest()
    changed = request.version.changed_ns
    return StoredFile(io.BytesIO(picture), Version(len(picture), changed, changed, f'"{tag}"'))


class UncachedLog:
    """Logs that thumbnails of a collection cannot be cached: once, until they can be cached again.

    Attributes:
        error: the last reason; None if all thumbnails could be cached.

    Concurrency: any thread may call.
    """

    def __init__(self) -> None:
        self.error: NotWritable | None = None
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    def failed(self, collection_dir: str, error: NotWritable) -> None:
        """Logs the reason, unless the last thumbnail of this collection folder was not cached either."""
        with self._lock:
            self.error = error
            is_new = collection_dir not in self._failing
            self._failing.add(collection_dir)
        if is_new:
            where = f" of {collection_dir}" if collection_dir else ""
            _log.warning("thumbnails%s are rendered, but not cached: %s %s", where, error.public, error.detail)

    def works(self, collection_dir: str) -> None:
        """Logs that a thumbnail was cached, if the previous one was not."""
        with self._lock:
            is_new = collection_dir in self._failing
            self._failing.discard(collection_dir)
        if is_new:
            _log.info("thumbnails%s are cached again", f" of {collection_dir}" if collection_dir else "")
