"""Thumbnails: kept ones if they belong to today's original, else made once and kept.

How a thumbnail knows its source: its time of change is a fingerprint of the source's name, size
and exact time, written as a moment between 1982 and 2001. One stat(2) tells whether it belongs; a
replaced original, through the server or by hand, never shows its old picture, and `x.tif` never
that of `x.png`, although both keep theirs as `x_100.png`.

Thumbnails that an earlier server left have a time of today's world. They are taken over if they
are younger than the last change of the original's file, complete, and no other original can have
made them.

Concurrency: of the requests of this process for one thumbnail, one makes it and the others wait
for it. Two processes may make the same one at the same time; each publishes a whole picture.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from assetstore import content_types, formats
from assetstore.errors import AssetError, NotFound, Unrenderable, UnsupportedType
from assetstore.rendering import Job
from assetstore.rendering.pool import RenderPool
from assetstore.storage import Storage, StoredFile, Version

_SECOND, _MICROSECOND = 1_000_000_000, 1_000  # nanoseconds

#: The moments that fingerprints are written as, in microseconds since 1970: all in the past, so that
#: no fingerprint looks like the work of an earlier server.
_FIRST_STAMP, _LAST_STAMP = 400_000_000_000_000, 1_000_000_000_000_000

#: How often to start again when the original changes under our hands.
_ATTEMPTS = 3


class Thumbnails:
    """The thumbnails of one store.

    Parameters:
        storage: holds originals and kept thumbnails.
        pool: makes new ones.
        types: media types that get thumbnails (CAN_THUMBNAIL).
        largest: the largest size in pixels; greater wishes get this one.
        seconds: how long making one may take.
    """

    def __init__(self, storage: Storage, pool: RenderPool, types: frozenset[str], largest: int, seconds: int) -> None:
        self._storage = storage
        self._pool = pool
        self._types = types
        self._largest = largest
        self._seconds = seconds
        self._flights = _Flights()

    def name(self, name: str, scale: int) -> str:
        """Returns the file name of the thumbnail of *name* at *scale*. Raises UnsupportedType."""
        return formats.thumbnail_name(name, self._media_type(name), min(scale, self._largest))

    def open(self, place: str, name: str, scale: int) -> StoredFile:
        """Opens the thumbnail of an original, after making it if need be.

        Parameters:
            place: the folder of the collection.
            name: the store name of the original.
            scale: the thumbnail fits into a square of so many pixels.

        Raises:
            NotFound: no such original.
            UnsupportedType: this type has no thumbnails.
            Unrenderable, Unavailable, OutOfSpace: it cannot be made.
        """
        version = self._version(place, name)
        thumbnail = self.name(name, scale)
        kept = self._kept(place, name, thumbnail, version)
        if kept is not None:
            return kept
        with self._flights.only_one(f"{place}/{thumbnail}"):
            for _ in range(_ATTEMPTS):
                version = self._version(place, name)
                kept = self._kept(place, name, thumbnail, version) or self._adopt(place, name, thumbnail, version)
                if kept is not None:
                    return kept
                self._make(place, name, thumbnail, version, min(scale, self._largest))
        raise AssetError("The file keeps changing; please try again.", f"{_ATTEMPTS} attempts for {name!r}")

    def discard(self, place: str, name: str) -> None:
        """Removes the kept thumbnails of an original that was deleted or replaced, and no other's."""
        media_type = content_types.guess(name)
        if media_type not in formats.THUMBNAIL_TYPES:
            return
        root, extension = formats.thumbnail_parts(name, media_type)
        others = frozenset(_stamp(other, version) for other, version in self._namesakes(place, name))
        self._storage.delete_thumbnails(place, root, extension, others)

    def _media_type(self, name: str) -> str:
        media_type = content_types.guess(name)
        if media_type not in self._types or media_type not in formats.THUMBNAIL_TYPES:
            raise UnsupportedType("Files of this type have no thumbnails.", f"{name!r} is {media_type}")
        return media_type

    def _version(self, place: str, name: str) -> Version:
        with self._storage.open_original(place, name) as original:
            return original.version

    def _kept(self, place: str, name: str, thumbnail: str, version: Version) -> StoredFile | None:
        """The kept thumbnail if it was made of this version of this original."""
        try:
            kept = self._storage.open_thumbnail(place, thumbnail)
        except NotFound:
            return None
        if _bears(kept.version, _stamp(name, version)):
            return as_served(kept)
        kept.file.close()
        return None

    def _adopt(self, place: str, name: str, thumbnail: str, version: Version) -> StoredFile | None:
        """Takes over the thumbnail of an earlier server if it is certainly of this original."""
        try:
            with self._storage.open_thumbnail(place, thumbnail) as found:
                is_younger = found.version.modified_ns >= version.changed_ns
                if not is_younger or any(self._namesakes(place, name)):
                    return None
                picture = found.file.read()
        except NotFound:
            return None
        if not _is_complete(picture, formats.encoder(self._media_type(name))):
            return None
        with self._storage.new_thumbnail(place, thumbnail) as new:
            new.path.write_bytes(picture)
            new.publish(_stamp(name, version))
        return self._kept(place, name, thumbnail, version)

    def _make(self, place: str, name: str, thumbnail: str, version: Version, size: int) -> None:
        with self._storage.open_original(place, name) as original:
            decoder = formats.recognise(original.file.read(formats.HEAD_LENGTH))
        if decoder is None:
            raise Unrenderable("The file is not the picture that its name says.", f"{name!r} has an unknown signature")
        with self._storage.local_original(place, name) as path, self._storage.new_thumbnail(place, thumbnail) as new:
            encoder = formats.encoder(self._media_type(name))
            self._pool.render(Job(str(path), str(new.path), decoder.decoder, encoder.decoder, size, self._seconds))
            new.publish(_stamp(name, version))
        # If the original went away while its picture was made, nobody else will remove the picture.
        try:
            self._version(place, name)
        except NotFound:
            self.discard(place, name)
            raise

    def _namesakes(self, place: str, name: str) -> Iterator[tuple[str, Version]]:
        """Other originals whose thumbnails have the same names as those of *name*."""
        parts = formats.thumbnail_parts(name, content_types.guess(name))
        for other in formats.same_root(name):
            if other != name and formats.thumbnail_parts(other, content_types.guess(other)) == parts:
                try:
                    yield other, self._version(place, other)
                except NotFound:
                    continue


class _Flights:
    """Lets one thread at a time work on a key; keys cost nothing when nobody works on them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._flights: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def only_one(self, key: str) -> Iterator[None]:
        with self._guard:
            lock, users = self._flights.get(key, (threading.Lock(), 0))
            self._flights[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._flights.pop(key)
                if users > 1:
                    self._flights[key] = (lock, users - 1)


def as_served(stored: StoredFile) -> StoredFile:
    """Gives a thumbnail, for HTTP, the date when it was made instead of its fingerprint."""
    return StoredFile(stored.file, replace(stored.version, modified_ns=stored.version.changed_ns))


def _stamp(name: str, version: Version) -> int:
    """The time of change, in nanoseconds, that marks a thumbnail as made of this version of *name*."""
    identity = f"{name}\0{version.size}\0{version.modified_ns}".encode()
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
