"""Locks of names: one holder at a time, also when the lock file is removed while others wait for it."""

import contextlib
import fcntl
import os
import threading
from pathlib import Path

import pytest

from assetstore.files import locks
from assetstore.files.locks import locked
from tests.file_operations import no_descriptor_left


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".asset-server").mkdir()
    return tmp_path


def lock_files(folder: Path) -> list[Path]:
    return list((folder / ".asset-server").iterdir())


def is_locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_lock_is_held_in_a_file_that_goes_at_the_end(folder: Path) -> None:
    with no_descriptor_left():
        with locked(folder, "植物 \udcff"):
            [path] = lock_files(folder)
            assert is_locked(path)
        with contextlib.suppress(KeyError), locked(folder, "a"):
            raise KeyError
    assert lock_files(folder) == []


def test_names_have_locks_of_their_own(folder: Path) -> None:
    with locked(folder, "a"), locked(folder, "b"):
        assert len(lock_files(folder)) == 2


def test_one_that_waited_holds_a_lock_that_others_see(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, entered, may_leave = threading.Event(), threading.Event(), threading.Event()
    flock = fcntl.flock

    def note(descriptor: int, operation: int) -> None:
        waits.set()
        flock(descriptor, operation)

    def wait_for_it() -> None:
        with locked(folder, "a"):
            entered.set()
            may_leave.wait(30)

    waiting = threading.Thread(target=wait_for_it)
    with no_descriptor_left():
        with locked(folder, "a"):
            monkeypatch.setattr(locks.fcntl, "flock", note)
            waiting.start()
            assert waits.wait(30)
            assert not entered.is_set()
        try:
            assert entered.wait(30)
            [path] = lock_files(folder)
            assert is_locked(path)
        finally:
            may_leave.set()
            waiting.join()
    assert lock_files(folder) == []
