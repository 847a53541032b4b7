"""Lists of files that were selected for a download, each under a random ticket.

A browser saves a large download only from an address that it opens itself, without the header with the token. So the
page first sends the list with a token, and then opens the address with the ticket. Tickets are in the index, because
any server process may get the second request. (On a read-only disk, each process has an index of its own, so a download
may have to be tried again.)
"""

import json
import secrets
import sqlite3
import time

from assetstore.errors import NotFound, Unavailable
from assetstore.listing.database import IndexDatabase

#: For how long a ticket is valid, in seconds. The browser may ask where to save the file.
_VALID_SECONDS = 600

_NANOSECONDS = 1_000_000_000


class Selections:
    """The selections of one store.

    Parameters:
        index: the index of its originals.
    """

    def __init__(self, index: IndexDatabase) -> None:
        self._index = index

    def add(self, files: list[tuple[str, str]]) -> str:
        """Adds a list of files (collection folder, name) and returns its ticket. Raises Unavailable, StorageFault."""
        ticket, now_ns = secrets.token_urlsafe(24), time.time_ns()
        row = (ticket, now_ns + _VALID_SECONDS * _NANOSECONDS, json.dumps(files))
        try:
            with self._index.writing() as connection:
                connection.execute("DELETE FROM selections WHERE expires_ns < ?", (now_ns,))
                connection.execute("INSERT INTO selections VALUES (?, ?, ?)", row)
        except sqlite3.OperationalError as error:
            raise Unavailable("The server is busy; please try again soon.", str(error), retry_after=5) from error
        return ticket

    def get(self, ticket: str) -> list[tuple[str, str]]:
        """Returns the files of a ticket. Raises NotFound (unknown or expired), StorageFault."""
        query = "SELECT files FROM selections WHERE ticket = ? AND expires_ns >= ?"
        with self._index.connection() as connection:
            row = connection.execute(query, (ticket, time.time_ns())).fetchone()
        if row is None:
            raise NotFound("This download has expired. Select the files again.")
        return [(collection_dir, name) for collection_dir, name in json.loads(row[0])]
