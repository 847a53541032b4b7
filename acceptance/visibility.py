"""Measures the visibility of files with a real MariaDB: how long polls take, and how fast a flag takes effect.

    script/acceptance visibility [--rows 200000] [--seconds 60] [--visibility-seconds 10]

It requires MariaDB (for the last part also mariadb-client), and writes only to a temporary folder. It fills Specify's
tables, then measures

- the first load, a poll without changes, and polls after 100 changes to flags, embargoes and rows, with the memory of
  the process that polls, while another connection changes rows all the time: no change may wait for the reader;
- a server with two processes, from which 16 clients read without a token while flags change: how late a private file
  still began to be served;
- the same server while its database is emptied, loses a table, is stopped, takes rights away, and is restored from what
  mariadb-dump has written: no file may change its state, and /readyz must say so and recover.

Exit status 0: no private file began to be served later than --visibility-seconds after its flag changed, no change
waited a second for the reader, no locks were held, and no file changed its state.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assetstore.app import visibility
from assetstore.journal.journal import Journal
from assetstore.visibility.poller import Poller
from assetstore.visibility.service import Visibility
from tests import mariadb
from tests.mariadb import Database
from tests.support import KEY, GranianServer, load_settings

_CLIENTS = 16
_FILES = 200
_LONGEST_WAIT = 1.0
_TABLES = ("attachment", "collectionobject", "collectionobjectattachment")

_FILL = (
    "INSERT INTO collectionobject (CatalogNumber, EmbargoReleaseDate, EmbargoReleaseDatePrecision)"
    " SELECT seq, IF(seq % 50 = 0, '2999-01-01', NULL), IF(seq % 50 = 0, 1, NULL) FROM seq_1_to_{rows}",
    "INSERT INTO attachment (AttachmentLocation, OrigFilename, MimeType, TimestampCreated, IsPublic, TableID)"
    " SELECT CONCAT(UUID(), '.jpg'), CONCAT('C:\\\\photographs\\\\', REPEAT('x', 60), seq, '.JPG'), 'image/jpeg',"
    " '2026-01-01', seq % 3 > 0, 1 FROM seq_1_to_{rows}",
    "INSERT INTO collectionobjectattachment (AttachmentID, CollectionObjectID) SELECT seq, seq FROM seq_1_to_{rows}",
)

_CHANGES = {
    "100 flags": "UPDATE attachment SET IsPublic = NOT IsPublic WHERE AttachmentID % ({rows} DIV 100) = 0",
    "100 embargoes": "UPDATE collectionobject SET EmbargoReleaseDate = '2999-01-01', EmbargoReleaseDatePrecision = 1"
    " WHERE CollectionObjectID % ({rows} DIV 100) = 7",
    "100 deleted rows": "DELETE FROM attachment WHERE AttachmentID BETWEEN 5000 AND 5099",
    "no change": "SELECT 1",
}


#: What says that a reader locks something: tables, rows.
_LOCKS = (
    "SELECT COALESCE(SUM(trx_tables_locked + trx_rows_locked), 0), COUNT(*) FROM information_schema.INNODB_TRX"
    " WHERE trx_mysql_thread_id IN (SELECT id FROM information_schema.PROCESSLIST WHERE user = '{reader}')"
)

#: How often to look for locks: InnoDB brings this table up to date only if it has not been read for 0.1 s.
_LOOK_SECONDS = 0.15


@dataclass
class Locks:
    """What other connections saw while the reader read: its open transactions, and the locks that they held."""

    seen: int = 0
    held: int = 0

    def look(self, database: Database) -> None:
        """Counts the current locks."""
        held, transactions = database.run(_LOCKS.format(reader=mariadb.READER))[0]
        self.seen += transactions
        self.held += int(held)


@contextmanager
def changing(database: Database, locks: Locks) -> Iterator[list[float]]:
    """Changes rows and counts locks all the time; yields how long each change took, in seconds."""
    took: list[float] = []
    ending = threading.Event()

    def change() -> None:
        looked = 0.0
        while not ending.wait(0.01):
            began = time.monotonic()
            for table, key in (("attachment", "AttachmentID"), ("collectionobject", "CollectionObjectID")):
                column = "MimeType" if table == "attachment" else "CatalogNumber"
                database.run(f"UPDATE {table} SET {column} = 'x' WHERE {key} = {random.randrange(1, 1000)}")
            took.append(time.monotonic() - began)
            if began > looked + _LOOK_SECONDS:
                looked = began
                locks.look(database)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield took
    finally:
        ending.set()
        thread.join()


def poll_once(address: str, base: Path) -> None:
    """Polls a database, in a process of its own, and prints seconds and megabytes."""
    own = {"VISIBILITY": "specify", "SPECIFY_DATABASE": address, "BASE_DIR": str(base), "KEY": KEY}
    source = visibility.source(load_settings(own), os.environ)
    assert source is not None
    visible = Visibility(base, 60)
    poller = Poller(visible.index, source, Journal(base), [""], 60)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    poller._index.prepare(source.name)
    poller.poll()
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    status = visible.status()
    assert not status.fault, status.fault
    print(
        json.dumps(
            {
                "seconds": round(seconds, 2),
                "of which processor time here": round(after.ru_utime - before.ru_utime, 2),
                "megabytes before": before.ru_maxrss // 1024,
                "megabytes at most": after.ru_maxrss // 1024,
                "public": status.public,
                "private": status.private,
                "unknown": status.unknown,
            }
        )
    )


def measure_polls(database: Database, folder: Path, rows: int) -> bool:
    """Measures the first load and polls after changes. Returns whether no change had to wait."""
    base = folder / "polled"
    base.mkdir()
    address = f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"
    command = [sys.executable, "-m", "acceptance.visibility", "--poll", address, str(base)]
    waits: list[float] = []
    locks = Locks()
    for name, change in {"first load": "SELECT 1", **_CHANGES}.items():
        database.run(change.format(rows=rows))
        with changing(database, locks) as took:
            run = subprocess.run(command, capture_output=True, text=True, check=True)
        waits += took
        longest = max(took, default=0.0)
        print(f"{name}: {run.stdout.strip()}; the longest of {len(took)} changes meanwhile took {longest:.2f} s")
    size = sum(path.stat().st_size for path in (base / ".asset-server/visibility").iterdir())
    print(f"index: {size / 1e6:.1f} MB for {rows} records")
    print(f"locks: {locks.held} in {locks.seen} looks at an open transaction of the reader")
    return max(waits) < _LONGEST_WAIT and locks.seen > 0 and not locks.held


@dataclass
class Reads:
    """What 16 clients saw: when each file was last withdrawn, and how late a private file still began to be served."""

    withdrawn: dict[str, float] = field(default_factory=dict)
    latest: float = 0.0
    given: int = 0
    refused: int = 0
    with_token: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str, sent: float, status: int) -> None:
        """Counts a response to a request that was sent at a time."""
        with self.lock:
            self.given += status == 200
            self.refused += status == 403
            since = self.withdrawn.get(name)
            if status == 200 and since is not None and sent > since:
                self.latest = max(self.latest, sent - since)
            if status not in (200, 403):
                self.wrong.append(f"{status} for {name}")


def measure_flags(database: Database, folder: Path, seconds: float, limit: int) -> bool:
    """Changes flags while 16 clients read. Returns whether no private file began to be served too late."""
    base = folder / "served"
    base.mkdir()
    address = f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"
    own = {"VISIBILITY": "specify", "SPECIFY_DATABASE": address, "VISIBILITY_SECONDS": limit}
    server = GranianServer({"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, "PROCESSES": 2, **own})
    visible, polls = Visibility(base, limit), [0.0]
    names = [
        str(row[0])
        for row in database.run(
            "SELECT AttachmentLocation FROM attachment WHERE IsPublic AND AttachmentID % 50 > 10"
            f" AND AttachmentID > 10000 LIMIT {_FILES}"
        )
    ]
    reads, ending = Reads(), threading.Event()
    try:
        for name in names:
            assert server.upload(name, name.encode()).status == 200
        while server.get("/fileget", filename=names[0]).status != 200:
            time.sleep(0.1)
        threads = [threading.Thread(target=read, args=(server, names, reads, ending)) for _ in range(_CLIENTS)]
        threads.append(threading.Thread(target=flip, args=(database, names, reads, ending)))
        for thread in threads:
            thread.start()
        began = time.time()
        while time.time() < began + seconds:
            status = visible.status()
            if (status.checked_at or 0) > began:  # else it was the first load
                polls.append(status.took)
            time.sleep(0.5)
        ending.set()
        for thread in threads:
            thread.join()
    finally:
        server.stop()
        visible.close()
    print(
        f"{_CLIENTS} clients, {seconds:.0f} s: {reads.given} files given, {reads.refused} refused,"
        f" {reads.with_token} read with a token; a private file began to be served at most {reads.latest:.2f} s after"
        f" its flag changed (limit {limit} s; the longest poll took {max(polls):.2f} s);"
        f" other responses: {reads.wrong[:5]}"
    )
    return reads.latest < limit and not reads.wrong


def read(server: GranianServer, names: list[str], reads: Reads, ending: threading.Event) -> None:
    """Reads files without a token, and now and then with one, which must always work."""
    chance = random.Random()
    while not ending.is_set():
        name = chance.choice(names)
        sent = time.monotonic()
        reads.count(name, sent, server.get("/fileget", filename=name).status)
        if chance.random() < 0.1:
            response = server.get("/fileget", filename=name, token=server.token(name))
            with reads.lock:
                reads.with_token += 1
                if response.status != 200 or response.body != name.encode():
                    reads.wrong.append(f"{response.status} with a token for {name}")


def flip(database: Database, names: list[str], reads: Reads, ending: threading.Event) -> None:
    """Withdraws a file, or publishes it again, four times a second."""
    statement: Callable[[int], str] = "UPDATE attachment SET IsPublic = {} WHERE AttachmentLocation = %s".format
    while not ending.wait(0.25):
        name = random.choice(names)
        if name in reads.withdrawn:
            with reads.lock:
                del reads.withdrawn[name]
            database.run(statement(1), [(name,)])
        else:
            database.run(statement(0), [(name,)])
            with reads.lock:
                reads.withdrawn[name] = time.monotonic()


@dataclass
class Watched:
    """A server whose files have a known state, and what those who have no token saw of them."""

    server: GranianServer
    expected: dict[str, int]
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Reads all files once without a token."""
        for name, status in self.expected.items():
            found = self.server.get("/fileget", filename=name).status
            if found != status:
                self.wrong.append(f"{found} instead of {status} for {name}")

    def visibility(self) -> dict[str, str]:
        """What /readyz says; the server must be ready."""
        page = self.server.readiness()
        assert page["ready"], page
        return dict(page["checks"]["visibility"])

    def until(self, status: str, what: str, reason: str = "") -> None:
        """Looks until /readyz gives this status, for this reason, and prints how long that took."""
        began = time.monotonic()
        while (found := self.visibility())["status"] != status or reason not in found["reason"]:
            assert time.monotonic() < began + 300, found
            self.look()
        self.look()
        print(f"{what}: {status} after {time.monotonic() - began:.1f} s: {found['reason']}", flush=True)


