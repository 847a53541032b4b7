"""names: valid store names and sizes."""

import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore import names
from assetstore.errors import BadRequest

UNSAFE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/x",
    "a/b",
    "a\\b",
    "..\\x",
    "nul\0l",
    "line\nbreak",
    "tab\there",
    "bell\x07",
    "delete\x7f",
    "c1\x85",
    "x" * 256,
    "ü" * 128,
    "broken\udcff",
    ".asset-server",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_is_not_one_safe_path_component_is_rejected(name: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        names.store_name(name)
    assert refusal.value.public.endswith(".")


@pytest.mark.parametrize(
    "name",
    [
        "sp68478305178998511353.att.jpg",
        "7ab24b22-1234-4c5d-8e9f-0123456789ab.JPG",
        "7ab24b22-1234-4c5d-8e9f-0123456789ab",
        "植物.ñandú",
        "-rf *?[x]{a,b}.jpg",
        "a b%20c;d'e\"f$(g)`h`.png",
        ".hidden",
        "...",
        "x" * 255,
        "@file.jpg",
    ],
)
def test_any_other_name_is_accepted_unchanged(name: str) -> None:
    assert names.store_name(name) == name


@given(st.text())
def test_every_accepted_name_is_one_path_component(name: str) -> None:
    try:
        names.store_name(name)
    except BadRequest:
        return
    assert name not in ("", ".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("200", 200), ("999999999", 999999999)])
def test_a_scale_is_a_positive_whole_number(text: str, size: int) -> None:
    assert names.scale(text) == size


@pytest.mark.parametrize(
    "text", [None, "", "0", "-1", "+1", "1.5", " 100", "100 ", "0100", "1e3", "null", "٣", "²", "1" * 10, "100px"]
)
def test_anything_else_is_not_a_valid_scale(text: str | None) -> None:
    with pytest.raises(BadRequest):
        names.scale(text)


@pytest.mark.parametrize(
    ("name", "root", "extension"),
    [("a.att.JPG", "a.att", ".JPG"), ("a", "a", ""), (".jpg", ".jpg", ""), ("..jpg", "..jpg", ""), ("a.", "a", ".")],
)
def test_the_last_extension_is_split_off(name: str, root: str, extension: str) -> None:
    assert names.split_extension(name) == (root, extension)


@given(st.text(string.printable, min_size=1))
def test_splitting_preserves_the_whole_name(name: str) -> None:
    assert "".join(names.split_extension(name)) == name


# Names of files that no client can request.

ANY_FILE_NAME = st.binary(min_size=1, max_size=60).filter(lambda name: not {0, 0x2F} & set(name)).map(os.fsdecode)


@given(ANY_FILE_NAME)
def test_every_file_name_has_a_safe_spelling_that_leads_back_to_it(name: str) -> None:
    text = names.spelled(name)
    text.encode("utf-8")
    assert (text == name) == names.is_store_name(name) or name in names.FOLDERS
    assert not any(ord(character) < 32 for character in text)
    assert names.unspelled(text) == name


@given(ANY_FILE_NAME.filter(lambda name: name not in names.FOLDERS))
def test_every_file_name_has_a_similar_store_name(name: str) -> None:
    assert names.is_store_name(names.repaired(name)) or names.repaired(name) in names.FOLDERS


@pytest.mark.parametrize(
    ("name", "text", "better"),
    [
        (b"a\nb.jpg", r"a\x0ab.jpg", "a_b.jpg"),
        ("Käfer.jpg".encode("latin-1"), r"K\xe4fer.jpg", "Käfer.jpg"),
        (b"a\\b.jpg", r"a\x5cb.jpg", "a_b.jpg"),
        (b"a\x7fb.jpg", r"a\x7fb.jpg", "a_b.jpg"),
        (b"a\x80b.jpg", r"a\x80b.jpg", "a€b.jpg"),
        (b"a\xc2\x80b.jpg", r"a\u0080b.jpg", "a_b.jpg"),
        (b"a\xc2\x85b.jpg", r"a\u0085b.jpg", "a_b.jpg"),
        ("Käfer 🐟%.jpg".encode(), "Käfer 🐟%.jpg", "Käfer 🐟%.jpg"),
    ],
)
def test_spellings_and_store_names_of_odd_file_names(name: bytes, text: str, better: str) -> None:
    assert names.spelled(os.fsdecode(name)) == text
    assert names.unspelled(text) == os.fsdecode(name)
    assert names.repaired(os.fsdecode(name)) == better


@pytest.mark.parametrize("text", [r"..\x2fa", r"a\xzz", r"a\x41", r"a\b", "../a", r"\x2f"])
def test_what_is_no_spelling_stays_as_it_is(text: str) -> None:
    assert names.unspelled(text) == text
