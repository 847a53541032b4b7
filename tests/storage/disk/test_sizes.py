"""storage.disk.sizes: the cached sizes of a folder, for all processes together."""

import fcntl
import multiprocessing
import os
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from assetstore.storage.disk.sizes import DiskSizes
from assetstore.storage.thumbnail_sizes import SizeRules


def add(arguments: tuple[Path, int]) -> bool:
    folder, size = arguments
    return DiskSizes(folder, SizeRules(5)).add(size, replaces=False)


def sizes_of(folder: Path, most: int, *previews: int) -> DiskSizes:
    return DiskSizes(folder, SizeRules(most, frozenset(previews)))


def remove_retired(sizes: DiskSizes) -> None:
    sizes.remove_retired(threading.Event())


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_sizes_are_added_up_to_the_limit_and_stay(tmp_path: Path) -> None:
    sizes = sizes_of(tmp_path, 2)
    assert [sizes.add(size, replaces=False) for size in (10, 20, 30, 10, 20)] == [True, True, False, True, True]
    assert sizes.known() == sizes.cached() == {10, 20}
    assert [sizes.is_cached(size) for size in (10, 20, 30)] == [True, True, False]


def test_the_sizes_of_an_earlier_server_are_recorded_once_and_all_stay(tmp_path: Path) -> None:
    for name in ("a_101.jpg", "b.att_202.PNG", "c_303-0.png", "d_50", "e.jpg", "f_x.jpg", "g_0.jpg", "h_7_9.gif"):
        (tmp_path / name).touch()
    before = visible(tmp_path)
    sizes = sizes_of(tmp_path, 1)
    assert sizes.known() == {9, 50, 101, 202, 303}
    assert sizes.add(101, replaces=False) is True
    assert sizes.add(102, replaces=False) is False
    sizes.update_previews()
    remove_retired(sizes)
    assert visible(tmp_path) == before


@pytest.mark.parametrize("is_used", [False, True])
def test_without_retired_sizes_nothing_is_created_or_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_used: bool
) -> None:
    sizes = sizes_of(tmp_path, 3)
    assert sizes.add(10, replaces=False) or not is_used
    if not is_used:
        shutil.rmtree(tmp_path / ".asset-server")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.delattr(os, "scandir")
    remove_retired(sizes)
    monkeypatch.undo()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_least_used_size_gives_way_with_its_thumbnails_and_no_others(tmp_path: Path) -> None:
    sizes = sizes_of(tmp_path, 3)
    for size in (10, 20, 123):
        sizes.add(size, replaces=False)
        os.utime(tmp_path / f".asset-server/sizes/{size}", (size, size))
        for name in (f"a_{size}.jpg", f"b_{size}-0.png", f"c_{size}"):
            (tmp_path / name).touch()
    (tmp_path / "notes_10.txt.gz").touch()
    sizes.use(10)
    assert sizes.add(30, replaces=True) is True
    assert (sizes.cached(), sizes.known()) == ({10, 30, 123}, {10, 20, 30, 123}), "20 is known as long as it has files"
    assert sizes.is_cached(20) is sizes.add(20, replaces=True) is False
    assert sizes.add(40, replaces=True) is False, "one size leaves at a time"
    before = visible(tmp_path)
    remove_retired(sizes)
    assert sizes.known() == {10, 30, 123}
    assert set(before) - set(visible(tmp_path)) == {"a_20.jpg", "b_20-0.png", "c_20"}
    assert sizes.add(20, replaces=True) is True
    assert sizes.cached() == {20, 30, 123} or sizes.cached() == {10, 20, 123}


def test_a_run_that_ends_early_is_continued(tmp_path: Path) -> None:
    sizes = sizes_of(tmp_path, 3)
    sizes.add(10, replaces=True)
    (tmp_path / "a_10.jpg").touch()
    sizes.retire({10})
    ending = threading.Event()
    ending.set()
    sizes.remove_retired(ending)
    assert (sizes.known(), visible(tmp_path)) == ({10}, ["a_10.jpg"])
    remove_retired(sizes)
    assert (sizes.known(), visible(tmp_path)) == (set(), [])
    assert sorted(os.listdir(tmp_path / ".asset-server/sizes")) == ["taken"]


def test_what_a_crash_left_of_a_retired_size_goes(tmp_path: Path) -> None:
    sizes = sizes_of(tmp_path, 3)
    sizes.add(10, replaces=True)
    (tmp_path / ".asset-server/sizes/20-leaving").touch()
    assert sizes.add(20, replaces=True) is False
    remove_retired(sizes)
    assert sizes.add(20, replaces=True) is True


def test_nothing_is_published_of_a_size_that_is_not_cached(tmp_path: Path) -> None:
    sizes = sizes_of(tmp_path, 3)
    sizes.add(10, replaces=True)
    with sizes.publishing(10) as is_cached:
        assert is_cached
    with sizes.publishing(20) as is_cached:
        assert not is_cached
    sizes.retire({10})
    with sizes.publishing(10) as is_cached:
        assert not is_cached


def publish_slowly(folder: Path, began: threading.Event, go_on: threading.Event) -> None:
    """Publishes a thumbnail of 10 pixels, in another process."""
    with sizes_of(folder, 1).publishing(10) as is_cached:
        assert is_cached
        began.set()
        assert go_on.wait(60)
        (folder / "a_10.jpg").touch()


