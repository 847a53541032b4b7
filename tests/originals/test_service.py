"""originals.service: every change is complete, and in journal and trash, also if many happen at once."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import logging
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetstore.errors import AssetError, BadRequest, NotFound, StorageFault, Unsynced
from assetstore.journal import events
from assetstore.journal.events import Event, Origin
from assetstore.journal.journal import Journal
from assetstore.originals.service import Originals, Received
from assetstore.storage.disk.store import disk_store
from assetstore.storage.disk.trash import DiskTrash
from assetstore.storage.models import DELETED, REPLACED, TrashEntry
from tests.file_operations import fail_to_sync

ORIGIN = Origin("KU Fish", "192.0.2.1")


def opened(base: Path, keeps_trash: bool = True) -> Originals:
    store = disk_store(base, "originals", "thumbnails", ["", "fish"])
    store.space.prepare()
    return Originals(store, Journal(base), ["", "fish"], keeps_trash)


@pytest.fixture
def originals(tmp_path: Path) -> Iterator[Originals]:
    store = opened(tmp_path)
    yield store
    store.journal.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(originals: Originals, name: str, content: bytes, collection_dir: str = "") -> bool:
    with originals.storage.receive(collection_dir, len(content)) as incoming:
        incoming.write(content)
        return originals.store(Received(incoming, len(content), sha256(content)), collection_dir, name, ORIGIN)


def read(originals: Originals, name: str, collection_dir: str = "") -> bytes:
    with originals.storage.open_original(collection_dir, name) as stored:
        return stored.file.read()


def noted(originals: Originals) -> list[tuple[str, str, int | None, str | None]]:
    return [(event.operation, event.name, event.size, event.sha256) for event in originals.journal.search()]


def break_journal(base: Path) -> None:
    """Puts a file where the journal's folder must be."""
    (base / ".asset-server").mkdir(exist_ok=True)
    (base / ".asset-server/journal").write_text("in the way")


# One at a time.


def test_each_change_is_recorded_as_one_event(originals: Originals) -> None:
    assert put(originals, "a", b"one") is False
    assert put(originals, "a", b"three") is True
    assert originals.delete("", "a", ORIGIN) is True
    replaced, deleted = originals.trash()
    assert originals.restore(replaced, ORIGIN) is False
    assert originals.restore(deleted, ORIGIN) is True
    (last,) = originals.trash()
    assert originals.purge(last, ORIGIN) is True
    assert noted(originals) == [
        (events.STORED, "a", 3, sha256(b"one")),
        (events.REPLACED, "a", 5, sha256(b"three")),
        (events.DELETED, "a", 5, sha256(b"three")),
        (events.RESTORED, "a", 3, sha256(b"one")),
        (events.RESTORED, "a", 5, sha256(b"three")),
        (events.PURGED, "a", 3, None),
    ]
    assert read(originals, "a") == b"three"


def test_events_name_the_client_the_folder_and_the_collection(originals: Originals) -> None:
    put(originals, "a", b"x", "fish")
    originals.delete("fish", "a", ORIGIN)
    (entry,) = originals.trash()
    originals.restore(entry, ORIGIN)
    originals.delete("fish", "a", ORIGIN)
    for entry in originals.trash():
        originals.purge(entry, ORIGIN)
    found = list(originals.journal.search())
    assert len(found) == 5
    assert {(event.collection_dir, event.collection, event.client) for event in found} == {
        ("fish", "KU Fish", "192.0.2.1")
    }


def test_requests_that_change_nothing_are_not_journaled(originals: Originals) -> None:
    put(originals, "a", b"x")
    put(originals, "a", b"y")
    (entry,) = originals.trash()
    originals.purge(entry, ORIGIN)
    before = noted(originals)
    assert originals.delete("", "absent", ORIGIN) is False
    assert originals.delete("fish", "a", ORIGIN) is False
    assert originals.purge(entry, ORIGIN) is False
    with pytest.raises(NotFound):
        originals.restore(entry, ORIGIN)
    assert noted(originals) == before
    assert read(originals, "a") == b"y"


def test_deleting_an_unjournaled_file_records_no_checksum(originals: Originals, tmp_path: Path) -> None:
    (tmp_path / "originals/a").write_bytes(b"by hand")
    originals.delete("", "a", ORIGIN)
    (entry,) = originals.trash()
    assert originals.sha256_of(entry) is None
    originals.restore(entry, ORIGIN)
    assert noted(originals) == [(events.DELETED, "a", None, None), (events.RESTORED, "a", 7, None)]


