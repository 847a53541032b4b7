"""storage.disk.thumbnails: copies in memory are used only while the file is unchanged."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.errors import NotFound
from assetstore.storage.disk import thumbnails as module
from assetstore.storage.disk.store import disk_store
from assetstore.storage.protocols import ThumbnailStore
from assetstore.storage.thumbnail_sizes import SizeRules

OLD, NEW = b"the old picture", b"the new picture"
STAMP = 500_000_000_123_456_000


@pytest.fixture
def store(tmp_path: Path) -> ThumbnailStore:
    opened = disk_store(tmp_path, "originals", "thumbnails", [""])
    opened.space.prepare()
    return opened.originals.thumbnails(SizeRules(32))


@pytest.fixture
def file(tmp_path: Path, store: ThumbnailStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A thumbnail that is in memory."""
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    path = tmp_path / "thumbnails/a_100.jpg"
    path.write_bytes(OLD)
    os.utime(path, ns=(STAMP, STAMP))
    assert (shown(store), shown(store)) == (OLD, OLD)
    assert store._from_memory("", path.name) is not None  # type: ignore[attr-defined]  # the test would show nothing
    return path


def shown(store: ThumbnailStore) -> bytes:
    with store.open("", "a_100.jpg", STAMP) as stored:
        data = stored.file.read()
        assert stored.version.size == len(data)
        return data


def write_in_place(path: Path) -> None:
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:  # within one tick of the clock of the file system
        path.write_bytes(NEW)
        os.utime(path, ns=(STAMP, STAMP))  # as if nothing had happened


def rename_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(NEW)
    os.utime(other, ns=(STAMP, STAMP))
    other.rename(path)


def link_to_another(path: Path) -> None:
    path.with_name("other").write_bytes(NEW)
    path.unlink()
    path.symlink_to("other")


@pytest.mark.parametrize("change", [write_in_place, rename_over, link_to_another])
def test_a_thumbnail_that_was_changed_by_hand_is_read_again(
    store: ThumbnailStore, file: Path, change: Callable[[Path], None]
) -> None:
    change(file)
    assert shown(store) == NEW


def test_a_thumbnail_that_was_deleted_is_not_found(store: ThumbnailStore, file: Path) -> None:
    file.unlink()
    with pytest.raises(NotFound):
        shown(store)


def test_a_thumbnail_in_memory_has_the_same_version_and_path_as_the_file(store: ThumbnailStore, file: Path) -> None:
    with store.open("", file.name) as ours, module.open_file(file.parents[1], "", "thumbnails", file.name) as read:
        assert (ours.version, ours.path) == (read.version, read.path)


def test_a_thumbnail_that_has_just_changed_is_read_from_the_disk(store: ThumbnailStore, tmp_path: Path) -> None:
    (tmp_path / "thumbnails/a_100.jpg").write_bytes(OLD)
    assert shown(store) == OLD
    assert store._from_memory("", "a_100.jpg") is None  # type: ignore[attr-defined]  # it may change in the same tick


def test_a_large_thumbnail_is_not_read_before_it_is_sent(store: ThumbnailStore, tmp_path: Path) -> None:
    (tmp_path / "thumbnails/a_100.jpg").write_bytes(bytes(module._LARGEST_IN_MEMORY + 1))
    with store.open("", "a_100.jpg") as stored:
        assert stored.file.fileno() > 0
