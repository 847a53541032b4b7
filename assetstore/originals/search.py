"""Finds originals by a part of their store name, for interactive use.

The journal is searched first, because that is fast. The files are authoritative, so each result is checked on disk,
and the folders are searched for files that are not in the journal, up to a time limit.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from assetstore.errors import NotFound, StorageFault
from assetstore.journal import events
from assetstore.names import is_store_name
from assetstore.originals.service import Originals
from assetstore.storage.models import Listed

_log = logging.getLogger(__name__)

#: The maximum number of results, and of events that are read for the latest originals.
MOST, _MOST_EVENTS = 60, 1000

#: For how long the folders are searched, in seconds.
_SEARCH_SECONDS = 4.0

#: After how many files the time limit is checked.
_FILES_BETWEEN_LOOKS = 1000


@dataclass(frozen=True)
class Found:
    """Originals with their collection folders, newest first, and whether the list is complete."""

    originals: list[tuple[str, Listed]]
    is_all: bool


def named(originals: Originals, part: str, collection_dir: str | None) -> Found:
    """Returns originals whose names contain a text, ignoring case; an exact match comes first.

    Parameters:
        originals: the store.
        part: of a store name.
        collection_dir: the folder of a collection, None for all.

    Raises StorageFault.
    """
    end = time.monotonic() + _SEARCH_SECONDS
    exact = exactly(originals, part, collection_dir).originals
    others: dict[tuple[str, str], Listed] = {}
    is_all = True
    for number, (where, listed) in enumerate(_candidates(originals, part, _collection_dirs(originals, collection_dir))):
        if listed is not None and listed.name != part and (where, listed.name) not in others:
            if len(others) == MOST:
                is_all = False
                break
            others[where, listed.name] = listed
        if number % _FILES_BETWEEN_LOOKS == 0 and time.monotonic() > end:
            is_all = False
            break
    found = [(where, listed) for (where, _), listed in others.items()]
    return Found([*exact, *sorted(found, key=lambda entry: entry[1].modified_ns, reverse=True)], is_all)


def _candidates(originals: Originals, part: str, collection_dirs: list[str]) -> Iterator[tuple[str, Listed | None]]:
    """Yields matches, first from the journal and then from the folders; None for each file that does not match."""
    for where, name in _remembered(originals, part):
        if where in collection_dirs:
            yield from _of_name(originals, where, name)
    wanted = part.casefold()
    for where in collection_dirs:
        for listed in originals.storage.originals(where):
            yield where, listed if wanted in listed.name.casefold() else None


def _remembered(originals: Originals, part: str) -> list[tuple[str, str]]:
    """Names in the journal that contain this text, the latest first. This is fast even with a million events."""
    pattern = "%" + "".join(f"\\{character}" if character in "%_\\" else character for character in part) + "%"
    grouped = "GROUP BY place, name ORDER BY MAX(id) DESC LIMIT ?"
    query = f"SELECT place, name FROM events WHERE name LIKE ? ESCAPE '\\' {grouped}"  # noqa: S608 - our own words
    try:
        with originals.journal.reading(query, (pattern, _MOST_EVENTS)) as rows:
            return [(collection_dir, name) for collection_dir, name in rows]
    except StorageFault as error:
        _log.error("the journal cannot be read: %s", error.detail)
        return []


def exactly(originals: Originals, name: str, collection_dir: str | None) -> Found:
    """Returns the originals with exactly this name. Raises StorageFault."""
    return Found(
        [found for where in _collection_dirs(originals, collection_dir) for found in _of_name(originals, where, name)],
        True,
    )


def latest(originals: Originals, collection_dir: str | None) -> Found:
    """Returns the most recently added originals, according to the journal. Raises StorageFault."""
    found: dict[tuple[str, str], Listed] = {}
    seen: set[tuple[str, str]] = set()
    for event in originals.journal.search(collection_dir=collection_dir, newest_first=True, most=_MOST_EVENTS):
        key = (event.collection_dir, event.name)
        if key in seen or event.operation in events.WITHOUT_CHANGE:
            continue
        seen.add(key)
        if event.operation in events.PRESENT and event.collection_dir in originals.collection_dirs:
            for _, listed in _of_name(originals, event.collection_dir, event.name):
                found[key] = listed
        if len(found) == MOST:
            break
    return Found([(where, listed) for (where, _), listed in found.items()], False)


def _collection_dirs(originals: Originals, collection_dir: str | None) -> list[str]:
    return [where for where in originals.collection_dirs if collection_dir in (None, where)]


def _of_name(originals: Originals, collection_dir: str, name: str) -> Iterator[tuple[str, Listed]]:
    if not is_store_name(name):
        return
    try:
        version = originals.storage.version(collection_dir, name)
    except NotFound:
        return
    yield collection_dir, Listed(name, version.size, version.modified_ns, version.tag)
