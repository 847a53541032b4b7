"""Location-safe copies of originals, for requests without a token.

The recipe of a copy is made once for each version of an original, in a worker process, and cached (`cache.py`, and in
memory the newest ones). The copy itself is put together while it is sent (`recipe.py`). So a copy can never be older
than its original. If a program edits the original in place meanwhile, the recipe does not apply to the new bytes, so
the copy ends: each piece is sent only if the original was still unmodified after it was read. A running response also
ends if the original is deleted or replaced, because its time of change does not show the difference.

Concurrency: any thread may call. If several requests need the same recipe at the same time, one has it made and the
others get its result. Among processes, a file lock does the same.
"""

import contextlib
import functools
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import cachetools

from assetstore import formats
from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.file_workers import FileWorkers, Sentences
from assetstore.concurrency.single_flight import SingleFlight
from assetstore.errors import NotPublic, OutOfSpace, StorageFault, Unavailable, Unrenderable
from assetstore.files.locks import locked
from assetstore.location_safe import kinds, recipe_file
from assetstore.location_safe.cache import RecipeCache
from assetstore.location_safe.kinds import Kind
from assetstore.location_safe.recipe import Recipe, from_text, loaded
from assetstore.location_safe.recipe_file import RecipeFile
from assetstore.storage.models import StoredFile, Version

_log = logging.getLogger(__name__)

#: Raise it with every change to what copies contain, so that cached recipes are made again.
_RULES = 1

#: How long making a recipe may take, and how long a request may wait for a worker before that.
_TIMEOUT_SECONDS = 30

_WORKERS = 2

_SENTENCES = Sentences(
    busy="The server is preparing many pictures; please try again soon.",
    too_long="The picture takes too long to prepare, so it is available only with a token.",
    failed="The picture could not be prepared.",
)

#: The public sentence for files of which there is no copy.
_NOT_SAFE = "This file may say where it was made, so it is available only with a token."

#: The size of the cache in memory, in bytes.
_MEMORY_BYTES = 8 << 20

#: Shorter parts of a file in a bucket do not cost a request each.
_SMALL = 64 << 10

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class _Outcome:
    """The recipe of a version, and its checksum; None if there is no safe copy."""

    recipe: Recipe | None
    digest: str
    size: int


@dataclass(frozen=True)
class SafeCopy(StoredFile):
    """A copy as a stored file. No web server in front and no bucket has it, so this server sends it."""

    original: StoredFile = field(kw_only=True)
    recipe: Recipe = field(kw_only=True)

    def pieces(self, first: int, length: int) -> Iterator[bytes]:
        """Returns the bytes of a section in pieces of any size."""
        return recipe_file.pieces(self.recipe, first, length, self._copied)

    def _copied(self, offset: int, length: int) -> Iterator[bytes]:
        if length <= _SMALL:
            yield _read_part(self.original, offset, length)
            return
        self.original.file.seek(offset)  # a section from byte 0 does not
        for data in self.original.pieces(offset, length):
            self.original.check_unmodified()
            yield data


