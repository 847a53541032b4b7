"""Makes pyramids in advance, before anyone zooms, and chooses those that are not needed.

Concurrency: may run at the same time as the server, whose locks and limits it shares, so that no pyramid is made twice.
Cached pyramids are skipped quickly, so an interrupted run continues when it is repeated.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from assetstore.errors import AssetError, NotFound, Unavailable, UnsupportedType
from assetstore.iiif.images import Images
from assetstore.names import is_store_name
from assetstore.originals.service import Originals
from assetstore.storage.models import CachedPyramid, Listed
from assetstore.storage.protocols import PyramidStore
from assetstore.storage.pyramid_names import original_id
from assetstore.thumbnails.warm import Failure

#: How long to wait, in seconds, if no worker is free, and how often.
_PAUSE_SECONDS, _ATTEMPTS = 5, 12


@dataclass
class Making:
    """One run.

    Parameters:
        originals, images: of the store.
        since_ns: only originals changed at or after this time (nanoseconds since 1970); None for all.
        least_bytes: only originals of at least this size.
        per_hour: how many pyramids to make per hour at most; None for no limit.
    """

    originals: Originals
    images: Images
    since_ns: int | None
    least_bytes: int
    per_hour: float | None
    made: int = field(default=0, init=False)
    _free_at: float = field(default=0.0, init=False)

    def chosen(self, collection_dir: str) -> Iterator[Listed]:
        """Yields the originals of a collection folder for which pyramids are made. Raises StorageFault."""
        for listed in self.originals.storage.originals(collection_dir):
            is_new = self.since_ns is None or listed.modified_ns >= self.since_ns
            if is_new and listed.size >= self.least_bytes and is_store_name(listed.name):
                yield listed

    def run(self, collection_dir: str) -> Iterator[Failure | None]:
        """Makes the missing pyramids of a collection folder; yields a failure or None for each original."""
        for listed in self.chosen(collection_dir):
            yield self._make(collection_dir, listed.name)

    def _make(self, collection_dir: str, name: str) -> Failure | None:
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        for attempt in range(_ATTEMPTS):
            try:
                made = self.images.prepare(collection_dir, name)
            except (NotFound, UnsupportedType):
                return None  # deleted meanwhile, or no picture
            except Unavailable as error:
                if attempt + 1 == _ATTEMPTS:
                    return Failure(collection_dir, name, error.public)
                time.sleep(_PAUSE_SECONDS)
            except AssetError as error:
                return Failure(collection_dir, name, error.public)
            else:
                self.made += made
                if self.per_hour is not None:
                    self._free_at = time.monotonic() + made * 3600 / self.per_hour
                return None
        return None


@dataclass
class Pruning:
    """Which pyramids to remove.

    Parameters:
        originals: of the store.
        orphans: those without an original.
        before_ns: those that were last used before this time (nanoseconds since 1970); None for none.
        most_bytes: the least recently used ones, until the rest has at most this many bytes; None for none.
    """

    originals: Originals
    orphans: bool
    before_ns: int | None
    most_bytes: int | None
    bytes_left: int = field(default=0, init=False)

    def chosen(self, store: PyramidStore, collection_dirs: Sequence[str]) -> Iterator[CachedPyramid]:
        """Yields the pyramids of collection folders to remove, and counts the bytes of the others."""
        every = [one for collection_dir in collection_dirs for one in store.cached(collection_dir)]
        known = {
            (collection_dir, original_id(listed.name))
            for collection_dir in (collection_dirs if self.orphans else ())
            for listed in self.originals.storage.originals(collection_dir)
        }
        for pyramid in sorted(every, key=lambda one: -one.used_ns):
            is_orphan = self.orphans and (pyramid.collection_dir, pyramid.original) not in known
            is_old = self.before_ns is not None and pyramid.used_ns < self.before_ns
            is_too_much = self.most_bytes is not None and self.bytes_left + pyramid.size > self.most_bytes
            if is_orphan or is_old or is_too_much:
                yield pyramid
            else:
                self.bytes_left += pyramid.size
