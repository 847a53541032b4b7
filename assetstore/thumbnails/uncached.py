"""Thumbnails that are rendered although they cannot be cached, because the disk is read-only for example."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assetstore.errors import NotWritable
from assetstore.files.faults import faults

_log = logging.getLogger(__name__)

#: How often to log that thumbnails cannot be cached, in seconds.
_LOG_SECONDS = 60


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


class UncachedLog:
    """Logs that thumbnails cannot be cached, at most once a minute.

    Attributes:
        error: the last reason; None if all thumbnails could be cached.
    """

    def __init__(self) -> None:
        self.error: NotWritable | None = None
        self._again_at = -float("inf")

    def note(self, error: NotWritable) -> None:
        """Logs the reason, unless it was logged recently."""
        self.error = error
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + _LOG_SECONDS
            _log.warning("thumbnails are rendered, but not cached: %s %s", error.public, error.detail)