class LocationSafe:
    """The copies of the originals of a store.

    Parameters:
        base: BASE_DIR, for locks and the cache.
        most_bytes: the limit of the cache.
        waiting: how many requests may wait for workers, in this service and others that share the limit.
        secret: the key of entity tags, of at most 64 bytes. The tag of an original in a bucket may contain its
            checksum, by which a guess of what was removed could be checked.
    """

    def __init__(self, base: Path, most_bytes: int, waiting: ElasticLimit, secret: bytes) -> None:
        self._base = base
        self._secret = secret
        self._cache = RecipeCache(base, most_bytes)
        self._workers = FileWorkers("assetstore.location_safe.worker", _TIMEOUT_SECONDS, _WORKERS, waiting, _SENTENCES)
        self._flights: SingleFlight[_Outcome] = SingleFlight()
        self._lock = threading.Lock()
        self._recent: cachetools.LRUCache[_Key, _Outcome] = cachetools.LRUCache(_MEMORY_BYTES, lambda one: one.size)

    def open(self, opened: Callable[[], StoredFile], collection_dir: str, name: str, client: str) -> StoredFile:
        """Opens what a request without a token gets: the copy, or the original if it is of another kind (`kinds.py`).

        Parameters:
            opened: opens the original.
            collection_dir, name: of the original.
            client: the address of the client; workers serve clients round robin.

        Raises:
            NotPublic: the file may say where it was made, and there is no safe copy.
            Unavailable, AssetError: the copy cannot be made now.
            The errors of *opened*.
        """
        original = opened()
        try:
            kind = kinds.kind(name, original.file.read(formats.HEAD_LENGTH))
            original.file.seek(0)
            if kind is Kind.AS_IT_IS:
                return original
            outcome = None if kind is Kind.NOTHING else self._outcome(original, collection_dir, name, client)
            if outcome is None or outcome.recipe is None:
                raise NotPublic(_NOT_SAFE, f"{name!r} cannot be cleaned for certain")
            return self._copy(original, outcome.recipe, outcome.digest)
        except BaseException:
            original.file.close()
            raise

    def discard(self, collection_dir: str, name: str) -> None:
        """Removes what is cached of an original that was deleted or replaced."""
        self._cache.discard(collection_dir, name)

    def close(self) -> None:
        """Stops the workers, and closes the cache."""
        self._workers.close()
        self._cache.close()

    def _outcome(self, original: StoredFile, collection_dir: str, name: str, client: str) -> _Outcome:
        key = collection_dir, name, f"{_RULES} {original.version.etag}"
        found = self._cached(key)
        if found is not None:
            return found
        make = functools.partial(self._made_once, key, original, client)
        try:
            return self._flights.do("\0".join(key), make, 2 * _TIMEOUT_SECONDS)
        except TimeoutError:
            raise Unavailable(_SENTENCES.busy, "another request makes the same recipe", retry_after=10) from None

    def _made_once(self, key: _Key, original: StoredFile, client: str) -> _Outcome:
        with contextlib.ExitStack() as stack:
            # Without a lock, on a read-only or full disk, another process may make it, too.
            with contextlib.suppress(StorageFault, OutOfSpace):
                stack.enter_context(locked(self._base, f"location-safe/{key[0]}/{key[1]}"))
            return self._cached(key) or self._made(key, original, client)

    def _made(self, key: _Key, original: StoredFile, client: str) -> _Outcome:
        try:
            answer = self._workers.ask(original.file, original.version.size, client, _TIMEOUT_SECONDS)
        except Unrenderable as error:
            raise NotPublic(error.public, error.detail) from error  # not cached: the machine may have been busy
        if "recipe" in answer:
            stored = from_text(answer["recipe"]).stored()
        else:
            stored = None
            _log.info("there is no location-safe copy of %r: %s", key[1], answer["refusal"])
        self._cache.put(*key, stored)
        return self._remember(key, stored)

    def _cached(self, key: _Key) -> _Outcome | None:
        with self._lock:
            recent = self._recent.get(key)
        if recent is not None:
            return recent
        row = self._cache.get(*key)
        return None if row is None else self._remember(key, row[0])

    def _copy(self, original: StoredFile, recipe: Recipe, digest: str) -> SafeCopy:
        file = RecipeFile(recipe, functools.partial(_read_part, original), original.file)
        old = original.version
        # The tag differs from that of the original, and whenever the copy may differ.
        tag = hashlib.blake2b(f"{old.etag}\0{digest}".encode(), key=self._secret, digest_size=16).hexdigest()
        version = Version(recipe.size, old.modified_ns, old.changed_ns, f'"{tag}"')
        return SafeCopy(cast(BinaryIO, file), version, original=original, recipe=recipe)

    def _remember(self, key: _Key, stored: bytes | None) -> _Outcome:
        digest = hashlib.blake2b(stored or b"", digest_size=12).hexdigest()
        outcome = _Outcome(None if stored is None else loaded(stored), digest, 1024 + 4 * len(stored or b""))
        with self._lock, contextlib.suppress(ValueError):  # too large
            self._recent[key] = outcome
        return outcome


def _read_part(original: StoredFile, offset: int, length: int) -> bytes:
    """Reads bytes of one version. Raises Overtaken."""
    original.file.seek(offset)
    data = original.file.read(length)
    original.check_unmodified()
    return data
