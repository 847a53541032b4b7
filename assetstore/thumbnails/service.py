"""Thumbnails: kept ones if they belong to today's original, else made once and kept.

How a thumbnail knows its source: its time of change is a fingerprint of the source's name, size
and exact time (or what else the store says of the bytes), written as a moment between 1982 and
2001. One stat(2) tells whether it belongs; a replaced original, through the server or by hand,
never shows its old picture, and `x.tif` never that of `x.png`, although both keep theirs as
`x_100.png`.

Thumbnails that an earlier server left have a time of today's world. They are taken over if they
are younger than the last change of the original's file, complete, and no other original can have
made them.

Concurrency: of all that want one thumbnail at the same time, one makes it and the others get what
it got, a failure included; across processes a file lock does the same. How many requests may wait
is bounded, so that the threads of the server are never all waiting for pictures. What cannot be
rendered is remembered for a while for that version of the file.
"""

import contextlib
import hashlib
import io
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from assetstore import formats, media_types
from assetstore.concurrency.single_flight import SingleFlight
from assetstore.errors import AssetError, NotFound, Unrenderable, UnsupportedType
from assetstore.storage.models import StoredFile, Version
from assetstore.storage.protocols import NewThumbnail, Storage, ThumbnailStore
from assetstore.thumbnails.rendering.job import Job
from assetstore.thumbnails.rendering.pool import PATIENCE_SECONDS, RenderPool, busy

_log = logging.getLogger(__name__)

_SECOND, _MICROSECOND = 1_000_000_000, 1_000  # nanoseconds

#: The moments that fingerprints are written as, in microseconds since 1970: all in the past, so that
#: no fingerprint looks like the work of an earlier server.
_FIRST_STAMP, _LAST_STAMP = 400_000_000_000_000, 1_000_000_000_000_000

#: How often to begin again when the original changes under our hands.
_ATTEMPTS = 3

#: How long and how many failures are remembered.
_FAILURE_SECONDS, _MOST_FAILURES = 600, 10_000


@dataclass(frozen=True)
class Rules:
    """What thumbnails there are.

    Fields:
        types: media types that get thumbnails (CAN_THUMBNAIL).
        largest: the largest size in pixels; greater wishes get this one.
        waiting: how many requests may wait for thumbnails at the same time.
    """

    types: frozenset[str]
    largest: int
    waiting: int


