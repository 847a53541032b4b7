"""Removes kept thumbnails that nobody needs; whoever asks for one gets it made anew.

Concurrency: beside a serving server. A thumbnail that was renewed since the list was made stays, and what
is younger than a few minutes is no orphan: its original may have come after the list of originals.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field

from assetstore import formats, media_types
from assetstore.names import split_extension
from assetstore.originals.service import Originals
from assetstore.storage.models import Kept
from assetstore.storage.protocols import PrunableThumbnails

ORPHAN, STRAY, SIZE, AGE, TOTAL = "orphan", "stray", "size", "age", "total"

#: What each reason means.
MEANINGS = {
    ORPHAN: "there is no original that it could show",
    STRAY: "an earlier server left it as one page of many",
    SIZE: "of a size that is no longer wanted",
    AGE: "made too long ago",
    TOTAL: "all together take too much, and it is one of the oldest",
}

#: Younger ones are never orphans, in nanoseconds.
_YOUNG_NS = 600 * 1_000_000_000

_NAME = re.compile(r"(.+)_([1-9][0-9]{0,8})(-[0-9]+)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Wishes:
    """What to remove.

    Fields:
        orphans: thumbnails without an original.
        strays: pages that earlier servers left, `ROOT_SCALE-0.png` and so on.
        sizes: the only sizes that stay; None for all.
        before_ns: what was made before this moment (nanoseconds since 1970); None for nothing.
        most_bytes: how much all may take together, the oldest go first; None for any number.
    """

    orphans: bool
    strays: bool
    sizes: Set[int] | None
    before_ns: int | None
    most_bytes: int | None


@dataclass(frozen=True)
class Pruned:
    """A thumbnail that was, or would be, removed, and why (a key of MEANINGS)."""

    reason: str
    place: str
    kept: Kept


@dataclass
class Pruning:
    """One run.

    Parameters:
        originals, store: where originals and thumbnails are.
        wishes: what to remove.
        dry_run: whether only to say so.
    """

    originals: Originals
    store: PrunableThumbnails
    wishes: Wishes
    dry_run: bool
    bytes_left: int = field(default=0, init=False)
    files_left: int = field(default=0, init=False)

    def run(self, places: Sequence[str], progress: Callable[[int], None] = lambda _number: None) -> Iterator[Pruned]:
        """Removes, and yields what it has removed.

        Parameters:
            places: the folders.
            progress: called with the number of thumbnails that were looked at.

        Raises:
            StorageFault: a folder cannot be read or written.
        """
        remaining: list[tuple[int, str, Kept]] = []
        for place in places:
            began_ns = time.time_ns()
            shown = self._shown(place) if self.wishes.orphans else None
            sizes = set()
            for kept in self.store.kept(place):
                progress(1)
                reason, size = self._reason(kept, shown, began_ns)
                if not size:
                    continue
                if reason is not None and self._remove(place, kept):
                    yield Pruned(reason, place, kept)
                    continue
                sizes.add(size)
                self.files_left, self.bytes_left = self.files_left + 1, self.bytes_left + kept.size
                if self.wishes.most_bytes is not None:
                    remaining.append((kept.made_ns, place, kept))
            if self.wishes.sizes is not None and not self.dry_run:
                self.store.forget_sizes(place, self.wishes.sizes | sizes)
        yield from self._down_to_most(remaining)

    def _down_to_most(self, remaining: list[tuple[int, str, Kept]]) -> Iterator[Pruned]:
        most = self.wishes.most_bytes
        for _, place, kept in sorted(remaining, key=lambda entry: entry[0]):
            if most is None or self.bytes_left <= most:
                return
            if self._remove(place, kept):
                self.files_left, self.bytes_left = self.files_left - 1, self.bytes_left - kept.size
                yield Pruned(TOTAL, place, kept)

    def _reason(self, kept: Kept, shown: Set[str] | None, began_ns: int) -> tuple[str | None, int]:
        """Why to remove a thumbnail, if at all, and its size (0: it is none)."""
        stem, extension = split_extension(kept.name)
        match = _NAME.fullmatch(stem)
        if match is None:
            return None, 0  # whatever it is, it is not ours
        root, size = match[1], int(match[2])
        if match[3]:
            return (STRAY if self.wishes.strays else None), size
        if shown is not None and root + "\0" + extension not in shown and kept.made_ns < began_ns - _YOUNG_NS:
            return ORPHAN, size
        if self.wishes.sizes is not None and size not in self.wishes.sizes:
            return SIZE, size
        if self.wishes.before_ns is not None and kept.made_ns < self.wishes.before_ns:
            return AGE, size
        return None, size

    def _shown(self, place: str) -> set[str]:
        """What the thumbnails of all originals of a folder begin and end with."""
        shown = set()
        for listed in self.originals.storage.originals(place):
            media_type = media_types.guess(listed.name)
            if media_type in formats.THUMBNAIL_TYPES:
                shown.add("\0".join(formats.thumbnail_parts(listed.name, media_type)))
        return shown

    def _remove(self, place: str, kept: Kept) -> bool:
        return self.dry_run or self.store.remove(place, kept)
