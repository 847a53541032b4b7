"""Removes unneeded cached thumbnails; they are regenerated when they are requested again.

Concurrency: may run at the same time as the server. A thumbnail that was replaced after it was listed is not removed.
Thumbnails that are less than a few minutes old never count as orphans, because their originals may be newer than the
listing.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field

from assetstore import formats, media_types
from assetstore.names import is_store_name, split_extension
from assetstore.originals.service import Originals
from assetstore.storage.models import CachedThumbnail
from assetstore.storage.protocols import PrunableThumbnails

ORPHAN, STRAY, SIZE, AGE, TOTAL = "orphan", "stray", "size", "age", "total"

#: What each reason means.
MEANINGS = {
    ORPHAN: "it has no original",
    STRAY: "an earlier server rendered it from one of several pages",
    SIZE: "its size is not in the list of sizes",
    AGE: "it is too old",
    TOTAL: "all thumbnails together take too much space, and it is one of the oldest",
}

#: Thumbnails of less than this age, in nanoseconds, are never orphans.
_YOUNG_NS = 600 * 1_000_000_000

_NAME = re.compile(r"(.+)_([1-9][0-9]{0,8})(-[0-9]+)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class PruneOptions:
    """What to remove.

    Fields:
        orphans: thumbnails without an original.
        strays: pages that earlier servers left, `ROOT_SCALE-0.png` and so on.
        sizes: the only sizes to keep; None for all.
        before_ns: remove thumbnails made before this time (nanoseconds since 1970); None for none.
        most_bytes: how much space all thumbnails may take; the oldest are removed first. None for no limit.
    """

    orphans: bool
    strays: bool
    sizes: Set[int] | None
    before_ns: int | None
    most_bytes: int | None


@dataclass(frozen=True)
class Pruned:
    """A thumbnail that was removed, or would be in a dry run, and the reason (a key of MEANINGS)."""

    reason: str
    collection_dir: str
    cached: CachedThumbnail


@dataclass
class Pruning:
    """One run.

    Parameters:
        originals, store: the stores of originals and thumbnails.
        options: what to remove.
        dry_run: whether only to report what would be removed.
    """

    originals: Originals
    store: PrunableThumbnails
    options: PruneOptions
    dry_run: bool
    bytes_left: int = field(default=0, init=False)
    files_left: int = field(default=0, init=False)

    def run(
        self, collection_dirs: Sequence[str], progress: Callable[[int], None] = lambda _number: None
    ) -> Iterator[Pruned]:
        """Removes thumbnails and yields them.

        Parameters:
            collection_dirs: the collection folders.
            progress: called with the number of thumbnails that were checked.

        Raises:
            StorageFault: a folder cannot be read or written.
        """
        remaining: list[tuple[int, str, CachedThumbnail]] = []
        for collection_dir in collection_dirs:
            began_ns = time.time_ns()
            shown = self._shown(collection_dir) if self.options.orphans else None
            if self.options.sizes is not None and not self.dry_run:
                # First, so that the server caches no more thumbnails of these sizes meanwhile.
                self.store.retire_sizes(collection_dir, self.options.sizes)
            for cached in self.store.cached(collection_dir):
                progress(1)
                reason, size = self._reason(cached, shown, began_ns)
                if not size:
                    continue
                if reason is not None and self._remove(collection_dir, cached):
                    yield Pruned(reason, collection_dir, cached)
                    continue
                self.files_left, self.bytes_left = self.files_left + 1, self.bytes_left + cached.size
                if self.options.most_bytes is not None:
                    remaining.append((cached.made_ns, collection_dir, cached))
            if self.options.sizes is not None and not self.dry_run:
                self.store.remove_retired(collection_dir, threading.Event())
        yield from self._down_to_most(remaining)

    def _down_to_most(self, remaining: list[tuple[int, str, CachedThumbnail]]) -> Iterator[Pruned]:
        most = self.options.most_bytes
        for _, collection_dir, cached in sorted(remaining, key=lambda entry: entry[0]):
            if most is None or self.bytes_left <= most:
                return
            if self._remove(collection_dir, cached):
                self.files_left, self.bytes_left = self.files_left - 1, self.bytes_left - cached.size
                yield Pruned(TOTAL, collection_dir, cached)

    def _reason(self, cached: CachedThumbnail, shown: Set[str] | None, began_ns: int) -> tuple[str | None, int]:
        """The reason to remove a thumbnail, None to keep it; and its size, 0 if the file is not a thumbnail."""
        stem, extension = split_extension(cached.name)
        match = _NAME.fullmatch(stem)
        if match is None:
            return None, 0  # not a file of the server
        root, size = match[1], int(match[2])
        size_reason = SIZE if self.options.sizes is not None and size not in self.options.sizes else None
        if match[3]:
            return (STRAY if self.options.strays else size_reason), size
        if shown is not None and root + "\0" + extension not in shown and cached.made_ns < began_ns - _YOUNG_NS:
            return ORPHAN, size
        if size_reason is not None:
            return size_reason, size
        if self.options.before_ns is not None and cached.made_ns < self.options.before_ns:
            return AGE, size
        return None, size

    def _shown(self, collection_dir: str) -> set[str]:
        """The beginnings and ends of the thumbnail names of all originals of a collection folder."""
        shown = set()
        for listed in self.originals.storage.originals(collection_dir):
            media_type = media_types.guess(listed.name)
            if media_type in formats.THUMBNAIL_TYPES and is_store_name(listed.name):
                shown.add("\0".join(formats.thumbnail_parts(listed.name, media_type)))
        return shown

    def _remove(self, collection_dir: str, cached: CachedThumbnail) -> bool:
        return self.dry_run or self.store.remove(collection_dir, cached)