def test_deleting_a_file_whose_size_differs_from_the_journal_records_no_checksum(
    originals: Originals, tmp_path: Path
) -> None:
    put(originals, "a", b"stored")
    (tmp_path / "originals/a").write_bytes(b"changed by hand")
    put(originals, "a", b"new")
    (entry,) = originals.trash()
    assert originals.sha256_of(entry) is None


def test_deleting_a_file_modified_after_its_event_records_no_checksum(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"stored")
    (tmp_path / "originals/a").write_bytes(b"Stored")
    put(originals, "a", b"new")
    (entry,) = originals.trash()
    assert originals.sha256_of(entry) is None


def test_each_version_in_the_trash_has_its_own_checksum(originals: Originals) -> None:
    contents = [f"{number:04}".encode() for number in range(8)]
    for number, content in enumerate(contents):
        put(originals, "a", content)
        if number % 3 == 0:
            originals.delete("", "a", ORIGIN)
    assert [originals.sha256_of(entry) for entry in originals.trash()] == [sha256(content) for content in contents[:-1]]


def test_the_checksum_of_an_original_is_known_unless_it_was_changed_by_hand(
    originals: Originals, tmp_path: Path
) -> None:
    def known(name: str) -> str | None:
        return originals.sha256_of_version("", name, originals.storage.version("", name))

    for name in ("a", "longer", "later", "copied"):
        put(originals, name, b"bytes")
        assert known(name) == sha256(b"bytes")
    folder = tmp_path / "originals"
    put(originals, "a", b"other")
    assert known("a") == sha256(b"other")
    (folder / "longer").write_bytes(b"other bytes")
    os.utime(folder / "longer", (0, 0))
    os.utime(folder / "later", (4_000_000_000, 4_000_000_000))
    originals.delete("", "copied", ORIGIN)
    (folder / "copied").write_bytes(b"bytes")
    (folder / "unknown").write_bytes(b"bytes")
    assert [known(name) for name in ("longer", "later", "copied", "unknown")] == [None] * 4


def test_without_a_trash_deleted_and_replaced_files_are_removed(tmp_path: Path) -> None:
    originals = opened(tmp_path, keeps_trash=False)
    put(originals, "a", b"1")
    put(originals, "a", b"2")
    originals.delete("", "a", ORIGIN)
    assert list(originals.trash()) == []
    assert [operation for operation, *_ in noted(originals)] == [events.STORED, events.REPLACED, events.DELETED]
    originals.journal.close()


def test_with_the_trash_disabled_existing_entries_can_still_be_restored(tmp_path: Path) -> None:
    before = opened(tmp_path)
    put(before, "a", b"1")
    put(before, "a", b"2")
    before.journal.close()
    originals = opened(tmp_path, keeps_trash=False)
    (entry,) = originals.trash()
    assert originals.restore(entry, ORIGIN) is True
    assert read(originals, "a") == b"1"
    assert list(originals.trash()) == []
    originals.journal.close()


def test_changes_succeed_when_the_journal_is_unusable(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_journal(tmp_path)
    put(originals, "a", b"1")
    put(originals, "a", b"2")
    originals.delete("", "a", ORIGIN)
    for entry in list(originals.trash()):
        assert originals.sha256_of(entry) is None
        originals.restore(entry, ORIGIN)
    (entry,) = originals.trash()
    assert originals.purge(entry, ORIGIN) is True
    assert read(originals, "a") == b"2"
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert sum("not recorded in the journal" in line for line in lines) == 6


def test_a_failed_change_is_not_journaled(originals: Originals, monkeypatch: pytest.MonkeyPatch) -> None:
    put(originals, "a", b"1")

    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StorageFault):
        put(originals, "a", b"2")
    with pytest.raises(StorageFault):
        originals.delete("", "a", ORIGIN)
    assert noted(originals) == [(events.STORED, "a", 1, sha256(b"1"))]
    assert list(originals.trash()) == []


