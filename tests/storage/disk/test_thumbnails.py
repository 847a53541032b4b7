"""storage.disk.thumbnails: the version without opening the file."""

from pathlib import Path

import pytest

from assetstore.storage.disk.store import disk_store
from assetstore.storage.protocols import ThumbnailStore
from assetstore.storage.thumbnail_sizes import SizeRules


@pytest.fixture
def store(tmp_path: Path) -> ThumbnailStore:
    opened = disk_store(tmp_path, "originals", "thumbnails", [""])
    opened.space.prepare()
    return opened.originals.thumbnails(SizeRules(32))


def test_the_version_is_that_of_the_open_file(store: ThumbnailStore, tmp_path: Path) -> None:
    (tmp_path / "thumbnails/a_100.jpg").write_bytes(b"a picture")
    with store.open("", "a_100.jpg") as stored:
        assert store.version("", "a_100.jpg") == stored.version


def test_a_missing_thumbnail_and_a_symbolic_link_have_no_version(store: ThumbnailStore, tmp_path: Path) -> None:
    (tmp_path / "thumbnails/other").write_bytes(b"a picture")
    (tmp_path / "thumbnails/a_100.jpg").symlink_to("other")  # its status does not show that the target has changed
    assert store.version("", "a_100.jpg") is None
    assert store.version("", "b_100.jpg") is None
