"""Observes the file operations of the code under test: open descriptors, bytes read, what is synced and moved when."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


class Counted(io.BytesIO):
    """A file that counts the bytes that are read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def path_of(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Fails if more files are open at the end than at the beginning."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def syncs_and_renames(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Returns a list that grows with each `sync` of a path and each `rename` to one."""
    done: list[tuple[str, Path]] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("sync", path_of(descriptor)))

    def note_rename(source: Path, target: Path) -> None:
        rename(source, target)
        done.append(("rename", Path(target)))

    def note_replace(source: Path, target: Path) -> None:
        replace(source, target)
        done.append(("rename", Path(target)))

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    monkeypatch.setattr(os, "replace", note_replace)
    return done


def fail_to_sync(monkeypatch: pytest.MonkeyPatch, name: str, successes: int = 0) -> None:
    """Lets syncing files or folders of this name fail, after some successes."""
    fsync, left = os.fsync, [successes]

    def fail(descriptor: int) -> None:
        if path_of(descriptor).name == name:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
