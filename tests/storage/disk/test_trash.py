"""storage.disk.trash: files are restored byte for byte under their own names, whatever else is in the folder."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetstore.errors import AssetError, BadRequest, NotFound, OutOfSpace, StorageFault, Unsynced
from assetstore.names import is_store_name
from assetstore.storage.disk import trash as disk_trash
from assetstore.storage.disk.store import disk_store
from assetstore.storage.disk.trash import DiskTrash
from assetstore.storage.models import DELETED, REPLACED, TrashEntry
from assetstore.storage.protocols import Store
from tests.file_operations import fail_to_sync as fail_to_sync_later

STAMP = "2026-11-24T10.31.07.123456789"
LONG = "ü" * 127 + "x"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = disk_store(tmp_path, "originals", "thumbnails", [""])
    store.space.prepare()
    return store


@pytest.fixture
def trash(store: Store, tmp_path: Path) -> Path:
    return tmp_path / "originals/.asset-server/trash"


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


def put(store: Store, name: str, content: bytes) -> bool:
    with store.originals.receive("", len(content)) as incoming:
        incoming.write(content)
        incoming.sync()
        return incoming.commit("", name, keep_old=True)


def read(store: Store, name: str) -> bytes:
    with store.originals.open_original("", name) as stored:
        return stored.file.read()


def entries(store: Store) -> list[TrashEntry]:
    return list(store.trash.entries(""))


def there_and_back(store: Store, name: str) -> None:
    """Replaces and deletes a file, and brings both versions back."""
    put(store, name, b"first")
    put(store, name, b"second version")
    assert store.originals.delete_original("", name, keep_old=True) is True
    replaced, deleted = entries(store)
    assert (replaced.name, replaced.reason, replaced.size) == (name, REPLACED, 5)
    assert (deleted.name, deleted.reason, deleted.size) == (name, DELETED, 14)
    assert store.trash.restore(deleted, keep_old=True) is False
    assert read(store, name) == b"second version"
    assert store.trash.restore(replaced, keep_old=False) is True
    assert read(store, name) == b"first"
    assert entries(store) == []


@pytest.mark.parametrize("length", [1, 215, 216, 217, 218, 219, 254, 255])
@pytest.mark.parametrize("letter", ["a", "ü", "🐟"])
def test_names_of_every_length_can_be_restored(store: Store, trash: Path, letter: str, length: int) -> None:
    width = len(letter.encode())
    there_and_back(store, letter * (length // width) + "x" * (length % width))
    assert list(trash.iterdir()) == [], "no folder of a long name is left"


@pytest.mark.parametrize("name", ["-", "-deleted-", f"{STAMP}-deleted-a", f"{STAMP}-replaced", ".a", " ", "a b", "*"])
def test_names_that_resemble_trash_entries_can_be_restored(store: Store, name: str) -> None:
    there_and_back(store, name)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=255).filter(is_store_name))
def test_any_name_can_be_restored(store: Store, name: str) -> None:
    there_and_back(store, name)
    store.originals.delete_original("", name, keep_old=False)


def test_the_trash_works_without_hard_links(store: Store, without_links: None) -> None:
    there_and_back(store, "a")


def test_long_names_work_without_hard_links(store: Store, without_links: None) -> None:
    there_and_back(store, LONG)


def test_the_modification_time_of_the_file_is_preserved(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"x")
    os.utime(tmp_path / "originals/a", ns=(10**18 + 1, 10**18 + 1))
    store.originals.delete_original("", "a", keep_old=True)
    (entry,) = entries(store)
    assert entry.modified_ns == 10**18 + 1
    store.trash.restore(entry, keep_old=True)
    assert (tmp_path / "originals/a").stat().st_mtime_ns == 10**18 + 1


def test_entries_of_the_same_nanosecond_do_not_collide(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [b"1", b"22", b"333", b"4444"]
    put(store, "b", b"another name")
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_000_000_999_999_999)
    for content in contents:
        put(store, "a", content)
    store.originals.delete_original("", "a", keep_old=True)
    store.originals.delete_original("", "b", keep_old=True)
    sizes = [entry.size for entry in entries(store) if entry.name == "a"]
    assert sorted(sizes) == [1, 2, 3, 4]
    assert len({entry.identifier for entry in entries(store)}) == 5


def test_long_names_of_the_same_nanosecond_do_not_collide(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_000_000_999_999_999)
    for content in (b"1", b"22", b"333"):
        put(store, LONG, content)
    put(store, "b" * 255, b"4444")
    put(store, "b" * 255, b"55555")
    assert sorted((entry.name[0], entry.size) for entry in entries(store)) == [("b", 4), ("ü", 1), ("ü", 2)]


def test_entries_are_listed_oldest_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    for name, age in (("young", 1), ("old", 400 * 86_400), ("middle", 3600)):
        put(store, name, b"x")
        monkeypatch.setattr(time, "time_ns", lambda age=age: now - age * 10**9)
        store.originals.delete_original("", name, keep_old=True)
    assert [entry.name for entry in entries(store)] == ["old", "middle", "young"]
    assert [(now - entry.removed_ns) // 10**9 for entry in entries(store)] == [400 * 86_400, 3600, 1]


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def make_nested(path: Path) -> None:
    (path / "deeper").mkdir(parents=True)


#: What somebody may leave in the folder: a name, and how it is made.
STRANGE: list[tuple[str, Callable[[Path], None]]] = [
    ("notes.txt", Path.touch),
    (".nfs000000000001", Path.touch),
    ("some folder", make_folder),
    (f"{STAMP}-deleted-a folder", make_folder),
    (f"{STAMP}-deleted", Path.mkdir),
    (f"{STAMP}-replaced", make_nested),
    (f"{STAMP}-lost-a", Path.touch),
    (f"{STAMP}-deleted-", Path.touch),
    ("2026-13-45T10.31.07.123456789-deleted-a", Path.touch),
    ("2026-11-24T10.31.07.12345678-deleted-a", Path.touch),
    ("٢٠٢٦-11-24T10.31.07.123456789-deleted-a", Path.touch),
]


@pytest.mark.parametrize(("name", "make"), STRANGE, ids=[name for name, _ in STRANGE])
def test_other_files_in_the_trash_folder_are_ignored(
    store: Store, trash: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(trash / name)
    there_and_back(store, "a")
    assert [path.name for path in trash.iterdir()] == [name]


def test_a_file_at_the_path_of_a_folder_for_a_long_name_is_ignored(store: Store, trash: Path) -> None:
    (trash / f"{STAMP}-deleted").touch()
    there_and_back(store, "a")


@pytest.mark.parametrize("name", [b"\xff", b".asset-server", b"a\nb", b"a\\b"])
def test_entries_with_an_invalid_name_are_ignored(store: Store, trash: Path, name: bytes) -> None:
    path = os.fsencode(trash / f"{STAMP}-deleted-") + name
    with open(path, "wb"):
        pass
    assert entries(store) == []


def test_a_link_to_a_folder_is_trashed_without_touching_its_target(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a").write_bytes(b"precious")
    (tmp_path / "originals/a").symlink_to(outside)
    assert store.originals.delete_original("", "a", keep_old=True) is True
    (entry,) = entries(store)
    assert store.trash.purge(entry) is True
    assert (outside / "a").read_bytes() == b"precious"
    assert entries(store) == []


def test_links_to_files_are_trashed_and_restored_as_links(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "originals/real"
    target.write_bytes(b"x")
    (tmp_path / "originals/a").symlink_to(target)
    put(store, "a", b"new")
    (entry,) = entries(store)
    assert store.trash.restore(entry, keep_old=False) is True
    assert (tmp_path / "originals/a").readlink() == target
    assert read(store, "real") == b"x"


def test_a_removed_trash_folder_is_created_again(store: Store, trash: Path) -> None:
    trash.rmdir()
    assert entries(store) == []
    there_and_back(store, "a")


def test_entries_can_be_moved_back_by_hand(store: Store, trash: Path, tmp_path: Path) -> None:
    put(store, "a", b"x")
    store.originals.delete_original("", "a", keep_old=True)
    (entry,) = entries(store)
    (trash / entry.identifier).rename(tmp_path / "originals/a")
    assert entries(store) == []
    assert read(store, "a") == b"x"
    with pytest.raises(NotFound):
        store.trash.restore(entry, keep_old=True)


@pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
def test_restoring_over_a_file_moves_that_file_to_the_trash(store: Store, name: str) -> None:
    put(store, name, b"old")
    put(store, name, b"newer")
    (entry,) = entries(store)
    assert store.trash.restore(entry, keep_old=True) is True
    assert read(store, name) == b"old"
    (kept,) = entries(store)
    assert (kept.name, kept.reason, kept.size) == (name, REPLACED, 5)


@pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
def test_restoring_or_purging_an_entry_twice_fails(store: Store, name: str) -> None:
    put(store, name, b"1")
    put(store, name, b"2")
    put(store, name, b"3")
    first, second = entries(store)
    store.trash.restore(first, keep_old=False)
    assert store.trash.purge(second) is True
    for entry in (first, second):
        with pytest.raises(NotFound):
            store.trash.restore(entry, keep_old=True)
        assert store.trash.purge(entry) is False
    assert read(store, name) == b"1"
    assert entries(store) == []


@pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
def test_an_entry_left_by_a_crash_for_the_current_original_can_be_restored(
    store: Store, trash: Path, tmp_path: Path, name: str
) -> None:
    put(store, name, b"x")
    entry_path = trash / f"{STAMP}-replaced-a"
    if name == LONG:
        (trash / f"{STAMP}-replaced").mkdir()
        entry_path = trash / f"{STAMP}-replaced" / name
    os.link(tmp_path / "originals" / name, entry_path)
    (entry,) = entries(store)
    store.trash.restore(entry, keep_old=True)
    assert entry not in entries(store)
    assert read(store, name) == b"x"


@pytest.mark.parametrize("keep_old", [True, False])
def test_a_folder_of_the_same_name_is_not_overwritten_by_a_restore(
    store: Store, tmp_path: Path, keep_old: bool
) -> None:
    put(store, "a", b"x")
    store.originals.delete_original("", "a", keep_old=True)
    make_folder(tmp_path / "originals/a")
    with pytest.raises(BadRequest):
        store.trash.restore(entries(store)[0], keep_old)
    assert (tmp_path / "originals/a/inside").exists()
    assert [entry.name for entry in entries(store)] == ["a"]


def failing(real: Callable[..., None], number: int) -> Callable[..., None]:
    """os.rename on a disk that does not take the new file."""

    def rename(source: object, target: object) -> None:
        if "upload-" in str(source):
            raise OSError(number, os.strerror(number))
        real(source, target)

    return rename


def replace_in_vain(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, name, b"old")
    monkeypatch.setattr(os, "rename", failing(os.rename, errno.ENOSPC))
    with pytest.raises(OutOfSpace):
        put(store, name, b"new")
    assert read(store, name) == b"old"
    assert entries(store) == []


@pytest.mark.parametrize("links", ["with_links", "without_links"])
def test_a_replacement_that_succeeds_with_an_error_preserves_the_old_version(
    store: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, links: str
) -> None:
    def made_but_failed(real: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def act(source: Path, target: Path) -> None:
            real(source, target)
            if target.parent.name == "originals":
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))  # NFS: the same request came twice

        return act

    put(store, "a", b"old")
    if links == "without_links":
        request.getfixturevalue(links)
    monkeypatch.setattr(os, "rename", made_but_failed(os.rename))
    monkeypatch.setattr(disk_trash, "exchange", made_but_failed(disk_trash.exchange))
    with pytest.raises(StorageFault):
        put(store, "a", b"newer")
    monkeypatch.undo()
    assert read(store, "a") == b"newer"
    (entry,) = entries(store)
    store.trash.restore(entry, keep_old=False)
    assert read(store, "a") == b"old"


def test_a_failed_replacement_leaves_no_trash_entry(store: Store, trash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_vain(store, "a", monkeypatch)
    assert list(trash.iterdir()) == []


def test_a_failed_replacement_without_hard_links_puts_the_original_back(
    store: Store, trash: Path, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    replace_in_vain(store, "a", monkeypatch)
    assert list(trash.iterdir()) == []


def test_a_failed_replacement_of_a_long_name_leaves_the_original_in_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_in_vain(store, LONG, monkeypatch)


def test_undoing_a_change_leaves_no_empty_folder(store: Store, trash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_vain(store, LONG, monkeypatch)
    assert list(trash.iterdir()) == []


def test_a_restore_that_fails_changes_nothing(store: Store, trash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"old")
    put(store, "a", b"newer")
    before = entries(store)
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if source.parent == trash:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StorageFault):
        store.trash.restore(before[0], keep_old=True)
    assert entries(store) == before
    assert read(store, "a") == b"newer"


def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes what is moved and synced, in order."""
    noted: list[str] = []
    link, rename, fsync = os.link, os.rename, os.fsync

    def note(what: str, act: Callable[..., None]) -> Callable[..., None]:
        def call(source: Path, target: Path, **options: object) -> None:
            act(source, target, **options)
            noted.append(f"{what} to {target.parent.name}")

        return call

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        noted.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")

    monkeypatch.setattr(os, "link", note("link", link))
    monkeypatch.setattr(os, "rename", note("rename", rename))
    monkeypatch.setattr(os, "fsync", note_sync)
    return noted


