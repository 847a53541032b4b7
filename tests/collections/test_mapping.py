"""collections.mapping: from the collection name that Specify sends to a folder."""

import fcntl
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.collections import added
from assetstore.collections.mapping import Collections
from assetstore.errors import NotFound, StorageFault
from assetstore.files import durable

FOLDERS = {"KU Fish": "fish", "Herpetología 植物 & más": "herps", "Ictiología 植": "a", "Ictiología 物": "b"}


def test_without_a_mapping_names_are_ignored() -> None:
    assert Collections(None).collection_dir("../whatever") == ""
    assert Collections(None).collection_dir(None) == ""
    assert Collections(None).collection_dirs() == [""]


def test_a_mapped_name_has_its_folder() -> None:
    assert Collections(FOLDERS).collection_dir("KU Fish") == "fish"
    assert Collections(FOLDERS).collection_dirs() == ["a", "b", "fish", "herps"]


def test_names_damaged_by_latin_1_in_specify_6_match_if_unambiguous() -> None:
    assert Collections(FOLDERS).collection_dir("Herpetología ?? & más") == "herps"
    with pytest.raises(NotFound):
        Collections(FOLDERS).collection_dir("Ictiología ?")


@pytest.mark.parametrize("name", ["K?fer & Co", "Käfer & Co", "?uvres"])
def test_letters_that_are_squeezed_into_ascii_are_guessed_if_only_one_collection_fits(name: str) -> None:
    collections = Collections({"Käfer & Co": "beetles", "Œuvres": "art", "KU Fish": "fish"})
    assert collections.collection_dir(name) == ("art" if name == "?uvres" else "beetles")
    with pytest.raises(NotFound):
        Collections({"Käfer": "a", "Küfer": "b"}).collection_dir("K?fer")
    assert Collections({"Käfer": "a", "Küfer": "b", "K?fer": "c"}).collection_dir("K?fer") == "c"


NAMES = st.text("aäŒ植🐟?", min_size=1, max_size=4)


@given(st.dictionaries(NAMES, NAMES, min_size=1, max_size=5), st.sampled_from(["ascii", "latin-1", "cp1252", "utf-8"]))
def test_no_squeezed_name_ever_finds_the_folder_of_another_collection(folders: dict[str, str], charset: str) -> None:
    collections = Collections(folders)
    for name, folder in folders.items():
        sent = name.encode(charset, "replace").decode(charset)
        try:
            found = collections.collection_dir(sent)
        except NotFound:
            alike = [other for other in folders if len(other) == len(name) and other != name]
            assert alike, "only if another one could be meant"
        else:
            assert found == folders.get(sent, folder)


@pytest.mark.parametrize("name", ["ku fish", "KU Fish ", "", "fish", "..", "/", "\0", "x" * 256])
def test_any_other_name_is_unknown(name: str) -> None:
    with pytest.raises(NotFound):
        Collections(FOLDERS).collection_dir(name)


def test_a_missing_name_is_unknown() -> None:
    with pytest.raises(NotFound):
        Collections(FOLDERS).collection_dir(None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = added.location(tmp_path)
    added.write(path, {"KU Fish": "fish"})
    return path


def replace(file: Path, content: str) -> None:
    """Replaces the file by another one, as every writer does."""
    durable.write_text(file, content)


def test_a_change_of_the_file_takes_effect_at_once_and_admits_new_folders_once(file: Path) -> None:
    collections, admitted = Collections(None, file), []
    collections.admit = admitted.append
    assert collections.collection_dirs() == ["fish"]
    added.write(file, {"KU Fish": "fish", "KU Birds": "birds"})
    assert [collections.collection_dirs() for _ in range(2)] == [["birds", "fish"]] * 2
    assert admitted == ["birds"]
    added.write(file, {})
    assert collections.folders() is None


def test_a_file_of_the_same_size_and_time_is_noticed_too(file: Path) -> None:
    collections = Collections(None, file)
    before = file.stat()
    replace(file, file.read_text().replace("fish", "wish"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert collections.collection_dirs() == ["wish"]


def test_a_file_that_is_edited_in_place_is_noticed_too(file: Path) -> None:
    collections = Collections(None, file)
    with open(file, "r+", encoding="utf-8") as edited:
        text = edited.read().replace("fish", "wish")
        edited.seek(0)
        edited.write(text)
    os.utime(file, ns=(1, 1))
    assert collections.collection_dirs() == ["wish"]


def test_an_unusable_file_changes_nothing_and_is_tried_again_later(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collections, broken = Collections(None, file), [True]

    def admit(collection_dir: str) -> None:
        if broken[0]:
            raise StorageFault("The attachment folder cannot be written.", collection_dir)

    collections.admit = admit
    added.write(file, {"KU Birds": "birds"})
    assert [collections.collection_dirs() for _ in range(3)] == [["fish"]] * 3
    assert caplog.text.count("the collections stay unchanged") == 1
    broken[0] = False
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert collections.collection_dirs() == ["birds"]


def test_a_deleted_file_changes_nothing_until_the_next_start(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    collections = Collections({"KU Birds": "birds"}, file)
    file.unlink()
    assert [collections.collection_dirs() for _ in range(2)] == [["birds", "fish"]] * 2
    assert caplog.text.count("was deleted") == 1
    assert Collections({"KU Birds": "birds"}, file).collection_dirs() == ["birds"]


@pytest.mark.parametrize(("folder", "is_logged"), [("aquarium", True), ("fish", False), ("ichthyology", True)])
def test_the_setting_has_precedence_over_the_file_and_the_log_says_so_if_they_differ(
    file: Path, caplog: pytest.LogCaptureFixture, folder: str, is_logged: bool
) -> None:
    collections = Collections({"KU Fish": folder, "KU Birds": "birds"}, file)
    assert collections.collection_dir("KU Fish") == folder
    assert ("COLLECTION_DIRS, which has precedence" in caplog.text) == is_logged


def test_of_several_collections_of_one_folder_the_first_name_is_shown() -> None:
    assert Collections({"B": "shared", "A": "shared", "C": "own"}).named() == {"shared": "A", "own": "C"}
    assert Collections(None).named() == {"": ""}


def test_squeezed_names_of_collections_that_share_a_folder_are_unambiguous() -> None:
    folders = {"Ictiología 植": "shared", "Ictiología 物": "shared", "Fish": "fish"}
    assert Collections(folders).collection_dir("Ictiología ?") == "shared"
    with pytest.raises(NotFound):
        Collections({"植": "a"}).collection_dir("物")


@pytest.mark.parametrize("text", ["{", "[]", '{"": "a"}', '{"a": ""}', '{"a": "/b"}', '{"a": 1}'])
def test_a_file_that_is_no_mapping_is_a_fault_at_the_start(file: Path, text: str) -> None:
    replace(file, text)
    with pytest.raises(StorageFault) as error:
        Collections(None, file)
    assert str(file) in error.value.detail


def test_only_the_beginning_of_a_huge_file_is_read(file: Path) -> None:
    replace(file, '{"KU Fish": "fish"}' + " " * (1 << 20) + "x")
    assert added.read(file) == {"KU Fish": "fish"}


def test_a_file_that_cannot_be_read_is_a_fault(file: Path) -> None:
    file.unlink()
    assert added.read(file) == {}
    file.mkdir()
    with pytest.raises(StorageFault):
        added.read(file)


def test_only_one_changes_the_file_at_a_time(file: Path) -> None:
    base = file.parents[1]
    with added.changing(base):
        locks = list((base / ".asset-server").glob("lock-*"))
        assert len(locks) == 1
        with open(locks[0]) as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
