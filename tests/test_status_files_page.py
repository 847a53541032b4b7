"""The files at /status in a real browser: gallery, paging, filters, selection, download, delete and undo."""

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests import pictures
from tests.browser import DESKTOP, PHONE, Browser, chromium, needs_chromium
from tests.support import KEY, RunningServer

pytestmark = needs_chromium

#: Few are pictures, because each thumbnail takes time.
FISH = [f"fish-{number:03}.{'jpg' if number < 3 else 'txt'}" for number in range(105)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One for all tests, with 110 files in two collections; each test leaves them as they were."""
    collections = {"KU Fish": "fish", "KU Hérps & Co": "herps"}
    base = tmp_path_factory.mktemp("files")
    settings = {"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, "COLLECTION_DIRS": collections}
    server = RunningServer(settings)
    picture = pictures.jpeg()
    for number, name in enumerate(FISH):
        (base / "fish/originals" / name).write_bytes(picture if number < 3 else b"x" * number)
    for name in ("fish-000.jpg", "notes ä.txt", "b.pdf", "c.tif", "d.bin"):
        (base / "herps/originals" / name).write_bytes(picture if name == "fish-000.jpg" else b"herps")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("downloads")) as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser: Browser, server: RunningServer) -> Browser:
    """The page, with the key entered."""
    browser.open(server.port, "#files")
    browser.sign_in(KEY)
    browser.complaints()
    return browser


@pytest.fixture
def page(opened: Browser) -> Iterator[Browser]:
    """The list, sorted by name, when it is complete."""
    opened.resize(DESKTOP)
    opened.script("window.location.hash = '#files?sort=name-asc'")
    opened.wait_for("#files .list-head", "1–100 of 110 files")
    opened.until(lambda: names(opened)[0] == "b.pdf")
    opened.script("document.querySelector('.tile').focus()")
    press(opened, Keys.ESCAPE)
    yield opened
    # Of these files, no thumbnails can be made.
    complaints = [text for text in opened.complaints() if not any(name in text for name in ("b.pdf", "c.tif"))]
    assert complaints == []


def names(browser: Browser) -> list[str]:
    found: list[str] = browser.script(
        "return [...document.querySelectorAll('.tile .name')].map((name) => name.textContent)"
    )
    return found


def wait_for_total(browser: Browser, text: str) -> None:
    """Waits until the line above the list begins with this text."""
    browser.until(lambda: browser.text(".list-head").startswith(text), text)


def press(browser: Browser, *keys: str) -> None:
    """Presses keys where the focus is; the last one with the others held down."""
    chain = ActionChains(browser.driver)
    for key in keys[:-1]:
        chain.key_down(key)
    chain.send_keys(keys[-1])
    for key in keys[:-1]:
        chain.key_up(key)
    chain.perform()


def selected(browser: Browser) -> list[str]:
    found: list[str] = browser.script(
        "return [...document.querySelectorAll('.tile[aria-selected=true] .name')].map((name) => name.textContent)"
    )
    return found


def test_pages_order_filters_and_the_back_button(page: Browser) -> None:
    assert names(page)[:3] == ["b.pdf", "c.tif", "d.bin"]
    page.click(".pages a", "Next page")
    page.wait_for(".list-head", "101–110 of 110")
    assert names(page)[-1] == "notes ä.txt"
    page.driver.back()
    page.wait_for(".list-head", "1–100 of 110")
    page.choose("#search-sort", "Largest first")
    page.until(lambda: names(page)[:2] == ["fish-002.jpg", "fish-001.jpg"])
    page.choose("#search-collection", "KU Hérps & Co")
    wait_for_total(page, "5 files")
    page.choose("#search-type", "application/pdf (1)")
    page.until(lambda: names(page) == ["b.pdf"])
    page.driver.back()
    wait_for_total(page, "5 files")
    page.type("#search", "ISH-00")
    page.until(lambda: names(page) == ["fish-000.jpg"])
    page.click("#files summary", "More filters")
    page.click("#search-without")
    page.wait_for(".list-head", "No files found. Try fewer filters")
    page.click("#files button", "Reset")
    wait_for_total(page, "1–100 of 110 files")


def test_files_are_selected_by_mouse_and_keyboard(page: Browser) -> None:
    page.script("document.querySelectorAll('.tile .check')[1].click()")
    tiles = page.all(".tile")
    ActionChains(page.driver).key_down(Keys.SHIFT).click(tiles[3]).key_up(Keys.SHIFT).perform()
    assert selected(page) == ["c.tif", "d.bin", "fish-000.jpg"]
    page.wait_for(".selection", "3 files selected")
    press(page, Keys.ESCAPE)
    page.until(lambda: not page.all(".selection"))
    press(page, Keys.HOME)
    press(page, Keys.SPACE)
    press(page, Keys.SHIFT, Keys.ARROW_RIGHT)
    assert selected(page) == ["b.pdf", "c.tif"]
    press(page, Keys.CONTROL, "a")
    page.wait_for(".selection", "100 files selected")
    page.click(".selection button", "Select all 110")
    page.wait_for(".selection", "110 files selected")
    page.script("window.scrollTo(0, document.body.scrollHeight)")  # the bar covers what is below
    page.click(".pages a", "Next page")
    page.wait_for(".list-head", "101–110 of 110")
    assert len(selected(page)) == 10
    page.click(".selection button", "Clear selection")
    page.until(lambda: not selected(page))


def test_the_large_view_fits_the_screen_and_goes_through_all_pages(page: Browser) -> None:
    for _ in range(3):
        press(page, Keys.ARROW_RIGHT)
    press(page, Keys.ENTER)
    page.wait_for("dialog h2", "fish-000.jpg")
    page.wait_for("dialog", "4 of 110")
    page.until(lambda: page.script("return document.querySelector('dialog .large img').naturalWidth > 400"))
    press(page, Keys.ARROW_RIGHT)
    page.wait_for("dialog", "5 of 110")
    page.click("dialog button", "‹")
    page.wait_for("dialog", "4 of 110")
    press(page, Keys.ESCAPE)
    page.until(lambda: not page.all("dialog"))
    assert page.driver.switch_to.active_element.text.startswith("fish-000.jpg")
    press(page, Keys.END)
    press(page, Keys.ENTER)
    page.wait_for("dialog", "100 of 110")
    press(page, Keys.ARROW_RIGHT)
    page.wait_for("dialog", "101 of 110")
    page.wait_for("dialog h2", names(page)[0])
    press(page, Keys.ESCAPE)


def test_a_picture_of_a_collection_opens_in_the_viewer(page: Browser) -> None:
    page.choose("#search-collection", "KU Hérps & Co")
    wait_for_total(page, "5 files")
    page.type("#search", "fish-000")
    page.until(lambda: names(page) == ["fish-000.jpg"])
    page.script("document.querySelector('.tile').focus()")
    press(page, Keys.ENTER)
    page.wait_for("dialog h2", "fish-000.jpg")
    own = page.driver.current_window_handle
    page.click("dialog button", "Zoom")
    [other] = page.until(lambda: set(page.driver.window_handles) - {own})
    page.driver.switch_to.window(other)
    try:
        page.until(lambda: page.driver.title.startswith("fish-000.jpg"))
        page.until(lambda: page.script("return Boolean(document.querySelector('canvas'))"))
    finally:
        page.driver.close()
        page.driver.switch_to.window(own)
    press(page, Keys.ESCAPE)


def test_a_selection_of_pictures_opens_in_one_viewer(page: Browser) -> None:
    press(page, Keys.CONTROL, "a")
    page.wait_for(".selection", "100 files selected")
    assert not page.all(".selection button:first-of-type")
    press(page, Keys.ESCAPE)
    page.type("#search", "fish-00")
    page.choose("#search-sort", "Name, A to Z")
    page.until(lambda: names(page)[:4] == ["fish-000.jpg", "fish-000.jpg", "fish-001.jpg", "fish-002.jpg"])
    for number in (1, 2, 4):
        page.script(f"document.querySelectorAll('.tile .check')[{number - 1}].click()")
    own = page.driver.current_window_handle
    page.click(".selection button", "Open in viewer")
    [other] = page.until(lambda: set(page.driver.window_handles) - {own})
    page.driver.switch_to.window(other)
    try:
        page.until(lambda: page.driver.title == "fish-000.jpg and 2 more")
        page.until(lambda: len(page.all("#pages button")) == 3)
    finally:
        page.driver.close()
        page.driver.switch_to.window(own)
    press(page, Keys.ESCAPE)


def test_a_selection_is_downloaded_as_one_archive(page: Browser) -> None:
    page.type("#search", "fish-000")
    wait_for_total(page, "2 files")
    page.script("document.querySelector('.tile').focus()")
    press(page, Keys.CONTROL, "a")
    page.click(".selection button", "Download as zip")
    name = f"{time.strftime('%Y-%m-%d')} 2 files.zip"
    saved = page.downloads / name
    page.until(saved.exists)
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["KU Fish/fish-000.jpg", "KU Hérps & Co/fish-000.jpg"]


def test_a_selection_is_deleted_and_restored(page: Browser, server: RunningServer) -> None:
    page.type("#search", "fish-01")
    wait_for_total(page, "10 files")
    page.script("document.querySelector('.tile').focus()")
    press(page, Keys.CONTROL, "a")
    press(page, Keys.DELETE)
    page.wait_for("#news", "10 files are in the trash.")
    page.wait_for(".list-head", "No files found.")
    assert not page.all(".selection")
    assert not (server.base / "fish/originals/fish-010.txt").exists()
    page.click("#news button", "Undo")
    page.wait_for("#news", "10 files were restored.")
    wait_for_total(page, "10 files")
    assert (server.base / "fish/originals/fish-010.txt").exists()


def test_gallery_list_and_large_view_fit_a_phone(page: Browser) -> None:
    page.resize(PHONE)
    for view, shown in (("List", ".file-rows"), ("Gallery", ".gallery")):
        page.click("#files .views button", view)
        page.wait_for(shown)
        assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
    page.click(".tile:nth-child(4) .name")
    page.wait_for("dialog h2", "fish-000.jpg")
    assert page.script("return document.querySelector('dialog').scrollWidth") <= PHONE[0]
    press(page, Keys.ESCAPE)


def test_files_copied_in_by_hand_appear_on_request(page: Browser, server: RunningServer, tmp_path: Path) -> None:
    path = server.base / "fish/originals/0 by hand.txt"
    path.write_bytes(b"x")
    assert "are considered as of" in page.text("#files")
    page.click("#files button", "Read the folders again")
    wait_for_total(page, "1–100 of 111 files")
    assert names(page)[0] == "0 by hand.txt"
    path.unlink()
    page.click("#files button", "Read the folders again")
    wait_for_total(page, "1–100 of 110 files")