def test_the_old_version_is_synced_before_the_new_one_takes_its_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a", b"old")
    noted = calls(monkeypatch)
    put(store, "a", b"new")
    assert noted[1:] == ["link to trash", "sync trash", "rename to originals", "sync originals"]


def test_without_hard_links_everything_is_synced_before_the_response(
    store: Store, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    put(store, "a", b"old")
    refuse = os.link
    noted = calls(monkeypatch)
    monkeypatch.setattr(os, "link", refuse)
    put(store, "a", b"new")
    assert set(noted) >= {"sync trash", "sync originals"}
    noted.clear()
    store.originals.delete_original("", "a", keep_old=True)
    assert noted == ["rename to trash", "sync trash", "sync originals"]


def test_without_hard_links_and_atomic_swaps_the_old_version_is_synced_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    def refuse_exchange(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    put(store, "a", b"old")
    refuse = os.link
    noted = calls(monkeypatch)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(disk_trash, "exchange", refuse_exchange)
    put(store, "a", b"new")
    before_the_name = noted[: noted.index("rename to originals")]
    assert before_the_name[-2:] == ["rename to trash", "sync trash"]


def test_the_folder_of_a_long_name_is_synced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, LONG, b"old")
    noted = calls(monkeypatch)
    put(store, LONG, b"new")
    before_the_name = noted[: noted.index("rename to originals")]
    assert "sync trash" in before_the_name


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_the_trash_works_on_file_systems_that_cannot_sync_folders(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    there_and_back(store, "a")


def fail_to_sync(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("links", ["with_links", "without_links"])
def test_a_replacement_whose_trash_cannot_be_synced_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, links: str
) -> None:
    if links == "without_links":
        request.getfixturevalue(links)
    put(store, "a", b"old")
    fail_to_sync(monkeypatch, "trash")
    with pytest.raises(StorageFault):
        put(store, "a", b"new")
    assert read(store, "a") == b"old"
    assert entries(store) == []


def test_a_delete_whose_trash_cannot_be_synced_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"old")
    fail_to_sync(monkeypatch, "trash")
    with pytest.raises(AssetError):
        store.originals.delete_original("", "a", keep_old=True)
    assert read(store, "a") == b"old"


def test_entries_record_their_collection_folder(tmp_path: Path) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", ["fish", "birds"])
    store.space.prepare()
    (tmp_path / "fish/originals/a").write_bytes(b"x")
    store.originals.delete_original("fish", "a", keep_old=True)
    assert list(store.trash.entries("birds")) == []
    (entry,) = store.trash.entries("fish")
    assert (entry.collection_dir, entry.name) == ("fish", "a")
    assert DiskTrash("fish", tmp_path / "fish/originals").path(entry).read_bytes() == b"x"


def test_a_restored_original_is_confirmed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"x")
    store.originals.delete_original("", "a", keep_old=True)
    (entry,) = entries(store)
    with monkeypatch.context() as patch:
        fail_to_sync(patch, "originals")
        with pytest.raises(Unsynced):
            store.trash.restore(entry, keep_old=True)
    assert read(store, "a") == b"x"
    assert entries(store) == []


