"""What existed at a moment in the past, from the journal, the trash and the dates of the files.

The journal's word counts most. Of files that it had not heard of by then, the date tells: one that
is there, or went to the trash later, and was last changed before the moment, is taken to have
been there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from assetstore import journal as events
from assetstore.journal import Event
from assetstore.originals import Originals
from assetstore.storage import Listed, TrashEntry

#: Where the bytes of that time are now.
IN_PLACE, IN_TRASH, LOST = "in place", "in the trash", "no longer kept"


@dataclass(frozen=True)
class Past:
    """An original that existed at the moment.

    Fields:
        place, name, size: of the original then.
        sha256: of its bytes, None if the journal does not know.
        where: IN_PLACE, IN_TRASH or LOST.
        entry: of the trash, if it is there.
        is_journalled: whether the journal says so; else only the date of the file does.
    """

    place: str
    name: str
    size: int | None
    sha256: str | None
    where: str
    entry: TrashEntry | None
    is_journalled: bool


def existed(originals: Originals, moment_ns: int) -> Iterator[Past]:
    """Yields the originals that existed at a moment, by place and name.

    Parameters:
        originals: the store.
        moment_ns: nanoseconds since 1970.

    Raises:
        StorageFault: the journal or a folder cannot be read.
    """
    for place in originals.places:
        listed = {entry.name: entry for entry in originals.storage.originals(place)}
        went: dict[str, TrashEntry] = {}
        for entry in originals.storage.trash(place):
            if entry.removed_ns > moment_ns:
                went.setdefault(entry.name, entry)  # the oldest first
        known = {event.name: event for event in originals.journal.state(place, moment_ns)}
        latest = {event.name: event for event in originals.journal.state(place)}
        for name in sorted({*listed, *went, *known}):
            past = _judge(known.get(name), latest.get(name), listed.get(name), went.get(name), moment_ns)
            if past is not None:
                yield Past(place, name, *past)


def _judge(
    known: Event | None, latest: Event | None, listed: Listed | None, went: TrashEntry | None, moment_ns: int
) -> tuple[int | None, str | None, str, TrashEntry | None, bool] | None:
    """What one name stood for at the moment; None if there was no original."""
    if known is not None:
        if known.operation not in events.PRESENT:
            return None
        if went is not None:
            return known.size, known.sha256, IN_TRASH, went, True
        is_same = latest == known or (latest is not None and latest.sha256 == known.sha256 is not None)
        where = IN_PLACE if listed is not None and is_same else LOST
        return known.size, known.sha256, where, None, True
    if went is not None:
        return (went.size, None, IN_TRASH, went, False) if went.modified_ns <= moment_ns else None
    if listed is not None and listed.modified_ns <= moment_ns:
        # Unless the journal saw other bytes come since: then these are not those of that time.
        is_adopted = latest is None or latest.operation == events.ADOPTED
        return (listed.size, latest.sha256 if latest else None, IN_PLACE, None, False) if is_adopted else None
    return None
