"""Previews: thumbnails of the sizes in PREVIEW_SIZES, made after an upload, before they are requested.

Concurrency: any thread may call `add`, which only puts the original into a queue. One thread of each server process
takes originals from the queue in order and makes their thumbnails in the background: all requests come first
(`assetstore.concurrency.fair_queue`), and rendering has a lower priority for the processor. An original is in the
queue once, however often it was replaced, and the thread makes thumbnails of the version that exists then. The queue
is bounded and only in memory. Thumbnails of originals that did not fit, or that were in the queue when the process
ended, are made when they are requested, or by `manage.py thumbnails warm`.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Set

from assetstore.errors import AssetError, NotFound, Unavailable, Unrenderable, UnsupportedType
from assetstore.thumbnails.service import Thumbnails

_log = logging.getLogger(__name__)

#: How many originals may be in the queue.
_MOST_QUEUED = 10_000

#: How often an original is tried while other threads make its thumbnails or take all workers, and the pause in seconds.
_ATTEMPTS, _PAUSE_SECONDS = 5, 1

#: How long to wait for the thread at the end, in seconds.
_END_SECONDS = 10

#: In the place of a client's address.
_CLIENT = "previews"


class Previews:
    """The previews of new originals.

    Parameters:
        thumbnails: of the store.
        sizes: in pixels (PREVIEW_SIZES).
        prepare: makes what else is cached for an original, by collection folder and name, after its previews; None for
            nothing. It may raise the errors of `Thumbnails.open`.
        prepare_from: the size in bytes of the smallest originals for which *prepare* makes something.
    """

    def __init__(
        self,
        thumbnails: Thumbnails,
        sizes: Set[int],
        prepare: Callable[[str, str], object] | None = None,
        prepare_from: int = 0,
    ) -> None:
        self._thumbnails = thumbnails
        self._sizes = sorted(sizes)
        self._prepare = prepare
        self._prepare_from = prepare_from
        self._changed = threading.Condition()
        self._queue: OrderedDict[tuple[str, str], int] = OrderedDict()  # originals, and how often they were tried
        self._is_full = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, collection_dir: str, name: str, size: int) -> None:
        """Has the previews of an original of *size* bytes made that was added or replaced. Returns at once."""
        if not self._sizes and (self._prepare is None or size < self._prepare_from):
            return
        try:
            self._thumbnails.name(name, 1)
        except UnsupportedType:
            return
        with self._changed:
            self._put(collection_dir, name, 0)
            # Not at the start of the server, because a process may be forked after it.
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, name="previews", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Ends the thread. The pool of render workers must be closed already."""
        self._ending.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _put(self, collection_dir: str, name: str, attempts: int) -> None:
        """Puts an original at the end of the queue, if there is space. The lock is held."""
        self._queue.pop((collection_dir, name), None)
        if len(self._queue) >= _MOST_QUEUED:
            if not self._is_full:
                _log.warning("%d originals are waiting for previews; no further ones are added", _MOST_QUEUED)
            self._is_full = True
            return
        self._queue[collection_dir, name] = attempts
        self._changed.notify()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            (collection_dir, name), attempts = taken
            try:
                self._make(collection_dir, name)
            except Unavailable as error:
                # Another thread is making it, or requests took all workers.
                if error.retry_after is not None and attempts + 1 < _ATTEMPTS:
                    self._try_again(collection_dir, name, attempts + 1)
                self._ending.wait(_PAUSE_SECONDS)
            except AssetError as error:
                _log.warning("the previews of %r were not made: %s %s", name, error.public, error.detail)
            except Exception:  # noqa: BLE001 - the thread must make the previews of other originals
                _log.exception("the previews of %r were not made", name)

    def _take(self) -> tuple[tuple[str, str], int] | None:
        """Takes the next original, and waits for it if necessary; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ending.is_set())
            if self._ending.is_set():
                return None
            taken = self._queue.popitem(last=False)
            self._is_full = self._is_full and len(self._queue) > 0
            return taken

    def _try_again(self, collection_dir: str, name: str, attempts: int) -> None:
        with self._changed:
            if (collection_dir, name) not in self._queue:  # it was not replaced meanwhile
                self._put(collection_dir, name, attempts)

    def _make(self, collection_dir: str, name: str) -> None:
        try:
            for size in self._sizes:
                if self._ending.is_set():
                    return
                self._thumbnails.open(collection_dir, name, size, client=_CLIENT, background=True).file.close()
            if self._prepare is not None:
                self._prepare(collection_dir, name)
        except NotFound:
            return  # deleted meanwhile
        except Unrenderable as error:
            _log.info("there are no previews of %r: %s %s", name, error.public, error.detail)
