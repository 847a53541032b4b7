"""Which originals existed at a point in time, from the journal, the trash and the dates of the files.

The journal takes precedence. For a file that was not in the journal at that time, the date counts: if it exists, or was
moved to the trash later, and was last modified before that time, it is assumed to have existed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from assetstore.journal import events
from assetstore.journal.events import Event
from assetstore.originals.service import Originals
from assetstore.storage.models import Listed, TrashEntry

#: Where the content of that time is now.
IN_PLACE, IN_TRASH, LOST = "in place", "in the trash", "no longer kept"


@dataclass(frozen=True)
class Past:
    """An original that existed at the point in time.

    Fields:
        collection_dir, name, size: of the original at that time.
        sha256: of its content, None if the journal does not know it.
        where: IN_PLACE, IN_TRASH or LOST.
        entry: its entry in the trash, if it is there.
        is_journalled: whether the evidence is the journal; otherwise it is the date of the file.
    """

    collection_dir: str
    name: str
    size: int | None
    sha256: str | None
    where: str
    entry: TrashEntry | None
    is_journalled: bool


def existed(originals: Originals, timestamp_ns: int) -> Iterator[Past]:
    """Yields the originals that existed at a point in time, by collection folder and name.

    Parameters:
        originals: the store.
        timestamp_ns: nanoseconds since 1970.

    Raises:
        StorageFault: the journal or a folder cannot be read.
    """
    for collection_dir in originals.collection_dirs:
        listed = {entry.name: entry for entry in originals.storage.originals(collection_dir)}
        went: dict[str, list[TrashEntry]] = {}
        gone: dict[str, TrashEntry] = {}
        for entry in originals.trash_storage.entries(collection_dir):  # the oldest first
            if entry.removed_ns > timestamp_ns:
                went.setdefault(entry.name, []).append(entry)
            else:
                gone[entry.name] = entry
        known = {event.name: event for event in originals.journal.state(collection_dir, timestamp_ns)}
        following = {event.name: event for event in originals.journal.following(collection_dir, timestamp_ns)}
        latest = {event.name: event for event in originals.journal.state(collection_dir)}
        for name in sorted({*listed, *went, *known}):
            evidence = _Evidence(
                known.get(name),
                following.get(name),
                latest.get(name),
                listed.get(name),
                went.get(name, []),
                gone.get(name),
            )
            if evidence.known is None:
                past = evidence.by_date(collection_dir, name, timestamp_ns)
            else:
                past = evidence.by_journal(collection_dir, name, originals.sha256_of)
            if past is not None:
                yield past


@dataclass(frozen=True)
class _Evidence:
    """The evidence for one name.

    Fields:
        known, following, latest: the last event up to the point in time, the first after it, the last of all.
        listed: the current original.
        went: entries that were moved to the trash after the point in time, oldest first.
        gone: the last entry that was moved to the trash before it.
    """

    known: Event | None
    following: Event | None
    latest: Event | None
    listed: Listed | None
    went: Sequence[TrashEntry]
    gone: TrashEntry | None

    def by_journal(self, collection_dir: str, name: str, sha256_of: Callable[[TrashEntry], str | None]) -> Past | None:
        """The original according to the journal; *sha256_of* returns the checksum of an entry of the trash."""
        known, latest = self.known, self.latest
        if known is None or known.operation not in events.PRESENT:
            return None
        if self.listed is None and latest == known and self.gone is not None and self.gone.removed_ns > known.time_ns:
            return None  # its removal is not in the journal because of a crash
        is_same = latest == known or (latest is not None and latest.sha256 == known.sha256 is not None)
        if self.listed is not None and is_same:
            return Past(collection_dir, name, known.size, known.sha256, IN_PLACE, None, True)
        for entry in self.went:
            sha256 = sha256_of(entry)
            # Any entry with the same content will do. Without checksums, times are compared.
            if self._is_of_then(entry, known) if None in (sha256, known.sha256) else sha256 == known.sha256:
                return Past(collection_dir, name, known.size, known.sha256, IN_TRASH, entry, True)
        return Past(collection_dir, name, known.size, known.sha256, LOST, None, True)

    def _is_of_then(self, entry: TrashEntry, known: Event) -> bool:
        """Whether an entry of the trash is the version that the journal knew, by times and size."""
        is_later = self.following is not None and entry.removed_ns > self.following.time_ns
        return not is_later and entry.modified_ns <= known.time_ns and known.size in (None, entry.size)

    def by_date(self, collection_dir: str, name: str, timestamp_ns: int) -> Past | None:
        """The original according to the file dates, for a file that was not in the journal."""
        if self.following is not None and self.following.operation == events.STORED:
            return None  # it did not exist before that
        listed, latest = self.listed, self.latest
        is_of_then = latest is None or latest.operation in (events.ADOPTED, events.RESTORED)
        if listed is not None and listed.modified_ns <= timestamp_ns and is_of_then:
            return Past(collection_dir, name, listed.size, latest.sha256 if latest else None, IN_PLACE, None, False)
        for entry in self.went:
            if entry.modified_ns <= timestamp_ns:
                return Past(collection_dir, name, entry.size, None, IN_TRASH, entry, False)
        return None
