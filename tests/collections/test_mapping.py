"""collections: from the name that Specify sends to a folder."""

import pytest

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


@pytest.mark.parametrize("name", ["ku fish", "KU Fish ", "", "fish", "..", "/", "\0", "x" * 256])
def test_any_other_name_is_unknown(name: str) -> None:
    with pytest.raises(NotFound):
        Collections(FOLDERS).collection_dir(name)


def test_no_name_is_unknown_too() -> None:
    with pytest.raises(NotFound):
        Collections(FOLDERS).collection_dir(None)
