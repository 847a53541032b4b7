"""assetstore.iiif.identifiers: what an address names."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.errors import AssetError, NotFound
from assetstore.iiif import identifiers
from assetstore.iiif.identifiers import Identifier
from assetstore.names import is_store_name

store_names = st.text(min_size=1, max_size=60).filter(is_store_name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.tif", Identifier(None, "a.tif")),
        ("a.tif;page=12", Identifier(None, "a.tif", 12)),
        ("a;page=2.tif", Identifier(None, "a;page=2.tif")),
        ("a.tif;page=0", Identifier(None, "a.tif;page=0")),
        ("a%2Fb.tif", Identifier(None, "a%2Fb.tif")),
    ],
)
def test_an_identifier_is_the_store_name_and_a_page(text: str, found: Identifier) -> None:
    assert identifiers.parse(text, has_collections=False) == found


def test_with_collections_the_last_slash_separates_the_collection_from_the_name() -> None:
    assert identifiers.parse("KU Fish/a.tif", True) == Identifier("KU Fish", "a.tif")
    assert identifiers.parse("Fish/Herps/a.tif;page=2", True) == Identifier("Fish/Herps", "a.tif", 2)
    with pytest.raises(NotFound, match="COLLECTION/NAME"):
        identifiers.parse("a.tif", True)


@pytest.mark.parametrize("text", ["", "/", "..", "../a", "a/..", "/etc/passwd", "a/b", "a\0b", ".asset-server", "a\\b"])
def test_other_texts_name_nothing(text: str) -> None:
    with pytest.raises(AssetError) as raised:
        identifiers.parse(text, has_collections=False)
    assert raised.value.status in (400, 404)


@given(store_names, st.integers(1, 99_999), st.none() | st.text(min_size=1, max_size=20))
def test_the_encoded_form_is_one_segment_that_names_the_same(name: str, page: int, collection: str | None) -> None:
    identifier = Identifier(collection, name, page)
    encoded = identifier.encoded if collection is None or collection.isprintable() else ""
    if encoded:
        assert not set("/?#[]@ ") & set(encoded)
        assert identifiers.parse(unquote(encoded), collection is not None) == identifier


@given(st.text(max_size=80), st.booleans())
def test_every_text_names_a_store_name_or_is_rejected(text: str, has_collections: bool) -> None:
    try:
        found = identifiers.parse(text, has_collections)
    except AssetError as error:
        assert error.status in (400, 404)
    else:
        assert is_store_name(found.name)
        assert found.page >= 1