def test_a_delete_without_trash_is_confirmed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"x")
    fail_to_sync(monkeypatch, "originals")
    with pytest.raises(Unsynced):
        store.originals.delete_original("", "a", keep_old=False)
    with pytest.raises(NotFound):
        read(store, "a")


def test_a_swap_that_the_disk_does_not_confirm_is_reported_as_unsynced(
    store: Store, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    put(store, "a", b"old")
    fail_to_sync_later(monkeypatch, "trash", successes=1)
    with pytest.raises(Unsynced) as error:
        put(store, "a", b"newer")
    assert error.value.replaces
    assert read(store, "a") == b"newer"
    assert [(entry.reason, entry.size) for entry in entries(store)] == [(REPLACED, 3)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_delete_on_a_full_disk_uses_the_reserve_piece_by_piece(
    store: Store, trash: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    reserve, rename = trash.parent / "ballast", os.rename
    pieces = len(list(reserve.iterdir()))

    def fail_once(source: Path, target: Path) -> None:
        if len(list(reserve.iterdir())) == pieces:
            raise OSError(number, os.strerror(number))
        rename(source, target)

    put(store, "a", b"x")
    monkeypatch.setattr(os, "rename", fail_once)
    assert store.originals.delete_original("", "a", keep_old=True) is True
    assert [entry.name for entry in entries(store)] == ["a"]
    assert len(list(reserve.iterdir())) == pieces - 1


def test_a_delete_on_a_full_disk_without_reserve_changes_nothing(
    store: Store, trash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(store, "a", b"x")
    for piece in (trash.parent / "ballast").iterdir():
        piece.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(OutOfSpace):
            store.originals.delete_original("", "a", keep_old=True)
    assert read(store, "a") == b"x"
    assert entries(store) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_at_the_start_has_a_smaller_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write, written = Path.write_bytes, []

    def fail_half(path: Path, data: bytes) -> int:
        if len(written) == 3:
            write(path, data[: len(data) // 2])
            raise OSError(number, os.strerror(number))
        written.append(path)
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail_half)
        store = disk_store(tmp_path, "originals", "thumbnails", [""])
        store.space.prepare()
    reserve = tmp_path / "originals/.asset-server/ballast"
    assert sorted(reserve.iterdir()) == sorted(written)
    assert len({path.stat().st_size for path in written}) == 1
    there_and_back(store, "a")
    store.space.prepare()
    assert len(list(reserve.iterdir())) > 3


def test_a_reserve_that_cannot_be_written_for_another_reason_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StorageFault):
        disk_store(tmp_path, "originals", "thumbnails", [""]).space.prepare()


def test_a_link_that_cannot_be_replaced_is_not_in_the_trash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "originals/a").symlink_to("nothing")
    monkeypatch.setattr(os, "rename", failing(os.rename, errno.ENOSPC))
    with pytest.raises(OutOfSpace):
        put(store, "a", b"new")
    assert (tmp_path / "originals/a").readlink() == Path("nothing")
    assert entries(store) == []


def test_of_two_links_to_one_file_the_replaced_one_goes_to_the_trash(store: Store, tmp_path: Path) -> None:
    (tmp_path / "originals/real").write_bytes(b"x")
    (tmp_path / "originals/a").symlink_to("real")
    store.originals.delete_original("", "a", keep_old=True)
    (tmp_path / "originals/a").symlink_to("./real")
    (entry,) = entries(store)
    assert store.trash.restore(entry, keep_old=True) is True
    assert (tmp_path / "originals/a").readlink() == Path("real")
    assert [(left.name, left.reason) for left in entries(store)] == [("a", REPLACED)]


def test_nothing_goes_to_a_trash_below_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals/a").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        DiskTrash("", tmp_path / "originals").move(tmp_path / "originals/a")
    assert [path.name for path in (tmp_path / "originals").iterdir()] == ["a"]
