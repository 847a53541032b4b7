"""The list of all originals: true, current, sorted, filtered and in pages, on disk and in a bucket."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.app.bootstrap import open_originals
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.errors import BadRequest, StorageFault
from assetstore.fixity.verification import Verification
from assetstore.journal.events import Origin
from assetstore.listing.query import Cursor, Filter, Order, cursor
from assetstore.listing.service import Listing
from assetstore.originals.service import Originals, Received
from tests.support import PROJECT, load_settings

SINCE = 1_700_000_000 * 10**9

ALL, BY_NAME = Filter(), Order()


class Files:
    """A store of two collections and its listing."""

    def __init__(self, base: Path, **own: object) -> None:
        self.base = base
        dirs = {"KU Fish": "fish", "KU Herps": "herps"}
        settings = load_settings(
            {"KEY": "k", "BASE_DIR": str(base), "COLLECTION_DIRS": dirs, "RESERVED_BYTES": 0, **own}
        )
        self.originals: Originals = open_originals(settings, PROJECT)
        self.listing = Listing(self.originals, base)

    def store(self, name: str, content: bytes = b"x", where: str = "fish", modified: int = 0) -> None:
        """Stores a file as an upload does."""
        with self.originals.storage.receive(where, len(content), name) as incoming:
            incoming.write(content)
            self.originals.store(Received(incoming, len(content), "0" * 64), where, name, Origin("", "test"))
        path = self.base / where / "originals" / name
        if modified and path.exists():
            os.utime(path, (modified, modified))

    def names(self, chosen: Filter = ALL, order: Order = BY_NAME) -> list[str]:
        """The names in the list when it is current."""
        self.current()
        return [row.name for row in self.listing.page(chosen, order, None, 1000).rows]

    def current(self) -> None:
        """Waits until all folders have been read and all changes are in the list."""
        for _ in range(1000):
            state = self.listing.prepare()
            if state.as_of is not None and state.is_current and not state.is_reading:
                return
            time.sleep(0.01)
        raise AssertionError(state)

    def read_again(self) -> None:
        """Has all folders read again."""
        before = self.listing.prepare().as_of or 0
        self.listing.prepare(is_requested=True)
        for _ in range(1000):
            if (self.listing.prepare().as_of or 0) > before:
                return self.current()
            time.sleep(0.01)
        raise AssertionError("not read again")

    def close(self) -> None:
        self.listing.close()
        self.originals.journal.close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    found = Files(tmp_path)
    yield found
    found.close()


@pytest.fixture(params=["disk", "bucket"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    """On both kinds of storage."""
    own: dict[str, Any] = request.getfixturevalue("s3_settings") if request.param == "bucket" else {}
    found = Files(tmp_path, **own)
    yield found
    found.close()


# --- Current ---


def test_the_list_has_what_is_stored_deleted_and_restored(stored: Files) -> None:
    stored.store("a.txt")
    assert stored.names() == ["a.txt"]
    stored.store("b.txt", where="herps")
    stored.store("c.txt", b"three")
    assert stored.names() == ["a.txt", "b.txt", "c.txt"]
    stored.originals.delete("fish", "c.txt", Origin("", "test"))
    assert stored.names() == ["a.txt", "b.txt"]
    [entry] = stored.originals.trash()
    stored.originals.restore(entry, Origin("", "test"))
    assert stored.names() == ["a.txt", "b.txt", "c.txt"]
    stored.read_again()
    assert stored.names() == ["a.txt", "b.txt", "c.txt"]
    total = stored.listing.total(ALL, BY_NAME, None)
    assert (total.files, total.bytes) == (3, 7)


def test_files_that_were_copied_or_removed_by_hand_appear_after_the_folders_are_read_again(files: Files) -> None:
    folder = files.base / "fish/originals"
    files.store("old.txt")
    files.current()
    (folder / "by hand.txt").write_bytes(b"x")
    (folder / os.fsdecode(b"latin-\xe9.txt")).write_bytes(b"x")
    (folder / "old.txt").unlink()
    assert files.names() == ["old.txt"]
    files.read_again()
    assert files.names() == ["by hand.txt", "latin-\\xe9.txt"]


def test_another_process_sees_changes_at_once_and_shares_the_index(files: Files) -> None:
    files.store("a.txt")
    assert files.names() == ["a.txt"]
    other = Files(files.base)
    other.store("b.txt")
    assert files.names() == other.names() == ["a.txt", "b.txt"]
    other.close()


def test_a_deleted_index_is_made_again(files: Files) -> None:
    files.store("a.txt")
    assert files.names() == ["a.txt"]
    shutil.rmtree(files.base / ".asset-server/index")
    assert files.names() == ["a.txt"]


def test_a_damaged_index_is_made_again(files: Files) -> None:
    files.store("a.txt")
    files.current()
    files.listing.close()
    path = files.base / ".asset-server/index/originals.sqlite"
    path.write_bytes(b"no database" * 1000)
    files.listing = Listing(files.originals, files.base)
    with pytest.raises(StorageFault, match="damaged"):
        files.listing.prepare()
    assert files.names() == ["a.txt"]


def test_a_new_journal_has_the_folders_read_again(files: Files) -> None:
    files.store("a.txt")
    files.current()
    files.originals.journal.close()
    shutil.rmtree(files.base / ".asset-server/journal")
    files.store("b.txt")
    assert files.names() == ["a.txt", "b.txt"]


def test_the_list_works_without_a_journal(files: Files) -> None:
    files.store("a.txt")
    files.originals.journal.close()
    journal = files.base / ".asset-server/journal"
    shutil.rmtree(journal)
    journal.write_bytes(b"no folder")
    assert files.names() == ["a.txt"]


def test_a_change_while_the_folders_are_read_is_in_the_list(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        files.store(f"{number}.txt")
    files.current()
    listed = files.originals.storage.originals

    def slowly(collection_dir: str) -> Iterator[Any]:
        found = list(listed(collection_dir))
        if collection_dir == "fish":  # after the folder was read, and before it is written to the index
            files.originals.delete("fish", "1.txt", Origin("", "test"))
            files.store("new.txt")
            files.listing.prepare()
        yield from found

    monkeypatch.setattr(files.originals.storage, "originals", slowly)
    files.read_again()
    assert files.names() == ["0.txt", "2.txt", "3.txt", "4.txt", "new.txt"]


def test_very_many_changes_have_the_folders_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.current()
    monkeypatch.setattr("assetstore.listing.refresh.MOST_CHANGES", 3)
    for number in range(5):
        files.store(f"{number}.txt")
    assert not files.listing.prepare().is_current
    assert len(files.names()) == 5


def test_changes_that_take_longer_are_applied_in_the_background(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.current()
    monkeypatch.setattr("assetstore.listing.service._CATCH_UP_SECONDS", 0.001)
    for number in range(30):
        files.store(f"{number}.txt")
    before = files.listing.prepare().as_of
    assert len(files.names()) == 30
    assert files.listing.prepare().as_of == before, "the folders were not read for it"


def test_files_of_a_removed_collection_leave_the_list(files: Files) -> None:
    files.store("a.txt")
    files.store("b.txt", where="herps")
    files.current()
    files.close()
    fewer = Files(files.base, COLLECTION_DIRS={"KU Fish": "fish"})
    fewer.read_again()
    assert fewer.names() == ["a.txt"]
    fewer.close()


def test_on_a_read_only_disk_the_list_works_without_being_stored(
    tmp_path: Path, mounted: Callable[[Path, str], None]
) -> None:
    base = tmp_path / "disk"
    mounted(base, "8m")
    files = Files(base)
    files.store("a.txt")
    files.close()
    subprocess.run(["mount", "-o", "remount,ro", str(base)], check=True)
    files = Files(base)
    try:
        assert files.names() == ["a.txt"]
        assert not (base / ".asset-server/index").exists()
    finally:
        files.close()


# --- Sorted, filtered, in pages ---


def filled(files: Files) -> None:
    """Files of different sizes, times, types and collections."""
    files.store("B.jpg", b"22", modified=1_700_000_300)
    files.store("a.txt", b"1", modified=1_700_000_100)
    files.store("Ärger.jpg", b"4444", "herps", modified=1_700_000_200)
    files.store("c.tif", b"333", "herps", modified=1_700_000_000)
    files.read_again()


def test_the_list_is_sorted_by_name_date_size_or_type(files: Files) -> None:
    filled(files)
    assert files.names() == ["a.txt", "B.jpg", "c.tif", "Ärger.jpg"]
    assert files.names(order=Order("text", True)) == ["Ärger.jpg", "c.tif", "B.jpg", "a.txt"]
    assert files.names(order=Order("modified_ns")) == ["c.tif", "a.txt", "Ärger.jpg", "B.jpg"]
    assert files.names(order=Order("size", True)) == ["Ärger.jpg", "c.tif", "B.jpg", "a.txt"]
    assert files.names(order=Order("type")) == ["B.jpg", "Ärger.jpg", "c.tif", "a.txt"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Filter(part="ÄR"), ["Ärger.jpg"]),
        (Filter(part="%"), []),
        (Filter(part="_"), []),
        (Filter(collection_dir="fish"), ["a.txt", "B.jpg"]),
        (Filter(collection_dir="../x"), []),
        (Filter(media_type="image/"), ["B.jpg", "c.tif", "Ärger.jpg"]),
        (Filter(media_type="text/plain"), ["a.txt"]),
        (Filter(since_ns=SINCE + 100 * 10**9, until_ns=SINCE + 300 * 10**9), ["a.txt", "Ärger.jpg"]),
        (Filter(without_thumbnail_of=frozenset(("image/jpeg",))), ["a.txt", "c.tif"]),
        (Filter(part="a", collection_dir="herps", media_type="image/tiff"), []),
    ],
)
def test_the_list_is_filtered(files: Files, chosen: Filter, found: list[str]) -> None:
    filled(files)
    assert files.names(chosen) == found
    assert files.listing.total(chosen, BY_NAME, None).files == len(found)


def test_files_of_which_no_thumbnail_could_be_made_are_without_one_until_they_change(files: Files) -> None:
    chosen = Filter(without_thumbnail_of=frozenset(("image/jpeg",)))
    files.store("a.jpg")
    files.current()
    files.listing.note_thumbnail("fish", "a.jpg", True)
    files.listing.note_thumbnail("fish", "missing.jpg", True)
    assert files.names(chosen) == ["a.jpg"]
    files.read_again()
    assert files.names(chosen) == ["a.jpg"]
    files.listing.note_thumbnail("fish", "a.jpg", False)
    assert files.names(chosen) == []
    files.listing.note_thumbnail("fish", "a.jpg", True)
    files.store("a.jpg", b"other")
    assert files.names(chosen) == []


def test_files_that_changed_since_they_were_verified_are_found(files: Files) -> None:
    chosen = Filter(is_changed=True)
    for name in ("good.txt", "replaced.txt", "rotten.txt"):
        files.store(name, b"x")

    def verify() -> None:
        run = Verification(files.originals, RateLimit(None, threading.Event()), adopt=False, accept=True, client="test")
        list(run.run(False))

    verify()
    files.store("new.txt")
    assert files.names(chosen) == []
    files.store("replaced.txt", b"y")
    assert files.names(chosen) == ["replaced.txt"]
    path = files.base / "fish/originals/rotten.txt"
    path.write_bytes(b"z")
    files.read_again()
    assert files.names(chosen) == ["replaced.txt", "rotten.txt"]
    verify()
    assert files.names(chosen) == []


def test_pages_go_through_the_whole_list_in_both_directions(files: Files) -> None:
    for number in range(25):
        (files.base / ("fish", "herps")[number % 2] / "originals" / f"{number % 7}-{number}.txt").write_bytes(
            bytes(number % 3)
        )
    files.current()
    for order in (BY_NAME, Order("size", True), Order("type"), Order("modified_ns", True)):
        everything = files.names(order=order)
        found: list[str] = []
        position, before = None, 0
        while True:
            page = files.listing.page(ALL, order, position, 10)
            first = page.first and cursor(page.first, order)
            assert files.listing.total(ALL, order, first or None).files_before == len(found)
            found += [row.name for row in page.rows]
            if page.after is None:
                break
            position, before = cursor(page.after, order), before + 1
        assert found == everything
        backward = [row.name for row in page.rows]
        while page.before is not None:
            page = files.listing.page(ALL, order, cursor(page.before, order), 10)
            backward = [row.name for row in page.rows] + backward
        assert backward == everything


def test_pages_do_not_shift_when_files_are_added_or_deleted(files: Files) -> None:
    for number in range(10, 16):
        files.store(f"{number}.txt")
    files.current()
    page = files.listing.page(ALL, BY_NAME, None, 2)
    files.store("00.txt")
    files.originals.delete("fish", "11.txt", Origin("", "test"))
    files.current()
    after = files.listing.page(ALL, BY_NAME, cursor(page.after or "", BY_NAME), 2)
    assert [row.name for row in after.rows] == ["12.txt", "13.txt"]


@hypothesis.settings(max_examples=30)
@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(str))
def test_a_cursor_is_valid_or_rejected(text: str) -> None:
    try:
        found = cursor(text, BY_NAME)
    except BadRequest:
        return
    assert cursor(str(found), BY_NAME) == found


@hypothesis.settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**62), 2**62), st.booleans())
def test_a_cursor_survives_the_address(text: str, number: int, is_backward: bool) -> None:
    found = Cursor((number, text, "fish", 7), is_backward)
    assert cursor(str(found), Order("size")) == found
