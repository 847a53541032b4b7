"""Polls the source of visibility, and brings the index up to date.

Concurrency: a periodic task calls `Poller.round` every few seconds, in all processes of all servers. Of the processes
on one store, only the one that has the lock of the task does anything, and it polls only if the last poll began long
enough ago. If that process ends, another continues.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence

from assetstore.errors import AssetError, StorageFault
from assetstore.journal import events
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
from assetstore.visibility import embargo, update
from assetstore.visibility.index import Index, set_facts
from assetstore.visibility.models import PUBLIC, KnownPart, Source

_log = logging.getLogger(__name__)

#: A poll begins when this share of VISIBILITY_SECONDS has passed since the last one began; the rest is for the poll
#: itself, so that a change takes effect within VISIBILITY_SECONDS. If polls take long, it begins earlier, but the
#: source has at least the second share as a rest.
_SHARE_BETWEEN, _SHARE_OF_REST = 0.6, 0.1

#: The next poll may take this many times as long as the last one.
_SLOWER = 2

#: How often to look whether a poll is due, as a share of VISIBILITY_SECONDS.
_SHARE_OF_ROUND = 0.05

#: How many sentences about unusable records to store.
_MOST_PROBLEMS = 20

#: How many changes to record in the journal at a time.
_CHANGES = 1000


class Poller:
    """Polls one source for one store.

    Parameters:
        index: of the store.
        source: where the records come from.
        journal: of the store, for changes of the state of files.
        collection_dirs: the folders of all collections.
        seconds: VISIBILITY_SECONDS.
    """

    def __init__(
        self, index: Index, source: Source, journal: Journal, collection_dirs: Sequence[str], seconds: int
    ) -> None:
        self._index = index
        self._source = source
        self._journal = journal
        self._collection_dirs = collection_dirs
        self._seconds = seconds
        self.round_seconds = seconds * _SHARE_OF_ROUND
        self._logged = ""

    def round(self, _ending: threading.Event | None = None) -> None:
        """Polls if it is time to. Errors are logged once."""
        try:
            self._index.prepare(self._source.name)
            if self._is_due(time.time()):
                self.poll()
            self._record_changes()
        except StorageFault as error:
            self._note(error)
            self._index.discard_if_damaged(error)

    def _is_due(self, now: float) -> bool:
        facts = self._index.facts()
        began, took = float(facts.get("began_at", 0)), float(facts.get("took", 0))
        in_time = self._seconds - self.round_seconds - took * _SLOWER
        between = min(self._seconds * _SHARE_BETWEEN, max(in_time, took + self._seconds * _SHARE_OF_REST))
        return not began <= now < began + between  # also if the clock was set back

    def poll(self) -> None:
        """Brings the index up to date; if the source cannot be read, stores why. Raises StorageFault."""
        now, began = time.time(), time.monotonic()
        with self._index.writing() as connection:
            set_facts(connection, began_at=str(now))
        rows = self._index.rows("SELECT number, checksum, complete FROM parts")
        known = {number: KnownPart(checksum, bool(is_complete)) for number, checksum, is_complete in rows}
        problems: list[str] = []
        try:
            with self._index.writing() as connection:
                parts = self._source.changed(known, problems)
                facts = update.apply(connection, parts, embargo.today(now), time.time_ns())
                shown = json.dumps(problems[:_MOST_PROBLEMS])
                took = str(time.monotonic() - began)
                set_facts(connection, **facts, checked_at=str(now), took=took, fault="", problems=shown)
        except StorageFault:
            raise  # of the index: no source raises it
        except AssetError as error:
            self._note(error)
            with self._index.writing() as connection:
                set_facts(connection, fault=error.public)
            return
        if self._logged:
            _log.info("the visibility of files can be read again")
        self._logged = ""

    def _note(self, error: AssetError) -> None:
        reason = f"{error.public} {error.detail}".strip()
        if reason != self._logged:
            _log.error("the visibility of files cannot be read, so all files keep their last state: %s", reason)
        self._logged = reason

    def _record_changes(self) -> None:
        """Adds changes of state to the journal. After a crash, some may be added twice, but none is lost."""
        while changes := self._index.rows("SELECT id, name, state FROM changes ORDER BY id LIMIT ?", (_CHANGES,)):
            for _, name, state in changes:
                operation = events.PUBLIC if state == PUBLIC else events.PRIVATE
                for collection_dir in self._folders(name):
                    self._journal.record(Event(operation, collection_dir, name, client=self._source.name))
            with self._index.writing() as connection:
                connection.execute("DELETE FROM changes WHERE id <= ?", (changes[-1][0],))

    def _folders(self, name: str) -> list[str]:
        """The folders that have, or had, a file of this name, by the journal; the first one if it knows none."""
        folders = list(self._collection_dirs)
        if len(folders) == 1:
            return folders
        return [folder for folder in folders if self._journal.latest(folder, name) is not None] or folders[:1]
