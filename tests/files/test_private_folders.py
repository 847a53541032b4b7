"""Private folders: only for the server, and never below a disk that is not mounted."""

import stat
from pathlib import Path

import pytest

from assetstore.files.private_folders import make_private, make_private_folder


def test_a_private_folder_is_for_this_user_only(tmp_path: Path) -> None:
    make_private(tmp_path / "private")
    make_private(tmp_path / "private")
    inner = make_private_folder(tmp_path, "inner")
    for folder in (tmp_path / "private", inner, inner.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_private_folder_is_made_where_its_parent_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_private(tmp_path / "unmounted/private")
    with pytest.raises(FileNotFoundError):
        make_private_folder(tmp_path / "unmounted", "journal")
    assert list(tmp_path.iterdir()) == []
