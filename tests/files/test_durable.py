"""Changes that survive a power failure: what is synced, and what is left if that fails."""

import errno
import os
from pathlib import Path

import pytest

from assetstore.errors import Unsynced
from assetstore.files import durable
from tests.file_operations import fail_to_sync, no_descriptor_left, syncs_and_renames


def test_a_text_file_is_synced_before_it_is_renamed_and_its_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = syncs_and_renames(monkeypatch)
    path = tmp_path / "text"
    with no_descriptor_left():
        durable.write_text(path, "植物")
    assert path.read_text("utf-8") == "植物"
    (sync, draft), *rest = done
    assert (sync, draft.parent, rest) == ("sync", tmp_path, [("rename", path), ("sync", tmp_path)])
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_cannot_be_synced_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    path.write_text("old")
    fail_to_sync(monkeypatch, f"draft-{os.getpid()}-text")
    with pytest.raises(OSError, match="Input/output"):
        durable.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_change_that_the_disk_does_not_confirm_is_unsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_sync(monkeypatch, tmp_path.name)
    for replaces in (False, True):
        with no_descriptor_left(), pytest.raises(Unsynced) as error:
            durable.confirm(tmp_path, replaces)
        assert error.value.replaces is replaces
        assert "Input/output" in error.value.detail
        assert str(tmp_path) not in error.value.public


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with no_descriptor_left():
        durable.confirm(tmp_path)
