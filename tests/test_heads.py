"""Heads of requests: the quick reader says what the standard library says, or nothing."""

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.heads import Head, common_head

names = st.text("abcXYZ019-_!", min_size=1, max_size=8)
values = st.text(" \tabc,;:=\"'()\\~\x7fé", max_size=12)
targets = st.text("/a?=%#&+\x7f é", max_size=12)
lines = st.lists(st.tuples(names, st.sampled_from([":", ": ", " :", ":\t"]), values), max_size=6)


def head_bytes(*fields: str, first: str = "GET /fileget?filename=a.jpg HTTP/1.1") -> bytes:
    return "".join(f"{line}\r\n" for line in (first, *fields, "")).encode("latin-1")


@given(targets, lines)
def test_a_common_head_says_what_the_standard_library_reads_in_it(
    target: str, fields: list[tuple[str, str, str]]
) -> None:
    data = head_bytes(*(f"{name}{colon}{value}" for name, colon, value in fields), first=f"GET {target} HTTP/1.1")
    head = common_head(data)
    if head is None:
        return
    stream = io.BytesIO(data)
    assert stream.readline().decode("latin-1").split() == ["GET", head.target, "HTTP/1.1"]
    expected = [(name.lower(), value.strip()) for name, value in http.client.parse_headers(stream).items()]
    assert head.fields == expected


@pytest.mark.parametrize(
    "data",
    [
        head_bytes("Host: a", first="DELETE / HTTP/1.1"),
        head_bytes("Host: a", first="GET / HTTP/1.0"),
        head_bytes("Host: a", first="GET //evil.example/ HTTP/1.1"),
        head_bytes("Host: a", first="GET http://a/ HTTP/1.1"),
        head_bytes("Host : a"),
        head_bytes("Host: a", " folded: b"),
        head_bytes("Host: a\x00"),
        head_bytes("Host: a\nX: b"),
        head_bytes("Host: a\rX: b"),
        head_bytes("X_Forwarded_For: 1"),
        head_bytes(*["X: a"] * 101),
        head_bytes("Host: a").replace(b"\r\n", b"\n"),
        head_bytes("Host: a") + b"x",
        head_bytes("Host: a")[:-2],
        b"",
    ],
)
def test_any_other_head_is_left_to_the_standard_library(data: bytes) -> None:
    assert common_head(data) is None


def test_a_header_that_came_twice_has_both_values() -> None:
    head = common_head(head_bytes("X-Forwarded-For: 192.0.2.1", "Host: a", "x-forwarded-for: 192.0.2.2"))
    assert head is not None
    assert head.field("x-forwarded-for") == "192.0.2.1,192.0.2.2"
    assert head.environment()["HTTP_X_FORWARDED_FOR"] == "192.0.2.1,192.0.2.2"


def test_a_header_with_an_underscore_never_passes_for_the_one_with_a_hyphen() -> None:
    fields = [("x_forwarded_for", "192.0.2.66"), ("x-forwarded-for", "192.0.2.1"), ("content_length", "5")]
    environ = Head("GET", "/", fields).environment()
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"
    assert environ["CONTENT_LENGTH"] == "0"


def test_the_path_is_decoded_to_bytes_once_and_not_normalised() -> None:
    environ = Head("GET", "/static/..%2F%252e/%C3%A9?x=%41#y", []).environment()
    assert environ["PATH_INFO"].encode("latin-1") == b"/static/../%2e/\xc3\xa9"
    assert environ["QUERY_STRING"] == "x=%41"
    assert Head("GET", "http://other.example/a?b", []).environment()["PATH_INFO"] == "/a"
