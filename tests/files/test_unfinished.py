"""Unfinished files: those with an owner stay, those that a crash left go, and other processes may sweep, too."""

import fcntl
import os
from pathlib import Path

import pytest

from assetstore.files import locks, unfinished
from assetstore.files.unfinished import create_locked, sweep
from tests.file_operations import no_descriptor_left

DAY = 24 * 3600


def test_a_sweep_between_creating_and_locking_a_file_does_not_cost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "upload-a", fcntl.flock

    def sweep_first(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        sweep(tmp_path, set())
        assert not path.exists()
        flock(descriptor, operation)

    monkeypatch.setattr(unfinished.fcntl, "flock", sweep_first)
    with no_descriptor_left():
        descriptor = create_locked(path)
        os.write(descriptor, b"bytes")
        sweep(tmp_path, set())
        assert path.read_bytes() == b"bytes"
        os.close(descriptor)
    sweep(tmp_path, set())
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_file_never_takes_the_name_of_another(tmp_path: Path) -> None:
    (tmp_path / "upload-a").write_bytes(b"of another upload")
    with no_descriptor_left(), pytest.raises(FileExistsError):
        create_locked(tmp_path / "upload-a")
    assert (tmp_path / "upload-a").read_bytes() == b"of another upload"


def test_two_processes_may_sweep_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("upload-a", "upload-b"):
        (tmp_path / name).touch()
    remove = locks.remove_unless_held

    def be_late(path: Path) -> None:
        path.unlink()
        remove(path)

    monkeypatch.setattr(locks, "remove_unless_held", be_late)
    with no_descriptor_left():
        sweep(tmp_path, set())
    assert list(tmp_path.iterdir()) == []


def test_files_and_folders_that_are_older_than_a_day_go_unless_they_are_spared(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    private = tmp_path / "private"
    private.mkdir()
    for age in ("old", "young", "spared"):
        (private / f"{age} file").touch()
        (private / f"{age} folder").mkdir()
        (private / f"{age} folder/inside").touch()
        (private / f"{age} link").symlink_to(outside)
    now = (private / "young file").stat().st_mtime
    for path in private.iterdir():
        age = DAY - 600 if path.name.startswith("young") else DAY + 600
        os.utime(path, (now - age, now - age), follow_symlinks=False)
    spared = {f"spared {kind}" for kind in ("file", "folder", "link")}
    sweep(private, spared)
    left = sorted(path.name for path in private.iterdir())
    assert left == sorted([*spared, "young file", "young folder", "young link"])
    assert (private / "spared folder/inside").exists()
    assert (outside / "precious").exists()
