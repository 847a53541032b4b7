"""Limits that are not settings: derived from the machine and from the settings."""

import os
import shutil
from pathlib import Path

import pytest

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.config import limits
from assetstore.config.limits import Limits, Machine, this_machine

GIB = 1 << 30
MACHINE = Machine(4, 64 * GIB)


def derived(base: Path, machine: Machine = MACHINE, **other: int) -> Limits:
    return limits.derive(machine, base, **{"processes": 1, "threads": 256, "render_memory": 1024, **other})


def of_a_disk(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(limits, "disk_bytes", lambda base: size)


def test_all_processes_together_render_one_thumbnail_per_core(tmp_path: Path) -> None:
    assert derived(tmp_path).render_workers == 4
    assert derived(tmp_path, processes=2).render_workers == 2
    assert derived(tmp_path, processes=200).render_workers == 1


def test_little_memory_reduces_the_number_of_concurrent_renders(tmp_path: Path) -> None:
    nearly_4_gib = Machine(4, int(3.8 * GIB))
    assert derived(tmp_path, nearly_4_gib).render_workers == 4
    assert derived(tmp_path, nearly_4_gib, render_memory=2048).render_workers == 2
    assert derived(tmp_path, nearly_4_gib, render_memory=16_384).render_workers == 1


def test_larger_images_have_a_longer_time_limit(tmp_path: Path) -> None:
    assert derived(tmp_path, render_memory=256).render_seconds == 60
    assert derived(tmp_path, render_memory=4096).render_seconds == 240


@pytest.mark.parametrize(
    ("threads", "waiters"), [(256, (128, 128, 160)), (512, (256, 256, 320)), (2, (1, 1, 2)), (1, (1, 1, 2))]
)
def test_half_of_the_threads_may_wait_for_thumbnails_or_metadata_and_five_eighths_for_both(
    tmp_path: Path, threads: int, waiters: tuple[int, int, int]
) -> None:
    limits = derived(tmp_path, threads=threads)
    assert (limits.thumbnail_waiters, limits.metadata_waiters, limits.waiters) == waiters


@pytest.mark.parametrize("field", ["thumbnail_waiters", "metadata_waiters"])
def test_a_gallery_with_a_hundred_requests_at_a_time_may_wait_and_leaves_room_for_others(
    tmp_path: Path, field: str
) -> None:
    limits = derived(tmp_path)
    limit = ElasticLimit(getattr(limits, field), ElasticLimit(limits.waiters))
    assert all(limit.acquire("gallery") for _ in range(100))
    while limit.acquire("gallery"):
        pass
    assert sum(limit.acquire("other") for _ in range(100)) >= 14


def test_however_many_requests_wait_for_thumbnails_some_may_wait_for_metadata_and_the_reverse(tmp_path: Path) -> None:
    limits = derived(tmp_path)
    numbers = (limits.thumbnail_waiters, limits.metadata_waiters)
    for first, second in (numbers, numbers[::-1]):
        whole = ElasticLimit(limits.waiters)
        busy, other = ElasticLimit(first, whole), ElasticLimit(second, whole)
        for client in map(str, range(1000)):
            busy.acquire(client)
        assert sum(other.acquire("client") for _ in range(100)) == 28


def test_unverified_uploads_may_store_20_gb_or_a_tenth_of_a_large_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_disk(monkeypatch, 30 * 10**9)
    assert derived(tmp_path).unverified_bytes == 20 * 10**9
    of_a_disk(monkeypatch, 4 * 10**12)
    assert derived(tmp_path).unverified_bytes == 400 * 10**9
    assert derived(tmp_path, processes=4).unverified_bytes == 100 * 10**9
    assert derived(tmp_path, processes=200).unverified_bytes == 20 * 10**9


def test_temporary_copies_of_all_processes_together_may_take_half_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_disk(monkeypatch, 10**12)
    assert derived(tmp_path).spool_bytes == 500 * 10**9
    assert derived(tmp_path, processes=4).spool_bytes == 125 * 10**9


def test_a_missing_folder_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    assert limits.disk_bytes(tmp_path / "not" / "created") == shutil.disk_usage(tmp_path).total


class Groups:
    """The folder of all control groups, and the file that names our own."""

    def __init__(self, folder: Path, own: str) -> None:
        self.folder = folder / "groups"
        self.folder.mkdir()
        self.names = folder / "own"
        self.names.write_text(f"1:cpu:/elsewhere\n0::{own}\n")

    def limit(self, group: str, cpu: str, memory: str) -> None:
        (self.folder / group).mkdir(parents=True, exist_ok=True)
        (self.folder / group / "cpu.max").write_text(f"{cpu}\n")
        (self.folder / group / "memory.max").write_text(f"{memory}\n")

    def machine(self) -> Machine:
        return this_machine(self.names, self.folder)


def test_container_limits_are_respected(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "/")
    groups.limit("", "100000 100000", str(GIB))
    assert groups.machine() == Machine(1, GIB)
    groups.limit("", "50000 100000", str(GIB))
    assert groups.machine().cores == 1, "half a core is a core"


def test_limits_of_a_service_and_its_slice_are_both_respected(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "/system.slice/web-asset-server.service")
    groups.limit("system.slice", "100000 100000", "max")
    groups.limit("system.slice/web-asset-server.service", "max 100000", str(2 * GIB))
    groups.limit("system.slice/other.service", "max 100000", str(GIB // 2))
    assert groups.machine().cores == 1
    assert groups.machine().memory_bytes <= 2 * GIB


@pytest.mark.parametrize("content", ["max 100000", "", "a lot", "1 2 3"])
def test_without_limits_the_whole_machine_is_used(tmp_path: Path, content: str) -> None:
    groups = Groups(tmp_path, "/")
    groups.limit("", content, "max")
    whole = Machine(len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    assert groups.machine() == whole
    assert this_machine(tmp_path / "absent", tmp_path / "absent") == whole
