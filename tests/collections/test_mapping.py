"""collections: from the name that Specify sends to a folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.collections.mapping import Collections
from assetstore.errors import NotFound

FOLDERS = {"KU Fish": "fish", "Herpetología 植物 & más": "herps", "Ictiología 植": "a", "Ictiología 物": "b"}


def test_without_a_mapping_names_are_ignored() -> None:
    assert Collections(None).collection_dir("../whatever") == ""
    assert Collections(None).collection_dir(None) == ""
    assert Collections(None).collection_dirs() == [""]


def test_a_mapped_name_gives_its_folder() -> None:
    assert Collections(FOLDERS).collection_dir("KU Fish") == "fish"
    assert Collections(FOLDERS).collection_dirs() == ["a", "b", "fish", "herps"]


def test_letters_that_specify_6_squeezes_into_latin_1_are_guessed_if_only_one_collection_fits() -> None:
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


def test_no_name_is_unknown_too() -> None:
    with pytest.raises(NotFound):
        Collections(FOLDERS).collection_dir(None)
