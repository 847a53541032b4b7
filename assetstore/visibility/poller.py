"""Polls the source of visibility, and brings the index up to date.

Concurrency: a periodic task calls `Poller.round` every few seconds, in all processes of all servers. Of the processes
on one store, only the one that has the lock of the task does anything, and it polls only if the last poll began long
enough ago. If that process ends, another continues.

How late a change takes effect: at worst it happens just after a poll has begun, so it takes effect when the next poll
ends. That is after `_SHARE_BETWEEN` + `_SHARE_OF_ROUND` + the time the next poll takes: within `SHARE_OF_CHANGE` of
VISIBILITY_SECONDS if no poll takes longer than `SHARE_OF_POLL`. The rest is for those who were told before how to read
a file: addresses of a bucket, and responses for caches, are valid for that long.
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

#: All as shares of VISIBILITY_SECONDS: when the next poll begins after the last one began, how long the source rests at
#: least between two polls that take long, and how often to look whether a poll is due.
_SHARE_BETWEEN, _SHARE_OF_REST, _SHARE_OF_ROUND = 0.4, 0.05, 0.05

#: Within which share a change takes effect, and how long a poll may take for that.
SHARE_OF_CHANGE = 0.8
SHARE_OF_POLL = SHARE_OF_CHANGE - _SHARE_BETWEEN - _SHARE_OF_ROUND

#: How many sentences about unusable records to store.
_MOST_PROBLEMS = 20

#: All parts in one row, because there are thousands (`update`).
_PARTS = "SELECT json_group_array(json_array(number, checksum, complete)) FROM parts"

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
            if self._is_due():
                self.poll()
            self._record_changes()
        except StorageFault as error:
            self._note(error)
            self._index.discard_if_damaged(error)

    def _is_due(self) -> bool:
        """Whether the last poll began long enough ago, by either clock: one may be set back, the other at a restart."""
        facts = self._index.facts()
        took = float(facts.get("took", 0))
        between = max(self._seconds * _SHARE_BETWEEN, took + self._seconds * _SHARE_OF_REST)
        clocks = (("began_at", time.time()), ("began_monotonic", time.monotonic()))
        return not all(0 <= now - float(facts.get(name, "-inf")) < between for name, now in clocks)

    def poll(self) -> None:
        """Brings the index up to date; if the source cannot be read, stores why. Raises StorageFault."""
        now, began = time.time(), time.monotonic()
        with self._index.writing() as connection:
            set_facts(connection, began_at=str(now), began_monotonic=str(began))
        [packed] = self._index.row(_PARTS) or ["[]"]
        rows = json.loads(packed)
        known = {number: KnownPart(checksum, bool(is_complete)) for number, checksum, is_complete in rows}
        problems: list[str] = []
        try:
            with self._index.writing() as connection:
                parts = self._source.changed(known, problems)
                facts = update.apply(connection, parts, embargo.today(now), time.time_ns())
                shown = json.dumps(problems[:_MOST_PROBLEMS])
                took = str(time.monotonic() - began)
                set_facts(connection, **facts, checked_at=str(now), took=took, fault="", problems=shown)
                set_facts(connection, ended_at=str(time.time()))
        except StorageFault:
            raise  # of the index: no source raises it
        except AssetError as error:
            self._note(error)
            with self._index.writing() as connection:
                set_facts(connection, fault=error.public, ended_at=str(time.time()))
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
        """Adds changes of state to the journal, until a poll is due; the next round continues.

        After a crash, some may be added twice, but none is lost.
        """
        while changes := self._index.rows("SELECT id, name, state FROM changes ORDER BY id LIMIT ?", (_CHANGES,)):
            for _, name, state in changes:
                operation = events.PUBLIC if state == PUBLIC else events.PRIVATE
                for collection_dir in self._folders(name):
                    self._journal.record(Event(operation, collection_dir, name, client=self._source.name))
            with self._index.writing() as connection:
                connection.execute("DELETE FROM changes WHERE id <= ?", (changes[-1][0],))
            if self._is_due():
                return

    def _folders(self, name: str) -> list[str]:
        """The folders that have, or had, a file of this name, by the journal; the first one if it knows none."""
        folders = list(self._collection_dirs)
        if len(folders) == 1:
            return folders
        return [folder for folder in folders if self._journal.latest(folder, name) is not None] or folders[:1]
