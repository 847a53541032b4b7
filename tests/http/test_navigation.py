"""http.navigation: how the server recognises a browser that opens an address in a tab."""

import pytest

from assetstore.http.navigation import VARY, is_navigation
from tests.support import PROJECT

CHROMIUM = {
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "HTTP_UPGRADE_INSECURE_REQUESTS": "1",
}
SAFARI = {"HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8", "HTTP_UPGRADE_INSECURE_REQUESTS": "1"}


def sent(*headers: dict[str, str], method: str = "GET") -> bool:
    environ = {"REQUEST_METHOD": method}
    for some in headers:
        environ |= some
    return is_navigation(environ)


def fetch(mode: str, destination: str) -> dict[str, str]:
    return {"HTTP_SEC_FETCH_MODE": mode, "HTTP_SEC_FETCH_DEST": destination}


@pytest.mark.parametrize("browser", [CHROMIUM, SAFARI], ids=["Chromium", "Safari"])
def test_opening_an_address_in_a_tab_is_a_navigation_with_and_without_fetch_metadata(browser: dict[str, str]) -> None:
    assert sent(browser)
    assert sent(browser, fetch("navigate", "document"))


@pytest.mark.parametrize(
    ("mode", "destination"),
    [
        ("no-cors", "image"),  # <img>
        ("navigate", "object"),  # <object> of Specify 7
        ("navigate", "iframe"),
        ("no-cors", "empty"),  # "Save link as"
        ("cors", "empty"),  # fetch
        ("no-cors", "document"),
    ],
)
def test_parts_of_pages_and_downloads_are_no_navigations(mode: str, destination: str) -> None:
    assert not sent(CHROMIUM, fetch(mode, destination))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_ACCEPT": "*/*"},  # curl, Specify's proxy
        {"HTTP_ACCEPT": "image/avif,image/webp,*/*;q=0.8", "HTTP_UPGRADE_INSECURE_REQUESTS": "1"},
        {"HTTP_ACCEPT": CHROMIUM["HTTP_ACCEPT"]},  # harvesters that pretend to be browsers
        {"HTTP_ACCEPT": "*/*, text/html", "HTTP_UPGRADE_INSECURE_REQUESTS": "1"},
        {"HTTP_UPGRADE_INSECURE_REQUESTS": "1"},
        {**CHROMIUM, "HTTP_SEC_FETCH_MODE": "navigate"},
        {**CHROMIUM, "HTTP_SEC_FETCH_DEST": "document"},
        {**CHROMIUM, "HTTP_RANGE": "bytes=1000-"},
    ],
)
def test_other_programs_are_no_navigations(headers: dict[str, str]) -> None:
    assert not sent(headers)


def test_only_get_is_a_navigation() -> None:
    assert not sent(CHROMIUM, method="HEAD")
    assert not sent(CHROMIUM, method="POST")


def test_caches_distinguish_by_every_header_that_matters() -> None:
    read = {name.removeprefix("HTTP_").replace("_", "-") for name in {**CHROMIUM, **fetch("", "")}}
    assert {name.strip().upper() for name in VARY.split(",")} == read


def test_of_all_recorded_requests_only_a_tab_of_specify_7_is_a_navigation() -> None:
    found = set()
    for path in (PROJECT / "tests/wire").glob("*.http"):
        head = path.read_bytes().split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:])
        environ = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in pairs}
        if is_navigation({**environ, "REQUEST_METHOD": head[0].split(" ")[0]}):
            found.add(path.name)
    assert found == {"sp7fe-open-txt.fileget.http"}
