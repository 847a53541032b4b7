"""The visibility of files from a real database: the rule, the changes, and a database with problems."""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from assetstore.app import visibility as opened
from assetstore.journal import events
from assetstore.journal.journal import Journal
from assetstore.specify.visibility import _PART
from assetstore.visibility.models import KnownPart
from assetstore.visibility.poller import Poller
from assetstore.visibility.service import Visibility
from tests import mariadb
from tests.mariadb import Database
from tests.support import RunningServer, load_settings
from tests.visibility import test_clients

COLLECTION_OBJECT, AGENT = 1, 5
FULL, MONTH, YEAR = 1, 2, 3

Start = Callable[..., RunningServer]


@dataclass
class Museum:
    """The tables of Specify, as its users change them."""

    database: Database

    def specimen(self, start: str | None = None, release: str | None = None, precision: int = FULL) -> int:
        self.database.run(
            "INSERT INTO collectionobject (EmbargoStartDate, EmbargoStartDatePrecision, EmbargoReleaseDate,"
            " EmbargoReleaseDatePrecision) VALUES (%s, %s, %s, %s)",
            [(start, precision, release, precision)],
        )
        return int(self.database.run("SELECT MAX(CollectionObjectID) FROM collectionobject")[0][0])

    def attachment(self, name: str | None, public: bool, *specimens: int, table: int | None = COLLECTION_OBJECT) -> int:
        self.database.run(
            "INSERT INTO attachment (AttachmentLocation, OrigFilename, TimestampCreated, IsPublic, TableID)"
            " VALUES (%s, 'a.jpg', '2026-01-01', %s, %s)",
            [(name, int(public), table)],
        )
        identifier = int(self.database.run("SELECT MAX(AttachmentID) FROM attachment")[0][0])
        for specimen in specimens:
            statement = "INSERT INTO collectionobjectattachment (AttachmentID, CollectionObjectID) VALUES (%s, %s)"
            self.database.run(statement, [(identifier, specimen)])
        return identifier

    def publish(self, name: str, public: bool) -> None:
        self.database.run("UPDATE attachment SET IsPublic = %s WHERE AttachmentLocation = %s", [(int(public), name)])


