"""http.parameters: queries, forms and their encodings."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.errors import BadRequest
from assetstore.http.parameters import Parameters

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_values_are_percent_encoded_utf_8() -> None:
    query = Parameters.from_query("coll=Herpetolog%C3%ADa+%E6%A4%8D%E7%89%A9+%26+m%C3%A1s&empty=&flag")
    assert query.get("coll") == "Herpetología 植物 & más"
    assert query.get("empty") == ""
    assert query.get("flag") == ""
    assert query.get("absent") is None


def test_links_with_xml_escapes_are_understood() -> None:
    query = Parameters.from_query("type=T&amp;scale=100&amp;filename=a%26amp;b")
    assert (query.get("type"), query.get("scale")) == ("T", "100")
    assert query.get("filename") == "a&amp;b", "in a value the ampersand is encoded, so it stays"


def test_raw_utf_8_in_a_query_is_understood() -> None:
    raw = "filename=ñ.jpg".encode().decode("latin-1")
    assert Parameters.from_query(raw).get("filename") == "ñ.jpg"


@pytest.mark.parametrize("value", ["%FF", "%C3", "%ED%A0%80", "\xff"])
def test_invalid_utf_8_is_rejected(value: str) -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        Parameters.from_query(f"filename={value}").get("filename")


@pytest.mark.parametrize("value", ["%", "a%2", "%zz", "100%&x=1"])
def test_broken_percent_encoding_is_rejected(value: str) -> None:
    with pytest.raises(BadRequest, match="percent"):
        Parameters.from_query(f"filename={value}").get("filename")


def test_a_repeated_parameter_is_rejected() -> None:
    with pytest.raises(BadRequest, match="2 times"):
        Parameters.from_query("token=a&token=a").get("token")


def test_unknown_parameters_are_ignored_whatever_their_value() -> None:
    query = Parameters.from_query("inst=%FF%&inst=%zz&&=&filename=a.jpg")
    assert query.get("filename") == "a.jpg"


def test_urlencoded_latin_1_bodies_of_old_specify_6_are_understood() -> None:
    form = Parameters.from_urlencoded(b"coll=Herpetolog%EDa&filename=a.jpg", None)
    assert form.get("coll") == "Herpetología"


def test_a_declared_charset_is_used() -> None:
    body = b"coll=%C3%AD"
    assert Parameters.from_urlencoded(body, "UTF-8").get("coll") == "í"
    assert Parameters.from_urlencoded(body, "ISO-8859-1").get("coll") == "Ã\xad"


@given(st.dictionaries(TEXT.filter(lambda name: name.isascii() and name != ""), TEXT))
def test_encoded_values_are_decoded_unchanged(fields: dict[str, str]) -> None:
    encoded = urlencode(fields, quote_via=quote)
    for parameters in (Parameters.from_query(encoded), Parameters.from_urlencoded(encoded.encode(), "utf-8")):
        assert {name: parameters.get(name) for name in fields} == fields
