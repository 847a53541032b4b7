"""auth.server_key: the key that the server generates for itself."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetstore.auth import server_key
from assetstore.errors import StorageFault
from tests.file_operations import no_descriptor_left, path_of


def test_the_first_start_creates_a_private_key_and_later_ones_use_it(tmp_path: Path) -> None:
    key, is_new = server_key.own_key(tmp_path)
    assert is_new
    assert len(key) == 48
    assert server_key.own_key(tmp_path) == (key, False)
    assert stat.S_IMODE(server_key.key_path(tmp_path).stat().st_mode) == 0o600


def test_no_key_is_stored_without_an_attachment_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="cannot store its key"):
        server_key.own_key(tmp_path / "disk/attachments")
    assert list(tmp_path.iterdir()) == []


def test_concurrent_starts_create_one_key_that_all_use(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as starters:
        made = list(starters.map(lambda _: server_key.own_key(tmp_path), range(8)))
    assert len({key for key, _ in made}) == 1
    assert sum(is_new for _, is_new in made) == 1
    assert [path.name for path in server_key.key_path(tmp_path).parent.iterdir()] == ["key"]


def test_an_empty_key_file_is_not_a_key(tmp_path: Path) -> None:
    server_key.own_key(tmp_path)
    server_key.key_path(tmp_path).write_text("\n")
    with pytest.raises(StorageFault, match="empty"):
        server_key.own_key(tmp_path)


def test_the_key_file_is_synced_and_private_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync, link = os.fsync, os.link

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(path_of(descriptor).read_text())

    def look(draft: Path, path: Path) -> None:
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        assert draft.read_text() == synced[0]
        link(draft, path)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "link", look)
    with no_descriptor_left():
        key, _ = server_key.own_key(tmp_path)
    assert synced == [f"{key}\n"]
    assert stat.S_IMODE(server_key.key_path(tmp_path).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_hard_links_there_is_a_private_key_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(draft: Path, path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with no_descriptor_left():
        key, is_new = server_key.own_key(tmp_path)
    path = server_key.key_path(tmp_path)
    assert (path.read_text(), is_new) == (f"{key}\n", True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert server_key.own_key(tmp_path) == (key, False)


def test_a_key_that_cannot_get_its_name_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(draft: Path, path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", fail)
    with no_descriptor_left(), pytest.raises(StorageFault, match="cannot store its key"):
        server_key.own_key(tmp_path)
    assert list(server_key.key_path(tmp_path).parent.iterdir()) == []
