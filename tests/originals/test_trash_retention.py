"""originals.trash_retention: old files are purged, oldest first, and a wrong clock does not empty the trash."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.errors import StorageFault
from assetstore.journal import events
from assetstore.originals.service import Originals
from assetstore.originals.trash_retention import TrashKeeper, due
from assetstore.storage.models import DELETED, TrashEntry
from tests.support import originals_in

SECOND = 10**9
DAY = 86_400

#: Some moment, in seconds since 1970.
NOW = 1_795_000_000.0


@pytest.fixture
def originals(tmp_path: Path) -> Iterator[Originals]:
    with originals_in(tmp_path, "", "fish") as store:
        yield store


def entry(name: str, days: float, size: int = 1, changed_days: float | None = None) -> TrashEntry:
    """An entry that is this many days older than NOW."""
    removed = int((NOW - days * DAY) * SECOND)
    modified = removed if changed_days is None else int((NOW - changed_days * DAY) * SECOND)
    return TrashEntry(name, "", name, removed, DELETED, size, modified)


def leaving(*entries: TrashEntry, days: int = 90, most_bytes: int | None = None) -> list[str]:
    return [gone.name for gone in due(entries, NOW, days, most_bytes)]


def lay(base: Path, name: str, days: float, size: int = 1, collection_dir: str = "") -> None:
    """Puts a file into the trash as if it was deleted this many days before NOW."""
    timestamp = datetime.fromtimestamp(NOW - days * DAY, UTC)
    path = (
        base
        / collection_dir
        / "originals/.asset-server/trash"
        / f"{timestamp:%Y-%m-%dT%H.%M.%S}.000000000-deleted-{name}"
    )
    path.write_bytes(bytes(size))
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))


def kept(originals: Originals) -> list[str]:
    return sorted(entry.name for entry in originals.trash())


# What is due.


def test_entries_older_than_the_limit_are_purged(originals: Originals) -> None:
    assert leaving(entry("young", 89.9), entry("old", 90.1), entry("ancient", 1000)) == ["ancient", "old"]


def test_an_entry_exactly_as_old_as_the_limit_is_not_purged() -> None:
    to_the_second = TrashEntry("a", "", "a", int(NOW - 90 * DAY) * SECOND, DELETED, 1, 0)
    one_later = TrashEntry("b", "", "b", int(NOW - 90 * DAY - 1) * SECOND, DELETED, 1, 0)
    assert leaving(to_the_second, one_later) == ["b"]


def test_an_entry_deleted_under_a_clock_in_1970_is_dated_by_its_last_change() -> None:
    in_1970 = NOW / DAY
    assert leaving(entry("a", in_1970, changed_days=10), entry("b", in_1970, changed_days=100)) == ["b"]


def test_the_oldest_entries_are_purged_until_the_rest_fits() -> None:
    entries = [entry("newest", 1, 40), entry("oldest", 4, 10), entry("middle", 2, 30), entry("old", 3, 20)]
    assert leaving(*entries, most_bytes=100) == []
    assert leaving(*entries, most_bytes=99) == ["oldest"]
    assert leaving(*entries, most_bytes=90) == ["oldest"]
    assert leaving(*entries, most_bytes=89) == ["oldest", "old"]
    assert leaving(*entries, most_bytes=40) == ["oldest", "old", "middle"]
    assert leaving(*entries, most_bytes=0) == ["oldest", "old", "middle", "newest"]


def test_entries_purged_by_age_count_towards_the_size_limit() -> None:
    entries = [entry("old", 100, 50), entry("young", 2, 30), entry("newest", 1, 30)]
    assert leaving(*entries, most_bytes=60) == ["old"]
    assert leaving(*entries, most_bytes=59) == ["old", "young"]


def test_a_single_file_larger_than_the_limit_is_purged() -> None:
    assert leaving(entry("huge", 0.1, 1000), most_bytes=999) == ["huge"]


@given(
    items=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 1000)), max_size=20),
    days=st.integers(1, 200),
    most_bytes=st.none() | st.integers(0, 5000),
)
def test_remaining_entries_fit_both_limits_and_are_newer_than_those_purged_by_size(
    items: list[tuple[int, int]], days: int, most_bytes: int | None
) -> None:
    entries = [entry(str(number), age, size) for number, (age, size) in enumerate(items)]
    gone = due(entries, NOW, days, most_bytes)
    stays = [item for item in entries if item not in gone]
    oldest = (NOW - days * DAY) * SECOND
    assert all(item.removed_ns >= oldest for item in stays)
    if most_bytes is None:
        assert all(item.removed_ns < oldest for item in gone)
    else:
        assert sum(item.size for item in stays) <= most_bytes
        young = [item for item in gone if item.removed_ns >= oldest]
        if young:
            assert young[-1].size + sum(item.size for item in stays) > most_bytes, "no more than needed"
    assert [item.removed_ns for item in gone] == sorted(item.removed_ns for item in gone)
    assert all(item.removed_ns <= other.removed_ns for item in gone for other in stays)


# Who purges.


def test_expired_entries_of_all_collection_folders_are_purged_and_journaled(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lay(tmp_path, "old", 91, 10)
    lay(tmp_path, "young", 89, 100)
    lay(tmp_path, "old fish", 91, 1000, "fish")
    keeper = TrashKeeper(originals, tmp_path, 90, None)
    assert keeper.purge(NOW) == 2
    assert kept(originals) == ["young"]
    found = [(event.operation, event.collection_dir, event.name, event.client) for event in originals.journal.search()]
    assert found == [
        (events.PURGED, "", "old", "housekeeping"),
        (events.PURGED, "fish", "old fish", "housekeeping"),
    ]
    assert "2 files with 1010 bytes" in caplog.text
    assert keeper.purge(NOW) == 0


def test_the_size_limit_covers_all_collection_folders_together(originals: Originals, tmp_path: Path) -> None:
    lay(tmp_path, "a", 1, 60)
    lay(tmp_path, "b", 2, 60, "fish")
    lay(tmp_path, "c", 3, 60)
    assert TrashKeeper(originals, tmp_path, 90, 130).purge(NOW) == 1
    assert kept(originals) == ["a", "b"]


def test_with_0_days_existing_entries_are_not_purged(originals: Originals, tmp_path: Path) -> None:
    lay(tmp_path, "old", 1000, 100)
    assert TrashKeeper(originals, tmp_path, 0, 1).purge(NOW) == 0
    assert kept(originals) == ["old"]


@pytest.mark.parametrize("leap", [3.1 * DAY, 365 * DAY, -3.1 * DAY, -NOW])
def test_after_a_clock_jump_nothing_is_purged_until_the_next_run(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture, leap: float
) -> None:
    keeper = TrashKeeper(originals, tmp_path, 90, None)
    keeper.purge(NOW)
    lay(tmp_path, "old", 91 - min(leap, 0) / DAY)
    assert keeper.purge(NOW + leap) == 0
    assert kept(originals) == ["old"]
    assert "the clock has jumped by days" in caplog.text
    assert keeper.purge(NOW + leap + 3600) == 1


def test_a_clock_that_jumps_forward_and_back_purges_nothing(originals: Originals, tmp_path: Path) -> None:
    keeper = TrashKeeper(originals, tmp_path, 90, 1000)
    lay(tmp_path, "young", 1, 10)
    for now in (NOW, NOW + 3650 * DAY, NOW + 3600, 0.0, NOW + 7200, NOW + 10_800):
        assert keeper.purge(now) == 0
    assert kept(originals) == ["young"]


@pytest.mark.parametrize("pause", [3600, 2.9 * DAY, -2.9 * DAY, 0])
def test_a_pause_of_less_than_three_days_is_not_a_clock_jump(
    originals: Originals, tmp_path: Path, pause: float
) -> None:
    keeper = TrashKeeper(originals, tmp_path, 90, None)
    keeper.purge(NOW)
    lay(tmp_path, "old", 100)
    assert keeper.purge(NOW + pause) == 1


def test_a_clock_jump_is_also_detected_by_the_next_process(originals: Originals, tmp_path: Path) -> None:
    TrashKeeper(originals, tmp_path, 90, None).purge(NOW)
    lay(tmp_path, "young", 1)
    assert TrashKeeper(originals, tmp_path, 90, None).purge(NOW + 400 * DAY) == 0
    assert kept(originals) == ["young"]


@pytest.mark.parametrize("note", [b"", b"yesterday", b"\xff\xfe", b"1e400", b"nan"])
def test_an_unreadable_record_of_the_last_run_delays_purging_by_one_run_at_most(
    originals: Originals, tmp_path: Path, note: bytes
) -> None:
    lay(tmp_path, "old", 100)
    (tmp_path / ".asset-server").mkdir(exist_ok=True)
    (tmp_path / ".asset-server/trash-purged").write_bytes(note)
    keeper = TrashKeeper(originals, tmp_path, 90, None)
    assert keeper.purge(NOW) + keeper.purge(NOW + 3600) == 1


def test_a_failure_to_record_the_run_is_logged(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".asset-server/trash-purged").mkdir(parents=True)
    lay(tmp_path, "old", 100)
    assert TrashKeeper(originals, tmp_path, 90, None).purge(NOW) == 1
    assert "cannot be recorded" in caplog.text


def test_an_entry_that_cannot_be_purged_does_not_stop_the_others(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        lay(tmp_path, name, 100)
    purge = originals.trash_storage.purge

    def fail(entry: TrashEntry) -> bool:
        if entry.name == "b":
            raise StorageFault("The server cannot write.", "broken")
        return purge(entry)

    monkeypatch.setattr(originals.trash_storage, "purge", fail)
    assert TrashKeeper(originals, tmp_path, 90, None).purge(NOW) == 2
    assert kept(originals) == ["b"]
    assert "-deleted-b" in caplog.text


def test_a_name_that_is_not_utf_8_does_not_stop_the_others(originals: Originals, tmp_path: Path) -> None:
    lay(tmp_path, "\udcff", 200)
    lay(tmp_path, "old", 100)
    TrashKeeper(originals, tmp_path, 90, None).purge(NOW)
    assert "old" not in kept(originals)


def test_an_entry_restored_during_a_purge_is_not_an_error(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lay(tmp_path, "old", 100)
    lay(tmp_path, "restored", 99)
    entries = list(originals.trash())
    originals.restore(entries[1], events.Origin("", "somebody"))
    monkeypatch.setattr(originals, "trash", lambda: iter(entries))
    caplog.clear()
    assert TrashKeeper(originals, tmp_path, 90, None).purge(NOW) == 1
    assert caplog.text == ""
    assert (tmp_path / "originals/restored").exists()
