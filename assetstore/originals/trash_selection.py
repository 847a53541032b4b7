"""A part of the trash, for interactive use: pages of it, its days, and restoring all of it with a preview.

If the selection has several versions of a name, the latest is restored, and the others stay in the trash, as with
`manage.py trash restore`.

Concurrency: any thread may call. Nothing is cached, so entries that other requests restore or purge meanwhile are
simply no longer there.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from assetstore.errors import AssetError, BadRequest, Unsynced
from assetstore.journal.events import Origin
from assetstore.originals.service import Originals
from assetstore.storage.models import TrashEntry

_SECOND = 1_000_000_000

#: Entries are counted by quarter of an hour, because every time zone begins its days at one.
_QUARTER_SECONDS = 900

#: How long one call of `restore` may take, in seconds: a client asks again for the rest, and shows the progress.
_RESTORE_SECONDS = 2.0

#: With object storage, whether an original exists is a request of its own.
_THREADS, _FEW = 8, 100


@dataclass(frozen=True)
class Selection:
    """Which entries of the trash are selected.

    Fields:
        part: of the store name, ignoring case; empty for all.
        name: the exact store name; None for all.
        collection_dir: None for all.
        since_ns, until_ns: when they were removed, from the first time on and before the second; None for no limit.
    """

    part: str = ""
    name: str | None = None
    collection_dir: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    def fits(self, entry: TrashEntry) -> bool:
        """Returns whether an entry is selected."""
        return (
            self.collection_dir in (None, entry.collection_dir)
            and (entry.name == self.name if self.name else self.part.casefold() in entry.name.casefold())
            and (self.since_ns is None or entry.removed_ns >= self.since_ns)
            and (self.until_ns is None or entry.removed_ns < self.until_ns)
        )


@dataclass(frozen=True)
class Page:
    """Some entries, and the cursor with which the next page begins; None if it is the last."""

    entries: list[TrashEntry]
    following: str | None


@dataclass(frozen=True)
class Plan:
    """What restoring a selection does, in the order in which it is done.

    Fields:
        restored: entries whose names are free.
        replacing: entries whose names have a current original, which is moved to the trash.
        older: further versions of the same names, which stay in the trash.
        until_ns: the end of the selection, not after the time of the plan.
    """

    restored: list[TrashEntry]
    replacing: list[TrashEntry]
    older: int
    until_ns: int


@dataclass
class Outcome:
    """What a call of `restore` did.

    Fields:
        restored, replaced: how many names had no original, and how many had one, which is in the trash now.
        skipped: names with an original that may not be replaced.
        failed: names with the reason.
        following: the cursor for the next call; None if nothing is left.
    """

    restored: int = 0
    replaced: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    following: str | None = None


def selected(originals: Originals, selection: Selection) -> list[TrashEntry]:
    """Returns the selected entries, newest first. Raises StorageFault."""
    wanted = [where for where in originals.collection_dirs if selection.collection_dir in (None, where)]
    found = [entry for where in wanted for entry in originals.trash_storage.entries(where) if selection.fits(entry)]
    return sorted(found, key=_position, reverse=True)


def page(entries: list[TrashEntry], after: str | None, most: int) -> Page:
    """Returns a page of entries that are sorted newest first.

    Parameters:
        entries: all of them.
        after: the cursor of the page; None for the first.
        most: how many entries it may have.

    Raises BadRequest: the cursor is invalid.
    """
    rest = entries if after is None else [entry for entry in entries if _position(entry) < _parsed(after)]
    shown = rest[:most]
    if len(rest) <= most:
        return Page(shown, None)
    removed_ns, where = _position(shown[-1])
    return Page(shown, f"{removed_ns}/{where}")


def quarters(entries: Iterable[TrashEntry]) -> list[tuple[int, int, int]]:
    """Returns the quarters of an hour with entries, newest first: the beginning in seconds, entries, and bytes.

    A client adds them up to the days of its time zone.
    """
    numbers: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for entry in entries:
        quarter = entry.removed_ns // (_QUARTER_SECONDS * _SECOND)
        numbers[quarter] += 1
        sizes[quarter] += entry.size
    return [(quarter * _QUARTER_SECONDS, numbers[quarter], sizes[quarter]) for quarter in sorted(numbers, reverse=True)]


def plan(originals: Originals, selection: Selection) -> Plan:
    """Returns what `restore` would do now. Raises StorageFault."""
    now_ns = time.time_ns()
    until_ns = now_ns if selection.until_ns is None else min(now_ns, selection.until_ns)
    entries = selected(originals, replace(selection, until_ns=until_ns))
    latest = _latest(entries)

    def has_original(entry: TrashEntry) -> bool:
        return originals.exists(entry.collection_dir, entry.name)

    if len(latest) > _FEW:
        with ThreadPoolExecutor(_THREADS) as threads:
            existing = list(threads.map(has_original, latest))
    else:
        existing = [has_original(entry) for entry in latest]
    pairs = list(zip(latest, existing, strict=True))
    return Plan(
        [entry for entry, is_there in pairs if not is_there],
        [entry for entry, is_there in pairs if is_there],
        len(entries) - len(latest),
        until_ns,
    )


def restore(
    originals: Originals,
    selection: Selection,
    after: str | None,
    origin: Origin,
    *,
    replaces: bool,
    restored: Callable[[TrashEntry], None],
) -> Outcome:
    """Restores some of a selection; the following calls, with the cursor of the outcome, restore the rest.

    The selection must end before now (`until_ns`), so that it does not include what is replaced.

    Parameters:
        originals: the store.
        selection: what to restore.
        after: the cursor; None for the first call.
        origin: the source of the request.
        replaces: whether current originals may be replaced; they are moved to the trash.
        restored: is called for each entry that was restored.

    Raises BadRequest (the selection has no end, or originals would be lost), StorageFault.
    """
    if selection.until_ns is None or selection.until_ns > time.time_ns():
        raise BadRequest("The time window must end before now.")
    if replaces and not originals.keeps_trash:
        raise BadRequest("Without a trash (TRASH_DAYS), files that are replaced would be lost.")
    outcome = Outcome()
    end = time.monotonic() + _RESTORE_SECONDS
    # In the order of names, so that a name is restored once, although its older versions stay in the trash.
    waiting = [entry for entry in _latest(selected(originals, selection)) if after is None or _place(entry) > after]
    for number, entry in enumerate(waiting):
        _restore(originals, entry, origin, replaces, outcome, restored)
        if number + 1 < len(waiting) and time.monotonic() > end:
            outcome.following = _place(entry)
            break
    return outcome


def _restore(  # noqa: PLR0917 - the parameters of `restore`
    originals: Originals,
    entry: TrashEntry,
    origin: Origin,
    replaces: bool,
    outcome: Outcome,
    restored: Callable[[TrashEntry], None],
) -> None:
    try:
        if not replaces and originals.exists(entry.collection_dir, entry.name):
            outcome.skipped += 1
            return
        did_replace = originals.restore(entry, origin, may_replace=replaces)
    except Unsynced as error:
        did_replace = error.replaces
        outcome.failed.append((entry.name, error.public))
    except AssetError as error:
        outcome.failed.append((entry.name, error.public))
        return
    restored(entry)
    outcome.replaced += did_replace
    outcome.restored += not did_replace


def _latest(entries: Iterable[TrashEntry]) -> list[TrashEntry]:
    """The first entry of each name, in the order of folders and names."""
    first: dict[str, TrashEntry] = {}
    for entry in entries:
        first.setdefault(_place(entry), entry)
    return [first[place] for place in sorted(first)]


def _place(entry: TrashEntry) -> str:
    return f"{entry.collection_dir}/{entry.name}"


def _position(entry: TrashEntry) -> tuple[int, str]:
    return entry.removed_ns, f"{entry.collection_dir}/{entry.identifier}"


def _parsed(cursor: str) -> tuple[int, str]:
    removed_ns, _, where = cursor.partition("/")
    if not removed_ns.isascii() or not removed_ns.isdigit():
        raise BadRequest("The page of the trash is unknown.")
    return int(removed_ns), where
