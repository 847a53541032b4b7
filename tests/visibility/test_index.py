"""The index, and the polls of a table: when files change their state, and what a lost or damaged index means."""

import contextlib
import datetime
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from assetstore import csv_io
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
from assetstore.visibility import embargo
from assetstore.visibility.models import Status
from assetstore.visibility.poller import Poller
from assetstore.visibility.service import Visibility
from assetstore.visibility.table import TableSource


class Store:
    """A store with a table, without a server."""

    def __init__(self, folder: Path) -> None:
        self.base, self.table = folder / "attachments", folder / "visibility.csv"
        self.base.mkdir()
        self.visible, self.journal = Visibility(self.base, 60), Journal(self.base)
        self.poller = Poller(self.visible.index, TableSource(self.table, 0), self.journal, ["fish", "birds"], 60)

    def write(self, *lines: str) -> None:
        new = self.table.with_suffix(".new")
        new.write_text("\n".join(["store_name,public,embargo_until", *lines, ""]), encoding="utf-8")
        new.replace(self.table)

    def poll(self) -> Status:
        self.poller._index.prepare(self.poller._source.name)
        self.poller.poll()
        self.poller._record_changes()
        return self.visible.status()

    def public(self) -> set[str]:
        return {listed.name for listed in self.visible.names() if self.visible.is_public(listed.name)}

    @property
    def file(self) -> Path:
        return self.base / ".asset-server/visibility/visibility.sqlite"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.visible.close()
    store.journal.close()


def test_a_table_says_what_is_public(store: Store) -> None:
    store.write(
        "a.jpg,yes,", "b.jpg,No,", "c.jpg, YES ,2999-01-01", "d.jpg,yes,2020", "e.jpg,yes,", "e.jpg,no,", "ä.jpg,yes,"
    )
    status = store.poll()
    assert store.public() == {"a.jpg", "d.jpg", "ä.jpg"}
    assert (status.public, status.private, status.unknown, status.records) == (3, 3, 0, 7)
    assert status.problems == ()


def test_a_line_that_cannot_be_read_makes_its_file_private_and_is_reported(store: Store) -> None:
    store.write("a.jpg,yes,", "b.jpg,perhaps,", "c.jpg,yes,soon", "d.jpg", "../e.jpg,yes,", "a.jpg,y")
    status = store.poll()
    assert store.public() == set()
    assert len(status.problems) == 5
    assert status.problems[0] == "Line 3: 'perhaps' is neither yes nor no, so 'b.jpg' is not public."


@pytest.mark.parametrize(
    "content", [None, b"", b"name,public\na.jpg,yes\n", b"store_name,public,embargo_until\n\xff\xfe,yes,\n"]
)
def test_a_table_that_is_none_changes_nothing(store: Store, content: bytes | None) -> None:
    store.write("a.jpg,yes,")
    store.poll()
    store.table.unlink()
    if content is not None:
        store.table.write_bytes(content)
    assert store.poll().fault == "The file with the visibility cannot be read."
    assert store.public() == {"a.jpg"}
    store.write("a.jpg,no,")
    assert store.poll().fault == ""
    assert store.public() == set()


def test_a_table_that_is_being_written_has_no_effect(store: Store) -> None:
    store.poller._source = TableSource(store.table, 1000)
    store.write("a.jpg,no,")
    assert store.poll().private == 1, "the first time, it is read at once"
    store.table.write_text("store_name,public,embargo_until\na.jpg,yes,", encoding="utf-8")  # 2999 follows
    assert (store.poll().fault, store.public()) == ("", set())
    store.table.write_text("store_name,public,embargo_until\na.jpg,yes,2999\na.jpg,yes", encoding="utf-8")
    assert store.poll().fault == "The file with the visibility cannot be read."
    store.table.write_text("store_name,public,embargo_until\na.jpg,yes,2999\nb.jpg,yes,\n", encoding="utf-8")
    os.utime(store.table, (0, time.time() - 1001))
    assert (store.poll().fault, store.public()) == ("", {"b.jpg"})


