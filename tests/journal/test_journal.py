"""journal: every event is recorded, in order, by many processes, whatever happens to the database file."""

import contextlib
import errno
import logging
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from assetstore.errors import JournalLocked, StorageFault
from assetstore.files import sqlite_files
from assetstore.journal import database, events
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
from tests.support import PROJECT


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".asset-server/journal"


def names(journal: Journal, **terms: object) -> list[str]:
    return [event.name for event in journal.search(**terms)]  # type: ignore[arg-type]


def record(journal: Journal, *all_names: str, operation: str = events.STORED, collection_dir: str = "") -> None:
    for name in all_names:
        assert journal.record(Event(operation, collection_dir, name)) is True


def timed(journal: Journal, *rows: tuple[str, str, int]) -> None:
    """Records events of these operations, names and times in a place."""
    for operation, name, time_ns in rows:
        assert journal.record(Event(operation, "p", name, sha256=f"{name}{time_ns}", time_ns=time_ns)) is True


# What it keeps, and what it finds.


def test_a_recorded_event_is_returned_with_a_number_and_a_time(journal: Journal) -> None:
    event = Event(events.REPLACED, "nested/fish", "ü 🐟.jpg", "KU Fish", 2**53, "ab" * 32, "2001:db8::1", time_ns=17)
    assert journal.record(event) is True
    assert list(journal.search()) == [Event(**{**vars(event), "identifier": 1})]


def test_an_event_without_a_time_gets_the_current_time(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assetstore.journal.journal.time.time_ns", lambda: 1_795_000_000_123_456_789)
    record(journal, "a")
    (event,) = journal.search()
    assert event.time_ns == 1_795_000_000_123_456_789


def test_the_latest_event_of_a_name_is_specific_to_its_collection_folder(journal: Journal) -> None:
    record(journal, "a", collection_dir="fish")
    record(journal, "a", operation=events.DELETED, collection_dir="birds")
    latest = journal.latest("fish", "a")
    assert latest is not None
    assert latest.operation == events.STORED
    assert journal.latest("", "a") is None
    assert journal.latest("fish", "A") is None


def test_purging_a_trash_entry_is_not_the_latest_event_of_its_name(journal: Journal) -> None:
    timed(journal, (events.STORED, "a", 1), (events.REPLACED, "a", 2), (events.PURGED, "a", 3))
    latest = journal.latest("p", "a")
    assert latest is not None
    assert latest.time_ns == 2
    assert [event.time_ns for event in journal.state("p")] == [2]


def test_events_stay_in_recording_order_when_the_clock_goes_back(journal: Journal) -> None:
    timed(journal, (events.STORED, "a", 100), (events.REPLACED, "a", 50))
    latest = journal.latest("p", "a")
    assert latest is not None
    assert latest.time_ns == 50
    assert [event.time_ns for event in journal.search()] == [100, 50]


def test_the_state_at_a_time_is_the_last_event_before_it(journal: Journal) -> None:
    rows = [(events.STORED, 10), (events.DELETED, 20), (events.RESTORED, 30), (events.PURGED, 35), (events.GONE, 40)]
    timed(journal, *[(operation, "a", time_ns) for operation, time_ns in rows], (events.ADOPTED, "a", 50))
    expected = {9: None, 10: 10, 19: 10, 25: 10, 30: 30, 39: 30, 45: 30, 50: 50, 10**19 // 10: 50}
    for until_ns, time_ns in expected.items():
        found = journal.latest_present("p", "a", until_ns)
        assert (found.time_ns if found else None) == time_ns


def test_the_state_is_the_last_event_of_every_name_sorted_by_name(journal: Journal) -> None:
    timed(journal, (events.STORED, "b", 1), (events.STORED, "a", 2), (events.DELETED, "b", 3), (events.STORED, "c", 4))
    record(journal, "d", collection_dir="elsewhere")
    assert [(event.name, event.operation, event.time_ns) for event in journal.state("p")] == [
        ("a", events.STORED, 2),
        ("b", events.DELETED, 3),
        ("c", events.STORED, 4),
    ]
    assert [(event.name, event.time_ns) for event in journal.state("p", 2)] == [("a", 2), ("b", 1)]
    assert list(journal.state("p", 0)) == []
    assert list(journal.state("nowhere")) == []


def test_search_conditions_can_be_combined(journal: Journal) -> None:
    timed(journal, (events.STORED, "a", 1), (events.DELETED, "a", 2), (events.STORED, "b", 3), (events.STORED, "a", 4))
    record(journal, "a", collection_dir="elsewhere")
    assert names(journal) == ["a", "a", "b", "a", "a"]
    assert names(journal, collection_dir="p", name="a", operation=events.STORED) == ["a", "a"]
    assert [event.time_ns for event in journal.search(collection_dir="p", since_ns=2, until_ns=3)] == [2, 3]
    assert [event.time_ns for event in journal.search(collection_dir="p", newest_first=True, most=2)] == [4, 3]
    assert names(journal, name="absent") == []
    assert names(journal, most=0) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["sp1.jpg", "sp10.jpg", "SP1.JPG", "a[1].jpg", "100%_.jpg", "ü.jpg", "it's"]),
        ("sp1*", ["sp1.jpg", "sp10.jpg"]),
        ("sp?.jpg", ["sp1.jpg"]),
        ("?.jpg", ["ü.jpg"]),
        ("sp[0-9].jpg", ["sp1.jpg"]),
        ("a[[]1].jpg", ["a[1].jpg"]),
        ("100%_.jpg", ["100%_.jpg"]),
        ("it's", ["it's"]),
        ("'; DROP TABLE events; --", []),
        ("[", []),
    ],
)
def test_a_pattern_is_a_case_sensitive_glob(journal: Journal, pattern: str, found: list[str]) -> None:
    record(journal, "sp1.jpg", "sp10.jpg", "SP1.JPG", "a[1].jpg", "100%_.jpg", "ü.jpg", "it's")
    assert names(journal, pattern=pattern) == found