@dataclass
class Watched:
    """The index of a store without a server, and what polls it."""

    visible: Visibility
    poller: Poller
    journal: Journal

    def poll(self) -> None:
        self.poller._index.prepare(self.poller._source.name)
        self.poller.poll()
        self.poller._record_changes()

    def public(self) -> set[str]:
        return {listed.name for listed in self.visible.names("public")}

    def fault(self) -> str:
        return self.visible.status().fault


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with mariadb.running(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture
def museum(database: Database) -> Museum:
    for table in ("attachment", "collectionobject", "collectionobjectattachment"):
        database.run(f"TRUNCATE {table}")
    return Museum(database)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECIFY_DATABASE_PASSWORD", mariadb.PASSWORD)


def address(database: Database) -> str:
    return f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"


@contextlib.contextmanager
def watch(database: Database, base: Path) -> Iterator[Watched]:
    base.mkdir(exist_ok=True)
    own = {"VISIBILITY": "specify", "SPECIFY_DATABASE": address(database), "BASE_DIR": str(base), "KEY": "k"}
    source = opened.source(load_settings(own), os.environ)
    assert source is not None
    visible, journal = Visibility(base, 60), Journal(base)
    with contextlib.closing(visible), contextlib.closing(journal):
        yield Watched(visible, Poller(visible.index, source, journal, [""], 60), journal)


@pytest.fixture
def watched(database: Database, museum: Museum, tmp_path: Path) -> Iterator[Watched]:
    with watch(database, tmp_path / "attachments") as watched:
        yield watched


@pytest.fixture
def newcomer(database: Database, museum: Museum, tmp_path: Path) -> Iterator[Watched]:
    """Knows nothing at first."""
    with watch(database, tmp_path / "newcomer") as newcomer:
        yield newcomer


def test_a_file_is_public_if_its_records_are_and_no_specimen_is_under_embargo(watched: Watched, museum: Museum) -> None:
    free, later = museum.specimen(), museum.specimen("2999-01-01", "2999-02-01")
    now, over = museum.specimen("2001-01-01", "2999-01-01"), museum.specimen("2001-01-01", "2002-01-01")
    endless, released = museum.specimen("2001-01-01"), museum.specimen(None, "2002-01-01")
    museum.attachment("public.jpg", True, free)
    museum.attachment("private.jpg", False, free)
    museum.attachment("permit.pdf", True, table=AGENT)
    museum.attachment("later.jpg", True, later)
    museum.attachment("over.jpg", True, over)
    museum.attachment("released.jpg", True, released)
    museum.attachment("embargoed.jpg", True, now)
    museum.attachment("endless.jpg", True, endless)
    museum.attachment("of two.jpg", True, free, now)
    for flags in ((True, True), (True, False)):
        for flag in flags:
            museum.attachment(f"shared {flags}.jpg", flag, free)
    museum.attachment("also embargoed.jpg", True, free)
    museum.attachment("also embargoed.jpg", True, now)
    museum.attachment("lost.jpg", True)  # its specimen is missing
    museum.attachment(None, True, free)
    watched.poll()
    assert watched.public() == {
        *("public.jpg", "permit.pdf", "later.jpg", "over.jpg", "released.jpg", "shared (True, True).jpg"),
    }
    for name in ("private.jpg", "lost.jpg", "never seen.jpg"):
        assert not watched.visible.is_public(name)


def test_a_date_known_to_the_month_or_year_ends_with_it(watched: Watched, museum: Museum) -> None:
    now = time.gmtime()
    first, january = f"{now.tm_year}-{now.tm_mon:02}-01", f"{now.tm_year}-01-01"
    museum.attachment("this month.jpg", True, museum.specimen(None, first, MONTH))
    museum.attachment("this year.jpg", True, museum.specimen(None, january, YEAR))
    museum.attachment("first day.jpg", True, museum.specimen(None, first, FULL))
    watched.poll()
    assert watched.public() == {"first day.jpg"}


def test_after_any_changes_a_poll_gives_the_same_as_a_new_index(
    database: Database, watched: Watched, museum: Museum, tmp_path: Path
) -> None:
    chance = random.Random(18)
    dates = (None, None, "2001-05-01", "2999-05-01")
    specimens = [museum.specimen(chance.choice(dates), chance.choice(dates)) for _ in range(20)]
    rows = [(f"{number}.jpg", number % 2, COLLECTION_OBJECT if number % 3 else None) for number in range(600)]
    insert = (
        "INSERT INTO attachment (AttachmentLocation, OrigFilename, TimestampCreated, IsPublic, TableID)"
        " VALUES (%s, 'a', '2026-01-01', %s, %s)"
    )
    database.run(insert, rows)
    joined = "INSERT INTO collectionobjectattachment (AttachmentID, CollectionObjectID) VALUES (%s, %s)"
    database.run(joined, [(number, chance.choice(specimens)) for number in range(1, 600, 2)])
    watched.poll()
    for change in (
        "UPDATE attachment SET IsPublic = NOT IsPublic WHERE AttachmentID IN (3, 5)",
        "UPDATE attachment SET IsPublic = NOT IsPublic WHERE AttachmentID % 100 = 7",
        "DELETE FROM attachment WHERE AttachmentID BETWEEN 200 AND 350",
        "UPDATE collectionobject SET EmbargoReleaseDate = '2999-01-01' WHERE CollectionObjectID = 3",
        "UPDATE collectionobject SET EmbargoReleaseDate = NULL, EmbargoStartDate = NULL WHERE CollectionObjectID = 4",
        "DELETE FROM collectionobjectattachment WHERE AttachmentID < 50",
        "UPDATE attachment SET AttachmentLocation = '100.jpg' WHERE AttachmentID = 500",
        "INSERT INTO attachment (AttachmentID, AttachmentLocation, OrigFilename, TimestampCreated, IsPublic)"
        " SELECT AttachmentID + 5000, AttachmentLocation, 'a', '2026-01-01', 1 FROM attachment LIMIT 20",
    ):
        database.run(change)
        watched.poll()
        assert watched.fault() == ""
        with watch(database, tmp_path / f"fresh {time.time_ns()}") as fresh:
            fresh.poll()
            known = {name for name in watched.public() if watched.visible.reasons(name)}
            assert {name for name in known if all(reason.is_complete for reason in watched.visible.reasons(name))} == (
                fresh.public()
            ), change
            assert watched.visible.status().records == fresh.visible.status().records


def test_no_two_flags_in_a_block_cancel_each_other_out(database: Database, watched: Watched) -> None:
    for table in ("attachment", "collectionobject", "collectionobjectattachment"):
        database.run(f"TRUNCATE {table}")
    insert = (
        "INSERT INTO attachment (AttachmentLocation, OrigFilename, TimestampCreated, TableID)"
        f" VALUES (%s, 'a', '2026-01-01', {AGENT})"
    )
    names = [f"{number:03}.jpg" for number in range(100, 116)]
    database.run(insert, [(name,) for name in names])
    watched.poll()
    for one, other in zip(names[::2], names[1::2], strict=True):
        database.run("UPDATE attachment SET IsPublic = 1 WHERE AttachmentLocation IN (%s, %s)", [(one, other)])
        watched.poll()
        assert {one, other} <= watched.public()


def test_only_changed_blocks_are_read_again(database: Database, watched: Watched, museum: Museum) -> None:
    insert = (
        "INSERT INTO attachment (AttachmentLocation, OrigFilename, TimestampCreated) VALUES (%s, 'a', '2026-01-01')"
    )
    database.run(insert, [(f"{number}.jpg",) for number in range(900)])
    watched.poll()
    rows = watched.visible.index.rows("SELECT number, checksum, complete FROM parts")
    known = {number: KnownPart(checksum, bool(is_complete)) for number, checksum, is_complete in rows}
    museum.publish("700.jpg", True)
    read = [part.number for part in watched.poller._source.changed(known, [])]
    assert read == [701 // _PART]


def test_a_file_whose_record_is_deleted_keeps_its_last_state(watched: Watched, museum: Museum) -> None:
    embargoed = museum.specimen(None, "2999-01-01")
    museum.attachment("public.jpg", True, museum.specimen())
    museum.attachment("embargoed.jpg", True, embargoed)
    watched.poll()
    museum.database.run("DELETE FROM attachment")
    watched.poll()
    assert watched.public() == {"public.jpg"}
    assert watched.visible.status().unknown == 2
    museum.attachment("public.jpg", False)
    watched.poll()
    assert watched.public() == set()


def test_while_the_database_is_stopped_files_keep_their_state(watched: Watched, museum: Museum) -> None:
    museum.attachment("public.jpg", True, museum.specimen())
    watched.poll()
    museum.database.stop()
    try:
        watched.poll()
        assert "cannot be reached" in watched.fault()
        assert watched.public() == {"public.jpg"}
    finally:
        museum.database.start()
    museum.publish("public.jpg", False)
    watched.poll()
    assert (watched.public(), watched.fault()) == (set(), "")


def test_while_rights_are_taken_away_files_keep_their_state(watched: Watched, museum: Museum) -> None:
    museum.attachment("public.jpg", True, museum.specimen())
    watched.poll()
    for table in ("attachment", "collectionobject", "collectionobjectattachment"):
        museum.database.run(f"REVOKE SELECT ON specify.{table} FROM {mariadb.READER}")
        museum.publish("public.jpg", False)
        watched.poll()
        assert "could not be read" in watched.fault()
        assert watched.public() == {"public.jpg"}
        museum.database.run(f"GRANT SELECT ON specify.{table} TO {mariadb.READER}")
        museum.publish("public.jpg", True)
    museum.database.run(f"ALTER USER {mariadb.READER} IDENTIFIED BY 'another'")
    watched.poll()
    assert "cannot be reached" in watched.fault()
    museum.database.run(f"ALTER USER {mariadb.READER} IDENTIFIED BY '{mariadb.PASSWORD}'")
    watched.poll()
    assert watched.fault() == ""


def test_while_a_dump_is_restored_nothing_becomes_public(
    watched: Watched, newcomer: Watched, database: Database, museum: Museum
) -> None:
    museum.attachment("public.jpg", True, museum.specimen())
    museum.attachment("embargoed.jpg", True, museum.specimen(None, "2999-01-01"))
    museum.attachment("old and embargoed.jpg", True, museum.specimen(None, "2999-01-01"), table=None)
    watched.poll()
    tables = ("attachment", "collectionobject", "collectionobjectattachment")  # the order of a dump
    for table in tables:
        database.run(f"CREATE OR REPLACE TABLE saved_{table} AS SELECT * FROM {table}")
    for table in tables:
        created = database.run(f"SHOW CREATE TABLE {table}")[0][1]
        for statement in (f"DROP TABLE {table}", created, f"INSERT INTO {table} SELECT * FROM saved_{table}"):
            database.run(statement)
            watched.poll()
            newcomer.poll()
            assert watched.public() == {"public.jpg"}, statement
            assert newcomer.public() <= {"public.jpg"}, statement
        database.run(f"DROP TABLE saved_{table}")
    newcomer.poll()
    assert newcomer.public() == {"public.jpg"}
    assert watched.visible.status().unknown == newcomer.visible.status().unknown == 0


def test_the_clock_and_time_zone_of_the_database_do_not_matter(watched: Watched, museum: Museum) -> None:
    museum.attachment("embargoed.jpg", True, museum.specimen("2001-06-01", "2999-01-01"))
    museum.attachment("over.jpg", True, museum.specimen("2001-01-01", "2002-01-01"))
    database = museum.database
    for clock in ("SET timestamp = 900000000", "SET timestamp = 4000000000, time_zone = '+12:00'"):
        database.run(f'SET GLOBAL init_connect = "{clock}"')
        try:
            watched.poll()
        finally:
            database.run("SET GLOBAL init_connect = ''")
        assert (watched.public(), watched.fault()) == ({"over.jpg"}, "")


def test_the_journal_has_changes_of_known_files(watched: Watched, museum: Museum) -> None:
    museum.attachment("a.jpg", True, museum.specimen())
    museum.attachment("b.jpg", True, museum.specimen())
    watched.poll()
    assert list(watched.journal.search()) == [], "the first state is no change"
    museum.publish("a.jpg", False)
    watched.poll()
    museum.publish("a.jpg", True)
    watched.poll()
    found = [(event.operation, event.name) for event in watched.journal.search()]
    assert found == [(events.PRIVATE, "a.jpg"), (events.PUBLIC, "a.jpg")]
    assert mariadb.PASSWORD not in str(list(watched.journal.search()))


def test_a_server_follows_the_database_and_says_how_it_is(
    start: Start, museum: Museum, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.delenv("SPECIFY_DATABASE_PASSWORD")
    secret = tmp_path / "password"
    secret.write_text(f"{mariadb.PASSWORD}\n")
    museum.attachment("a.jpg", True, museum.specimen())
    own = {"SPECIFY_DATABASE": address(database), "SPECIFY_DATABASE_PASSWORD_FILE": str(secret)}
    server = start(VISIBILITY="specify", VISIBILITY_SECONDS=1, THREADS=16, **own)
    server.upload("a.jpg", b"x")

    def eventually(status: int) -> None:
        end = time.monotonic() + 60
        while server.get("/fileget", filename="a.jpg").status != status:
            assert time.monotonic() < end
            time.sleep(0.1)

    eventually(200)
    museum.publish("a.jpg", False)
    eventually(403)
    museum.publish("a.jpg", True)
    eventually(200)
    database.stop()
    try:
        end = time.monotonic() + 60
        while (page := server.readiness())["checks"]["visibility"]["status"] == "ok":
            assert time.monotonic() < end
            time.sleep(0.1)
        assert (page["ready"], page["status"]) == (True, "degraded")
        assert "Files keep the state of" in page["checks"]["visibility"]["reason"]
        assert server.get("/fileget", filename="a.jpg").status == 200
    finally:
        database.start()
    museum.publish("a.jpg", False)
    eventually(403)
    assert quote(mariadb.PASSWORD) not in caplog.text
    assert mariadb.PASSWORD not in caplog.text


def test_with_all_attachments_public_clients_see_no_difference(
    database: Database, museum: Museum, tmp_path: Path
) -> None:
    specimen, public = museum.specimen(), test_clients.names()
    for name in public:
        museum.attachment(name, True, specimen)
    settings = {"VISIBILITY": "specify", "SPECIFY_DATABASE": address(database)}
    replayed = test_clients.replay(tmp_path / "public", min(public), **settings)
    test_clients.assert_no_difference(test_clients.replay(tmp_path / "plain"), replayed)


def test_of_two_processes_on_a_store_one_polls(database: Database, museum: Museum, tmp_path: Path) -> None:
    museum.attachment("a.jpg", True, museum.specimen())
    with watch(database, tmp_path / "store") as one, watch(database, tmp_path / "store") as other:
        one.poller.round(threading.Event())
        checked_at = one.visible.status().checked_at
        other.poller.round(threading.Event())
        assert other.visible.status().checked_at == checked_at
        assert other.public() == {"a.jpg"}
