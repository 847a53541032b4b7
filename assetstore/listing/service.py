"""The listing of all originals of a store, for interactive use.

Each query first applies what the journal has recorded since the last one, for a fraction of a second at most. In the
background, a thread reads all folders: at the first use, if the last time is long ago, if very much has changed, and
on request. Meanwhile the index shows the earlier state.

Concurrency: any thread may call. Of all server processes, only one reads the folders at a time.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from assetstore import names
from assetstore.errors import AssetError, StorageFault, Unavailable
from assetstore.files import sqlite_files
from assetstore.listing import query
from assetstore.listing.database import IndexDatabase, get_state, set_state
from assetstore.listing.query import Cursor, Filter, Order, Page, Total
from assetstore.listing.refresh import Progress, Refresher
from assetstore.listing.selections import Selections
from assetstore.originals.service import Originals

_log = logging.getLogger(__name__)

#: For how long a query applies changes, and the thread in the background without a pause, in seconds.
_CATCH_UP_SECONDS, _PAUSE_SECONDS = 0.2, 0.05

#: The folders are read again after this many seconds, and at least this multiple of the time that it took.
_FRESH_SECONDS, _FRESH_FACTOR = 600, 100

_NANOSECONDS = 1_000_000_000

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class State:
    """How current the list is.

    Fields:
        as_of: when reading all folders began the last time, seconds since 1970; None if it was never completed.
        is_current: whether it has all changes that the journal recorded.
        is_reading: whether the folders are being read.
        files_read: how many files were read so far, or the last time.
        fault: why the folders could not be read; None if they could.
    """

    as_of: float | None
    is_current: bool
    is_reading: bool
    files_read: int
    fault: str | None


class Listing:
    """The listing of one store.

    Parameters:
        originals: the store.
        base: the folder of all attachments; the index is in its private folder.
    """

    def __init__(self, originals: Originals, base: Path) -> None:
        self._index = IndexDatabase(base)
        self._refresher = Refresher(originals, self._index)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: str | None = None
        #: Lists of files that were selected for a download.
        self.selections = Selections(self._index)

    def prepare(self, *, is_requested: bool = False) -> State:
        """Brings the list up to date as far as that is quick, and does the rest in the background.

        Parameters:
            is_requested: whether to read all folders again in any case.

        Returns how current the list is. Raises StorageFault.
        """
        try:
            if is_requested:
                with self._index.writing() as connection:
                    set_state(connection, requested_ns=time.time_ns())
            is_current = self._refresher.catch_up(_CATCH_UP_SECONDS) is Progress.COMPLETE
            with self._index.connection() as connection:
                refreshed_ns, files_read = get_state(connection, "refreshed_ns"), get_state(connection, "files_read")
                is_due = _is_due(connection, refreshed_ns)
        except sqlite3.OperationalError as error:
            raise _busy(error) from error
        if is_due or not is_current:
            self._start()
        as_of = refreshed_ns / _NANOSECONDS if refreshed_ns else None
        return State(as_of, is_current, self._refresher.is_refreshing() or self._is_running(), files_read, self._fault)

    def page(self, chosen: Filter, order: Order, start: Cursor | None, most: int) -> Page:
        """Returns a page of the list; see `query.page`. Raises Unavailable, StorageFault."""
        return self._asked(lambda connection: query.page(connection, chosen, order, start, most))

    def total(self, chosen: Filter, order: Order, first: Cursor | None) -> Total:
        """Returns the total of the list; see `query.total`. Raises Unavailable, StorageFault."""
        return self._asked(lambda connection: query.total(connection, chosen, order, first))

    def types(self) -> list[tuple[str, int]]:
        """Returns the media types of all originals, each with the number of files. Raises Unavailable, StorageFault."""
        return self._asked(query.types)

    def _asked(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            with self._index.connection() as connection:
                return ask(connection)
        except sqlite3.OperationalError as error:
            raise _busy(error) from error

    def note_thumbnail(self, collection_dir: str, name: str, has_failed: bool) -> None:
        """Records whether a thumbnail of the current version could be made, if there is an index."""
        if not self._index.exists():
            return
        key = (has_failed, collection_dir, names.spelled(name), has_failed)
        chosen = "WHERE place = ? AND name = ? AND has_failed != ?"
        try:
            with self._index.connection(0.0) as connection:
                if connection.execute(f"SELECT 1 FROM files {chosen}", key[1:]).fetchone():  # noqa: S608 - a constant
                    connection.execute(f"UPDATE files SET has_failed = ? {chosen}", key)  # noqa: S608
        except (sqlite3.OperationalError, StorageFault) as error:
            _log.debug("the outcome of a thumbnail was not recorded: %s", error)

    def close(self) -> None:
        """Ends the thread in the background, and closes the index."""
        self._ending.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        self._index.close()

    def _is_running(self) -> bool:
        with self._lock:
            return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, name="listing", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        fault: str | None = "The folders could not be read. See the log for details."
        try:
            with self._index.connection() as connection:
                is_due = _is_due(connection, get_state(connection, "refreshed_ns"))
            if is_due or self._caught_up() is Progress.TOO_MANY:
                self._refresher.refresh(self._ending)
            fault = None
        except AssetError as error:
            _log.error("the list of files is not current: %s %s", error.public, error.detail)
            fault = error.public
        except sqlite3.OperationalError as error:
            _log.warning("the list of files is not current: %s", error)
            fault = None
        except Exception:  # noqa: BLE001 - its result is the fault, which the page shows
            _log.exception("the list of files is not current")
        self._fault = fault

    def _caught_up(self) -> Progress:
        """Applies changes until there are none left, with pauses for other writers."""
        while True:
            progress = self._refresher.catch_up(_CATCH_UP_SECONDS)
            if progress is not Progress.PARTIAL or self._ending.wait(_PAUSE_SECONDS):
                return progress


def _is_due(connection: sqlite3.Connection, refreshed_ns: int) -> bool:
    took = get_state(connection, "took_ms") / 1000
    age = (time.time_ns() - refreshed_ns) / _NANOSECONDS
    is_requested = get_state(connection, "requested_ns") > refreshed_ns
    return is_requested or not 0 <= age < max(_FRESH_SECONDS, _FRESH_FACTOR * took)


def _busy(error: sqlite3.OperationalError) -> Unavailable | StorageFault:
    if sqlite_files.is_locked(error):
        return Unavailable("The list of files is being changed; please try again soon.", str(error), retry_after=5)
    return StorageFault("The list of files cannot be used.", str(error))