class Thumbnails:
    """The thumbnails of one store.

    Parameters:
        storage: holds the originals.
        store: holds the kept thumbnails.
        pool: makes new ones.
        rules: which and how many.
    """

    def __init__(self, storage: Storage, store: ThumbnailStore, pool: RenderPool, rules: Rules) -> None:
        self._storage = storage
        self._store = store
        self._pool = pool
        self._rules = rules
        self._places_to_wait = threading.BoundedSemaphore(rules.waiting)
        self._flights: SingleFlight[bytes] = SingleFlight()
        self._failures = _Failures()

    def name(self, name: str, scale: int) -> str:
        """Returns the file name of the thumbnail of *name* at *scale*. Raises UnsupportedType."""
        return formats.thumbnail_name(name, self._media_type(name), min(scale, self._rules.largest))

    @property
    def store(self) -> ThumbnailStore:
        """Where the kept thumbnails are."""
        return self._store

    def keeps(self, place: str, scale: int) -> bool:
        """Whether thumbnails of this size are kept in this folder; the number of sizes that are has a ceiling."""
        return self._store.keeps_size(place, min(scale, self._rules.largest))

    def linkable_scale(self, place: str, name: str, scale: int) -> int:
        """Returns the scale of a thumbnail that can be linked to: this one if such are kept, else a smaller one.

        Raises NotFound: no such original, or thumbnails of no such size are kept.
        """
        self._version(place, name)
        size = min(scale, self._rules.largest)
        if self._store.keeps_size(place, size):
            return size
        smaller = self._store.largest_kept_size(place, size)
        if smaller is None:
            raise NotFound("The server keeps no thumbnails as small as this to link to.")
        return smaller

    def open(self, place: str, name: str, scale: int) -> StoredFile:
        """Opens the thumbnail of an original, after making it if need be.

        Parameters:
            place: the folder of the collection.
            name: the store name of the original.
            scale: the thumbnail fits into a square of so many pixels.

        Raises:
            NotFound: no such original.
            UnsupportedType: this type has no thumbnails.
            Unrenderable, Unavailable, OutOfSpace, StorageFault, AssetError: it cannot be made.
        """
        for _ in range(_ATTEMPTS):
            wish = self._wish(place, name, scale)
            try:
                return self._open(wish)
            except AssetError:
                # A file that was replaced or deleted while it was read makes tools say anything.
                if self._version(place, name) == wish.version:
                    raise
        raise busy(f"{name!r} keeps changing")

    def kept(self, place: str, name: str, scale: int) -> StoredFile | None:
        """Opens the thumbnail if it is there already, made of the present version of its original; else None.

        Raises NotFound (no such original), UnsupportedType, StorageFault; the parameters are those of `open`.
        """
        return self._kept(self._wish(place, name, scale))

    def _wish(self, place: str, name: str, scale: int) -> "_Wish":
        version = self._version(place, name)
        return _Wish(place, name, version, self.name(name, scale), min(scale, self._rules.largest))

    def _open(self, wish: "_Wish") -> StoredFile:
        kept = self._kept(wish)
        if kept is not None:
            return kept
        self._failures.check(wish)
        if not self._places_to_wait.acquire(blocking=False):
            raise busy(f"{self._rules.waiting} requests are waiting for thumbnails")
        try:
            # Everybody's key has the version: who asks after a replacement waits for the new picture.
            key = f"{wish.place}/{wish.thumbnail}/{wish.version.etag}"
            picture = self._flights.do(key, lambda: self._produce(wish), PATIENCE_SECONDS)
        except TimeoutError:
            raise busy(f"another request took over {PATIENCE_SECONDS} seconds for the same thumbnail") from None
        finally:
            self._places_to_wait.release()
        # Kept under a name that it may share: by now somebody's picture of another original can be there.
        return self._kept(wish) or _in_memory(picture, wish)

    def waiting(self) -> int:
        """Returns how many requests wait for thumbnails, those included that are being made."""
        return self._rules.waiting - self._places_to_wait._value

    def open_kept(self, place: str, thumbnail: str) -> StoredFile:
        """Opens a kept thumbnail by its own file name, whatever it was made of. Raises NotFound, StorageFault."""
        return _as_served(self._store.open(place, thumbnail))

    def discard(self, place: str, name: str) -> None:
        """Removes the kept thumbnails of an original that was deleted or replaced, and no other's.

        Raises nothing: the original is dealt with already, and a thumbnail left over is of no
        version that there is, so nobody will be shown it.
        """
        try:
            self._discard(place, name)
        except AssetError as error:
            _log.error("thumbnails of %r are left over: %s %s", name, error.public, error.detail)

    def _discard(self, place: str, name: str) -> None:
        media_type = media_types.guess(name)
        if media_type not in formats.THUMBNAIL_TYPES:
            return
        root, extension = formats.thumbnail_parts(name, media_type)

        def of_others() -> frozenset[int]:
            return frozenset(_stamp(other, version) for other, version in self._namesakes(place, name))

        self._store.delete(place, root, extension, of_others)

    def _media_type(self, name: str) -> str:
        media_type = media_types.guess(name)
        if media_type not in self._rules.types or media_type not in formats.THUMBNAIL_TYPES:
            raise UnsupportedType("Files of this type have no thumbnails.", f"{name!r} is {media_type}")
        return media_type

    def _version(self, place: str, name: str) -> Version:
        return self._storage.version(place, name)

    def _kept(self, wish: "_Wish") -> StoredFile | None:
        """The kept thumbnail if it was made of this version of this original."""
        stamp = _stamp(wish.name, wish.version)
        try:
            kept = self._store.open(wish.place, wish.thumbnail, stamp)
        except NotFound:
            return None
        if _bears(kept.version, stamp):
            return _as_served(kept)
        kept.file.close()
        return None

    def _produce(self, wish: "_Wish") -> bytes:
        """Makes or adopts a thumbnail and returns it; keeps it if its size is kept."""
        with self._store.alone_with(wish.place, wish.thumbnail):
            found = self._kept(wish) or self._adopt(wish)
            if found is not None:
                with found:
                    return found.file.read()
            began = time.monotonic()
            try:
                picture = self._make(wish)
            except Unrenderable as failure:
                self._failures.remember(wish, failure)
                raise
            _log.debug("made thumbnail %r in %.0f ms", wish.thumbnail, (time.monotonic() - began) * 1000)
        # If somebody else than this server changed the original meanwhile, nobody else will remove the picture.
        try:
            if self._version(wish.place, wish.name) != wish.version:
                self.discard(wish.place, wish.name)
        except NotFound:
            self.discard(wish.place, wish.name)
            raise
        return picture

    def _adopt(self, wish: "_Wish") -> StoredFile | None:
        """Takes over the thumbnail of an earlier server if it is certainly of this original."""
        try:
            with self._store.open(wish.place, wish.thumbnail) as found:
                is_younger = found.version.modified_ns >= wish.version.changed_ns
                if not is_younger or any(self._namesakes(wish.place, wish.name)):
                    return None
                picture = found.file.read()
        except NotFound:
            return None
        if not _is_complete(picture, formats.encoder(self._media_type(wish.name))):
            return None
        with self._store.new(wish.place, wish.thumbnail) as new:
            new.path.write_bytes(picture)
            self._publish(new, wish)
        return self._kept(wish)

    def _make(self, wish: "_Wish") -> bytes:
        with self._storage.open_original(wish.place, wish.name) as original:
            decoder = formats.recognise(original.file.read(formats.HEAD_LENGTH))
        if decoder is None:
            detail = f"{wish.name!r} has an unknown signature"
            raise Unrenderable("The file is not the picture that its name says.", detail)
        with (
            self._storage.local_original(wish.place, wish.name) as source,
            self._store.new(wish.place, wish.thumbnail) as new,
        ):
            encoder = formats.encoder(self._media_type(wish.name))
            self._pool.render(Job(str(source), str(new.path), decoder.decoder, encoder.decoder, wish.size))
            picture = new.path.read_bytes()
            if self._store.keeps_size(wish.place, wish.size):
                self._publish(new, wish)
            return picture

    def _publish(self, new: NewThumbnail, wish: "_Wish") -> None:
        """Keeps a thumbnail if its original is still the same: a web server in front shows what is kept unasked."""
        with self._storage.alone_with_original(wish.place, wish.name), contextlib.suppress(NotFound):
            if self._version(wish.place, wish.name) == wish.version:
                new.publish(_stamp(wish.name, wish.version))

    def _namesakes(self, place: str, name: str) -> Iterator[tuple[str, Version]]:
        """Other originals whose thumbnails have the same names as those of *name*."""
        parts = formats.thumbnail_parts(name, media_types.guess(name))
        for other in formats.same_root(name):
            if other != name and formats.thumbnail_parts(other, media_types.guess(other)) == parts:
                try:
                    yield other, self._version(place, other)
                except NotFound:
                    continue


