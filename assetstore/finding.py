"""Finds originals by a part of their store name, for people.

The files are the truth, so the folders are looked through and not the journal; of very many files only as
far as a person likes to wait.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from assetstore import journal as events
from assetstore.errors import NotFound
from assetstore.names import is_store_name
from assetstore.originals import Originals
from assetstore.storage import Listed

#: So many are shown at once, and so many events are looked at for the latest ones.
MOST, _MOST_EVENTS = 60, 1000

#: For how long the folders are looked through, in seconds.
_PATIENCE_SECONDS = 4.0

#: How often, in files, the clock is looked at.
_FILES_BETWEEN_LOOKS = 1000


@dataclass(frozen=True)
class Found:
    """Originals with the folders of their collections, newest first, and whether that is all there are."""

    originals: list[tuple[str, Listed]]
    is_all: bool


def named(originals: Originals, part: str, place: str | None) -> Found:
    """Returns originals whose names have this part, in capitals or not; the one that is named so exactly comes first.

    Parameters:
        originals: the store.
        part: of a store name.
        place: the folder of a collection, None for all.

    Raises StorageFault.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    wanted = part.casefold()
    places = _places(originals, place)
    exact = [found for where in places for found in _of_name(originals, where, part)]
    others: list[tuple[str, Listed]] = []
    seen = 0
    for where in places:
        for listed in originals.storage.originals(where):
            seen += 1
            if wanted in listed.name.casefold() and listed.name != part:
                if len(others) == MOST:
                    return Found([*exact, *_newest_first(others)], False)
                others.append((where, listed))
            if seen % _FILES_BETWEEN_LOOKS == 0 and time.monotonic() > end:
                return Found([*exact, *_newest_first(others)], False)
    return Found([*exact, *_newest_first(others)], True)


def exactly(originals: Originals, name: str, place: str | None) -> Found:
    """Returns the originals of just this name. Raises StorageFault."""
    return Found([found for where in _places(originals, place) for found in _of_name(originals, where, name)], True)


def latest(originals: Originals, place: str | None) -> Found:
    """Returns the originals that came last, by the journal. Raises StorageFault."""
    found: dict[tuple[str, str], Listed] = {}
    seen: set[tuple[str, str]] = set()
    for event in originals.journal.search(place=place, newest_first=True, most=_MOST_EVENTS):
        key = (event.place, event.name)
        if key in seen or event.operation == events.PURGED:
            continue
        seen.add(key)
        if event.operation in events.PRESENT and event.place in originals.places:
            for _, listed in _of_name(originals, event.place, event.name):
                found[key] = listed
        if len(found) == MOST:
            break
    return Found([(where, listed) for (where, _), listed in found.items()], False)


def _places(originals: Originals, place: str | None) -> list[str]:
    return [where for where in originals.places if place in (None, where)]


def _of_name(originals: Originals, place: str, name: str) -> Iterator[tuple[str, Listed]]:
    if not is_store_name(name):
        return
    try:
        version = originals.storage.version(place, name)
    except NotFound:
        return
    yield place, Listed(name, version.size, version.modified_ns)


def _newest_first(found: list[tuple[str, Listed]]) -> list[tuple[str, Listed]]:
    return sorted(found, key=lambda entry: entry[1].modified_ns, reverse=True)
