"""originals.point_in_time: what existed at a date and time, whatever happened since."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetstore.journal.events import Event, Origin
from assetstore.journal.journal import Journal
from assetstore.originals import point_in_time
from assetstore.originals.point_in_time import IN_PLACE, IN_TRASH, LOST, Past
from assetstore.originals.service import Originals, Received
from assetstore.storage.disk.store import disk_store
from assetstore.storage.disk.trash import DiskTrash

ORIGIN = Origin("", "test")

#: When the first thing happens; each thing takes a second.
BEGIN = 1_795_000_000
SECOND = 10**9

#: Where nobody waits for a disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass
class Clock:
    """Time as the store sees it, in seconds since BEGIN."""

    now: float = 0

    def time_ns(self) -> int:
        self.now += 0.001
        return int((BEGIN + self.now) * SECOND)


class Store:
    """A store with a clock; what is done at each second is said by `at`."""

    def __init__(self, base: Path, clock: Clock, keeps_trash: bool = True) -> None:
        self.base = base
        self.clock = clock
        store = disk_store(base, "originals", "thumbnails", ["", "fish"])
        store.space.prepare()
        self.originals = Originals(store, Journal(base), ["", "fish"], keeps_trash)

    def at(self, second: float) -> "Store":
        self.clock.now = second
        return self

    def put(self, content: bytes, name: str = "a", collection_dir: str = "") -> None:
        with self.originals.storage.receive(collection_dir, None) as incoming:
            incoming.write(content)
            received = Received(incoming, len(content), hashlib.sha256(content).hexdigest())
            self.originals.store(received, collection_dir, name, ORIGIN)

    def delete(self, name: str = "a") -> None:
        assert self.originals.delete("", name, ORIGIN)

    def restore(self, number: int) -> None:
        self.originals.restore(list(self.originals.trash())[number], ORIGIN)

    def purge(self, number: int) -> None:
        assert self.originals.purge(list(self.originals.trash())[number], ORIGIN)

    def copy_in_by_hand(self, content: bytes, changed_at: float, name: str = "a") -> None:
        path = self.base / "originals" / name
        path.write_bytes(content)
        timestamp = int((BEGIN + changed_at) * SECOND)
        os.utime(path, ns=(timestamp, timestamp))

    def existed(self, second: float) -> list[Past]:
        return list(point_in_time.existed(self.originals, int((BEGIN + second) * SECOND)))

    def told(self, second: float) -> str | None:
        """Where `a` of that second is now, and whether the journal says so; None if there was none."""
        found = [past for past in self.existed(second) if past.name == "a"]
        assert len(found) <= 1
        return f"{found[0].where}{'' if found[0].is_journalled else ' by its date'}" if found else None

    def kept_since(self, second: float) -> list[bytes]:
        """The bytes of today's `a`, and of those that went to the trash since."""
        entries = [entry for entry in self.originals.trash() if entry.removed_ns > (BEGIN + second) * SECOND]
        paths = [DiskTrash("", self.base / "originals").path(entry) for entry in entries]
        return [path.read_bytes() for path in [self.base / "originals/a", *paths] if path.exists()]

    def bytes_of(self, second: float) -> bytes:
        """The bytes to which the answer leads."""
        (past,) = self.existed(second)
        if past.entry is None:
            return (self.base / past.collection_dir / "originals" / past.name).read_bytes()
        return (
            DiskTrash(past.collection_dir, self.base / past.collection_dir / "originals").path(past.entry).read_bytes()
        )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    clock = Clock()
    monkeypatch.setattr(time, "time_ns", clock.time_ns)
    opened = Store(tmp_path, clock)
    yield opened
    opened.originals.journal.close()


def test_a_stored_file_exists_from_then_on(store: Store) -> None:
    store.at(10).put(b"first")
    assert [store.told(second) for second in (9, 11, 99)] == [None, IN_PLACE, IN_PLACE]
    (past,) = store.existed(50)
    assert (past.size, past.sha256, past.entry) == (5, hashlib.sha256(b"first").hexdigest(), None)


