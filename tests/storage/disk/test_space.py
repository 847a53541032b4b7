"""The folders of a store: what the start leaves alone, their free space, and the test of writing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.errors import StorageFault
from assetstore.storage.disk.store import disk_store
from assetstore.storage.thumbnail_sizes import SizeRules
from tests.file_operations import path_of


def test_a_start_leaves_old_folders_of_the_trash_the_reserve_and_the_sizes_alone(tmp_path: Path) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", [""])
    store.space.prepare()
    (tmp_path / "thumbnails/.asset-server/sizes").mkdir(exist_ok=True)
    (tmp_path / "thumbnails/.asset-server/sizes/100").touch()
    (tmp_path / "originals/a").write_bytes(b"x")
    store.originals.delete_original("", "a", keep_old=True)
    folders = [tmp_path / "originals/.asset-server/trash", tmp_path / "thumbnails/.asset-server/sizes"]
    folders.append(tmp_path / "originals/.asset-server/ballast")
    before = [sorted(os.listdir(folder)) for folder in folders]
    inodes = [folder.stat().st_ino for folder in folders]
    for folder in folders:
        os.utime(folder, (0, 0))
    store.space.prepare()
    assert [sorted(os.listdir(folder)) for folder in folders] == before
    assert [folder.stat().st_ino for folder in folders] == inodes


def test_the_free_space_is_that_of_the_fullest_disk(tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    mounted(tmp_path / "small", "4m")
    mounted(tmp_path / "large", "64m")
    for collection_dirs in (["small", "large"], ["large", "small"]):
        store = disk_store(tmp_path, "originals", "thumbnails", collection_dirs)
        store.space.prepare()
        assert store.space.free_bytes() == shutil.disk_usage(tmp_path / "small").free


def test_the_test_of_writing_syncs_a_file_in_each_folder_of_originals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", ["birds", "fish"])
    store.space.prepare()
    synced, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(path_of(descriptor).parent)

    monkeypatch.setattr(os, "fsync", note)
    store.space.probe()
    assert synced == [tmp_path / name / "originals/.asset-server" for name in ("birds", "fish")]
    shutil.rmtree(tmp_path / "fish")
    with pytest.raises(StorageFault):
        store.space.probe()


def test_a_collection_in_a_bucket_cannot_be_prepared_on_a_disk(tmp_path: Path) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", [""])
    with pytest.raises(StorageFault, match="STORAGE_URL"):
        store.space.prepare_collection_dir("s3://fish")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_mounted_elsewhere_gets_no_private_folder(
    tmp_path: Path, mounted: Callable[[Path, str], None]
) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", ["fish"])
    store.space.prepare()
    shutil.rmtree(tmp_path / "fish/originals/.asset-server")
    with store.originals.receive("fish", 1):
        assert (tmp_path / "fish/originals/.asset-server").is_dir()
    mounted(tmp_path / "fish/originals", "4m")
    with pytest.raises(StorageFault, match="not available"):
        store.originals.receive("fish", 1)
    assert list((tmp_path / "fish/originals").iterdir()) == []


def test_a_folder_that_cannot_be_synced_fails_the_test_of_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", [""])
    store.space.prepare()

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFault):
        store.space.probe()


def test_a_sweep_leaves_the_folder_of_a_thumbnail_that_is_being_rendered(tmp_path: Path) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", [""])
    store.space.prepare()
    with store.originals.thumbnails(SizeRules(32)).new("", "a_100.jpg") as new:
        store.space.prepare()
        store.space.sweep()
        assert new.path.parent.is_dir()
    assert not new.path.parent.exists()


def test_a_sweep_goes_on_after_a_link_and_folders_that_are_missing_or_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = disk_store(tmp_path, "originals", "thumbnails", ["a", "b"])
    store.space.prepare()
    shutil.rmtree(tmp_path / "a/thumbnails")
    shutil.rmtree(tmp_path / "a/originals/.asset-server")
    (tmp_path / "a/originals/.asset-server").write_bytes(b"a file")
    (tmp_path / "b/originals/.asset-server/upload-link").symlink_to("/etc/hostname")
    (tmp_path / "b/originals/.asset-server/upload-left").write_bytes(b"x")
    store.space.sweep()
    assert not (tmp_path / "b/originals/.asset-server/upload-left").exists()
    for folder, reason in (("originals", "[Errno 17] File exists"), ("thumbnails", "[Errno 2] No such file")):
        assert f"nothing was swept in {tmp_path}/a/{folder}: {reason}" in caplog.text