def test_a_lock_is_released_even_if_its_file_cannot_be_removed(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(originals, "a", b"1")
    unlink = Path.unlink

    def fail(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("lock-"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    with contextlib.suppress(OSError, StorageFault):
        originals.delete("", "a", ORIGIN)
    monkeypatch.undo()
    (lock,) = (tmp_path / "originals/.asset-server").glob("lock-*")
    with open(lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_sizes_and_trash_cover_all_collection_folders(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"1")
    put(originals, "a", b"22")
    put(originals, "b", b"333", "fish")
    put(originals, "c", b"4444", "fish")
    originals.delete("fish", "b", ORIGIN)
    (tmp_path / "originals/by hand").write_bytes(bytes(100))
    assert originals.total_size() == 2 + 4 + 100
    found = [(entry.collection_dir, entry.name, entry.reason, entry.size) for entry in originals.trash()]
    assert found == [("", "a", REPLACED, 1), ("fish", "b", DELETED, 3)]


# All at once.

TURNS = 7


def run_threads(number: int, act: Callable[[int], object]) -> None:
    """Runs *act* in this many threads at once; an error in one of them is raised."""
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(act, range(number)))


def replace_often(base: Path, process: int) -> None:
    """Runs in a process of its own."""
    originals = opened(base)

    def replace(thread: int) -> None:
        for turn in range(TURNS):
            put(originals, "a", f"version {turn} of thread {thread} of process {process}".encode())

    run_threads(16, replace)
    originals.journal.close()


def run_processes(work: Callable[[Path, int], None], base: Path) -> None:
    """Has two processes work on one store at once, each told its number."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(base, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def content_of(entry: TrashEntry, base: Path) -> bytes:
    return DiskTrash(entry.collection_dir, base / entry.collection_dir / "originals").path(entry).read_bytes()


def test_concurrent_uploads_of_one_name_leave_all_but_the_last_version_in_the_trash_once(
    originals: Originals, tmp_path: Path
) -> None:
    run_processes(replace_often, tmp_path)
    kept = [content_of(entry, tmp_path) for entry in originals.trash()]
    versions = [*kept, read(originals, "a")]
    assert len(versions) == 2 * 16 * TURNS
    assert max(Counter(versions).values()) == 1
    found = noted(originals)
    assert [operation for operation, *_ in found] == [events.STORED] + [events.REPLACED] * (len(versions) - 1)
    assert [checksum for *_, checksum in found] == [sha256(version) for version in versions], "in this order"
    assert [originals.sha256_of(entry) for entry in originals.trash()] == [sha256(version) for version in kept]
    assert not [path for path in (tmp_path / "originals/.asset-server").iterdir() if "-" in path.name], "tidied up"


def change_often(base: Path, process: int) -> None:
    """Runs in a process of its own: everything that can be done to two names."""
    originals = opened(base)

    def change(thread: int) -> None:
        for turn in range(8):
            name = "ab"[turn % 2]
            put(originals, name, f"{process} {thread} {turn}".encode())
            if turn % 3 == 0:
                originals.delete("", name, ORIGIN)
            for entry in list(originals.trash())[: turn % 3]:
                try:
                    originals.restore(entry, ORIGIN)
                except NotFound:
                    assert originals.purge(entry, ORIGIN) is False

    run_threads(8, change)
    originals.journal.close()


def test_concurrent_changes_leave_each_version_in_exactly_one_location(originals: Originals, tmp_path: Path) -> None:
    run_processes(change_often, tmp_path)
    there = [path.read_bytes() for path in (tmp_path / "originals").iterdir() if path.is_file()]
    versions = Counter([*there, *(content_of(entry, tmp_path) for entry in originals.trash())])
    expected = itertools.product(range(2), range(8), range(8))
    assert versions == {f"{process} {thread} {turn}".encode(): 1 for process, thread, turn in expected}
    for name in "ab":
        agree(originals, tmp_path / "originals" / name)


def agree(originals: Originals, path: Path) -> None:
    """The journal says of this file what the disk says."""
    latest = originals.journal.latest("", path.name)
    assert latest is not None
    assert (latest.operation in events.PRESENT) is path.exists()
    assert latest.sha256 == sha256(path.read_bytes()) if path.exists() else True


def test_an_original_that_was_uploaded_meanwhile_is_not_replaced_by_a_restore(originals: Originals) -> None:
    put(originals, "a", b"old")
    originals.delete("", "a", ORIGIN)
    (entry,) = originals.trash()
    put(originals, "a", b"new")
    with pytest.raises(BadRequest, match="exists already"):
        originals.restore(entry, ORIGIN, may_replace=False)
    assert [found.identifier for found in originals.trash()] == [entry.identifier]
    originals.delete("", "a", ORIGIN)
    assert originals.restore(entry, ORIGIN, may_replace=False) is False


def test_an_entry_is_restored_or_purged_only_once(originals: Originals) -> None:
    put(originals, "a", b"x")
    originals.delete("", "a", ORIGIN)
    (entry,) = originals.trash()
    outcomes: list[str] = []

    def compete(thread: int) -> None:
        try:
            if thread % 2:
                originals.restore(entry, ORIGIN)
                outcomes.append("restored")
            else:
                outcomes.append("purged" if originals.purge(entry, ORIGIN) else "late")
        except AssetError:
            outcomes.append("late")

    run_threads(16, compete)
    assert Counter(outcomes)["late"] == 15
    assert len(noted(originals)) == 3


def test_only_one_of_concurrent_deletes_succeeds(originals: Originals) -> None:
    put(originals, "a", b"x")
    outcomes: list[bool] = []
    run_threads(16, lambda _thread: outcomes.append(originals.delete("", "a", ORIGIN)))
    assert Counter(outcomes) == {True: 1, False: 15}
    assert len(list(originals.trash())) == 1
    assert noted(originals)[1:] == [(events.DELETED, "a", 1, sha256(b"x"))]


def test_a_name_stays_readable_throughout_a_replacement(originals: Originals) -> None:
    put(originals, "a", b"0" * 1000)
    done = threading.Event()

    def replace() -> None:
        try:
            for turn in range(100):
                put(originals, "a", str(turn % 10).encode() * 1000)
        finally:
            done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not done.is_set():
        assert len(set(read(originals, "a"))) == 1
    writer.join()


def test_purging_an_old_version_does_not_affect_the_checksum_of_the_original(originals: Originals) -> None:
    put(originals, "a", b"1")
    put(originals, "a", b"2")
    (entry,) = originals.trash()
    originals.purge(entry, ORIGIN)
    originals.delete("", "a", ORIGIN)
    assert noted(originals)[-1] == (events.DELETED, "a", 1, sha256(b"2"))
    latest = originals.journal.latest("", "a")
    assert isinstance(latest, Event)
    assert latest.operation == events.DELETED


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_a_change_that_the_disk_does_not_confirm_is_journaled_as_what_it_is(
    originals: Originals, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    fail_to_sync(monkeypatch, "originals")
    for content in (b"1", b"22"):
        if content == b"22" and not links:
            fail_to_sync(monkeypatch, "trash", successes=1)  # syncing after the exchange fails
        with pytest.raises(Unsynced):
            put(originals, "a", content)
    monkeypatch.undo()
    fail_to_sync(monkeypatch, "originals")
    with pytest.raises(Unsynced):
        originals.delete("", "a", ORIGIN)
    first, second = originals.trash()
    with pytest.raises(Unsynced):
        originals.restore(second, ORIGIN)
    assert noted(originals) == [
        (events.STORED, "a", 1, sha256(b"1")),
        (events.REPLACED, "a", 2, sha256(b"22")),
        (events.DELETED, "a", 2, sha256(b"22")),
        (events.RESTORED, "a", 2, sha256(b"22")),
    ]
    assert [(entry.identifier, entry.size) for entry in originals.trash()] == [(first.identifier, 1)]
    assert read(originals, "a") == b"22"


def test_a_delete_of_nothing_that_is_not_confirmed_is_not_journaled(
    originals: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_sync(monkeypatch, "originals")
    assert originals.delete("", "a", ORIGIN) is False
    assert noted(originals) == []


def test_the_trash_has_one_entry_of_a_version_that_was_replaced_again_after_a_crash(originals: Originals) -> None:
    put(originals, "a", b"old")
    folder = originals.storage._layout.originals("")  # type: ignore[attr-defined]
    entry = folder / ".asset-server/trash/2026-11-24T10.31.07.123456789-replaced-a"
    os.link(folder / "a", entry)  # as a crash between the link and the rename leaves it
    (left,) = originals.trash()
    assert originals.restore(left, ORIGIN) is True
    assert (read(originals, "a"), list(originals.trash())) == (b"old", [])
