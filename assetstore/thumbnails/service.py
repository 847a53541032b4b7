"""Thumbnails: a cached one if it belongs to the current original, else a new one, which is cached.

`assetstore.thumbnails.fingerprint` shows whether a cached thumbnail belongs to the current original, and
`assetstore.thumbnails.making` makes new ones.

Concurrency: if several requests need the same thumbnail at the same time, one makes it and the others get its result,
or its error; it waits for a worker in the queue of the client that was first. Among processes, a file lock does the
same. The number of waiting requests is limited, in total and for each client address, so that the threads of the server
never all wait for thumbnails, and never all for one client. A failure is cached for a while for that version of the
file.

A thumbnail in the background first waits for its worker, and only then takes the lock and its place as the one that
makes the thumbnail. So a request never waits for a thumbnail that is waiting in the background. While the background
has a worker, it waits for no other thread: if another one is making the same thumbnail, it gives up.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from assetstore import formats, media_types
from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.single_flight import SingleFlight
from assetstore.errors import AssetError, NotFound, NotWritable, Unavailable, Unrenderable, UnsupportedType
from assetstore.storage.models import StoredFile, Version
from assetstore.storage.protocols import OriginalReader, ThumbnailStore
from assetstore.thumbnails import fingerprint, namesakes, uncached
from assetstore.thumbnails.failures import Failures
from assetstore.thumbnails.making import ThumbnailMaker
from assetstore.thumbnails.rendering.pool import TIMEOUT_SECONDS, RenderPool, busy
from assetstore.thumbnails.request import ThumbnailRequest

_log = logging.getLogger(__name__)

#: How often to try again if the original changes in the meantime.
_ATTEMPTS = 3

#: How long a file must be unchanged before its version identifies its bytes, in nanoseconds. Within one tick of the
#: clock of a file system, a file can change twice without a different status.
_SETTLED_NS = 2_000_000_000

#: In the place of a client's address.
_BACKGROUND = "background"


@dataclass(frozen=True)
class Rules:
    """Which thumbnails to make.

    Fields:
        types: media types that get thumbnails (CAN_THUMBNAIL).
        largest: the largest size in pixels; requests for larger ones get this size.
        adopts: whether thumbnails of earlier servers are used, which may contain metadata of their originals.
    """

    types: frozenset[str]
    largest: int
    adopts: bool = True


class Thumbnails:
    """The thumbnails of one store.

    Parameters:
        storage: the store of originals.
        store: the store of cached thumbnails.
        pool: renders new thumbnails.
        rules: which thumbnails to make.
        waiting: how many requests may wait for thumbnails at the same time.
        discard_more: removes what else is cached for an original, by collection folder and name; raises AssetError.

    Attributes:
        on_outcome: called with collection folder, name, and whether it failed, when a request had a thumbnail made.
    """

    def __init__(  # noqa: PLR0917 - the parts of the service
        self,
        storage: OriginalReader,
        store: ThumbnailStore,
        pool: RenderPool,
        rules: Rules,
        waiting: ElasticLimit,
        discard_more: Callable[[str, str], None] = lambda _collection_dir, _name: None,
    ) -> None:
        self._storage = storage
        self._store = store
        self._pool = pool
        self._rules = rules
        self._waiting = waiting
        self._discard_more = discard_more
        self._flights: SingleFlight[bytes] = SingleFlight()
        self._failures = Failures()
        self._maker = ThumbnailMaker(storage, store, self.discard, adopts=rules.adopts)
        self.on_outcome: Callable[[str, str, bool], None] = lambda _collection_dir, _name, _has_failed: None

    def name(self, name: str, scale: int) -> str:
        """Returns the file name of the thumbnail of *name* at *scale*. Raises UnsupportedType."""
        return formats.thumbnail_name(name, self._media_type(name), min(scale, self._rules.largest))

    @property
    def store(self) -> ThumbnailStore:
        """The store of cached thumbnails."""
        return self._store

    @property
    def uncached(self) -> NotWritable | None:
        """Why a thumbnail was last served without being cached; None if all could be cached."""
        return self._maker.uncached.error

    def add_size(self, collection_dir: str, scale: int) -> bool:
        """Has thumbnails of this size cached in this folder, if necessary in place of a less used size.

        Returns False if that is not possible now. Raises StorageFault.
        """
        return self._store.add_size(collection_dir, min(scale, self._rules.largest), replaces=True)

    def linkable(self, collection_dir: str, name: str, scale: int, *, client: str) -> str:
        """Returns the file name of a cached thumbnail to link to, and makes it first if necessary.

        Only a cached thumbnail can be linked to. If no more sizes are cached, a smaller one also fits.

        Raises NotFound (the original does not exist, or no size up to this one is cached) and the errors of `open`.
        """
        self._version(collection_dir, name)
        scale = self._linkable_scale(collection_dir, name, scale)
        thumbnail = self.name(name, scale)
        for _ in range(_ATTEMPTS):
            self.open(collection_dir, name, scale, client=client).file.close()
            # A store may have opened a copy in memory, and another server removed the file.
            with contextlib.suppress(NotFound):
                self._store.open(collection_dir, thumbnail).file.close()
                return thumbnail
        raise Unavailable("The thumbnail cannot be linked to, because it cannot be cached.", retry_after=60)

    def _linkable_scale(self, collection_dir: str, name: str, scale: int) -> int:
        size = min(scale, self._rules.largest)
        # A link requires a cached thumbnail, so a size may take a free place by its first request.
        with contextlib.suppress(NotWritable):
            if self._store.caches_size(collection_dir, size, name) or self._store.add_size(collection_dir, size, False):
                return size
        smaller = None
        with contextlib.suppress(NotWritable):  # the list of sizes cannot be created
            smaller = self._store.largest_cached_size(collection_dir, size)
        if smaller is None:
            raise NotFound("No thumbnail can be linked to, because none of this size or a smaller one is cached.")
        return smaller

    def open(self, collection_dir: str, name: str, scale: int, *, client: str, background: bool = False) -> StoredFile:
        """Opens the thumbnail of an original, and makes it first if necessary.

        Parameters:
            collection_dir: the folder of the collection.
            name: the store name of the original.
            scale: the size in pixels of the square into which the thumbnail fits.
            client: the address of the client; workers serve clients round robin.
            background: whether all other thumbnails come first. Not for requests: Unavailable is raised also if
                another thread is making the same thumbnail.

        Raises:
            NotFound: the original does not exist.
            UnsupportedType: this file type has no thumbnails.
            Unrenderable, Unavailable, OutOfSpace, StorageFault, AssetError: it cannot be made.
        """
        for _ in range(_ATTEMPTS):
            request = self._request(collection_dir, name, scale)
            try:
                cached = self._maker.cached(request)
                if cached is not None:
                    return cached
                self._failures.check(request)
                picture = self._made_in_background(request) if background else self._made(request, client)
                # Another original may share the name of the thumbnail, and may have replaced it already.
                return self._maker.cached(request) or uncached.in_memory(picture, request)
            except AssetError:
                # If a file is replaced or deleted while a tool reads it, the tool may report any error.
                if self._version(collection_dir, name) == request.version:
                    raise
        raise busy(f"{name!r} keeps changing")

    def _request(self, collection_dir: str, name: str, scale: int) -> ThumbnailRequest:
        version = self._version(collection_dir, name)
        return ThumbnailRequest(collection_dir, name, version, self.name(name, scale), min(scale, self._rules.largest))

    def _made(self, request: ThumbnailRequest, client: str) -> bytes:
        """The thumbnail, made by this thread or by one that began earlier."""

        def make() -> bytes:
            render = functools.partial(self._pool.render, client=client)
            try:
                try:
                    with self._store.locked(request.collection_dir, request.thumbnail):
                        picture = self._maker.make(request, render)
                except NotWritable as error:
                    picture = self._maker.make_uncached(request, render, error)
            except Unrenderable as failure:
                # Not in the background, where rendering may fail only because it takes too long.
                self._failures.remember(request, failure)
                self.on_outcome(request.collection_dir, request.name, True)
                raise
            self.on_outcome(request.collection_dir, request.name, False)
            return picture

        if not self._waiting.acquire(client):
            raise busy(f"{self._waiting.held} requests are waiting for thumbnails")
        try:
            return self._flights.do(_key(request), make, TIMEOUT_SECONDS)
        except TimeoutError:
            raise busy(f"another request took over {TIMEOUT_SECONDS} seconds for the same thumbnail") from None
        finally:
            self._waiting.release(client)

    def _made_in_background(self, request: ThumbnailRequest) -> bytes:
        """The thumbnail, made by this thread. Raises Unavailable if another one is making it."""
        with (
            self._pool.lend(_BACKGROUND, background=True) as render,
            self._store.locked(request.collection_dir, request.thumbnail, waits=False),
        ):
            # Not as a single flight: a request must not get an error that is due to the low priority.
            return self._maker.make(request, render)

    def waiting(self) -> int:
        """Returns how many requests are waiting for thumbnails, including those whose thumbnail is being made."""
        return self._waiting.held

    def open_cached(self, collection_dir: str, thumbnail: str) -> StoredFile:
        """Opens a cached thumbnail by its own file name, whatever its source is. Raises NotFound, StorageFault."""
        return fingerprint.as_served(self._store.open(collection_dir, thumbnail))

    def etag(self, collection_dir: str, name: str, scale: int) -> str | None:
        """Returns the ETag of the cached thumbnail that `open` would return, without opening it.

        Returns None if there is none, or if it has just changed or the store would have to ask a service. The other
        parameters and errors are those of `open`.
        """
        cached = self._store.version(collection_dir, self.name(name, scale))
        if cached is None or time.time_ns() - cached.changed_ns < _SETTLED_NS:
            return None
        is_current = fingerprint.has_stamp(cached, fingerprint.stamp(name, self._version(collection_dir, name)))
        return cached.etag if is_current else None

    def discard(self, collection_dir: str, name: str, *, is_new: bool = False) -> None:
        """Removes the cached thumbnails of an original that was deleted or replaced, but not those of other originals.

        A new original has some only if an earlier one of its name was removed by hand. They do not match it, so the
        server does not show them. Since other web servers may, they are removed from a disk, but not looked for in a
        bucket, because every upload would take two more requests.

        Errors are only logged: the change of the original is complete, and a thumbnail that is left does not match
        any existing version, so it is never shown.
        """
        if is_new and not self._store.has_other_readers:
            return
        try:
            self._discard(collection_dir, name)
        except AssetError as error:
            _log.error("the thumbnails of %r were not removed: %s %s", name, error.public, error.detail)

    def _discard(self, collection_dir: str, name: str) -> None:
        media_type = media_types.guess(name)
        if media_type not in formats.THUMBNAIL_TYPES:
            return
        root, extension = formats.thumbnail_parts(name, media_type)

        spared = functools.partial(namesakes.spared_stamps, self._storage, collection_dir, name)
        self._store.delete(collection_dir, root, extension, spared)
        self._discard_more(collection_dir, name)

    def _media_type(self, name: str) -> str:
        media_type = media_types.guess(name)
        if media_type not in self._rules.types or media_type not in formats.THUMBNAIL_TYPES:
            raise UnsupportedType("Files of this type have no thumbnails.", f"{name!r} is {media_type}")
        return media_type

    def _version(self, collection_dir: str, name: str) -> Version:
        return self._storage.version(collection_dir, name)


def _key(request: ThumbnailRequest) -> str:
    """Identifies a thumbnail among those that are being made."""
    # With the version, so that requests after a replacement wait for the new thumbnail.
    return f"{request.collection_dir}/{request.thumbnail}/{request.version.etag}"
