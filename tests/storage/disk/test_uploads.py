"""An upload on its way to the disk: space, durability, and what is left of it."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.errors import OutOfSpace, StorageFault, Unsynced
from assetstore.storage.disk.store import disk_store
from assetstore.storage.models import REPLACED, Past
from assetstore.storage.protocols import Store
from tests.file_operations import fail_to_sync, no_descriptor_left, path_of, syncs_and_renames
from tests.support import visible_files

MEGABYTE = 1 << 20


def opened(base: Path, *collection_dirs: str, reserve: int = 0) -> Store:
    store = disk_store(base, "originals", "thumbnails", collection_dirs or [""], reserve)
    store.space.prepare()
    return store


def put(store: Store, name: str, content: bytes, collection_dir: str = "", keep_old: bool = True) -> bool:
    with store.originals.receive(collection_dir, len(content)) as incoming:
        incoming.write(content)
        incoming.sync()
        return incoming.commit(collection_dir, name, keep_old)


def uploads(base: Path) -> list[Path]:
    return list(base.rglob(".asset-server/upload-*"))


def test_exactly_the_reserved_space_stays_free(tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    mounted(tmp_path / "disk", "16m")
    opened(tmp_path / "disk")
    free = shutil.disk_usage(tmp_path / "disk").free
    store = opened(tmp_path / "disk", reserve=4 * MEGABYTE)
    with pytest.raises(OutOfSpace):
        store.originals.receive("", free - 4 * MEGABYTE + 1)
    with store.originals.receive("", free - 4 * MEGABYTE):
        pass
    assert uploads(tmp_path) == []


def test_an_upload_of_unknown_length_ends_when_others_need_the_reserved_space(
    tmp_path: Path, mounted: Callable[[Path, str], None]
) -> None:
    mounted(tmp_path / "disk", "32m")
    store = opened(tmp_path / "disk", reserve=4 * MEGABYTE)
    with no_descriptor_left(), store.originals.receive(None, None) as incoming:
        for _ in range(5):
            incoming.write(bytes(MEGABYTE))
        (tmp_path / "disk/of another program").write_bytes(bytes(23 * MEGABYTE))
        with pytest.raises(OutOfSpace, match="nearly full"):
            for _ in range(3):
                incoming.write(bytes(MEGABYTE))
    assert uploads(tmp_path) == []


def test_the_bytes_are_synced_before_they_get_a_name_and_the_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    done = syncs_and_renames(monkeypatch)
    with no_descriptor_left():
        put(store, "a", b"bytes")
    (sync, path), *rest = done
    assert (sync, path.name.startswith("upload-")) == ("sync", True)
    assert rest == [("rename", tmp_path / "originals/a"), ("sync", tmp_path / "originals")]


def test_the_time_of_an_upload_is_exact_and_that_of_a_copy_is_its_own(tmp_path: Path) -> None:
    store = opened(tmp_path)
    before = time.time_ns()
    put(store, "a", b"new")
    assert before <= store.originals.version("", "a").modified_ns <= time.time_ns()
    with store.originals.receive("", 4, "b", Past(1_234_567_891)) as incoming:
        incoming.write(b"past")
        incoming.sync()
        incoming.commit("", "b", keep_old=False)
    assert store.originals.version("", "b").modified_ns == 1_234_567_891


@pytest.mark.parametrize("replaces", [True, False])
def test_a_name_that_the_disk_does_not_confirm_is_unsynced_and_says_whether_it_replaced_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    store = opened(tmp_path)
    if replaces:
        put(store, "a", b"old")
    fail_to_sync(monkeypatch, "originals")
    with no_descriptor_left(), pytest.raises(Unsynced) as error:
        put(store, "a", b"new")
    assert error.value.replaces is replaces
    assert (tmp_path / "originals/a").read_bytes() == b"new"


def test_a_replaced_file_goes_to_the_trash_only_if_asked(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert [put(store, "a", content, keep_old=False) for content in (b"1", b"22")] == [False, True]
    assert list(store.trash.entries("")) == []
    assert put(store, "a", b"333", keep_old=True)
    assert [entry.size for entry in store.trash.entries("")] == [2]


def test_a_link_to_nothing_is_replaced_and_goes_to_the_trash(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (tmp_path / "originals/a").symlink_to("nothing")
    assert put(store, "a", b"new") is True
    [entry] = store.trash.entries("")
    assert store.trash.restore(entry, keep_old=True) is True
    assert (tmp_path / "originals/a").readlink() == Path("nothing")
    [entry] = store.trash.entries("")
    assert entry.size == 3
    assert store.trash.restore(entry, keep_old=True) is True, "the link is replaced again"
    assert [entry.reason for entry in store.trash.entries("")] == [REPLACED]


def test_a_link_to_a_folder_is_no_folder(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (tmp_path / "originals/a").symlink_to(tmp_path)
    assert put(store, "a", b"new") is True
    assert (tmp_path / "originals/a").read_bytes() == b"new"


def test_an_upload_whose_file_cannot_be_removed_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    store = opened(tmp_path)
    with no_descriptor_left(), store.originals.receive("", None) as incoming:
        incoming.write(b"x")
        monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.undo()
    assert "the temporary file of an upload was not removed" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR
    store.space.prepare()
    assert uploads(tmp_path) == []


def test_a_copy_to_another_file_system_is_complete_and_synced_before_it_is_renamed(
    tmp_path: Path, mounted: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(tmp_path / "fish", "8m")
    store = opened(tmp_path, "birds", "fish")
    done = syncs_and_renames(monkeypatch)
    content = os.urandom(3 * MEGABYTE + 1)
    with no_descriptor_left():
        with store.originals.receive(None, None, None, Past(1_234_567_891)) as incoming:
            incoming.write(content)
            incoming.sync()
            done.clear()
            assert incoming.commit("fish", "a", keep_old=True) is False
        assert (tmp_path / "fish/originals/a").read_bytes() == content
        assert store.originals.version("fish", "a").modified_ns == 1_234_567_891
    (sync, path), *rest = done
    assert (sync, path.parent) == ("sync", tmp_path / "fish/originals/.asset-server")
    folder = tmp_path / "fish/originals"
    assert rest == [("rename", folder / "a"), ("sync", folder)]
    assert uploads(tmp_path) == []


def test_a_copy_that_cannot_be_synced_leaves_nothing_on_either_file_system(
    tmp_path: Path, mounted: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(tmp_path / "fish", "8m")
    store = opened(tmp_path, "birds", "fish")
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if path_of(descriptor).is_relative_to(tmp_path / "fish"):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with no_descriptor_left(), store.originals.receive(None, None) as incoming:
        incoming.write(b"bytes")
        incoming.sync()
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFault):
            incoming.commit("fish", "a", keep_old=True)
    assert uploads(tmp_path) == []
    assert visible_files(tmp_path / "fish/originals") == []
