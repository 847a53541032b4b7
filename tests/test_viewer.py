"""The viewer in a real browser: what a curator sees who opens a scan from Specify.

Pictures of it are written to the folder screenshots, for people to look at.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests import pictures
from tests.browser import DESKTOP, PHONE, SCREENSHOTS, Browser, chromium, needs_chromium
from tests.support import KEY, RunningServer

pytestmark = needs_chromium

FISH = "KU Fish & Co"

#: A name of a file that would run something if it were inserted as markup.
HOSTILE = '<img src=x onerror="document.title=1">.tif'

#: A host to which browsers send no Fetch Metadata over plain http, unlike localhost.
HOST = "assets.museum.test"

#: The colours of the picture that is shown, at the centres of a grid.
_COLOURS = """
const canvas = document.querySelector("#picture .openseadragon-canvas canvas");
if (!canvas || !canvas.width) { return []; }
const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
const context = copy.getContext("2d", { willReadFrequently: true });
context.drawImage(canvas, 0, 0);
const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
const found = [];
for (let y = 0.5; y < 24; y += 1) {
  for (let x = 0.5; x < 24; x += 1) {
    const i = 4 * (Math.floor(y * canvas.height / 24) * canvas.width + Math.floor(x * canvas.width / 24));
    if (pixels[i + 3] === 255) { found.push([pixels[i], pixels[i + 1], pixels[i + 2]]); }
  }
}
return found;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with collections that requires a token to read."""
    settings = {
        "KEY": KEY,
        "BASE_DIR": str(tmp_path_factory.mktemp("attachments")),
        "RESERVED_BYTES": 0,
        "COLLECTION_DIRS": {FISH: "fish"},
        "REQUIRE_KEY_FOR_GET": True,
    }
    server = RunningServer(settings)
    for name in ("a.tif", HOSTILE):
        server.upload(name, pictures.tiff(), coll=FISH)
    server.upload("front.png", pictures.encoded(pictures.scene(800, 600), "PNG"), coll=FISH)
    server.upload("bad.tif", b"II*\0 nothing", coll=FISH)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests, which finds the server under a host name that is not localhost."""
    rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
    with chromium(tmp_path_factory.mktemp("downloads"), rules) as browser:
        yield browser


@pytest.fixture
def quiet(browser: Browser) -> Iterator[Browser]:
    """The browser, in which nothing may go wrong: no error, no violation of the policy."""
    browser.complaints()
    browser.requests()
    yield browser
    # OpenSeadragon warns if a part that it requested arrives after the page was changed.
    assert [said for said in browser.complaints() if "Ignoring tile" not in said] == []
    browser.driver.get("about:blank")


def address(server: RunningServer, name: str, host: str = HOST, **query: object) -> str:
    """The address that Specify 7 opens in a new tab."""
    asked = {"coll": FISH, "type": "O", "filename": name, "token": server.token(name), **query}
    return f"http://{host}:{server.port}/fileget?{urlencode(asked)}"


def shows(browser: Browser, *colours: tuple[int, int, int]) -> bool:
    """Whether all of these colours are seen in the picture."""
    found = browser.script(_COLOURS)
    return all(any(pictures.alike(tuple(pixel), colour) for pixel in found) for colour in colours)


def opened(browser: Browser, server: RunningServer, name: str = "a.tif", **query: object) -> None:
    browser.driver.get(address(server, name, **query))
    browser.until(lambda: shows(browser, pictures.RED, pictures.GREEN, pictures.BLUE, pictures.YELLOW), name)


def press(browser: Browser, *keys: str) -> None:
    ActionChains(browser.driver).send_keys(*keys).perform()


def scale(browser: Browser) -> float:
    return float(browser.text("#scale").split()[0])