@dataclass(frozen=True)
class _Wish:
    """A thumbnail that somebody wants: of which version of which original, its file name and size."""

    place: str
    name: str
    version: Version
    thumbnail: str
    size: int


class _Failures:
    """What cannot be rendered, by version of the file, so that a broken one in a gallery costs one render."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], tuple[float, Unrenderable]] = OrderedDict()

    def remember(self, wish: _Wish, failure: Unrenderable) -> None:
        with self._lock:
            self._known[(wish.place, wish.name, wish.version.etag)] = (time.monotonic(), failure)
            while len(self._known) > _MOST_FAILURES:
                self._known.popitem(last=False)

    def check(self, wish: _Wish) -> None:
        """Raises the failure of this version again if it is known and young."""
        key = (wish.place, wish.name, wish.version.etag)
        with self._lock:
            since, failure = self._known.get(key, (0.0, None))
            if failure is None:
                return
            if time.monotonic() - since > _FAILURE_SECONDS:
                del self._known[key]
                return
        raise Unrenderable(failure.public, "known from an earlier attempt")


def _as_served(stored: StoredFile) -> StoredFile:
    """Gives a thumbnail, for HTTP, the date when it was made instead of its fingerprint."""
    version = stored.version
    made = Version(version.size, version.changed_ns, version.changed_ns, version.etag)
    return StoredFile(stored.file, made, stored.path)


def _in_memory(picture: bytes, wish: _Wish) -> StoredFile:
    """A thumbnail that is not kept, or no longer, as an open file."""
    tag = hashlib.blake2b(picture, digest_size=16).hexdigest()
    changed = wish.version.changed_ns
    return StoredFile(io.BytesIO(picture), Version(len(picture), changed, changed, f'"{tag}"'))


def _stamp(name: str, version: Version) -> int:
    """The time of change, in nanoseconds, that marks a thumbnail as made of this version of *name*."""
    identity = "\0".join((name, str(version.size), version.content or str(version.modified_ns))).encode()
    fingerprint = int.from_bytes(hashlib.blake2b(identity, digest_size=16).digest(), "big")
    return (_FIRST_STAMP + fingerprint % (_LAST_STAMP - _FIRST_STAMP)) * _MICROSECOND


def _bears(thumbnail: Version, stamp: int) -> bool:
    """Whether a thumbnail bears this stamp, on file systems that keep whole seconds, too."""
    kept = thumbnail.modified_ns
    is_whole_second = kept % _SECOND == 0
    return kept // _MICROSECOND == stamp // _MICROSECOND or (is_whole_second and kept // _SECOND == stamp // _SECOND)


def _is_complete(picture: bytes, format: formats.Format) -> bool:
    """Whether a kept thumbnail is whole: it begins and ends as its format does."""
    ends = {formats.JPEG: b"\xff\xd9", formats.PNG: b"IEND\xaeB`\x82", formats.GIF: b"\x3b"}
    return formats.recognise(picture[: formats.HEAD_LENGTH]) == format and picture.endswith(ends[format])