def test_a_version_replaced_later_is_in_the_trash(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).put(b"second version")
    store.at(30).put(b"third")
    assert [store.told(second) for second in (9, 15, 25, 35)] == [None, IN_TRASH, IN_TRASH, IN_PLACE]
    assert [store.bytes_of(second) for second in (15, 25, 35)] == [b"first", b"second version", b"third"]
    assert [past.size for second in (15, 25, 35) for past in store.existed(second)] == [5, 14, 5]


def test_a_file_deleted_later_is_in_the_trash_and_does_not_exist_afterwards(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).delete()
    assert [store.told(second) for second in (9, 15, 25)] == [None, IN_TRASH, None]
    assert store.bytes_of(15) == b"first"
    store.at(30).put(b"another")
    assert [store.told(second) for second in (15, 25, 35)] == [IN_TRASH, None, IN_PLACE]


def test_a_restored_file_is_in_place_for_the_whole_time_it_existed(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).delete()
    store.at(30).restore(0)
    assert [store.told(second) for second in (9, 15, 25, 35)] == [None, IN_PLACE, None, IN_PLACE]


def test_a_file_restored_and_deleted_again_is_in_the_trash(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).delete()
    store.at(30).restore(0)
    store.at(40).delete()
    assert [store.told(second) for second in (15, 25, 35, 45)] == [IN_TRASH, None, IN_TRASH, None]
    assert store.bytes_of(15) == store.bytes_of(35) == b"first"


def test_a_purged_file_is_lost(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).put(b"second")
    store.at(30).purge(0)
    assert [store.told(second) for second in (15, 25, 35)] == [LOST, IN_PLACE, IN_PLACE]
    (past,) = store.existed(15)
    assert past.entry is None
    assert past.sha256 == hashlib.sha256(b"first").hexdigest()


def test_a_purged_version_is_lost_even_if_a_later_one_is_in_the_trash(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).put(b"second")
    store.at(30).put(b"third")
    store.at(40).purge(0)
    assert [store.told(second) for second in (15, 25, 35)] == [LOST, IN_TRASH, IN_PLACE]


def test_a_version_restored_over_later_ones_is_in_place_again(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).put(b"second")
    store.at(30).put(b"third")
    store.at(40).restore(0)
    assert [store.told(second) for second in (15, 25, 35, 45)] == [IN_PLACE, IN_TRASH, IN_TRASH, IN_PLACE]
    assert [store.bytes_of(second) for second in (15, 25, 35, 45)] == [b"first", b"second", b"third", b"first"]


def test_a_version_deleted_without_a_trash_is_lost_even_if_a_later_one_is_in_the_trash(
    store: Store, tmp_path: Path
) -> None:
    without = Store(tmp_path, store.clock, keeps_trash=False)
    without.at(10).put(b"first")
    without.at(20).put(b"second")
    without.originals.journal.close()
    store.at(30).put(b"third")
    assert [store.told(second) for second in (15, 25, 35)] == [LOST, IN_TRASH, IN_PLACE]


def test_identical_content_stored_again_is_in_place(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).delete()
    store.at(30).purge(0)
    store.at(40).put(b"first")
    assert [store.told(second) for second in (15, 35, 45)] == [IN_PLACE, None, IN_PLACE]


def test_a_file_copied_in_by_hand_exists_since_its_modification_time(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=10)
    assert [store.told(second) for second in (9, 10, 11)] == [
        None,
        f"{IN_PLACE} by its date",
        f"{IN_PLACE} by its date",
    ]
    (past,) = store.existed(11)
    assert (past.size, past.sha256) == (7, None)


def test_a_file_copied_in_by_hand_is_found_after_a_replacement_or_delete(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=10)
    store.at(20).put(b"uploaded")
    assert [store.told(second) for second in (9, 15, 25)] == [None, f"{IN_TRASH} by its date", IN_PLACE]
    assert store.bytes_of(15) == b"by hand"
    store.at(30).delete()
    assert [store.told(second) for second in (9, 15, 25, 35)] == [None, f"{IN_TRASH} by its date", IN_TRASH, None]
    assert [store.bytes_of(second) for second in (15, 25)] == [b"by hand", b"uploaded"]


