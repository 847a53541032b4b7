"""storage.thumbnail_sizes: a ceiling on sizes, kept by all processes together."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from assetstore.storage.thumbnail_sizes import ThumbnailSizes


def admit(arguments: tuple[Path, int]) -> bool:
    folder, size = arguments
    return ThumbnailSizes(folder, 5).admits(size)


def test_sizes_are_admitted_up_to_the_ceiling_and_stay_admitted(tmp_path: Path) -> None:
    sizes = ThumbnailSizes(tmp_path, 2)
    assert [sizes.admits(size) for size in (100, 200, 300, 100, 200)] == [True, True, False, True, True]
    assert sorted(sizes.known()) == [100, 200]


def test_a_ceiling_of_none_keeps_nothing(tmp_path: Path) -> None:
    assert ThumbnailSizes(tmp_path, 0).admits(100) is False


def test_the_sizes_of_an_earlier_server_are_journaled_once(tmp_path: Path) -> None:
    for name in ("a_100.jpg", "b.att_200.PNG", "c_300-0.png", "d_50", "e.jpg", "f_x.jpg", "g_0.jpg", "h_7_9.gif"):
        (tmp_path / name).touch()
    assert sorted(ThumbnailSizes(tmp_path, 1).known()) == [9, 50, 100, 200, 300]
    assert ThumbnailSizes(tmp_path, 1).admits(100) is True
    assert ThumbnailSizes(tmp_path, 1).admits(101) is False


def test_processes_keep_the_ceiling_together(tmp_path: Path) -> None:
    options = [(tmp_path, size) for size in range(1, 61)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert sum(processes.map(admit, options)) == 5


def test_many_may_take_stock_at_once(tmp_path: Path) -> None:
    (tmp_path / "a_100.jpg").touch()
    with ThreadPoolExecutor(8) as threads:
        known = list(threads.map(lambda _: ThumbnailSizes(tmp_path, 5).known(), range(8)))
    assert known == [[100]] * 8
    assert [path.name for path in (tmp_path / ".asset-server").iterdir()] == ["sizes"]


def test_a_second_stock_taking_does_not_replace_the_folder_of_the_first(tmp_path: Path) -> None:
    early, late = ThumbnailSizes(tmp_path, 1), ThumbnailSizes(tmp_path, 1)
    early._take_stock()
    folder = tmp_path / ".asset-server/sizes"
    before = folder.stat().st_ino
    late._take_stock()
    assert folder.stat().st_ino == before, "somebody may hold the lock of this one"
    assert [path.name for path in folder.parent.iterdir()] == ["sizes"]
    assert early.admits(20)
    assert not late.admits(30)


def test_a_file_where_the_folder_has_to_be_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / ".asset-server").mkdir()
    (tmp_path / ".asset-server/sizes").touch()
    with pytest.raises(NotADirectoryError):
        ThumbnailSizes(tmp_path, 5)._take_stock()
    assert [path.name for path in (tmp_path / ".asset-server").iterdir()] == ["sizes"]
