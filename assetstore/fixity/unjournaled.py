"""Finds changes that are missing from the journal because of a crash, from the entries of the trash.

An original is moved to the trash before the journal records it. So an entry of the trash that is newer than the last
journal entry for its name was moved there unjournaled.

Concurrency: not thread-safe. Callers hold the lock of the store name, so that its entries do not change.
"""

import time
from datetime import UTC, datetime

from assetstore.journal.events import Event
from assetstore.originals.service import Originals
from assetstore.storage.models import REPLACED, TrashEntry, Version

_SECOND = 1_000_000_000

#: For how long the list of a trash is cached. A run may take weeks, and look up many names.
_CACHE_SECONDS = 60


class Unjournaled:
    """Finds unjournaled deletes and replacements.

    Parameters:
        originals: the store.
    """

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._listed: dict[str, tuple[float, dict[str, TrashEntry]]] = {}

    def removal(self, known: Event) -> TrashEntry | None:
        """Returns the entry of a missing original in the trash, None if it is not there.

        Parameters:
            known: the last journal entry, according to which the original exists.

        Raises StorageFault.
        """
        entry = self._latest(known.collection_dir).get(known.name)
        return entry if entry is not None and entry.removed_ns > known.time_ns else None

    def replacement(self, known: Event, now: Version) -> TrashEntry | None:
        """Returns the entry of the version that the journal knows, if another one replaced it; None if there is none.

        Parameters:
            known: the last journal entry.
            now: the current version, whose content differs.

        Raises StorageFault.
        """
        entry = self.removal(known)
        if entry is None or entry.reason != REPLACED:
            return None
        # A crash before the replacement also leaves an entry: of the current file, or of one that was never in place.
        is_of_today = (entry.size, entry.modified_ns) == (now.size, now.modified_ns)
        is_known = known.sha256 is not None and self._originals.sha256_of(entry) == known.sha256
        return entry if is_known and not is_of_today else None

    def _latest(self, collection_dir: str) -> dict[str, TrashEntry]:
        """The last entry of each name in the trash of a collection folder."""
        listed_at, entries = self._listed.get(collection_dir, (0.0, {}))
        if collection_dir not in self._listed or time.monotonic() - listed_at > _CACHE_SECONDS:
            listed_at = time.monotonic()
            entries = {entry.name: entry for entry in self._originals.trash_storage.entries(collection_dir)}
            self._listed[collection_dir] = (listed_at, entries)
        return entries


def since(entry: TrashEntry) -> str:
    """Returns a text for the administrator about the previous version in the trash."""
    removed_at = datetime.fromtimestamp(entry.removed_ns // _SECOND, UTC)
    return f"its previous version has been in the trash since {removed_at:%Y-%m-%d %H:%M:%S} UTC"
