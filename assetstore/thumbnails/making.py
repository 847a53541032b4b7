"""Makes one thumbnail: renders it, or adopts one of an earlier server, and caches it.

Thumbnails of an earlier server have real modification times. They are adopted if they are newer than the last change
of the original's file, complete, and cannot belong to another original. So are thumbnails of earlier versions of
this server, which have another fingerprint.

Concurrency: any thread may call. The caller holds the lock of the thumbnail (`ThumbnailStore.locked`).
"""

import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from assetstore import formats, media_types
from assetstore.errors import NotFound, NotWritable, Unrenderable
from assetstore.storage.models import StoredFile, Version
from assetstore.storage.protocols import NewThumbnail, OriginalReader, ThumbnailStore
from assetstore.thumbnails import fingerprint, namesakes, uncached
from assetstore.thumbnails.rendering.job import Job
from assetstore.thumbnails.request import ThumbnailRequest

_log = logging.getLogger(__name__)

#: Renders a thumbnail.
Render = Callable[[Job], None]


class ThumbnailMaker:
    """Makes the thumbnails of one store.

    Parameters:
        storage: the store of originals.
        store: the store of cached thumbnails.
        adopts: whether thumbnails of earlier servers are used, which may contain metadata of their originals.
        discard: removes the cached thumbnails of an original, by collection folder and name.

    Attributes:
        uncached: the log of thumbnails that cannot be cached.
    """

    def __init__(
        self, storage: OriginalReader, store: ThumbnailStore, discard: Callable[[str, str], None], *, adopts: bool
    ) -> None:
        self._storage = storage
        self._store = store
        self._discard = discard
        self._adopts = adopts
        self.uncached = uncached.UncachedLog()

    def cached(self, request: ThumbnailRequest) -> StoredFile | None:
        """Returns the cached thumbnail, if it was made of this version of this original. Raises StorageFault."""
        stamp = fingerprint.stamp(request.name, request.version)
        try:
            cached = self._store.open(request.collection_dir, request.thumbnail, stamp)
        except NotFound:
            return None
        if fingerprint.has_stamp(cached.version, stamp):
            return fingerprint.as_served(cached)
        cached.file.close()
        return None

    def make(self, request: ThumbnailRequest, render: Render) -> bytes:
        """Returns the bytes of a thumbnail, which is cached if its size is cached.

        Raises:
            NotFound: the original was deleted.
            NotWritable: there is no place for it; see `make_uncached`.
            Unrenderable, Unavailable, OutOfSpace, StorageFault, AssetError: it cannot be made.
        """
        found = self.cached(request)
        if found is not None:
            with found:
                return found.file.read()
        adopted = self._adopt(request)
        if adopted is not None:
            return adopted
        began = time.monotonic()
        picture = self._rendered(request, render, self._store.new(request.collection_dir, request.thumbnail))
        _log.debug("made thumbnail %r in %.0f ms", request.thumbnail, (time.monotonic() - began) * 1000)
        # If another program changed the original meanwhile, only this code can remove the outdated thumbnail.
        try:
            if self._version(request) != request.version:
                self._discard(request.collection_dir, request.name)
        except NotFound:
            self._discard(request.collection_dir, request.name)
            raise
        return picture

    def make_uncached(self, request: ThumbnailRequest, render: Render, reason: NotWritable) -> bytes:
        """Returns the bytes of a thumbnail that cannot be cached, and logs the reason. Raises as `make`."""
        self.uncached.failed(request.collection_dir, reason)
        return self._rendered(request, render, uncached.temporary())

    def _adopt(self, request: ThumbnailRequest) -> bytes | None:
        """Returns the thumbnail of an earlier server or version, if it can only belong to this original.

        It is cached with a new stamp.
        """
        if not self._adopts:
            return None
        try:
            with self._store.open(request.collection_dir, request.thumbnail) as found:
                if not self._is_earlier(found.version, request):
                    return None
                picture = found.file.read()
        except NotFound:
            return None
        if not formats.is_complete(picture, _encoder(request)):
            return None
        if self._store.caches_size(request.collection_dir, request.size, request.name):
            with self._store.new(request.collection_dir, request.thumbnail) as new:
                new.path.write_bytes(picture)
                self._publish(new, request)
        return picture

    def _is_earlier(self, thumbnail: Version, request: ThumbnailRequest) -> bool:
        if fingerprint.has_former_stamp(thumbnail, request.name, request.version):
            return True
        is_younger = thumbnail.modified_ns >= request.version.changed_ns
        return is_younger and not namesakes.have_other(self._storage, request.collection_dir, request.name)

    def _rendered(
        self, request: ThumbnailRequest, render: Render, place: AbstractContextManager[NewThumbnail]
    ) -> bytes:
        with self._storage.open_original(request.collection_dir, request.name) as original:
            decoder = formats.recognise(original.file.read(formats.HEAD_LENGTH))
        if decoder is None:
            detail = f"{request.name!r} has an unknown signature"
            raise Unrenderable("The file is not an image of the type that its name suggests.", detail)
        with (
            self._storage.local_original(request.collection_dir, request.name) as source,
            place as new,
        ):
            render(Job(str(source), str(new.path), decoder.decoder, _encoder(request).decoder, request.size))
            picture = new.path.read_bytes()
            if isinstance(new, uncached.Uncached):
                return picture
            try:
                if self._store.caches_size(request.collection_dir, request.size, request.name):
                    self._publish(new, request)
            except NotWritable as error:
                self.uncached.failed(request.collection_dir, error)
            return picture

    def _publish(self, new: NewThumbnail, request: ThumbnailRequest) -> None:
        """Caches a thumbnail if its original is unchanged: nginx may serve cached files without asking this server."""
        with self._storage.locked_original(request.collection_dir, request.name), contextlib.suppress(NotFound):
            if self._version(request) == request.version:
                new.publish(fingerprint.stamp(request.name, request.version))
                self.uncached.works(request.collection_dir)

    def _version(self, request: ThumbnailRequest) -> Version:
        return self._storage.version(request.collection_dir, request.name)


def _encoder(request: ThumbnailRequest) -> formats.Format:
    return formats.encoder(media_types.guess(request.name))
