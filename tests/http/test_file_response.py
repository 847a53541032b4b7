"""http.file_response: conditions, ranges and headers, according to RFC 9110."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.errors import RangeNotSatisfiable
from assetstore.http import file_response
from assetstore.storage.models import Version

MODIFIED = 1_000_000_000
BEFORE, AT, AFTER = "Sun, 09 Sep 2001 01:46:39 GMT", "Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:41 GMT"
VERSION = Version(1000, MODIFIED * 10**9 + 5, MODIFIED * 10**9 + 5, '"abc"')


@pytest.mark.parametrize(
    ("tags", "date", "unchanged"),
    [
        ('"abc"', None, True),
        ('W/"abc"', None, True),
        ('"x", W/"y", "abc"', None, True),
        ("*", None, True),
        ('"ABC"', None, False),
        ('"x"', AFTER, False),
        ("abc", None, False),
        (None, AT, True),
        (None, AFTER, True),
        (None, BEFORE, False),
        (None, "yesterday", False),
        (None, "Sun, 09 Sep 99999 01:46:41 GMT", False),
        (None, None, False),
    ],
)
def test_a_client_with_the_current_version_gets_304(tags: str | None, date: str | None, unchanged: bool) -> None:
    assert file_response.is_unchanged(VERSION, tags, date) is unchanged


@pytest.mark.parametrize("download_name", [None, "a.jpg"])
def test_the_response_to_a_client_with_the_current_version_has_no_bytes(download_name: str | None) -> None:
    wish = file_response.Request(if_none_match='"abc"', range="bytes=10-19", download_name=download_name)
    response = file_response.respond(VERSION, "image/jpeg", wish)
    assert (response.status, response.first, response.length) == (304, 0, 0)
    assert ("Content-Disposition" in response.headers) is (download_name is not None)
    assert "Content-Length" not in response.headers


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-", (0, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=999-", (999, 1)),
        ("bytes=10-19", (10, 10)),
        ("bytes=990-5000", (990, 10)),
        ("bytes=-10", (990, 10)),
        ("bytes=-5000", (0, 1000)),
        ("BYTES = 1 - 2", (1, 2)),
        (f"bytes=0-{'9' * 3000}", (0, 1000)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes=٣-٤", None),
    ],
)
def test_a_single_range_is_served_and_any_other_range_header_gets_the_whole_file(
    header: str | None, part: tuple[int, int] | None
) -> None:
    assert file_response.byte_range(VERSION, header, None) == part


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", f"bytes={'9' * 3000}-", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as error:
        file_response.byte_range(VERSION, header, None)
    assert error.value.size == 1000


def test_an_empty_file_has_no_ranges() -> None:
    with pytest.raises(RangeNotSatisfiable):
        file_response.byte_range(Version(0, 0, 0, '"e"'), "bytes=0-", None)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [('"abc"', True), ('W/"abc"', False), ('"x"', False), (AT, True), (AFTER, False), (BEFORE, False), ("x", False)],
)
def test_if_range_requires_the_exact_version(if_range: str, applies: bool) -> None:
    assert (file_response.byte_range(VERSION, "bytes=0-9", if_range) is not None) is applies


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_a_range_never_exceeds_the_file(first: int, last: int) -> None:
    try:
        part = file_response.byte_range(VERSION, f"bytes={first}-{last}", None)
    except RangeNotSatisfiable:
        assert first >= 1000
        return
    if part is not None:
        assert part[0] == first
        assert 0 < part[1] <= 1000 - first


@pytest.mark.parametrize(
    ("wished", "header"),
    [
        ("a.jpg", "inline; filename*=utf-8''a.jpg; filename=\"a.jpg\""),
        ("Foto ñ 1.jpg", "inline; filename*=utf-8''Foto%20%C3%B1%201.jpg; filename=\"Foto n 1.jpg\""),
        ("\u0301", "inline; filename*=utf-8''%CC%81; filename=\"_\""),
        ("植物.jpg", "inline; filename*=utf-8''%E6%A4%8D%E7%89%A9.jpg; filename=\"__.jpg\""),
        ('100%41".jpg', "inline; filename*=utf-8''100%2541%22.jpg; filename=\"100_41_.jpg\""),
        ("../../etc/passwd", "inline; filename*=utf-8''passwd; filename=\"passwd\""),
        ("C:\\Users\\x\\a.jpg", "inline; filename*=utf-8''a.jpg; filename=\"a.jpg\""),
        (
            'a"; x=y\r\nSet-Cookie: b',
            "inline; filename*=utf-8''a%22%3B%20x%3DySet-Cookie%3A%20b; filename=\"a_; x=ySet-Cookie: b\"",
        ),
        ("", None),
        ("a/", None),
        ("\r\n", None),
    ],
)
def test_the_download_name_is_a_base_name_in_utf_8(wished: str, header: str | None) -> None:
    assert file_response.content_disposition(wished) == header


@given(st.text())
def test_no_download_name_can_break_the_header(wished: str) -> None:
    header = file_response.content_disposition(wished) or "inline"
    assert header.isascii()
    assert header.isprintable()
    form = r"""inline(; filename\*=utf-8''[A-Za-z0-9%._~-]+; filename="[^"\\%]+")?"""
    assert re.fullmatch(form, header)


@pytest.mark.parametrize("letter", ["a", "é", "漢", "🐟"])
def test_a_long_download_name_is_shortened_and_keeps_its_extension(letter: str) -> None:
    header = file_response.content_disposition(letter * 5000 + ".tiff") or ""
    name = unquote(header.partition("utf-8''")[2].partition(";")[0])
    assert len(name.encode()) in range(250, 256)
    assert name == letter * (len(name) - 5) + ".tiff"
    assert len(header) < 1100


@pytest.mark.parametrize(
    "harmful", ["text/html; charset=UTF-8", "image/svg+xml", "text/xml", "application/octet-stream"]
)
def test_active_content_is_sandboxed(harmful: str) -> None:
    assert "sandbox" in file_response.safe_headers(harmful)["Content-Security-Policy"]


@pytest.mark.parametrize(
    "harmless", ["image/jpeg", "audio/mpeg", "video/mp4", "application/pdf", "text/plain; charset=UTF-8"]
)
def test_passive_content_is_not_sandboxed(harmless: str) -> None:
    assert file_response.safe_headers(harmless) == {}


def test_a_modification_time_in_the_future_is_sent_as_the_current_time() -> None:
    assert "2100" not in file_response.http_date(4_102_444_800 * 10**9 + 10**17)
