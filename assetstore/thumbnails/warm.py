"""Makes thumbnails in advance, before they are requested.

Concurrency: may run at the same time as the server. It uses the same code, locks and limit on sizes, so no thumbnail is
made twice, and none is made that would not be cached. If the limit is reached, its sizes replace the least used ones.
Cached thumbnails are skipped quickly, so an interrupted run continues when it is repeated. All its processes have the
lowest priority. A request for a thumbnail that is being made here waits for it, as for any other.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from assetstore.errors import AssetError, BadRequest, NotFound, Unavailable, UnsupportedType
from assetstore.names import is_store_name
from assetstore.originals.service import Originals
from assetstore.storage.models import Listed
from assetstore.thumbnails.service import Thumbnails

#: How long to wait, in seconds, if no worker is free, and how often.
_PAUSE_SECONDS, _ATTEMPTS = 5, 12

#: In the place of a client's address: this process serves no clients.
_CLIENT = "warm"

#: How many originals to process at a time.
_BATCH = 64


@dataclass(frozen=True)
class Failure:
    """An original without its copy, and the reason as a sentence."""

    collection_dir: str
    name: str
    reason: str


@dataclass
class Warming:
    """One run.

    Parameters:
        originals, thumbnails: of the store.
        sizes: in pixels.
        since_ns: only originals changed at or after this time (nanoseconds since 1970); None for all.
        per_second: how many thumbnails to make per second at most; None for no limit.
        workers: how many to make at the same time.
    """

    originals: Originals
    thumbnails: Thumbnails
    sizes: Sequence[int]
    since_ns: int | None
    per_second: float | None
    workers: int
    made: int = field(default=0, init=False)
    _free_at: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _thread: threading.local = field(default_factory=threading.local, init=False)

    def check(self, collection_dirs: Sequence[str]) -> None:
        """Has thumbnails of the sizes cached, in place of less used sizes if the limit is reached.

        Raises BadRequest if thumbnails of one of the sizes would not be cached.
        """
        for collection_dir in collection_dirs:
            for size in self.sizes:
                if not self.thumbnails.add_size(collection_dir, size):
                    # Another size can be replaced after the thumbnails of the previous one have been removed.
                    self.thumbnails.store.remove_retired(collection_dir, threading.Event())
                    self.thumbnails.add_size(collection_dir, size)
            for size in self.sizes:
                if not self.thumbnails.add_size(collection_dir, size):
                    raise BadRequest(
                        f"Thumbnails of {size} pixels would not be cached: the limit of sizes is reached, or the"
                        " thumbnails of another size are being removed. Choose fewer sizes, or try again later."
                    )

    def chosen(self, collection_dir: str) -> Iterator[Listed]:
        """Yields the originals of a folder that can have thumbnails and are new enough. Raises StorageFault."""
        for listed in self.originals.storage.originals(collection_dir):
            is_old = self.since_ns is not None and listed.modified_ns < self.since_ns
            if is_old or not is_store_name(listed.name):  # thumbnails of other names cannot be requested
                continue
            try:
                self.thumbnails.name(listed.name, 1)
            except UnsupportedType:
                continue
            yield listed

    def run(self, collection_dir: str) -> Iterator[Failure | None]:
        """Makes the thumbnails of one collection folder; yields after each original, with its failure if there is one.

        Raises:
            Unavailable: thumbnails cannot be made, because a tool is missing or the server is busy for minutes.
            OutOfSpace, StorageFault: the store cannot be used.
        """
        names = (listed.name for listed in self.chosen(collection_dir))
        threads = ThreadPoolExecutor(self.workers)
        try:
            while batch := list(islice(names, _BATCH)):
                yield from threads.map(lambda name: self._warm(collection_dir, name), batch)
        finally:
            threads.shutdown(cancel_futures=True)

    def on_render(self, _format: str, outcome: str, _seconds: float) -> None:
        """Counts a thumbnail that this process made (a callback for `RenderPool.on_render`)."""
        if outcome == "made":
            self._thread.made = True
            with self._lock:
                self.made += 1

    def _warm(self, collection_dir: str, name: str) -> Failure | None:
        try:
            for size in self.sizes:
                self._make(collection_dir, name, size)
        except NotFound:
            return None  # deleted meanwhile
        except AssetError as error:
            if error.status == 422:
                return Failure(collection_dir, name, error.public)
            raise
        return None

    def _make(self, collection_dir: str, name: str, size: int) -> None:
        for attempt in range(_ATTEMPTS):
            self._thread.made = False
            try:
                self.thumbnails.open(collection_dir, name, size, client=_CLIENT).file.close()
                if self.thumbnails.uncached is not None:
                    raise self.thumbnails.uncached
                break
            except Unavailable as error:
                if error.retry_after is None or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_PAUSE_SECONDS)
        if self._thread.made and self.per_second is not None:
            with self._lock:
                self._free_at = max(self._free_at, time.monotonic()) + 1 / self.per_second
                pause = self._free_at - time.monotonic()
            time.sleep(max(0.0, pause))  # only now, because no lock is held any more


def yield_to_others() -> None:
    """Gives this process and its future children the lowest priority for processors and disk."""
    os.nice(19)
    ionice = shutil.which("ionice")
    if ionice is not None:
        # Has no effect if the I/O scheduler does not support classes.
        arguments = [ionice, "--class", "idle", "--pid", str(os.getpid())]
        subprocess.run(arguments, capture_output=True, check=False)  # noqa: S603 - our own
