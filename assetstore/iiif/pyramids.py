"""Pyramids: makes and finds the cached pyramid of a page.

The fingerprint of thumbnails shows whether a pyramid belongs to the current original
(`assetstore.thumbnails.fingerprint`).

Concurrency: any thread may call. A pyramid is made once, in a thread of its own, however many requests wait for it, so
that it is finished also if the requests give up; among processes, a file lock does the same. Making one takes seconds,
so pyramids wait for their turn in a queue of their own, which serves client addresses round robin and leaves at least
one render worker free for thumbnails and tiles if there are two or more. In the background, they come last.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.fair_queue import FairQueue, NoneFree
from assetstore.errors import Unavailable, Unrenderable
from assetstore.storage.models import StoredPyramid, Version
from assetstore.storage.protocols import OriginalReader, PyramidStore
from assetstore.thumbnails import fingerprint
from assetstore.thumbnails.failures import Failures
from assetstore.thumbnails.rendering.job import AnyJob, PyramidJob
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.request import ThumbnailRequest

#: The limit of time for a pyramid, and how long one may wait for its turn, in seconds.
SECONDS, _TURN_SECONDS = 600, 600

#: How many pyramids may wait in one process.
_MOST_WAITING = 256

#: After how many seconds without progress a pyramid is no longer being made.
_SILENCE_SECONDS = 60

#: The niceness of a pyramid for which a client waits: thumbnails and tiles come first.
_NICENESS = 5

_BACKGROUND = "background"

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class PageSource:
    """A page of which a pyramid is made.

    Fields:
        collection_dir, name, version: of the original.
        decoder: the format of the original.
        page: its number in IIIF, from 1.
        number: its number in the file, from 0.
        orientation: how it must be turned to be upright (EXIF).
    """

    collection_dir: str
    name: str
    version: Version
    decoder: str
    page: int
    number: int
    orientation: int

    @property
    def key(self) -> str:
        """Identifies this version of the page."""
        return f"{self.collection_dir}/{self.name}/{self.page}/{self.version.etag}"

    @property
    def stamp(self) -> int:
        """The modification time that marks a pyramid as made of this version."""
        return fingerprint.stamp(self.name, self.version)


class Stage(Enum):
    """How far the pyramid of a page is."""

    NOT_NEEDED = "not needed"
    MISSING = "missing"
    WAITING = "waiting"
    BEING_MADE = "being made"
    READY = "ready"


@dataclass(frozen=True)
class PyramidState:
    """The state of the pyramid of a page, and the share of it that is done, from 0 to 1."""

    stage: Stage
    progress: float = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether every part of the page can be returned quickly."""
        return self.stage in (Stage.NOT_NEEDED, Stage.READY)


