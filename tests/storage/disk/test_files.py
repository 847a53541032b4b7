"""File operations of the stores on disk: descriptors, links and the exchange of names."""

import errno
import os
import stat
from pathlib import Path

import pytest

from assetstore.errors import NotFound, StorageFault
from assetstore.storage.disk import files
from tests.file_operations import no_descriptor_left


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "originals").mkdir()
    return tmp_path / "originals"


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing", "link to a folder"])
def test_what_is_not_a_regular_file_leaves_no_descriptor(folder: Path, kind: str) -> None:
    match kind:
        case "pipe":
            os.mkfifo(folder / "a")
        case "folder":
            (folder / "a").mkdir()
        case "link to a folder":
            (folder / "inner").mkdir()
            (folder / "a").symlink_to(folder / "inner")
    with no_descriptor_left(), pytest.raises(NotFound):
        files.open_file(folder.parent, "", "originals", "a")


def test_an_error_that_does_not_mean_absence_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageFault) as error:
        files.open_file(folder.parent, "", "originals", "a")
    assert str(folder) in error.value.detail
    assert str(folder) not in error.value.public


def test_a_file_that_is_followed_by_a_link_has_no_path_for_a_web_server(folder: Path) -> None:
    (folder / "a").write_bytes(b"x")
    (folder / "link").symlink_to("a")
    with files.open_file(folder.parent, "", "originals", "a") as stored:
        assert stored.path == "originals/a"
    with files.open_file(folder.parent, "", "originals", "link") as stored:
        assert (stored.path, stored.file.read()) == (None, b"x")


def test_the_tag_changes_with_the_bytes_even_if_size_and_time_are_restored(folder: Path) -> None:
    path = folder / "a"
    path.write_bytes(b"1")
    before = path.stat()
    path.write_bytes(b"2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = path.stat()
    if now.st_ctime_ns == before.st_ctime_ns:
        pytest.skip("the file system's clock is too coarse")
    assert files.version(now).etag != files.version(before).etag
    assert files.version(now).tag != files.version(before).tag


def test_two_names_are_swapped_or_nothing_changes(folder: Path) -> None:
    one, other = folder / "one", folder / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    files.exchange(one, other)
    assert (one.read_bytes(), other.read_bytes()) == (b"2", b"1")
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)) as error:
        files.exchange(one, folder / "absent")
    assert (error.value.filename, error.value.filename2) == (str(one), str(folder / "absent"))
    assert one.read_bytes() == b"2"


def test_a_folder_is_refused_and_a_link_to_one_is_not(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "link").symlink_to(folder / "inner")
    files.refuse_folder(folder / "link")
    with pytest.raises(IsADirectoryError):
        files.refuse_folder(folder / "inner")
    assert stat.S_ISDIR((folder / "inner").stat().st_mode)