def screenshot(browser: Browser, name: str) -> None:
    """Keeps pictures of the page in both widths; it fits into the window, whatever is in it."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for kind, size in (("phone", PHONE), ("desktop", DESKTOP)):
        browser.resize(size)
        browser.script("return new Promise((done) => setTimeout(done, 100))")
        browser.driver.save_screenshot(str(SCREENSHOTS / f"viewer-{name}-{kind}.png"))
        assert browser.script("return document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("host", ["127.0.0.1", HOST])
def test_a_tiff_opened_from_specify_is_shown_and_can_be_downloaded(
    quiet: Browser, server: RunningServer, host: str
) -> None:
    quiet.driver.get(address(server, "a.tif", host, downloadname=f"Sheet {host}.tif"))
    quiet.until(lambda: shows(quiet, pictures.RED, pictures.GREEN, pictures.BLUE, pictures.YELLOW))
    assert quiet.driver.title == f"Sheet {host}.tif"
    assert quiet.text("#facts").startswith("page 1 of 3 · TIFF · ")
    assert quiet.text("#facts").endswith(" · 640 × 480 pixels")
    quiet.click("#download")
    saved = quiet.downloads / f"Sheet {host}.tif"
    quiet.until(lambda: saved.exists() and saved.stat().st_size == len(pictures.tiff()))
    assert saved.read_bytes() == pictures.tiff()
    sent = quiet.requests()
    assert any("default.jpg" in request["url"] for request in sent)
    own = f"http://{host}:{server.port}/"
    assert not [request["url"] for request in sent if not request["url"].startswith((own, "about:"))]
    # Of each file that is downloaded over http from another host than localhost, Chromium says so.
    assert all("insecure connection" in told for told in quiet.complaints())


def test_the_page_can_be_loaded_again_for_an_hour(quiet: Browser, server: RunningServer) -> None:
    opened(quiet, server)
    old = address(server, "a.tif", token=server.token("a.tif", age=1000))
    quiet.driver.get(old)
    quiet.until(lambda: shows(quiet, pictures.RED))
    assert quiet.script("return document.cookie") == ""


def test_the_picture_is_zoomed_turned_and_moved_by_buttons_and_keys(quiet: Browser, server: RunningServer) -> None:
    opened(quiet, server)
    whole = scale(quiet)
    quiet.click("[data-act=zoomIn]")
    quiet.until(lambda: scale(quiet) > whole * 1.4)
    press(quiet, "1")
    quiet.until(lambda: scale(quiet) == 100)
    press(quiet, "+", "+", "+", "+")
    quiet.until(lambda: scale(quiet) > 400)
    press(quiet, Keys.ARROW_LEFT * 9, Keys.ARROW_UP * 9)
    quiet.until(lambda: shows(quiet, pictures.RED) and not shows(quiet, pictures.BLUE))
    press(quiet, "0")
    quiet.until(lambda: shows(quiet, pictures.RED, pictures.BLUE))
    press(quiet, "r")
    quiet.until(lambda: corners(quiet) == ["yellow", "red", "green", "blue"])
    press(quiet, "R", "R")
    quiet.until(lambda: corners(quiet) == ["green", "blue", "yellow", "red"])
    quiet.click("#full-screen")
    quiet.until(lambda: quiet.script("return Boolean(document.fullscreenElement)"))
    press(quiet, "f")
    quiet.until(lambda: quiet.script("return !document.fullscreenElement"))


def test_a_whole_picture_stays_whole_in_a_window_of_another_size(quiet: Browser, server: RunningServer) -> None:
    opened(quiet, server)
    whole = scale(quiet)
    quiet.resize(PHONE)
    quiet.until(lambda: scale(quiet) < whole / 1.2)
    assert shows(quiet, pictures.RED, pictures.GREEN, pictures.BLUE, pictures.YELLOW)
    on_phone = scale(quiet)
    quiet.resize(DESKTOP)
    quiet.until(lambda: scale(quiet) == whole)
    quiet.click("[data-act=zoomIn]")
    quiet.until(lambda: scale(quiet) > whole * 1.4)
    quiet.resize(PHONE)
    quiet.until(lambda: scale(quiet) < whole * 1.4)
    assert scale(quiet) > on_phone * 1.2  # the same part of the picture


def corners(browser: Browser) -> list[str]:
    """The colours of the corners of the picture as it is shown, clockwise from the top left."""
    names = {pictures.RED: "red", pictures.GREEN: "green", pictures.BLUE: "blue", pictures.YELLOW: "yellow"}
    seen = [
        next((name for colour, name in names.items() if pictures.alike(tuple(pixel), colour)), "")
        for pixel in browser.script(_COLOURS)
    ]
    coloured = [name for name in seen if name]
    if not coloured:
        return []
    grid_order = list(dict.fromkeys(coloured))
    first_row = grid_order[:2]
    below = grid_order[2:]
    return [*first_row, *reversed(below)]


def test_the_pages_of_a_file_are_a_strip(quiet: Browser, server: RunningServer) -> None:
    opened(quiet, server)
    assert len(quiet.all("#pages button")) == 3
    quiet.until(lambda: quiet.script("return [...document.images].every((image) => image.naturalWidth > 0)"))
    quiet.click("#pages button:nth-of-type(2)")
    quiet.until(lambda: shows(quiet, pictures.BLUE) and not shows(quiet, pictures.RED))
    assert quiet.text("#facts").startswith("page 2 of 3 · ")
    assert quiet.text("#facts").endswith(" · 300 × 200 pixels")
    assert quiet.text("#pages [aria-current=page]") == "2"
    press(quiet, Keys.PAGE_DOWN)
    quiet.wait_for("#facts", "page 3 of 3")
    quiet.driver.refresh()
    quiet.wait_for("#facts", "page 3 of 3")
    press(quiet, Keys.PAGE_UP, Keys.PAGE_UP)
    quiet.until(lambda: shows(quiet, pictures.RED))
    screenshot(quiet, "pages")


def test_several_files_are_a_strip_and_each_has_its_own_links(quiet: Browser, server: RunningServer) -> None:
    names = ("front.png", "a.tif", HOSTILE)
    query = [("coll", FISH), *(("names", name) for name in names), *(("token", server.token(name)) for name in names)]
    quiet.driver.get(f"http://{HOST}:{server.port}/view?{urlencode(query)}")
    quiet.until(lambda: shows(quiet, pictures.RED, pictures.YELLOW))
    assert quiet.driver.title == "front.png and 2 more"
    assert quiet.text("#facts").startswith("picture 1 of 7 · ")
    quiet.click("#show-information")
    quiet.wait_for("#metadata", "The file has no metadata.")
    assert quiet.all("#pages button")[2].text == "a.tif, page 2"
    screenshot(quiet, "several-information")
    quiet.click("#pages button:nth-of-type(5)")
    quiet.wait_for("#facts", "picture 5 of 7")
    quiet.wait_for("#metadata dd", "Canon")
    assert quiet.text("#name") == HOSTILE
    assert HOSTILE in quiet.text("#file")
    download = (
        "return fetch(document.getElementById('download').href).then((found) => found.blob()).then(({ size }) => size)"
    )
    assert quiet.script(download) == len(pictures.tiff())
    assert quiet.script("return document.getElementById('download').download") == HOSTILE
    press(quiet, Keys.ESCAPE)
    quiet.until(lambda: quiet.script("return [...document.images].every((image) => image.naturalWidth > 0)"))
    screenshot(quiet, "several")


def test_brightness_and_contrast_can_be_adjusted(quiet: Browser, server: RunningServer) -> None:
    opened(quiet, server)
    current = "return document.querySelector('#picture .openseadragon-canvas canvas').style.filter"
    press(quiet, "b")
    press(quiet, Keys.ARROW_RIGHT * 5)
    quiet.click("#inverted")
    assert quiet.script(current) == "invert(1) brightness(105%)"
    screenshot(quiet, "adjusted")
    press(quiet, Keys.PAGE_DOWN)  # it stays as it is on the next page
    quiet.click("#adjustments button")
    quiet.until(lambda: quiet.script(current) == "")
    press(quiet, Keys.ESCAPE)
    quiet.until(lambda: not quiet.all("#adjustments"))


def test_the_panel_shows_file_metadata_and_manifest(quiet: Browser, server: RunningServer) -> None:
    opened(quiet, server, HOSTILE)
    quiet.click("#show-information")
    quiet.wait_for("#metadata dd", "Canon")
    assert "SHA-256" in quiet.text("#file")
    assert HOSTILE in quiet.text("#file")
    assert quiet.driver.title == HOSTILE
    screenshot(quiet, "information")
    manifest = quiet.script("return fetch(document.getElementById('manifest').href).then((found) => found.json())")
    assert manifest["type"] == "Manifest"
    press(quiet, Keys.ESCAPE)
    quiet.until(lambda: not quiet.all("#information"))


def test_the_preparation_of_a_picture_is_shown(quiet: Browser, server: RunningServer) -> None:
    added = quiet.before_pages(
        "globalThis.held = [];"
        "const hold = { set(address) { held.push([this, address]); } };"
        "Object.defineProperty(HTMLImageElement.prototype, 'src', hold);"
        "const own = fetch;"
        "fetch = (path) => String(path).includes('/state/')"
        '  ? Promise.resolve(new Response(\'{"state": "being made", "progress": 0.41}\')) : own(path);'
    )
    try:
        quiet.driver.get(address(server, "a.tif"))
    finally:
        quiet.not_before_pages(added)
    quiet.wait_for("#message", "Preparing the picture for zooming: 41 %")
    screenshot(quiet, "preparing")
    quiet.script("held.forEach(([image, address]) => image.setAttribute('src', address))")
    quiet.until(lambda: not quiet.all("#message"))


def test_a_picture_of_which_the_server_refused_parts_is_shown_later(browser: Browser, server: RunningServer) -> None:
    server.upload("scan.tif", pictures.encoded(pictures.scene(1300, 1000), "TIFF"), coll=FISH)
    path = quote(f"{FISH}/scan.tif", safe="")
    assert server.get(f"/iiif/3/{path}/info.json", token=server.token("scan.tif")).status == 200
    context = server.context
    waiting, refused = context.images._waiting_for_pyramids, "return globalThis.refused > 3"
    added = browser.before_pages(
        "globalThis.refused = 0; const own = fetch; fetch = async (path) => {"
        " const answer = await own(path); globalThis.refused += answer.status === 503; return answer; };"
    )
    clients = [str(number) for number in range(waiting.number) if waiting.acquire(str(number))]
    with contextlib.ExitStack() as workers:
        for client in range(context.pool.workers().most):
            workers.enter_context(context.pool.lend(str(client)))
        browser.driver.get(address(server, "scan.tif"))
        browser.until(lambda: browser.script(refused))
        browser.wait_for("#message", "Waiting for other pictures")
    for client in clients:
        waiting.release(client)
    browser.until(lambda: shows(browser, pictures.RED, pictures.BLUE) and not browser.all("#message"))
    browser.not_before_pages(added)
    browser.complaints()


def test_a_picture_that_cannot_be_shown_is_explained_and_can_be_downloaded(
    browser: Browser, server: RunningServer
) -> None:
    browser.driver.get(address(server, "bad.tif"))
    message = browser.text_of("#message", "The picture cannot be shown")
    assert "damaged" in message
    assert "Try again" not in message
    assert browser.all("#message a[download]")
    screenshot(browser, "damaged")
    browser.complaints()


def test_an_expired_permission_is_explained(browser: Browser, server: RunningServer) -> None:
    opened(browser, server)
    browser.driver.delete_all_cookies()
    browser.click("#pages button:nth-of-type(2)")
    assert "Open it again from Specify." in browser.text_of("#message", "The permission")
    browser.complaints()


def test_a_server_that_stops_responding_is_explained_until_it_responds(browser: Browser, server: RunningServer) -> None:
    opened(browser, server)
    block(browser, ["*/info.json"])
    browser.click("#pages button:nth-of-type(2)")
    browser.wait_for("#message", "The server does not respond.")
    block(browser, [])
    browser.click("#message button", "Try again")
    browser.until(lambda: shows(browser, pictures.BLUE) and not browser.all("#message"))
    browser.complaints()


def test_the_file_is_downloaded_if_a_proxy_does_not_pass_on_the_viewer(browser: Browser, server: RunningServer) -> None:
    block(browser, ["*/viewer/*"])
    browser.driver.get(address(server, "a.tif", downloadname="behind a proxy.tif"))
    saved = browser.downloads / "behind a proxy.tif"
    browser.until(lambda: saved.exists() and saved.stat().st_size == len(pictures.tiff()))
    block(browser, [])
    browser.complaints()


def block(browser: Browser, addresses: list[Any]) -> None:
    """Has requests to addresses fail."""
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": addresses})
