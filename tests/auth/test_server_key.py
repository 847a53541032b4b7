"""keys: the key that the server makes for itself."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetstore.auth import server_key
from assetstore.errors import StorageFault


def test_the_first_start_makes_a_private_key_and_later_ones_use_it(tmp_path: Path) -> None:
    key, is_new = server_key.own_key(tmp_path)
    assert is_new
    assert len(key) == 48
    assert server_key.own_key(tmp_path) == (key, False)
    assert stat.S_IMODE(server_key.key_path(tmp_path).stat().st_mode) == 0o600


def test_of_many_that_start_at_once_one_makes_the_key_and_all_use_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as starters:
        made = list(starters.map(lambda _: server_key.own_key(tmp_path), range(8)))
    assert len({key for key, _ in made}) == 1
    assert sum(is_new for _, is_new in made) == 1
    assert [path.name for path in server_key.key_path(tmp_path).parent.iterdir()] == ["key"]


def test_an_empty_key_file_is_no_key(tmp_path: Path) -> None:
    server_key.own_key(tmp_path)
    server_key.key_path(tmp_path).write_text("\n")
    with pytest.raises(StorageFault, match="empty"):
        server_key.own_key(tmp_path)
