"""The rules by which a store chooses the sizes of which it caches thumbnails.

The number of cached sizes of each collection is limited, so that no client can fill the disk by requesting one size
after another:

- The sizes that Specify's clients request, and the sizes in PREVIEW_SIZES, always have a place, also beyond the limit.
- Another size is cached after it was requested for three different originals, so that requests for one image do not
  use up the places.
- If the limit is reached, a new size replaces the one that was not used for the longest time. It is retired: none of
  its thumbnails are cached any more, and those that exist are removed in the background. Only one size at a time
  leaves in this way, so that a client that requests many sizes causes one listing of the folder per round.
- The tree of an earlier server may have more sizes than the limit; they stay, and are replaced one by one.

A size is used when a thumbnail of it is read. `LastUses` limits how often a store records this. A web server in front
that sends cached thumbnails itself (the fast path in `deploy/nginx-advanced.conf`) hides uses from the store: then only
new thumbnails count.

Concurrency: any thread may call. Each process counts requests for itself, so a size may be requested for more originals
before it is cached if there are several processes.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: The sizes in the recorded requests of Specify 6, Specify 7 and the Web Portal (tests/wire).
SPECIFY_SIZES = frozenset({90, 100, 123, 150, 200, 500, 600, 2000})

#: For how many different originals another size must be requested before it is cached.
_ORIGINALS = 3

#: Requests for how many sizes are counted; the least recent counts are forgotten.
_MOST_COUNTED = 1000

#: The ends of the names of markers: the size was retired and its thumbnails are being removed; it was in PREVIEW_SIZES.
LEAVING, PREVIEW = "-leaving", "-preview"

_NUMBER = re.compile("[1-9][0-9]{0,8}", re.ASCII)
_NAME = re.compile(r".*_([1-9][0-9]{0,8})(?:-[0-9]+)?(?:\.[^.]*)?", re.ASCII | re.DOTALL)


def size_of(thumbnail: str) -> int | None:
    """Returns the size in the file name of a thumbnail, also of a page (`NAME_200-0.png`); None if it has none."""
    match = _NAME.fullmatch(thumbnail)
    return int(match[1]) if match else None


def with_ending(names: Iterable[str], ending: str) -> frozenset[int]:
    """Returns the sizes that are marked by a name with this ending, such as `200-leaving`; empty: by `200`."""
    marked = (name.removesuffix(ending) for name in names if name.endswith(ending))
    return frozenset(int(size) for size in marked if _NUMBER.fullmatch(size))


@dataclass(frozen=True)
class Decision:
    """Whether a size is cached from now on, and which other size is retired for it (None: no other)."""

    is_admitted: bool
    retired: int | None = None


@dataclass(frozen=True)
class SizeRules:
    """Which sizes are cached.

    Fields:
        most: the maximum number of sizes of each collection.
        previews: the sizes in PREVIEW_SIZES.
    """

    most: int
    previews: frozenset[int] = frozenset()

    def is_permanent(self, size: int) -> bool:
        """Returns whether this size always has a place."""
        return size in SPECIFY_SIZES or size in self.previews

    def decide(self, size: int, used_ns: Mapping[int, int], is_any_leaving: bool, replaces: bool) -> Decision:
        """Decides about a size that is not cached yet.

        Parameters:
            size: in pixels.
            used_ns: when each cached size was last used, nanoseconds since 1970; without retired sizes.
            is_any_leaving: whether thumbnails of a retired size are still being removed.
            replaces: whether the size may replace another one if the limit is reached.
        """
        if len(used_ns) < self.most:
            return Decision(True)
        replaceable = [cached for cached in used_ns if not self.is_permanent(cached)]
        if replaces and replaceable and not is_any_leaving:
            return Decision(True, min(replaceable, key=lambda cached: used_ns[cached]))
        return Decision(self.is_permanent(size))


class Demand:
    """Counts for how many different originals each size was requested."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: OrderedDict[tuple[str, int], set[str]] = OrderedDict()

    def count(self, collection_dir: str, size: int, original: str) -> bool:
        """Counts a request; returns whether the size was requested for enough originals to be cached."""
        with self._lock:
            names = self._names.setdefault((collection_dir, size), set())
            self._names.move_to_end((collection_dir, size))
            while len(self._names) > _MOST_COUNTED:
                self._names.popitem(last=False)
            if len(names) < _ORIGINALS:
                names.add(original)
            return len(names) >= _ORIGINALS

    def forget(self, collection_dir: str, size: int) -> None:
        """Forgets the requests for a size, which is now cached."""
        with self._lock:
            self._names.pop((collection_dir, size), None)


class LastUses:
    """Limits how often the use of a size is recorded: once in *seconds* for each size of a collection."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._recorded: dict[tuple[str, int], float] = {}

    def is_due(self, collection_dir: str, size: int) -> bool:
        """Returns whether a use is to be recorded now, and expects the caller to record it."""
        now = time.monotonic()
        # Without a lock: two threads at the same time record a use twice, which does no harm.
        if now - self._recorded.get((collection_dir, size), -self._seconds) < self._seconds:
            return False
        self._recorded[collection_dir, size] = now
        return True