def test_times_before_and_after_all_events_can_be_queried(journal: Journal) -> None:
    timed(journal, (events.STORED, "a", 10), (events.STORED, "late", 10**20))
    year_1, year_9999 = -62_135_596_800 * 10**9, 253_402_300_799 * 10**9
    assert names(journal, since_ns=year_1, until_ns=year_9999) == ["a", "late"]
    assert [event.name for event in journal.state("p", year_9999)] == ["a", "late"]
    assert list(journal.state("p", year_1)) == []
    assert [event.name for event in journal.following("p", year_1)] == ["a", "late"]
    assert journal.latest_present("p", "a", year_1) is None
    assert journal.latest_present("p", "a", year_9999) is not None


def test_a_long_search_reads_one_snapshot_and_does_not_block_writers(journal: Journal) -> None:
    record(journal, *[str(number) for number in range(500)])
    found = []
    for event in journal.search():
        record(journal, f"while reading {event.name}")
        found.append(event.name)
    assert found == [str(number) for number in range(500)]
    assert len(names(journal)) == 1000


def test_a_write_probe_leaves_no_event(journal: Journal) -> None:
    journal.probe()
    record(journal, "a")
    journal.probe()
    assert names(journal) == ["a"]


def test_a_closed_journal_can_be_opened_again(journal: Journal) -> None:
    record(journal, "a")
    journal.close()
    journal.close()
    record(journal, "b")
    assert names(journal) == ["a", "b"]


def test_the_journal_folder_is_private(journal: Journal, folder: Path) -> None:
    record(journal, "a")
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.stat().st_mode & 0o077 == 0


# What becomes of the file.


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_private_folder(folder: Path) -> None:
    shutil.rmtree(folder.parent)


def remove_database(folder: Path) -> None:
    (folder / "journal.sqlite").unlink()


