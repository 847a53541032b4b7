"""storage.disk_trash: what goes comes back byte for byte under its own name, whatever lies around."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetstore.errors import AssetError, BadRequest, NotFound, OutOfSpace, StorageFault
from assetstore.names import is_store_name
from assetstore.storage.disk import trash as disk_trash
from assetstore.storage.disk.disk import DiskStorage
from assetstore.storage.disk.trash import DiskTrash
from assetstore.storage.models import DELETED, REPLACED, TrashEntry

STAMP = "2026-11-24T10.31.07.123456789"
LONG = "ü" * 127 + "x"


@pytest.fixture
def storage(tmp_path: Path) -> DiskStorage:
    store = DiskStorage(tmp_path, "originals", "thumbnails", [""])
    store.prepare()
    return store


@pytest.fixture
def trash(storage: DiskStorage, tmp_path: Path) -> Path:
    return tmp_path / "originals/.asset-server/trash"


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


def put(storage: DiskStorage, name: str, content: bytes) -> bool:
    with storage.receive("", len(content)) as incoming:
        incoming.write(content)
        incoming.sync()
        return incoming.commit("", name, keep_old=True)


def read(storage: DiskStorage, name: str) -> bytes:
    with storage.open_original("", name) as stored:
        return stored.file.read()


def entries(storage: DiskStorage) -> list[TrashEntry]:
    return list(storage.trash(""))


def there_and_back(storage: DiskStorage, name: str) -> None:
    """Replaces and deletes a file, and brings both versions back."""
    put(storage, name, b"first")
    put(storage, name, b"second version")
    assert storage.delete_original("", name, keep_old=True) is True
    replaced, deleted = entries(storage)
    assert (replaced.name, replaced.reason, replaced.size) == (name, REPLACED, 5)
    assert (deleted.name, deleted.reason, deleted.size) == (name, DELETED, 14)
    assert storage.restore(deleted, keep_old=True) is False
    assert read(storage, name) == b"second version"
    assert storage.restore(replaced, keep_old=False) is True
    assert read(storage, name) == b"first"
    assert entries(storage) == []


@pytest.mark.parametrize("length", [1, 215, 216, 217, 218, 219, 254, 255])
@pytest.mark.parametrize("letter", ["a", "ü", "🐟"])
def test_names_of_every_length_come_back(storage: DiskStorage, trash: Path, letter: str, length: int) -> None:
    width = len(letter.encode())
    there_and_back(storage, letter * (length // width) + "x" * (length % width))
    assert list(trash.iterdir()) == [], "no folder of a long name is left"


@pytest.mark.parametrize("name", ["-", "-deleted-", f"{STAMP}-deleted-a", f"{STAMP}-replaced", ".a", " ", "a b", "*"])
def test_names_that_look_like_something_else_come_back(storage: DiskStorage, name: str) -> None:
    there_and_back(storage, name)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=255).filter(is_store_name))
def test_any_name_comes_back(storage: DiskStorage, name: str) -> None:
    there_and_back(storage, name)
    storage.delete_original("", name, keep_old=False)


def test_the_trash_works_without_hard_links(storage: DiskStorage, without_links: None) -> None:
    there_and_back(storage, "a")


def test_long_names_work_without_hard_links(storage: DiskStorage, without_links: None) -> None:
    there_and_back(storage, LONG)


def test_the_date_of_the_last_change_stays_with_the_file(storage: DiskStorage, tmp_path: Path) -> None:
    put(storage, "a", b"x")
    os.utime(tmp_path / "originals/a", ns=(10**18 + 1, 10**18 + 1))
    storage.delete_original("", "a", keep_old=True)
    (entry,) = entries(storage)
    assert entry.modified_ns == 10**18 + 1
    storage.restore(entry, keep_old=True)
    assert (tmp_path / "originals/a").stat().st_mtime_ns == 10**18 + 1


def test_entries_of_one_nanosecond_do_not_meet(storage: DiskStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [b"1", b"22", b"333", b"4444"]
    put(storage, "b", b"another name")
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_000_000_999_999_999)
    for content in contents:
        put(storage, "a", content)
    storage.delete_original("", "a", keep_old=True)
    storage.delete_original("", "b", keep_old=True)
    sizes = [entry.size for entry in entries(storage) if entry.name == "a"]
    assert sorted(sizes) == [1, 2, 3, 4]
    assert len({entry.identifier for entry in entries(storage)}) == 5


def test_long_names_of_one_nanosecond_do_not_meet_either(storage: DiskStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_000_000_999_999_999)
    for content in (b"1", b"22", b"333"):
        put(storage, LONG, content)
    put(storage, "b" * 255, b"4444")
    put(storage, "b" * 255, b"55555")
    assert sorted((entry.name[0], entry.size) for entry in entries(storage)) == [("b", 4), ("ü", 1), ("ü", 2)]


def test_entries_come_oldest_first(storage: DiskStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    for name, age in (("young", 1), ("old", 400 * 86_400), ("middle", 3600)):
        put(storage, name, b"x")
        monkeypatch.setattr(time, "time_ns", lambda age=age: now - age * 10**9)
        storage.delete_original("", name, keep_old=True)
    assert [entry.name for entry in entries(storage)] == ["old", "middle", "young"]
    assert [(now - entry.removed_ns) // 10**9 for entry in entries(storage)] == [400 * 86_400, 3600, 1]


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
def test_what_else_lies_in_the_folder_is_passed_over(
    storage: DiskStorage, trash: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(trash / name)
    there_and_back(storage, "a")
    assert [path.name for path in trash.iterdir()] == [name]


def test_a_file_where_the_folder_of_a_long_name_would_be_is_passed_over(storage: DiskStorage, trash: Path) -> None:
    (trash / f"{STAMP}-deleted").touch()
    there_and_back(storage, "a")


@pytest.mark.parametrize("name", [b"\xff", b".asset-server", b"a\nb", b"a\\b"])
def test_entries_under_a_name_that_nobody_can_ask_for_are_passed_over(
    storage: DiskStorage, trash: Path, name: bytes
) -> None:
    path = os.fsencode(trash / f"{STAMP}-deleted-") + name
    with open(path, "wb"):
        pass
    assert entries(storage) == []


def test_a_link_to_a_folder_goes_to_the_trash_and_nothing_behind_it_is_touched(
    storage: DiskStorage, tmp_path: Path
) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a").write_bytes(b"precious")
    (tmp_path / "originals/a").symlink_to(outside)
    assert storage.delete_original("", "a", keep_old=True) is True
    (entry,) = entries(storage)
    assert storage.purge(entry) is True
    assert (outside / "a").read_bytes() == b"precious"
    assert entries(storage) == []


def test_links_to_files_go_and_come_back_as_links(storage: DiskStorage, tmp_path: Path) -> None:
    target = tmp_path / "originals/real"
    target.write_bytes(b"x")
    (tmp_path / "originals/a").symlink_to(target)
    put(storage, "a", b"new")
    (entry,) = entries(storage)
    assert storage.restore(entry, keep_old=False) is True
    assert (tmp_path / "originals/a").readlink() == target
    assert read(storage, "real") == b"x"


def test_a_trash_folder_that_was_removed_is_empty_and_made_anew(storage: DiskStorage, trash: Path) -> None:
    trash.rmdir()
    assert entries(storage) == []
    there_and_back(storage, "a")


def test_entries_can_be_moved_back_by_hand(storage: DiskStorage, trash: Path, tmp_path: Path) -> None:
    put(storage, "a", b"x")
    storage.delete_original("", "a", keep_old=True)
    (entry,) = entries(storage)
    (trash / entry.identifier).rename(tmp_path / "originals/a")
    assert entries(storage) == []
    assert read(storage, "a") == b"x"
    with pytest.raises(NotFound):
        storage.restore(entry, keep_old=True)


@pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
def test_restoring_over_a_file_keeps_that_one(storage: DiskStorage, name: str) -> None:
    put(storage, name, b"old")
    put(storage, name, b"newer")
    (entry,) = entries(storage)
    assert storage.restore(entry, keep_old=True) is True
    assert read(storage, name) == b"old"
    (kept,) = entries(storage)
    assert (kept.name, kept.reason, kept.size) == (name, REPLACED, 5)


@pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
def test_what_was_restored_or_purged_is_gone_the_second_time(storage: DiskStorage, name: str) -> None:
    put(storage, name, b"1")
    put(storage, name, b"2")
    put(storage, name, b"3")
    first, second = entries(storage)
    storage.restore(first, keep_old=False)
    assert storage.purge(second) is True
    for entry in (first, second):
        with pytest.raises(NotFound):
            storage.restore(entry, keep_old=True)
        assert storage.purge(entry) is False
    assert read(storage, name) == b"1"
    assert entries(storage) == []


@pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
def test_an_entry_that_a_crash_left_of_today_s_original_can_be_restored_as_well(
    storage: DiskStorage, trash: Path, tmp_path: Path, name: str
) -> None:
    put(storage, name, b"x")
    entry_path = trash / f"{STAMP}-replaced-a"
    if name == LONG:
        (trash / f"{STAMP}-replaced").mkdir()
        entry_path = trash / f"{STAMP}-replaced" / name
    os.link(tmp_path / "originals" / name, entry_path)
    (entry,) = entries(storage)
    storage.restore(entry, keep_old=True)
    assert entry not in entries(storage)
    assert read(storage, name) == b"x"


@pytest.mark.parametrize("keep_old", [True, False])
def test_a_folder_of_that_name_is_not_restored_over(storage: DiskStorage, tmp_path: Path, keep_old: bool) -> None:
    put(storage, "a", b"x")
    storage.delete_original("", "a", keep_old=True)
    make_folder(tmp_path / "originals/a")
    with pytest.raises(BadRequest):
        storage.restore(entries(storage)[0], keep_old)
    assert (tmp_path / "originals/a/inside").exists()
    assert [entry.name for entry in entries(storage)] == ["a"]


def failing(real: Callable[..., None], number: int) -> Callable[..., None]:
    """os.rename on a disk that does not take the new file."""

    def rename(source: object, target: object) -> None:
        if "upload-" in str(source):
            raise OSError(number, os.strerror(number))
        real(source, target)

    return rename


def replace_in_vain(storage: DiskStorage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(storage, name, b"old")
    monkeypatch.setattr(os, "rename", failing(os.rename, errno.ENOSPC))
    with pytest.raises(OutOfSpace):
        put(storage, name, b"new")
    assert read(storage, name) == b"old"
    assert entries(storage) == []


@pytest.mark.parametrize("links", ["with_links", "without_links"])
def test_a_replacement_that_a_file_server_makes_and_calls_failed_keeps_the_old_version(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, links: str
) -> None:
    def made_but_failed(real: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def act(source: Path, target: Path) -> None:
            real(source, target)
            if target.parent.name == "originals":
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))  # NFS: the same request came twice

        return act

    put(storage, "a", b"old")
    if links == "without_links":
        request.getfixturevalue(links)
    monkeypatch.setattr(os, "rename", made_but_failed(os.rename))
    monkeypatch.setattr(disk_trash, "exchange", made_but_failed(disk_trash.exchange))
    with pytest.raises(StorageFault):
        put(storage, "a", b"newer")
    monkeypatch.undo()
    assert read(storage, "a") == b"newer"
    (entry,) = entries(storage)
    storage.restore(entry, keep_old=False)
    assert read(storage, "a") == b"old"


def test_what_cannot_be_replaced_is_not_in_the_trash(
    storage: DiskStorage, trash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_in_vain(storage, "a", monkeypatch)
    assert list(trash.iterdir()) == []


def test_what_cannot_be_replaced_is_put_back_where_there_are_no_hard_links(
    storage: DiskStorage, trash: Path, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    replace_in_vain(storage, "a", monkeypatch)
    assert list(trash.iterdir()) == []


def test_what_cannot_be_replaced_stays_also_under_a_long_name(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_in_vain(storage, LONG, monkeypatch)


def test_the_undo_leaves_no_empty_folder(storage: DiskStorage, trash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_vain(storage, LONG, monkeypatch)
    assert list(trash.iterdir()) == []


def test_a_restore_that_fails_changes_nothing(
    storage: DiskStorage, trash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "a", b"old")
    put(storage, "a", b"newer")
    before = entries(storage)
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if source.parent == trash:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StorageFault):
        storage.restore(before[0], keep_old=True)
    assert entries(storage) == before
    assert read(storage, "a") == b"newer"


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


def test_the_old_version_is_safe_before_the_new_one_takes_its_name(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "a", b"old")
    noted = calls(monkeypatch)
    put(storage, "a", b"new")
    assert noted[1:] == ["link to trash", "sync trash", "rename to originals", "sync originals"]


def test_without_hard_links_all_is_safe_before_the_answer(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    put(storage, "a", b"old")
    refuse = os.link
    noted = calls(monkeypatch)
    monkeypatch.setattr(os, "link", refuse)
    put(storage, "a", b"new")
    assert set(noted) >= {"sync trash", "sync originals"}
    noted.clear()
    storage.delete_original("", "a", keep_old=True)
    assert noted == ["rename to trash", "sync trash", "sync originals"]


def test_where_names_cannot_be_exchanged_either_the_old_version_is_safe_first(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch, without_links: None
) -> None:
    def refuse_exchange(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    put(storage, "a", b"old")
    refuse = os.link
    noted = calls(monkeypatch)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(disk_trash, "exchange", refuse_exchange)
    put(storage, "a", b"new")
    before_the_name = noted[: noted.index("rename to originals")]
    assert before_the_name[-2:] == ["rename to trash", "sync trash"]


def test_the_folder_of_a_long_name_is_safe_as_well(storage: DiskStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    put(storage, LONG, b"old")
    noted = calls(monkeypatch)
    put(storage, LONG, b"new")
    before_the_name = noted[: noted.index("rename to originals")]
    assert "sync trash" in before_the_name


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_that_cannot_sync_folders_have_a_trash_too(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    there_and_back(storage, "a")


def fail_to_sync(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("links", ["with_links", "without_links"])
def test_a_trash_that_cannot_be_synced_leaves_the_original_and_no_entry(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, links: str
) -> None:
    if links == "without_links":
        request.getfixturevalue(links)
    put(storage, "a", b"old")
    fail_to_sync(monkeypatch, "trash")
    with pytest.raises(StorageFault):
        put(storage, "a", b"new")
    assert read(storage, "a") == b"old"
    assert entries(storage) == []


def test_a_delete_whose_trash_cannot_be_synced_changes_nothing(
    storage: DiskStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "a", b"old")
    fail_to_sync(monkeypatch, "trash")
    with pytest.raises(AssetError):
        storage.delete_original("", "a", keep_old=True)
    assert read(storage, "a") == b"old"


def test_entries_know_their_collection_folder(tmp_path: Path) -> None:
    store = DiskStorage(tmp_path, "originals", "thumbnails", ["fish", "birds"])
    store.prepare()
    (tmp_path / "fish/originals/a").write_bytes(b"x")
    store.delete_original("fish", "a", keep_old=True)
    assert list(store.trash("birds")) == []
    (entry,) = store.trash("fish")
    assert (entry.collection_dir, entry.name) == ("fish", "a")
    assert DiskTrash("fish", tmp_path / "fish/originals").path(entry).read_bytes() == b"x"
