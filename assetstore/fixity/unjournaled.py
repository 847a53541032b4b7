"""Changes that the journal did not hear of, because a crash came between them and their note: the trash tells.

An original goes to the trash first, and the journal hears of it then. So what went there later than
the journal's last word on its name went without a note.

Concurrency: for one thread. The lock of a store name keeps its entries as they are while it is judged.
"""

import time
from datetime import UTC, datetime

from assetstore.journal.journal import Event
from assetstore.originals.service import Originals
from assetstore.storage.models import REPLACED, TrashEntry, Version

_SECOND = 1_000_000_000

#: For how long the list of what is in a trash is believed: a run may take weeks, and ask of many names.
_BELIEVED_SECONDS = 60


class Unjournaled:
    """What went to the trash without a note.

    Parameters:
        originals: the store.
    """

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._listed: dict[str, tuple[float, dict[str, TrashEntry]]] = {}

    def removal(self, known: Event) -> TrashEntry | None:
        """Where a missing original went, None if it is not in the trash.

        Parameters:
            known: the journal's last word, by which it is there.

        Raises StorageFault.
        """
        entry = self._latest(known.collection_dir).get(known.name)
        return entry if entry is not None and entry.removed_ns > known.time_ns else None

    def replacement(self, known: Event, now: Version) -> TrashEntry | None:
        """Where the version went that the journal knows, if another one took its place; None if it is not in the trash.

        Parameters:
            known: the journal's last word.
            now: the version of today, whose bytes are others.

        Raises StorageFault.
        """
        entry = self.removal(known)
        if entry is None or entry.reason != REPLACED:
            return None
        # A crash before the replacement leaves an entry, too: of today's file, or of one that never took its place.
        is_of_today = (entry.size, entry.modified_ns) == (now.size, now.modified_ns)
        is_known = known.sha256 is not None and self._originals.sha256_of(entry) == known.sha256
        return entry if is_known and not is_of_today else None

    def _latest(self, collection_dir: str) -> dict[str, TrashEntry]:
        """The last entry of each name in the trash of a place."""
        listed_at, entries = self._listed.get(collection_dir, (0.0, {}))
        if collection_dir not in self._listed or time.monotonic() - listed_at > _BELIEVED_SECONDS:
            listed_at = time.monotonic()
            entries = {entry.name: entry for entry in self._originals.storage.trash(collection_dir)}
            self._listed[collection_dir] = (listed_at, entries)
        return entries


def since(entry: TrashEntry) -> str:
    """Says for the administrator where the former original is."""
    removed_at = datetime.fromtimestamp(entry.removed_ns // _SECOND, UTC)
    return f"its last version is in the trash since {removed_at:%Y-%m-%d %H:%M:%S} UTC"