def test_a_file_copied_in_by_hand_is_found_after_a_delete_and_restore(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=10)
    store.at(20).delete()
    assert store.told(15) == f"{IN_TRASH} by its date"
    store.at(30).restore(0)
    assert store.told(15) == f"{IN_PLACE} by its date"


def test_an_adopted_file_exists_before_its_first_event(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=10)
    checksum = hashlib.sha256(b"by hand").hexdigest()
    store.at(20).originals.journal.record(Event("adopted", "", "a", size=7, sha256=checksum))
    assert [store.told(second) for second in (9, 15, 25)] == [None, f"{IN_PLACE} by its date", IN_PLACE]
    assert store.existed(15)[0].sha256 == checksum


def test_an_old_modification_time_does_not_predate_the_upload_event(store: Store) -> None:
    store.at(20).put(b"uploaded")
    os.utime(store.base / "originals/a", (BEGIN + 5, BEGIN + 5))
    assert [store.told(second) for second in (10, 25)] == [None, IN_PLACE]


def test_a_file_removed_by_hand_is_lost(store: Store) -> None:
    store.at(10).put(b"first")
    (store.base / "originals/a").unlink()
    assert store.told(15) == LOST


def test_a_file_accepted_as_missing_does_not_exist_from_then_on(store: Store) -> None:
    store.at(10).put(b"first")
    (store.base / "originals/a").unlink()
    store.at(20).originals.journal.record(Event("gone", "", "a"))
    assert [store.told(second) for second in (15, 25)] == [LOST, None]


def test_the_time_of_an_event_counts_as_after_it(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).delete()
    stored, deleted = store.originals.journal.search()
    timestamps = [stored.time_ns, deleted.time_ns - 1, deleted.time_ns]
    found = [[past.name for past in point_in_time.existed(store.originals, timestamp)] for timestamp in timestamps]
    assert found == [["a"], ["a"], []]


def test_without_a_journal_the_dates_of_files_and_trash_entries_are_used(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).put(b"second version")
    store.at(30).delete()
    store.originals.journal.close()
    for path in (store.base / ".asset-server/journal").iterdir():
        path.unlink()
    expected = [None, f"{IN_TRASH} by its date", f"{IN_TRASH} by its date", None]
    assert [store.told(second) for second in (9, 15, 25, 35)] == expected
    assert [store.bytes_of(second) for second in (15, 25)] == [b"first", b"second version"]


def test_all_collection_folders_are_listed_by_folder_and_name(store: Store) -> None:
    store.at(10)
    for name in ("b", "a", "ü"):
        store.put(b"x", name)
        store.put(b"x", name, "fish")
    found = [(past.collection_dir, past.name) for past in store.existed(20)]
    assert found == [("", "a"), ("", "b"), ("", "ü"), ("fish", "a"), ("fish", "b"), ("fish", "ü")]


def test_nothing_existed_before_the_first_event(store: Store) -> None:
    store.at(10).put(b"first")
    store.at(20).delete()
    assert list(point_in_time.existed(store.originals, 0)) == []


#: What can be done, and with which content or which entry of the trash.
STEPS = st.lists(
    st.tuples(st.just("put"), st.integers(0, 5))
    | st.tuples(st.sampled_from(["delete", "restore", "purge"]), st.integers(0, 9)),
    max_size=12,
)