def test_a_thumbnail_that_another_process_is_publishing_while_its_size_leaves_is_removed_too(tmp_path: Path) -> None:
    sizes = sizes_of(tmp_path, 1)
    sizes.add(10, replaces=True)
    spawn = multiprocessing.get_context("spawn")
    began, go_on = spawn.Event(), spawn.Event()
    process = spawn.Process(target=publish_slowly, args=(tmp_path, began, go_on))
    process.start()
    assert began.wait(60)
    assert sizes.add(20, replaces=True) is True, "no request waits for it"
    assert sizes.known() == {10, 20}
    remover = threading.Thread(target=remove_retired, args=(sizes,))
    remover.start()
    assert sizes.known() == {10, 20}, "the thumbnails of an original are still removed with it"
    go_on.set()
    remover.join()
    process.join()
    assert (process.exitcode, sizes.known(), visible(tmp_path)) == (0, {20}, [])


def publish_all(arguments: tuple[Path, int]) -> int:
    """Requests sizes in turn and publishes thumbnails of them; returns how many were published."""
    folder, number = arguments
    sizes, published = sizes_of(folder, 3), 0
    for turn in range(60):
        size = 10 + (turn + number) % 6
        sizes.add(size, replaces=True)
        with sizes.publishing(size) as is_cached:
            if is_cached:
                (folder / f"{number}-{turn}_{size}.jpg").touch()
                published += 1
        if number == 0:
            remove_retired(sizes)
    return published


def test_no_thumbnail_ever_has_a_size_that_is_not_known_however_many_processes_change_sizes(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert all(processes.map(publish_all, [(tmp_path, 0), (tmp_path, 1)]))
    sizes = sizes_of(tmp_path, 3)
    remove_retired(sizes)
    assert {int(name.partition("_")[2].removesuffix(".jpg")) for name in visible(tmp_path)} <= sizes.known()
    assert len(sizes.known()) == 3


def test_only_one_process_removes_thumbnails_at_a_time(tmp_path: Path) -> None:
    sizes, others = sizes_of(tmp_path, 3), sizes_of(tmp_path, 3)
    sizes.add(10, replaces=True)
    sizes.retire({10})
    entered, leave = threading.Event(), threading.Event()

    def publish() -> None:
        descriptor = os.open(tmp_path / ".asset-server/sizes/10", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            entered.set()
            assert leave.wait(60)
        finally:
            os.close(descriptor)

    publisher = threading.Thread(target=publish)
    publisher.start()
    assert entered.wait(60)
    remover = threading.Thread(target=remove_retired, args=(sizes,))
    remover.start()
    while not is_locked(tmp_path / ".asset-server/sizes/taken"):
        pass
    remove_retired(others)  # returns at once
    assert others.known() == {10}
    leave.set()
    remover.join()
    publisher.join()
    assert others.known() == set()


def is_locked(path: Path) -> bool:
    inode = str(path.stat().st_ino)
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(row[1] == "FLOCK" and row[5].rpartition(":")[2] == inode for row in rows)


def test_previews_are_added_and_those_that_left_the_setting_are_retired(tmp_path: Path) -> None:
    sizes_of(tmp_path, 1).update_previews()
    assert not (tmp_path / ".asset-server").exists(), "nothing to do, and the disk may not be mounted"
    (tmp_path / ".asset-server").mkdir()
    sizes_of(tmp_path, 1).update_previews()
    assert not (tmp_path / ".asset-server/sizes").exists()
    sizes_of(tmp_path, 1, 40, 200).update_previews()
    sizes_of(tmp_path, 1, 40, 200).add(123, replaces=True)
    for name in ("a_40.jpg", "a_123.jpg", "a_200.jpg"):
        (tmp_path / name).touch()
    assert sizes_of(tmp_path, 1).cached() == {40, 123, 200}
    fewer = sizes_of(tmp_path, 1, 200)
    for _ in range(2):
        fewer.update_previews()
        remove_retired(fewer)
        assert (fewer.known(), visible(tmp_path)) == ({123, 200}, ["a_123.jpg", "a_200.jpg"])


def test_processes_keep_the_limit_together(tmp_path: Path) -> None:
    options = [(tmp_path, size) for size in range(1, 61)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert sum(processes.map(add, options)) == 5


def test_concurrent_counting_of_sizes_is_safe(tmp_path: Path) -> None:
    (tmp_path / "a_100.jpg").touch()
    with ThreadPoolExecutor(8) as threads:
        known = list(threads.map(lambda _: sizes_of(tmp_path, 5).known(), range(8)))
    assert known == [{100}] * 8
    assert [path.name for path in (tmp_path / ".asset-server").iterdir()] == ["sizes"]


def test_a_second_count_does_not_replace_the_folder_of_the_first(tmp_path: Path) -> None:
    early, late = sizes_of(tmp_path, 1), sizes_of(tmp_path, 1)
    early._take_stock()
    folder = tmp_path / ".asset-server/sizes"
    before = folder.stat().st_ino
    late._take_stock()
    assert folder.stat().st_ino == before, "somebody may hold the lock of this one"
    assert [path.name for path in folder.parent.iterdir()] == ["sizes"]
    assert early.add(20, replaces=False)
    assert not late.add(30, replaces=False)


def test_a_file_at_the_path_of_the_folder_is_reported_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / ".asset-server").mkdir()
    (tmp_path / ".asset-server/sizes").touch()
    with pytest.raises(NotADirectoryError):
        sizes_of(tmp_path, 5)._take_stock()
    assert [path.name for path in (tmp_path / ".asset-server").iterdir()] == ["sizes"]