def _restore(database: Database, dump: Path) -> "subprocess.Popen[bytes]":
    client = ["mariadb", "--no-defaults", f"--socket={database.socket}", "specify"]
    with open(dump, "rb") as file:
        return subprocess.Popen(client, stdin=file)


def measure_restore(database: Database, folder: Path) -> bool:
    """Lets the database fail in many ways. Returns whether no file changed its state, nor one was refused a token."""
    base, dump = folder / "kept", folder / "dump.sql"
    base.mkdir()
    database.run("UPDATE attachment SET TableID = NULL WHERE AttachmentID % 2 = 0")  # as old records
    address = f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"
    own = {"VISIBILITY": "specify", "SPECIFY_DATABASE": address, "VISIBILITY_SECONDS": 10}
    server = GranianServer({"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, "PROCESSES": 2, **own})
    states = {200: "IsPublic AND attachment.AttachmentID % 50 > 10", 403: "attachment.AttachmentID % 50 = 0"}
    query = "SELECT AttachmentLocation FROM attachment WHERE AttachmentID BETWEEN 20000 AND 21000 AND {} LIMIT 20"
    expected = {str(row[0]): status for status, where in states.items() for row in database.run(query.format(where))}
    expected["unknown.jpg"] = 403
    watched = Watched(server, expected)
    try:
        for name in expected:
            assert server.upload(name, b"x").status == 200
        while watched.visibility()["status"] != "ok":
            time.sleep(0.1)
        watched.look()
        with open(dump, "wb") as file:
            options = ["--no-defaults", f"--socket={database.socket}", "specify"]
            subprocess.run(["mariadb-dump", *options], stdout=file, check=True)
        _fail(database, watched)
        restoring = _restore(database, dump)
        while restoring.poll() is None:
            watched.look()
        watched.until("ok", "restored from its dump")
        restoring = _restore(database, dump)  # over tables that are in use
        while restoring.poll() is None:
            watched.look()
        watched.until("ok", "restored once more")
        assert server.get("/fileget", filename="unknown.jpg", token=server.token("unknown.jpg")).status == 200
    finally:
        server.stop()
    print(f"states that changed meanwhile: {watched.wrong[:5]}")
    return not watched.wrong


def _fail(database: Database, watched: Watched) -> None:
    """Empties a table, drops it, takes rights away, and stops the database; at the end, its tables are missing."""
    database.run(f"REVOKE SELECT ON specify.collectionobject FROM {mariadb.READER}")
    watched.until("warning", "rights taken away", "could not be read")
    database.run(f"GRANT SELECT ON specify.collectionobject TO {mariadb.READER}")
    watched.until("ok", "rights granted")
    database.stop()
    watched.until("warning", "database stopped", "cannot be reached")
    database.start()
    watched.until("ok", "database started")
    database.run("SET GLOBAL init_connect = 'SET timestamp = 4000000000'")
    time.sleep(10)
    watched.look()
    database.run("SET GLOBAL init_connect = ''")
    watched.until("ok", "clock of the database wrong")
    database.run("TRUNCATE attachment")
    watched.until("warning", "attachment is empty", "no records")
    for table in _TABLES:
        database.run(f"DROP TABLE {table}")
    watched.until("warning", "tables are missing", "could not be read")


def main() -> int:
    """Measures everything; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--visibility-seconds", type=int, default=10)
    parser.add_argument("--poll", nargs=2, metavar=("ADDRESS", "BASE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["SPECIFY_DATABASE_PASSWORD"] = mariadb.PASSWORD
    if arguments.poll:
        poll_once(arguments.poll[0], Path(arguments.poll[1]))
        return 0
    with tempfile.TemporaryDirectory() as name, mariadb.running(Path(name)) as database:
        for statement in _FILL:
            database.run(statement.format(rows=arguments.rows))
        is_free = measure_polls(database, Path(name), arguments.rows)
        is_safe = measure_flags(database, Path(name), arguments.seconds, arguments.visibility_seconds)
        is_kept = measure_restore(database, Path(name))
    return 0 if is_free and is_safe and is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