def do(store: Store, what: str, number: int) -> None:
    """Does it if it is possible."""
    entries = len(list(store.originals.trash()))
    if what == "put":
        store.put((b"red", b"sea", b"sky", b"long", b"sand", b"red")[number])
    elif what == "delete":
        store.originals.delete("", "a", ORIGIN)
    elif entries:
        (store.restore if what == "restore" else store.purge)(number % entries)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_each_result_leads_to_the_content_of_that_time(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    with mock.patch.object(time, "time_ns", clock.time_ns), tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = Store(Path(folder), clock)
        path = store.base / "originals/a"
        truth: list[bytes | None] = []
        for second, (what, number) in enumerate(steps):
            do(store.at(second), what, number)
            truth.append(path.read_bytes() if path.exists() else None)
        for second, content in enumerate(truth):
            told = store.told(second + 0.5)
            if told in (IN_PLACE, IN_TRASH):
                assert store.bytes_of(second + 0.5) == content
            else:
                assert told == (None if content is None else LOST)
                assert told is None or content not in store.kept_since(second + 0.5)
        store.originals.journal.close()


def remove_unjournaled(store: Store) -> None:
    """Moves `a` to the trash as a server does that crashes before it adds the event."""
    assert store.originals.storage.delete_original("", "a", keep_old=True)


def record(store: Store, second: float, operation: str, size: int | None) -> None:
    """Adds an event without a checksum."""
    store.at(second).originals.journal.record(Event(operation, "", "a", size=size))


def test_at_the_time_of_its_removal_a_file_has_gone(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=10)
    store.at(20).delete()
    (entry,) = store.originals.trash()
    for path in (store.base / ".asset-server/journal").iterdir():
        path.unlink()
    found = [list(point_in_time.existed(store.originals, entry.removed_ns - before)) for before in (1, 0)]
    assert [len(pasts) for pasts in found] == [1, 0]


def test_an_unjournaled_removal_counts_unless_it_was_before_the_last_event(store: Store) -> None:
    store.at(1).put(b"first")
    store.at(5).delete()
    store.at(10).put(b"second")
    remove_unjournaled(store.at(12))
    assert [store.told(second) for second in (11, 15)] == [IN_TRASH, None]
    store.at(20).put(b"third")
    (store.base / "originals/a").unlink()
    assert store.told(25) == LOST


def test_a_file_copied_back_after_an_unjournaled_removal_is_in_place(store: Store) -> None:
    store.at(10).put(b"first")
    remove_unjournaled(store.at(12))
    store.copy_in_by_hand(b"first", changed_at=10)
    assert store.told(15) == IN_PLACE


def test_two_versions_without_checksum_are_not_taken_for_the_same(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=5)
    record(store, 10, "restored", 7)
    record(store, 20, "restored", 7)
    assert [store.told(second) for second in (15, 25)] == [LOST, IN_PLACE]


@pytest.mark.parametrize(
    ("size", "changed_at", "following", "where"),
    [
        (7, 5, "deleted", IN_TRASH),
        (None, 5, "deleted", IN_TRASH),
        (8, 5, "deleted", LOST),
        (7, 12, "deleted", LOST),
        (7, 5, "restored", LOST),
    ],
)
def test_without_checksums_times_and_sizes_decide_which_entry_was_there(
    store: Store, size: int | None, changed_at: float, following: str, where: str
) -> None:
    store.copy_in_by_hand(b"by hand", changed_at)
    record(store, 10, "restored", size)
    if following == "restored":
        record(store, 20, "restored", size)
    remove_unjournaled(store.at(29))
    record(store, 30, "deleted", None)
    assert store.told(15) == where


def test_an_upload_with_an_old_date_was_not_there_before_it_was_stored_and_deleted(store: Store) -> None:
    store.at(20).put(b"uploaded")
    os.utime(store.base / "originals/a", (BEGIN + 5, BEGIN + 5))
    store.at(30).delete()
    assert [store.told(second) for second in (10, 25)] == [None, IN_TRASH]


def test_a_replacement_with_an_old_date_is_not_the_file_that_it_replaced(store: Store) -> None:
    store.copy_in_by_hand(b"by hand", changed_at=5)
    store.at(20).put(b"uploaded")
    os.utime(store.base / "originals/a", (BEGIN + 5, BEGIN + 5))
    store.at(30).purge(0)
    assert [store.told(second) for second in (10, 25)] == [None, IN_PLACE]
