"""The routes of the viewer over HTTP: who gets the page and who the file, and who may look at a picture."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from assetstore.auth import viewer_cookies
from assetstore.http.navigation import VARY
from assetstore.routes import viewer
from tests import pictures
from tests.support import KEY, PROJECT, Response, RunningServer

Start = Callable[..., RunningServer]

#: What a browser sends when someone opens an address in a tab: with https, and with http and a host name.
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
OVER_HTTP = {name: text for name, text in BROWSER.items() if not name.startswith("Sec-")}

IMAGE = {**BROWSER, "Accept": "image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}

FISH = "KU Fish"


def large_jpeg() -> bytes:
    return pictures.encoded(pictures.scene(1250, 1000), "JPEG")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that everyone may read, with a picture of each kind."""
    base = tmp_path_factory.mktemp("attachments")
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, "VIEWER_MEGAPIXELS": 1})
    server.upload("a.tif", pictures.tiff())
    server.upload("a.jpg", pictures.jpeg())
    server.upload("large.jpg", large_jpeg())
    server.upload("a.pdf", pictures.pdf())
    server.upload("a.txt", b"a text")
    server.upload("bad.tif", b"II*\0 nothing")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that requires a permission to read, with two pictures of the same name."""
    settings = {
        "BASE_DIR": str(tmp_path_factory.mktemp("attachments")),
        "COLLECTION_DIRS": {FISH: "fish", "KU Herps": "herps"},
        "REQUIRE_KEY_FOR_GET": True,
        "ALLOW_STATIC_FILE_ACCESS": False,
        "PUBLIC_URL": "http://museum.org/assets",
    }
    server = RunningServer({"KEY": KEY, "RESERVED_BYTES": 0, **settings})
    for collection in (FISH, "KU Herps"):
        server.upload("a.tif", pictures.tiff(), coll=collection)
    server.upload("b.tif", pictures.tiff(), coll=FISH)
    yield server
    server.stop()


def opened(server: RunningServer, name: str, headers: dict[str, str] = BROWSER, **query: object) -> Response:
    return server.get("/fileget", headers, type="O", filename=name, **query)


def is_viewer(answer: Response) -> bool:
    is_page = answer.headers["content-type"].startswith("text/html")
    assert is_page == (b"openseadragon.js" in answer.body)
    return is_page


def cookie_of(answer: Response) -> str:
    return answer.headers["set-cookie"].split(";")[0]


# --- The page or the file ---


@pytest.mark.parametrize("browser", [BROWSER, OVER_HTTP], ids=["https", "http and a host name"])
def test_a_tiff_that_a_browser_opens_in_a_tab_is_shown_in_the_viewer(
    server: RunningServer, browser: dict[str, str]
) -> None:
    answer = opened(server, "a.tif", browser, downloadname="Label 1.tif")
    assert (answer.status, is_viewer(answer)) == (200, True)
    assert "<title>Label 1.tif</title>" in answer.text
    assert answer.headers["vary"] == VARY
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "*/*", "User-Agent": "python-requests/2.32.4"},
        IMAGE,
        {**BROWSER, "Sec-Fetch-Dest": "object"},
        {**BROWSER, "Sec-Fetch-Dest": "empty"},
        {**OVER_HTTP, "Range": "bytes=0-"},
    ],
    ids=["no headers", "program", "img", "object", "download", "range"],
)
def test_everyone_else_gets_the_file(server: RunningServer, headers: dict[str, str]) -> None:
    answer = opened(server, "a.tif", headers)
    assert answer.body == pictures.tiff()
    assert answer.headers["content-type"] == "image/tiff"
    assert answer.headers["vary"] == VARY


def test_view_0_is_always_the_file(server: RunningServer) -> None:
    answer = opened(server, "a.tif", view=0)
    assert answer.body == pictures.tiff()
    assert "vary" not in answer.headers


def test_a_browser_that_has_the_file_gets_the_viewer_all_the_same(server: RunningServer) -> None:
    etag = opened(server, "a.tif", IMAGE).headers["etag"]
    assert opened(server, "a.tif", {**IMAGE, "If-None-Match": etag}).status == 304
    assert is_viewer(opened(server, "a.tif", {**BROWSER, "If-None-Match": etag}))


def test_jpeg_and_png_open_in_the_viewer_only_if_they_are_large(server: RunningServer) -> None:
    assert is_viewer(opened(server, "large.jpg"))
    assert opened(server, "large.jpg", IMAGE).body == large_jpeg()
    answer = opened(server, "a.jpg")
    assert (answer.body, answer.headers["vary"]) == (pictures.jpeg(), VARY)


@pytest.mark.parametrize("name", ["a.pdf", "a.txt"])
def test_what_browsers_show_well_stays_as_it_is(server: RunningServer, name: str) -> None:
    answer = opened(server, name)
    assert not is_viewer(answer)
    assert "vary" not in answer.headers


def test_thumbnails_are_never_shown_in_the_viewer(server: RunningServer) -> None:
    answer = server.get("/fileget", BROWSER, type="T", scale=100, filename="a.tif")
    assert answer.headers["content-type"] == "image/png"
    assert "vary" not in answer.headers


def test_a_missing_file_is_missing_for_browsers_as_well(server: RunningServer) -> None:
    for answer in (opened(server, "none.tif"), opened(server, "none.jpg"), server.get("/view/none.tif")):
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("text/plain")


def test_without_the_viewer_everything_is_as_before(start: Start) -> None:
    server = start(VIEWER=False)
    server.upload("a.tif", pictures.tiff())
    answer = opened(server, "a.tif")
    assert answer.body == pictures.tiff()
    assert "vary" not in answer.headers
    for path in ("/view/a.tif", "/viewer/main.js", "/viewer/openseadragon.js"):
        assert server.get(path).text == "There is nothing at this address."
    assert server.get("/iiif/manifest/a.tif").status == 200


def test_types_without_thumbnails_are_not_shown(start: Start) -> None:
    server = start(CAN_THUMBNAIL={"image/jpeg"}, VIEWER_MEGAPIXELS=None)
    server.upload("a.tif", pictures.tiff())
    server.upload("large.jpg", large_jpeg())
    assert not is_viewer(opened(server, "a.tif"))
    assert "vary" not in opened(server, "large.jpg").headers


# --- The page ---


def test_the_page_runs_only_its_own_scripts(server: RunningServer) -> None:
    first, second = (server.get("/view/a.tif") for _ in range(2))
    policy = first.headers["content-security-policy"]
    [nonce] = re.findall(r"script-src 'nonce-([\w-]{24})'", policy)
    assert first.text.count(f'nonce="{nonce}"') == 5
    assert nonce not in second.text
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert first.headers["referrer-policy"] == "no-referrer"


def test_names_are_escaped_in_the_page(server: RunningServer) -> None:
    hostile = '"><script>alert(1)</script>'
    server.upload(f"{hostile}.tif".replace("/", "-"), pictures.tiff())
    for answer in (
        opened(server, "a.tif", downloadname=hostile),
        server.get("/view/" + quote(f"{hostile}.tif".replace("/", "-"), safe="")),
    ):
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;alert" in answer.text


def test_exactly_the_files_of_the_page_are_served(server: RunningServer) -> None:
    assert set(viewer.FILES) == {path.name for path in (PROJECT / "views/viewer").iterdir()}
    for name in viewer.FILES:
        answer = server.get(f"/viewer/{name}")
        assert answer.body == (PROJECT / "views/viewer" / name).read_bytes()
        assert server.get(f"/viewer/{name}", {"If-None-Match": answer.headers["etag"]}).status == 304
    for name in ("viewer.tpl", "..%2Fstatus.tpl", "main.py", ""):
        assert server.get(f"/viewer/{name}").status == 404


def test_the_license_of_openseadragon_is_served_with_it() -> None:
    assert "//! openseadragon 6.1.1" in (PROJECT / "views/viewer/openseadragon.js").read_text(encoding="utf-8")[:100]
    text = (PROJECT / "views/viewer/openseadragon-license.txt").read_text(encoding="utf-8")
    assert "Redistributions in binary form must reproduce the above copyright" in text


# --- With REQUIRE_KEY_FOR_GET ---

A, PATH_OF_A = {"coll": FISH, "filename": "a.tif"}, quote(f"{FISH}/a.tif", safe="")


def opened_with_token(server: RunningServer) -> Response:
    return opened(server, "a.tif", coll=FISH, token=server.token("a.tif"))


def everything(path: str) -> list[str]:
    """Each address at which a picture can be read, by its encoded identifier."""
    return [
        f"/iiif/manifest/{path}",
        f"/iiif/3/{path}/info.json",
        f"/iiif/3/{path}/full/100,/0/default.jpg",
        f"/iiif/2/{path}/info.json",
        f"/iiif/collection?names={path}",
        f"/iiif/state/{path}",
    ]


def test_a_viewer_that_was_opened_with_a_token_may_read_its_picture(limited: RunningServer) -> None:
    answer = opened_with_token(limited)
    assert is_viewer(answer)
    attributes = answer.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "SameSite=Lax", "Path=/assets/", "Max-Age=3600"} <= set(attributes)
    cookie = {"Cookie": cookie_of(answer)}
    for address in everything(PATH_OF_A):
        assert limited.get(address, cookie).status == 200, address
    assert limited.get("/getmetadata", cookie, **A).status == 200
    assert limited.get("/fileget", cookie, **A, view=0).body == pictures.tiff()
    again = opened(limited, "a.tif", {**BROWSER, **cookie}, coll=FISH)
    assert is_viewer(again)
    assert "set-cookie" not in again.headers


def test_the_page_can_be_opened_by_its_own_address_with_a_token(limited: RunningServer) -> None:
    answer = limited.get(f"/view/{PATH_OF_A}", token=limited.token("a.tif"))
    assert is_viewer(answer)
    assert limited.get(f"/iiif/manifest/{PATH_OF_A}", {"Cookie": cookie_of(answer)}).status == 200


def test_a_cookie_is_for_one_picture_and_for_reading_only(limited: RunningServer) -> None:
    cookie = {"Cookie": cookie_of(opened_with_token(limited))}
    for other in (f"{FISH}/b.tif", "KU Herps/a.tif"):
        for address in everything(quote(other, safe="")):
            assert limited.get(address, cookie).status == 401, address
    assert limited.get("/fileget", cookie, coll=FISH, filename="b.tif").status == 403
    assert limited.get("/getmetadata", cookie, coll="KU Herps", filename="a.tif").status == 403
    form = "application/x-www-form-urlencoded"
    deleted = limited.request("POST", "/filedelete", b"coll=KU+Fish&filename=a.tif", {**cookie, "Content-Type": form})
    assert deleted.status == 403
    assert limited.get("/status/data/overview", cookie).status == 403


def test_without_a_permission_nothing_is_revealed(limited: RunningServer) -> None:
    other = viewer_cookies.headers("other key", [("fish", "a.tif")], 4_000_000_000, "/", is_secure=False)[0]
    for headers in ({}, {"Cookie": other.split(";")[0]}):
        for address in everything(PATH_OF_A):
            answer, missing = (limited.get(path, headers) for path in (address, address.replace("a.tif", "none.tif")))
            assert answer.status == 401, address
            assert answer.headers["www-authenticate"].startswith("Token ")
            assert (answer.status, answer.body) == (missing.status, missing.body)
            assert len(answer.body) < 200
        for path in (f"/view/{PATH_OF_A}", "/view/KU%20Fish%2Fnone.tif", "/view/Other%2Fa.tif"):
            assert limited.get(path, headers).status == 403
    wrong = limited.get(f"/iiif/manifest/{PATH_OF_A}", token=limited.token("b.tif"))
    assert wrong.status == 403


def test_a_token_in_the_past_opens_no_viewer(limited: RunningServer) -> None:
    answer = opened(limited, "a.tif", coll=FISH, token=limited.token("a.tif", age=200))
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


def test_without_require_key_for_get_there_are_no_cookies(server: RunningServer) -> None:
    assert "set-cookie" not in opened(server, "a.tif", token=server.token("a.tif")).headers


def test_a_manifest_of_several_pictures_requires_a_permission_for_each(limited: RunningServer) -> None:
    names = {"coll": FISH, "names": "a.tif"}
    both = f"/iiif/collection?coll=KU+Fish&names=a.tif&names=b.tif&token={limited.token('a.tif')}"
    assert limited.get("/iiif/collection", **names, token=limited.token("a.tif")).status == 200
    assert limited.get(both).status == 403
    answer = limited.get(f"{both}&token={limited.token('b.tif')}")
    assert answer.status == 200
    assert "token" not in answer.text


# --- Several pictures ---

#: The addresses of a viewer for the two pictures of one collection.
BOTH = (f"/view?coll={quote(FISH)}&names=a.tif&names=b.tif", f"/view?names={PATH_OF_A},{quote(FISH)}%2Fb.tif")


@pytest.mark.parametrize("address", BOTH)
def test_a_viewer_of_several_pictures_requires_a_permission_for_each(limited: RunningServer, address: str) -> None:
    tokens = [f"&token={limited.token(name)}" for name in ("a.tif", "b.tif")]
    for refused in (address, address + tokens[0], address + tokens[1], address + tokens[0] * 2):
        answers = [limited.get(path) for path in (refused, refused.replace("b.tif", "none.tif"))]
        assert [answer.status for answer in answers] == [403, 403]
        assert answers[0].body == answers[1].body
        assert "set-cookie" not in answers[0].headers
    answer = limited.get(address + "".join(tokens))
    assert (answer.status, is_viewer(answer)) == (200, True)
    assert "<title>a.tif and 1 more</title>" in answer.text
    assert "token" not in answer.text
    cookie = {"Cookie": cookie_of(answer)}
    both = (PATH_OF_A, quote(f"{FISH}/b.tif", safe=""))
    for path in (*both, f"{both[0]},{both[1]}"):
        assert limited.get(f"/iiif/collection?names={path}", cookie).status == 200
    for path in everything(quote("KU Herps/a.tif", safe="")):
        assert limited.get(path, cookie).status == 401
    assert "set-cookie" not in limited.get(address, {**BROWSER, **cookie}).headers
    assert limited.get(f"/view/{both[1]}", cookie).status == 200


def test_a_cookie_for_one_picture_does_not_open_a_viewer_of_several(limited: RunningServer) -> None:
    cookie = {"Cookie": cookie_of(opened_with_token(limited))}
    assert limited.get(BOTH[0], cookie).status == 403
    answer = limited.get(f"{BOTH[0]}&token={limited.token('b.tif')}", cookie)
    assert is_viewer(answer)
    assert limited.get(f"/iiif/manifest/{PATH_OF_A}", {"Cookie": cookie_of(answer)}).status == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("names=", 400),
        ("names=a.tif&names=none.tif", 404),
        ("names=a.tif&names=..%2Fkey", 404),
        (f"names={','.join(['a.tif'] * 21)}", 400),
        ("names=a.tif", 200),
        (f"names={','.join(['a.tif'] * 20)}", 200),
    ],
)
def test_a_viewer_shows_up_to_twenty_pictures_that_exist(server: RunningServer, query: str, status: int) -> None:
    answer = server.get(f"/view?{query}")
    assert answer.status == status
    assert is_viewer(answer) == (status == 200)


def test_a_manifest_of_several_names_the_file_that_cannot_be_shown(server: RunningServer) -> None:
    assert server.get("/iiif/collection?names=a.tif,bad.tif").text.startswith("bad.tif: ")


def test_the_address_of_the_status_page_downloads_the_file(server: RunningServer) -> None:
    text = (PROJECT / "views/status/server.js").read_text(encoding="utf-8")
    assert "{ downloadname: name, view: 0 }" in text