def test_a_table_that_changes_while_it_is_read_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = csv_io.read

    def changed_meanwhile(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
        yield from read(path, needed)
        with open(path, "a", encoding="utf-8") as file:
            file.write("a.jpg,no,\n")

    store.write("a.jpg,yes,")
    with monkeypatch.context() as patch:
        patch.setattr(csv_io, "read", changed_meanwhile)
        assert store.poll().fault == "The file with the visibility cannot be read."
    assert store.visible.find("a.jpg") is None
    assert store.poll().fault == ""
    assert store.public() == set()


def test_after_a_pause_nothing_is_public_until_a_poll_has_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now, since_boot = time.time(), time.monotonic()
    store.write("a.jpg,yes,")
    store.poll()

    def started_again(later: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now + later)
        store.visible.close()
        store.visible = Visibility(store.base, 60)
        store.poller._index = store.visible.index

    started_again(50)
    assert store.public() == {"a.jpg"}, "the last poll was just before"
    for later in (-1000, 1000):
        started_again(later)
        assert store.public() == set(), "it may have been withdrawn meanwhile"
    store.table.unlink()
    assert store.poll().fault
    assert store.public() == {"a.jpg"}, "nothing can be known, so the last state counts"
    started_again(2000)
    assert store.public() == set()
    monkeypatch.setattr(time, "monotonic", lambda: since_boot + 1000)
    assert store.public() == {"a.jpg"}, "there is no poll, as on a read-only disk"


def test_a_file_without_a_line_keeps_its_last_state(store: Store) -> None:
    store.write("a.jpg,yes,", "b.jpg,no,")
    store.poll()
    store.write("c.jpg,yes,")
    assert store.poll().unknown == 2
    assert store.public() == {"a.jpg", "c.jpg"}


def test_an_embargo_ends_only_with_a_poll_but_begins_without(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tomorrow = time.time, datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(1)
    store.write(f"a.jpg,yes,{tomorrow}", "b.jpg,yes,")
    store.poll()
    with store.visible.index.writing() as connection:
        connection.execute("UPDATE files SET next_change = ? WHERE name = 'b.jpg'", (embargo.number(tomorrow),))
    assert store.public() == {"b.jpg"}
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    assert store.public() == set()
    store.poll()
    assert store.public() == {"a.jpg", "b.jpg"}
    changes = {(event.name, event.operation) for event in store.journal.search()}
    assert changes == {("a.jpg", "public")}


def test_without_its_index_no_file_is_public_until_it_is_built_again(store: Store) -> None:
    store.write("a.jpg,yes,")
    assert not store.visible.is_public("a.jpg")
    store.poll()
    assert store.visible.is_public("a.jpg")
    for path in store.file.parent.iterdir():
        path.unlink()
    assert not store.visible.is_public("a.jpg")
    store.poller.round()
    assert store.visible.is_public("a.jpg")


@pytest.mark.parametrize("first", [0, 8192], ids=["its beginning", "its pages"])
def test_a_damaged_index_is_built_again(store: Store, caplog: pytest.LogCaptureFixture, first: int) -> None:
    store.write(*(f"{number}.jpg,yes," for number in range(500)))
    store.poll()
    store.visible.close()
    for ending in ("-wal", "-shm"):
        store.file.with_name(store.file.name + ending).unlink(missing_ok=True)
    content = store.file.read_bytes()
    store.file.write_bytes(content[:first] + b"no database".ljust(len(content) - first, b"\xff"))
    assert not store.visible.is_public("1.jpg")
    assert "No file is public" in caplog.text
    store.poller.round()
    store.poller.round()
    assert store.visible.is_public("1.jpg")


def test_an_index_of_which_only_the_records_are_damaged_is_built_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a.jpg,yes,")
    store.poll()
    store.visible.close()
    with contextlib.closing(sqlite3.connect(store.file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
        [number] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
    with open(store.file, "r+b") as file:
        file.seek(size * (number - 1))
        file.write(b"\xff" * size)
    store.write("a.jpg,no,")
    monkeypatch.setattr(store.poller, "_is_due", lambda: True)
    for _ in range(2):
        store.poller.round()
    assert not store.visible.status().fault
    assert not store.visible.is_public("a.jpg")


def test_an_index_of_another_source_is_worth_nothing(store: Store, tmp_path: Path) -> None:
    store.write("a.jpg,yes,")
    store.poll()
    other = Poller(store.visible.index, TableSource(tmp_path / "other.csv", 0), store.journal, [""], 60)
    other.round()
    assert not store.visible.is_public("a.jpg")
    assert store.visible.status().checked_at is None


def test_a_poll_that_fails_half_way_changes_nothing(store: Store) -> None:
    store.write("a.jpg,yes,", "b.jpg,no,")
    store.poll()
    store.table.write_bytes(store.table.read_bytes().replace(b"b.jpg,no", b"b.jpg,yes") + b"\xff,yes,\n")
    assert store.poll().fault
    assert store.public() == {"a.jpg"}


def test_changes_are_in_the_journal_in_the_folder_of_their_file(store: Store) -> None:
    store.journal.record(Event("stored", "birds", "a.jpg", size=1, sha256="00"))
    store.write("a.jpg,yes,", "b.jpg,no,")
    store.poll()
    store.write("a.jpg,no,", "b.jpg,yes,")
    store.poll()
    found = [(event.collection_dir, event.name, event.operation) for event in store.journal.search()]
    assert found[1:] == [("birds", "a.jpg", "private"), ("fish", "b.jpg", "public")]
    latest = store.journal.latest("birds", "a.jpg")
    assert latest is not None
    assert latest.operation == "stored", "the state is no change of the original"