class Pyramids:
    """The pyramids of one store.

    Parameters:
        storage: the store of originals.
        store: the store of cached pyramids.
        pool: makes new ones.
    """

    def __init__(self, storage: OriginalReader, store: PyramidStore, pool: RenderPool) -> None:
        self._storage = storage
        self.store = store
        self._pool = pool
        self._turns = FairQueue(range(max(1, pool.workers().most - 1)))
        self._waiting = ElasticLimit(_MOST_WAITING)
        self._failures = Failures()
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}

    def find(self, source: PageSource) -> StoredPyramid | None:
        """Returns a pyramid, None if there is none. Raises StorageFault, Unavailable."""
        return self.store.find(source.collection_dir, source.name, source.page, source.stamp)

    def require(self, source: PageSource, client: str, seconds: float) -> StoredPyramid:
        """Returns a pyramid, and has it made first if necessary.

        Parameters:
            source: the page.
            client: the address of the client that waits.
            seconds: how long to wait; after that, it continues to be made.

        Raises NotFound, Unrenderable, Unavailable (it takes longer, or too many others wait), OutOfSpace, StorageFault.
        """
        found = self.find(source)
        if found is not None:
            return found
        self._failures.check(_failure_key(source))
        with contextlib.suppress(TimeoutError):
            self._started(source, client).result(seconds)
            found = self.find(source)
        if found is None:
            raise self._not_ready(source)
        return found

    def start(self, source: PageSource, client: str) -> None:
        """Has a pyramid made, without waiting for it. Raises as `require`: Unavailable, too, if it is not ready."""
        self._failures.check(_failure_key(source))
        self._started(source, client)
        raise self._not_ready(source)

    def _not_ready(self, source: PageSource) -> Unavailable:
        percent = round(100 * self.state(source).progress)
        sentence = f"The image is being prepared for zooming ({percent} %); please try again soon."
        return Unavailable(sentence, retry_after=5)

    def state(self, source: PageSource) -> PyramidState:
        """Returns how far a pyramid is; starts nothing. Raises StorageFault, Unavailable."""
        if self.store.is_cached(source.collection_dir, source.name, source.page, source.stamp):
            return PyramidState(Stage.READY, 1.0)
        share = _share(self.store.progress(source.collection_dir, source.name, source.page))
        if share is not None:
            return PyramidState(Stage.BEING_MADE, share)
        with self._lock:
            return PyramidState(Stage.WAITING if source.key in self._under_way else Stage.MISSING)

    def make_in_background(self, source: PageSource) -> bool:
        """Makes a pyramid unless it is cached, in this thread; returns whether it did. All others come first.

        Raises as `require`; Unavailable also if another process is making it.
        """
        if self.find(source) is not None:
            return False
        with (
            self._turn(_BACKGROUND, background=True),
            self._pool.lend(_BACKGROUND, background=True) as render,
            self.store.locked(source.collection_dir, source.name, source.page, waits=False),
        ):
            self._make(source, render)
        return True

    def _started(self, source: PageSource, client: str) -> "Future[None]":
        """Returns the result of making a pyramid, which this starts unless it is under way. Raises Unavailable."""
        with self._lock:
            future = self._under_way.get(source.key)
            if future is not None:
                return future
            if not self._waiting.acquire(client):
                raise Unavailable("The server is preparing many images; please try again soon.", retry_after=10)
            future = self._under_way[source.key] = Future()
        try:
            threading.Thread(target=self._run, args=(source, client, future), name="pyramid", daemon=True).start()
        except RuntimeError as error:  # the limit of threads is reached
            busy = Unavailable("The server is busy; please try again soon.", str(error), retry_after=10)
            self._end(source, client, future, busy)
        return future

    def _run(self, source: PageSource, client: str, future: "Future[None]") -> None:
        try:
            with (
                self._turn(client, background=False),
                self.store.locked(source.collection_dir, source.name, source.page),
                self._pool.lend(client) as render,
            ):
                self._make(source, render)
        except Unrenderable as failure:
            self._failures.remember(_failure_key(source), failure)
            self._end(source, client, future, failure)
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting threads
            self._end(source, client, future, error)
        else:
            self._end(source, client, future, None)

    def _end(self, source: PageSource, client: str, future: "Future[None]", error: BaseException | None) -> None:
        with self._lock:
            del self._under_way[source.key]
        self._waiting.release(client)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    @contextlib.contextmanager
    def _turn(self, client: str, *, background: bool) -> Iterator[None]:
        try:
            with self._turns.lend(client, _TURN_SECONDS, background=background):
                yield
        except NoneFree:
            raise Unavailable("The server is preparing many images; please try again soon.", retry_after=10) from None

    def _make(self, source: PageSource, render: Callable[[AnyJob], None]) -> None:
        """Makes and publishes a pyramid, unless another process has. Its lock is held."""
        if self.find(source) is not None:
            return
        if self.store.most_bytes == 0:
            raise _too_large()
        collection_dir, name = source.collection_dir, source.name
        progress = self.store.progress(collection_dir, name, source.page)
        with (
            self._storage.local_original(collection_dir, name) as original,
            self.store.new(collection_dir, name, source.page) as new,
        ):
            most = max(1, self.store.most_bytes // _MEGABYTE)
            job = PyramidJob(
                str(original), str(new.path), source.decoder, source.number, source.orientation,
                str(progress), SECONDS, most, _NICENESS,
            )  # fmt: skip
            try:
                render(job)
                is_cached = new.store(source.stamp)
                if is_cached:
                    self._publish(source, new.publish)
            finally:
                with contextlib.suppress(OSError):
                    progress.unlink()
        if not is_cached:
            raise _too_large()

    def _publish(self, source: PageSource, publish: Callable[[], None]) -> None:
        with self._storage.locked_original(source.collection_dir, source.name):
            if self._storage.version(source.collection_dir, source.name) != source.version:
                raise Unavailable("The file was replaced while it was being read; please try again.", retry_after=1)
            publish()


def _too_large() -> Unrenderable:
    return Unrenderable("The image is too large to be prepared for zooming (PYRAMID_BYTES).")


def _failure_key(source: PageSource) -> ThumbnailRequest:
    return ThumbnailRequest(source.collection_dir, source.name, source.version, "", source.page)


def _share(progress: Path) -> float | None:
    """The share in a file with the progress; None if no pyramid is being made."""
    try:
        if time.time() - progress.stat().st_mtime > _SILENCE_SECONDS:
            return None
        return min(100, int(progress.read_text(encoding="ascii") or "0")) / 100
    except (OSError, ValueError):
        return None
