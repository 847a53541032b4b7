"""app.bootstrap: a store that cannot be opened stops the start with a reason."""

from pathlib import Path

import pytest

from assetstore.app import bootstrap
from assetstore.config.loading import DEFAULT_BASE_DIR, SettingsError
from assetstore.originals.service import Origin
from tests.support import load_settings

MISSING = "BASE_DIR: there is no folder {}. Mount its disk or, for a new store, create it."


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (DEFAULT_BASE_DIR, "BASE_DIR: {} cannot be used: File exists."),
        ("elsewhere", MISSING),
        (f"{DEFAULT_BASE_DIR}/below", MISSING),
    ],
    ids=["a file", "missing", "below a file"],
)
def test_an_attachment_folder_that_is_no_folder_is_named(tmp_path: Path, base: str, reason: str) -> None:
    (tmp_path / DEFAULT_BASE_DIR).write_bytes(b"a file")
    with pytest.raises(SettingsError) as error:
        bootstrap.open_originals(load_settings({"BASE_DIR": str(tmp_path / base)}), tmp_path)
    assert str(error.value) == reason.format(tmp_path / base)


def test_a_missing_attachment_folder_is_not_created_for_the_server_s_own_key(tmp_path: Path) -> None:
    base = tmp_path / "disk/attachments"
    with pytest.raises(SettingsError) as error:
        bootstrap.open_store(load_settings({"BASE_DIR": str(base), "KEY": ""}), tmp_path)
    assert str(error.value) == MISSING.format(base)
    assert list(tmp_path.iterdir()) == []


def test_only_the_default_attachment_folder_is_created(tmp_path: Path) -> None:
    originals = bootstrap.open_originals(load_settings({"BASE_DIR": str(tmp_path / DEFAULT_BASE_DIR)}), tmp_path)
    originals.journal.close()
    assert [path.name for path in tmp_path.iterdir()] == [DEFAULT_BASE_DIR]


@pytest.mark.parametrize("days", [0, 1])
def test_only_with_days_for_the_trash_deleted_files_go_there(tmp_path: Path, days: int) -> None:
    originals = bootstrap.open_originals(load_settings({"BASE_DIR": str(tmp_path), "TRASH_DAYS": days}), tmp_path)
    (tmp_path / "originals/a").write_bytes(b"x")
    originals.delete("", "a", Origin("", ""))
    originals.journal.close()
    assert len(list(originals.trash())) == days