def remove_files(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def move_away(folder: Path) -> None:
    (folder / "journal.sqlite").rename(folder / "moved.sqlite")


REMOVALS = [remove_folder, remove_private_folder, remove_database, remove_files, move_away]


@pytest.mark.parametrize("remove", REMOVALS)
def test_a_journal_removed_while_open_is_created_again(
    journal: Journal, folder: Path, remove: Callable[[Path], None]
) -> None:
    for turn in range(3):
        record(journal, f"before {turn}")
        remove(folder)
        record(journal, f"after {turn}")
        assert names(journal)[-1] == f"after {turn}"
        assert f"before {turn}" not in names(journal)
    journal.close()
    other = Journal(folder.parents[1])
    assert names(other) == ["after 2"]
    other.close()


@pytest.mark.parametrize("remove", REMOVALS)
def test_reading_a_removed_journal_finds_nothing(
    journal: Journal, folder: Path, remove: Callable[[Path], None]
) -> None:
    record(journal, "a")
    remove(folder)
    assert names(journal) == []
    assert journal.latest("", "a") is None


def test_a_file_deleted_while_it_is_being_opened_is_replaced(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = database._connect

    def connect_and_lose(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        path.unlink()
        monkeypatch.undo()
        return connection

    monkeypatch.setattr(database, "_connect", connect_and_lose)
    record(journal, "lost")
    record(journal, "kept")
    assert (folder / "journal.sqlite").exists()
    assert names(journal) == ["kept"]


@pytest.mark.parametrize(
    ("error", "failures", "attempts", "is_recorded"),
    [
        (sqlite3.OperationalError("disk I/O error"), 2, 3, True),
        (sqlite3.OperationalError("disk I/O error"), 3, 3, False),
        (OSError(errno.ENOSPC, "No space left on device"), 1, 1, False),
    ],
)
def test_an_event_is_tried_again_if_the_database_fails_but_not_if_the_disk_does(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    failures: int,
    attempts: int,
    is_recorded: bool,
) -> None:
    connect, tried = database._connect, []

    def connect_later(path: Path) -> sqlite3.Connection:
        tried.append(path)
        if len(tried) <= failures:
            raise error
        return connect(path)

    monkeypatch.setattr(database, "_connect", connect_later)
    assert journal.record(Event(events.STORED, "", "a")) == is_recorded
    assert len(tried) == attempts
    assert names(journal) == ["a"] * is_recorded


def test_a_file_created_by_another_process_right_after_opening_is_used(
    journal: Journal, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, other = os.close, Journal(tmp_path)

    def close_the_lock_and_lose(descriptor: int) -> None:
        close(descriptor)
        monkeypatch.undo()
        remove_database(folder)
        record(other, "of the other")

    monkeypatch.setattr(os, "close", close_the_lock_and_lose)
    record(journal, "lost")
    record(journal, "kept")
    assert names(other) == ["of the other", "kept"]
    other.close()


def test_two_open_journals_continue_in_one_new_file(journal: Journal, folder: Path, tmp_path: Path) -> None:
    other = Journal(tmp_path)
    record(journal, "a")
    record(other, "b")
    remove_database(folder)
    for turn in range(5):
        record(journal, f"{turn} of the one")
        record(other, f"{turn} of the other")
    other.close()
    assert len(names(journal)) == 10
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_write_ahead_log_of_a_deleted_database_is_not_replayed(
    journal: Journal, folder: Path, tmp_path: Path
) -> None:
    # The log and the index as a process that was killed leaves them.
    record(journal, *[f"old {number}" for number in range(50)])
    left = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("journal.sqlite-")}
    assert set(left) == {"journal.sqlite-wal", "journal.sqlite-shm"}
    journal.close()
    remove_database(folder)
    for name, content in left.items():
        (folder / name).write_bytes(content)
    record(journal, "new")
    assert names(journal) == ["new"]
    assert not (folder / "journal.sqlite-wal").read_bytes().startswith(left["journal.sqlite-wal"])


def test_events_recorded_before_a_kill_are_preserved(tmp_path: Path) -> None:
    killed = (
        "import os, pathlib, sys\n"
        "from assetstore.journal.events import Event\n"
        "from assetstore.journal.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "for number in range(20): journal.record(Event('stored', '', str(number)))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], cwd=PROJECT, check=False)
    assert run.returncode == -9
    journal = Journal(tmp_path)
    assert names(journal) == [str(number) for number in range(20)]
    journal.close()


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def overwrite_the_first_page(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(20)
        file.write(b"\xa5" * 4000)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 4096 // 2 * 4096)


DAMAGES = [overwrite, overwrite_the_first_page, cut]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_set_aside_and_replaced(
    journal: Journal, folder: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    record(journal, *[f"{number:0200}" for number in range(300)])
    journal.close()
    damage(folder / "journal.sqlite")
    damaged = (folder / "journal.sqlite").read_bytes()
    record(journal, "new")
    assert names(journal) == ["new"]
    (aside,) = folder.glob("damaged-*.sqlite")
    assert aside.read_bytes()[4096:] == damaged[4096:]
    assert aside.name in caplog.text


@pytest.mark.parametrize("damage", [overwrite, overwrite_the_first_page])
def test_damage_to_an_open_journal_loses_one_event_at_most(
    journal: Journal, folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    record(journal, *[f"{number:0200}" for number in range(300)])
    journal.close()
    record(journal, "opened again")
    damage(folder / "journal.sqlite")
    (folder / "journal.sqlite-wal").write_bytes(b"")
    journal.record(Event(events.STORED, "", "perhaps"))
    journal.close()
    record(journal, "new")
    assert names(journal)[-1] == "new"


def test_a_journal_recovers_from_internal_damage(journal: Journal, folder: Path) -> None:
    record(journal, *[f"{number * 7919 % 1000:0200}" for number in range(1000)])
    journal.close()
    path = folder / "journal.sqlite"
    pages = bytearray(path.read_bytes())
    leaves_of_indexes = [start for start in range(4096, len(pages), 4096) if pages[start] == 10]
    for start in leaves_of_indexes:
        pages[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(pages)
    recorded = [journal.record(Event(events.STORED, "", f"{number:0200}")) for number in range(20)]
    assert recorded[-1] is True


def test_an_empty_file_is_a_journal_without_events(journal: Journal, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "journal.sqlite").touch()
    record(journal, "a")
    assert names(journal) == ["a"]


# What goes wrong is logged, and never stops what it would have noted.


def test_an_error_is_logged_and_the_event_is_reported_as_not_recorded(
    journal: Journal, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.mkdir()
    folder.write_text("a file in the way")
    assert journal.record(Event(events.DELETED, "fish", "a.jpg")) is False
    (line,) = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert all(word in line.getMessage() for word in ("deleted", "'a.jpg'", "'fish'"))
    for ask in (journal.probe, lambda: journal.latest("", "a"), lambda: list(journal.search())):
        with pytest.raises(StorageFault) as error:
            ask()
        assert str(folder) not in error.value.public
    folder.unlink()
    record(journal, "a")


def test_a_folder_at_the_path_of_the_journal_is_an_error_and_is_not_removed(journal: Journal, folder: Path) -> None:
    (folder / "journal.sqlite").mkdir(parents=True)
    assert journal.record(Event(events.STORED, "", "a")) is False
    assert (folder / "journal.sqlite").is_dir()


def test_a_name_that_is_not_utf_8_is_recorded_with_an_escape_and_found_again(journal: Journal) -> None:
    assert journal.record(Event(events.STORED, "", "\udcff"))
    found = journal.latest("", "\udcff")
    assert found is not None
    assert found.name == "\udcff"
    assert journal.row("SELECT name FROM events") == ("\\xff",)


# Many at once.


def record_many(base: Path, who: int, number: int, threads: int = 1) -> None:
    """Runs in a process of its own."""
    journal = Journal(base)

    def run(thread: int) -> None:
        for turn in range(number):
            if not journal.record(Event(events.STORED, "", f"{who}.{thread}", size=turn)):
                raise AssertionError

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))
    journal.close()


def test_concurrent_processes_and_threads_lose_no_events_and_preserve_order(journal: Journal, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=record_many, args=(tmp_path, who, 50, 4)) for who in range(3)]
    for process in processes:
        process.start()
    record_many(tmp_path, 3, 50, 4)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = list(journal.search())
    assert Counter(event.name for event in found) == {f"{who}.{thread}": 50 for who in range(4) for thread in range(4)}
    for name in {event.name for event in found}:
        assert [event.size for event in found if event.name == name] == list(range(50))


def test_processes_continue_in_a_new_file_when_the_journal_is_deleted(journal: Journal, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=record_many, args=(tmp_path, who, 300)) for who in range(2)]
    for process in processes:
        process.start()
    for turn in range(20):
        record(journal, f"mine {turn}")
        remove_database(tmp_path / ".asset-server/journal")
        record(journal, f"mine {turn} again")
    for process in processes:
        process.join()
        assert process.exitcode == 0
    record_many(tmp_path, 9, 100)
    assert Counter(names(journal, name="9.0")) == {"9.0": 100}
    with sqlite3.connect(tmp_path / ".asset-server/journal/journal.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def record_when_told(base: Path, told: Connection) -> None:
    """Runs in a process of its own."""
    journal = Journal(base)
    for name in iter(told.recv, ""):
        told.send(journal.record(Event(events.STORED, "", name)))
    journal.close()


def test_processes_that_recreate_a_removed_folder_do_not_share_a_write_ahead_log(
    journal: Journal, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("spawn")
    other, far_end = context.Pipe()
    process = context.Process(target=record_when_told, args=(tmp_path, far_end))
    process.start()
    remove_logs = sqlite_files.remove_logs

    def lose_all_first(path: Path) -> None:
        monkeypatch.undo()
        remove_folder(folder)
        other.send("other 1")
        other.poll(3)  # unless it has to wait for us
        remove_logs(path)

    monkeypatch.setattr(sqlite_files, "remove_logs", lose_all_first)
    journal.record(Event(events.STORED, "", "mine 1"))
    assert other.recv() is True
    for name in ("other 2", "other 3", ""):
        other.send(name)
    process.join()
    record(journal, "mine 2")
    assert {"mine 2", "other 2", "other 3"} <= set(names(journal))


FORKING = """
import os, pathlib, sys
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
journal.record(Event("stored", "", "before"))
children = []
for child in range(4):
    children.append(os.fork())
    if not children[-1]:
        done = [journal.record(Event("stored", "", f"child {child}")) for _ in range(25)]
        journal.close()
        os._exit(0 if all(done) else 1)
    journal.record(Event("stored", "", "parent"))
for turn in range(25):
    journal.record(Event("stored", "", "parent"))
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
journal.record(Event("stored", "", "after"))
"""


def test_forked_children_can_record_alongside_their_parent(journal: Journal, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], cwd=PROJECT, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")
    expected = {"before": 1, "after": 1, "parent": 29, **{f"child {child}": 25 for child in range(4)}}
    assert Counter(names(journal)) == expected


# Locked by another program.


@contextlib.contextmanager
def locked(folder: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Holds a lock on the database as another program does."""
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite", isolation_level=None)) as holder:
        if how == "locking_mode":
            holder.execute("PRAGMA locking_mode = EXCLUSIVE")
            how = "BEGIN EXCLUSIVE"
        holder.execute(how)
        if how == "BEGIN EXCLUSIVE":
            holder.execute("DELETE FROM events WHERE id IS NULL")
        yield
        holder.execute("COMMIT")


LOCKS = ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"]


@pytest.mark.parametrize("how", LOCKS)
def test_events_wait_for_a_locked_journal_and_are_added_in_order(journal: Journal, folder: Path, how: str) -> None:
    record(journal, "a")
    with locked(folder, how):
        for turn in range(3):
            record(journal, f"b{turn}", "c")
            journal.close()
        record(journal, "c", operation=events.DELETED)
        assert journal.pending() == 7
    record(journal, "d")
    journal.add_pending()
    assert journal.pending() == 0
    assert names(journal) == ["a", "b0", "c", "b1", "c", "b2", "c", "c", "d"]
    assert [event.operation for event in journal.search(name="c")][-1] == events.DELETED
    assert [event.time_ns for event in journal.search()] == sorted(event.time_ns for event in journal.search())
    assert not (folder / "pending.jsonl").exists()


def test_a_waiting_event_counts_as_the_latest_of_its_name(journal: Journal, folder: Path) -> None:
    timed(journal, (events.STORED, "a", 1), (events.STORED, "b", 1))
    with locked(folder):
        timed(journal, (events.REPLACED, "a", 2), (events.PURGED, "a", 3))
        for where, name, time_ns in (("p", "a", 2), ("p", "b", 1)):
            latest, present = journal.latest(where, name), journal.latest_present(where, name, 5)
            assert latest is not None
            assert present is not None
            assert latest.time_ns == present.time_ns == time_ns
        before = journal.latest_present("p", "a", 1)
        assert before is not None
        assert before.time_ns == 1


def test_reading_the_whole_journal_includes_waiting_events_or_reports_their_number(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(journal, "a")
    ways: list[Callable[[Journal], object]] = [
        lambda journal: list(journal.search()),
        lambda journal: list(journal.state("")),
        lambda journal: list(journal.following("", 0)),
        lambda journal: journal.add_pending(),
    ]
    for way in ways:
        with locked(folder), monkeypatch.context() as patch:
            patch.setattr("assetstore.journal.journal.PATIENT_SECONDS", 0)
            record(journal, "b", "c")
            with pytest.raises(JournalLocked, match=r"in it: 2\. Try again") as error:
                way(journal)
            assert str(folder) not in error.value.public
        way(journal)
        assert journal.pending() == 0


def test_a_locked_journal_holds_up_many_threads_no_longer_than_one(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    begin = database._lock_soon
    monkeypatch.setattr(database, "_lock_soon", lambda descriptor: (waits.append(0), begin(descriptor)))
    record(journal, "a")
    waits.clear()
    journal.close()
    with locked(folder, "locking_mode"):
        with ThreadPoolExecutor(50) as pool:
            list(pool.map(lambda number: record(journal, str(number)), range(50)))
        assert len(waits) < 10, "so many calls waited for the database"
    journal.add_pending()
    assert sorted(names(journal)) == sorted(["a", *map(str, range(50))])


KILLED_WHEN_IT_REMOVES_THE_QUEUE = """
import os, pathlib, signal, sys
from assetstore.journal.journal import Journal
def watch(event, arguments):
    if event == "os.remove" and str(arguments[0]).endswith("pending.jsonl"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
Journal(pathlib.Path(sys.argv[1])).add_pending()
"""


def test_events_that_waited_are_added_once_although_the_process_is_killed(
    journal: Journal, folder: Path, tmp_path: Path
) -> None:
    record(journal, "a")
    with locked(folder):
        record(journal, "b", "c")
    journal.close()
    command = [sys.executable, "-c", KILLED_WHEN_IT_REMOVES_THE_QUEUE, str(tmp_path)]
    assert subprocess.run(command, cwd=PROJECT, check=False, timeout=60).returncode == -9
    assert (folder / "pending.jsonl").exists()
    with locked(folder):
        record(journal, "d")
    assert subprocess.run(command, cwd=PROJECT, check=False, timeout=60).returncode == -9
    assert names(journal) == ["a", "b", "c", "d"]
    assert journal.pending() == 0


def test_a_process_that_is_killed_loses_no_event_that_waits(journal: Journal, folder: Path, tmp_path: Path) -> None:
    record(journal, "a")
    script = "import os, pathlib, sys; from assetstore.journal.journal import Journal, Event\n"
    script += "Journal(pathlib.Path(sys.argv[1])).record(Event('stored', '', 'b')); os.kill(os.getpid(), 9)"
    with locked(folder):
        run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, check=False, timeout=60)
        assert run.returncode == -9
        with open(folder / "pending.jsonl", "ab") as file:
            file.write(b'{"operation": "sto')  # as a power failure leaves it
        record(journal, "c")
    assert names(journal) == ["a", "b", "c"]


def test_processes_that_record_while_the_journal_is_locked_lose_nothing_and_keep_their_order(
    journal: Journal, folder: Path, tmp_path: Path
) -> None:
    record(journal, "a")
    journal.close()
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=record_many, args=(tmp_path, who, 30, 3)) for who in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(20):
        with contextlib.suppress(sqlite3.OperationalError), locked(folder):
            time.sleep(0.1)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    found = list(journal.search())
    assert Counter(event.name for event in found) == {"a": 1} | {f"{w}.{t}": 30 for w in range(3) for t in range(3)}
    for name in {event.name for event in found} - {"a"}:
        assert [event.size for event in found if event.name == name] == list(range(30))


def test_an_event_that_cannot_wait_either_is_not_recorded(
    journal: Journal, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(journal, "a")
    (folder / "pending.jsonl").mkdir()
    with locked(folder):
        assert journal.record(Event(events.STORED, "", "b")) is False
    assert "event not recorded in the journal: stored 'b'" in caplog.text


def test_a_line_of_the_queue_that_cannot_be_read_stops_no_other(journal: Journal, folder: Path) -> None:
    record(journal, "a")
    with locked(folder):
        record(journal, "b")
        with open(folder / "pending.jsonl", "ab") as file:
            file.write(b"no event\n{}\n")
        record(journal, "c")
    assert names(journal) == ["a", "b", "c"]
