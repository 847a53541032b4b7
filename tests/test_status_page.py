"""The page at /status in a real browser: what an administrator sees and does there.

Pictures of it are written to the folder screenshots, for people to look at.
"""

import hmac
import itertools
import random
import re
import socket
import string
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from assetstore.concurrency.rate_limit import RateLimit
from assetstore.fixity.verification import Verification
from assetstore.journal.events import Event
from assetstore.storage.trash_names import stamp
from tests import pictures
from tests.browser import Browser, chromium, needs_chromium
from tests.support import KEY, PROJECT, RunningServer, free_port

pytestmark = needs_chromium

Start = Callable[..., RunningServer]

DAY = 86_400

#: A name that would run something if it were inserted as markup.
HOSTILE = '<img src=x onerror="document.title=1">&amp;.txt'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests; each opens the page again."""
    with chromium(tmp_path_factory.mktemp("downloads")) as browser:
        yield browser


@pytest.fixture
def quiet(browser: Browser, start: Start) -> Iterator[Browser]:
    """The browser, in which nothing may go wrong: no error, no violation of the policy, no stranger asked."""
    browser.complaints()
    browser.requests()
    yield browser
    complaints = browser.complaints()  # the servers run as long as `start` is there
    browser.driver.get("about:blank")
    assert complaints == []


@pytest.fixture
def page(quiet: Browser, server: RunningServer) -> Browser:
    """The page of an empty store with the key typed."""
    quiet.open(server.port)
    quiet.sign_in(KEY)
    return quiet


def upload(browser: Browser, *files: Path) -> None:
    """Chooses files on the page and sends them."""
    browser.go("upload")
    browser.driver.find_element("id", "chooser").send_keys("\n".join(str(file) for file in files))
    browser.click("#upload button", "Upload")


# --- The key ---


def test_the_browser_generates_the_same_tokens_as_python(browser: Browser) -> None:
    source = (PROJECT / "views/status/hmac-md5.js").read_text(encoding="utf-8").replace("export ", "")
    chance = random.Random(7)
    letters = string.printable + "äß€日本語😀\0"
    lengths = [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 128, 1000]
    pairs = [
        ("".join(chance.choices(letters, k=key)), "".join(chance.choices(letters, k=message)))
        for key in lengths
        for message in lengths
    ]
    browser.driver.get("about:blank")
    made = browser.script(f"{source}\nreturn arguments[0].map(([key, message]) => hmacMd5(key, message));", pairs)
    assert made == [hmac.new(key.encode(), message.encode(), "md5").hexdigest() for key, message in pairs]


def test_a_wrong_key_is_explained_and_the_right_one_unlocks_the_page(browser: Browser, server: RunningServer) -> None:
    browser.complaints()
    browser.open(server.port)
    browser.picture("sign-in")
    browser.sign_in(f'"{KEY}"')
    answer = browser.text_of("#key-answer")
    assert "This is not the key of this server." in answer
    assert "attachment.key" in answer
    assert "Case and quotation marks matter" in answer
    browser.picture("wrong-key")
    browser.wait_for("#key").send_keys(f" {KEY}  " + Keys.ENTER)  # the wrong one is selected
    assert browser.text_of("#overview .notice") == "The server is working normally."
    browser.wait_for("#overview .values")
    browser.picture("overview")
    [complaint] = browser.complaints()
    assert "status of 403" in complaint


def test_the_overview_has_one_verdict_and_the_values_for_specify(page: Browser, server: RunningServer) -> None:
    assert page.wait_for("#overview .figures", "0 originals")
    server.upload("a.txt", bytes(1000))
    (server.base / "thumbnails").rename(server.base / "elsewhere")
    (server.base / "thumbnails").write_bytes(b"no folder")

    def refreshed() -> str:
        page.go("activity")
        page.go("overview")
        return page.text("#overview > .content > div > .notice")

    page.until(lambda: "needs attention" in refreshed())
    assert len(page.all("#overview > .content > div > .notice")) == 1
    assert "1 original" in page.text("#overview .figures"), "right after the upload"
    copied = page.text_of("#overview .values code", "/web_asset_store.xml")
    page.script("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    for what, expected in (("the address", copied), ("the key", KEY)):
        page.click(f"#overview .values button[aria-label='Copy {what}']")
        page.wait_for(f"#overview .values button[aria-label='Copy {what}']", "Copied")
        assert page.script("return window.copied") == expected
    assert KEY not in page.driver.page_source


def test_findings_of_a_verification_are_explained(quiet: Browser, server: RunningServer) -> None:
    (server.originals / "a.jpg").write_bytes(pictures.encoded(pictures.scene(8, 8), "PNG"))
    rate_limit = RateLimit(None, threading.Event())
    list(Verification(server.context.originals, rate_limit, adopt=False, accept=False, client="test").run(resume=False))
    quiet.open(server.port)
    quiet.sign_in(KEY)
    quiet.click("#overview summary", "Findings (1)")
    row = quiet.text_of("#overview details tbody tr")
    assert "unknown: the file exists, but is not in the journal" in row
    assert "misnamed: the content does not match the extension" in row


def test_the_key_does_not_leave_the_page_and_no_other_host_is_contacted(page: Browser, server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    for part in ("storage", "files", "upload", "trash", "activity", "connection"):
        page.go(part)
    page.wait_for("#connection li", "Check complete.")
    sent = page.requests()
    assert len(sent) > 20
    assert not [request for request in sent if KEY in request["text"]]
    # Chromium's icon in fields for dates has an address that begins with data:
    own = ("data:", f"http://127.0.0.1:{server.port}/", f"{server.settings.server_name}:{server.settings.server_port}/")
    assert not [request["url"] for request in sent if not any(origin in request["url"] for origin in own)]
    kept = "return [document.cookie, localStorage.length, sessionStorage.length, document.getElementById('key').value]"
    assert page.script(kept) == ["", 0, 0, ""]
    assert KEY not in page.driver.page_source
    page.complaints()  # nobody listens at the port that is advertised


def test_locking_the_page_discards_the_key(page: Browser) -> None:
    page.click("#lock")
    page.wait_for("#sign-in")
    assert not page.all("#parts")
    for step in (page.driver.back, page.driver.forward):
        step()
        assert not page.all("#parts")
    page.wait_for("#sign-in")


def test_a_server_without_a_key_explains_why_it_shows_nothing(browser: Browser, start: Start) -> None:
    browser.open(start(KEY=None).port)
    browser.sign_in("anything")
    assert "KEY is None" in browser.text("#key-answer")
    browser.complaints()


# --- Files ---


def test_a_file_can_be_uploaded_found_viewed_deleted_and_restored(
    quiet: Browser, server: RunningServer, tmp_path: Path
) -> None:
    picture = pictures.jpeg()
    content = picture + bytes(1_500_000)  # what comes after the picture is ignored by all who read it
    local = tmp_path / "KU-fish-0042 lateral.jpg"
    local.write_bytes(content)
    quiet.open(server.port, "#upload")
    quiet.sign_in(KEY)
    quiet.slow_down(1_000_000)
    upload(quiet, local)
    seen = quiet.until(lambda: quiet.script("return document.querySelector('progress').value") or None)
    assert 0 < seen < 100
    quiet.picture("uploading")
    quiet.wait_for("#upload .queue-state", "1 of 1 file stored · 100%")
    quiet.slow_down(None)
    assert (server.originals / "KU-fish-0042 lateral.jpg").read_bytes() == content

    quiet.go("files")
    quiet.click(".tile", "KU-fish-0042")
    assert "DateTimeOriginal\n2009:05:30 12:34:56" in quiet.text_of("dialog .metadata", "DateTimeOriginal")
    quiet.until(lambda: quiet.script("return document.querySelector('dialog img').naturalWidth") > 400)
    quiet.picture("details")

    quiet.click("dialog button", "Download")
    saved = quiet.downloads / "KU-fish-0042 lateral.jpg"
    quiet.until(lambda: saved.exists() and saved.stat().st_size == len(content))
    assert saved.read_bytes() == content

    quiet.click("dialog button", "Delete")
    quiet.wait_for("#news", "KU-fish-0042 lateral.jpg is in the trash.")
    quiet.until(lambda: not quiet.all(".tile"))
    assert not (server.originals / "KU-fish-0042 lateral.jpg").exists()
    quiet.picture("deleted")
    quiet.click("#news button", "Undo")
    quiet.wait_for("#news", "KU-fish-0042 lateral.jpg was restored.")
    quiet.wait_for(".tile", "KU-fish-0042")
    assert (server.originals / "KU-fish-0042 lateral.jpg").read_bytes() == content


def test_an_existing_name_is_replaced_only_on_request_and_can_be_restored(
    page: Browser, server: RunningServer, tmp_path: Path
) -> None:
    server.upload("label.txt", b"old")
    (tmp_path / "label.txt").write_bytes(b"new")
    upload(page, tmp_path / "label.txt")
    page.wait_for("#upload .notice.warning", "1 file of 1 has a name that is already in use: label.txt.")
    page.picture("taken")
    assert (server.originals / "label.txt").read_bytes() == b"old"
    page.click("#upload button", "Replace it")
    page.wait_for("#upload .queue-state", "1 of 1 file stored")
    assert (server.originals / "label.txt").read_bytes() == b"new"
    page.go("trash")
    page.wait_for("#trash .entry", "replaced")
    page.picture("trash")
    page.click("#trash .entry button", "Restore and replace")
    page.wait_for("#news", "label.txt was restored. The file that it replaced is in the trash.")
    assert (server.originals / "label.txt").read_bytes() == b"old"


def drop(page: Browser, script: str) -> None:
    """Drops files, which a script adds to `files`."""
    page.script(
        f"const files = new DataTransfer(); {script};"
        "const drop = new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true });"
        "document.querySelector('.drop').dispatchEvent(drop);"
    )


def test_many_files_are_one_queue_that_asks_once_and_goes_on_after_failures(
    browser: Browser, server: RunningServer
) -> None:
    for name in ("7.txt", "8.txt", "9.txt"):
        server.upload(name, b"old")
    failures = {"/fileupload": 2}
    application = server.http.wsgi_application

    def unreliable(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] in failures and failures[environ["PATH_INFO"]] > 0:
            failures[environ["PATH_INFO"]] -= 1
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            status = ("403 Forbidden", "503 Busy")[failures[environ["PATH_INFO"]]]  # 503 first, and then 403
            headers = [("Content-Type", "text/plain"), ("Retry-After", "1")]
            start_response(status, headers)
            return [b"The token has expired."]
        return application(environ, start_response)

    server.http.wsgi_application = unreliable
    browser.open(server.port, "#upload")
    browser.sign_in(KEY)
    browser.wait_for("#chooser")
    drop(browser, "for (let i = 0; i < 60; i += 1) files.items.add(new File([`${i}`], `${i}.txt`))")
    browser.wait_for("#upload .pager", "1–50 of 60")
    assert len(browser.all(".uploads li")) == 50
    browser.click("#upload button", "Upload 60 files")
    browser.wait_for("#upload .notice.warning", "3 files of 60 have names that are already in use: 7.txt, 8.txt")
    browser.click("#upload button", "Keep both")
    browser.wait_for("#upload .queue-state", "60 of 60 files stored · 100%")
    assert failures == {"/fileupload": 0}
    stored = {path.name: path.read_bytes() for path in server.originals.iterdir() if path.is_file()}
    assert len(stored) == 63
    assert (stored["7.txt"], stored["7-2.txt"], stored["59.txt"]) == (b"old", b"7", b"59")
    browser.click("#upload button", "Clear finished")
    browser.until(lambda: not browser.all("#upload .card"))
    browser.complaints()


def test_a_cancelled_upload_is_skipped_and_a_stopped_queue_waits(page: Browser, server: RunningServer) -> None:
    page.go("upload")
    drop(page, "for (let i = 0; i < 3; i += 1) files.items.add(new File([new Uint8Array(400_000)], `${i}.bin`))")
    page.slow_down(200_000)
    page.click("#upload button", "Upload 3 files")
    page.click(".uploads button", "Cancel")
    page.wait_for(".uploads .status", "Skipped")
    page.wait_for(".uploads button", "Cancel")
    page.click("#upload button", "Stop")
    page.wait_for("#upload button", "Upload 2 files")
    page.slow_down(None)
    page.click("#upload button", "Upload 2 files")
    page.wait_for("#upload .queue-state", "2 of 2 files stored")
    assert sorted(path.name for path in server.originals.iterdir() if path.is_file()) == ["1.bin", "2.bin"]


def test_a_queue_can_be_stopped_while_the_server_does_not_respond(page: Browser, server: RunningServer) -> None:
    application, checks, responding = server.http.wsgi_application, itertools.count(), threading.Event()

    def silent(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        is_check = environ["PATH_INFO"] == "/status/data/existing"
        if is_check and next(checks) == 2:  # after those of all names, and of the first file
            responding.wait(60)
        return application(environ, start_response)

    server.http.wsgi_application = silent
    page.go("upload")
    drop(page, "for (let i = 0; i < 2; i += 1) files.items.add(new File([`${i}`], `${i}.txt`))")
    page.click("#upload button", "Upload 2 files")
    page.wait_for("#upload .queue-state", "1 of 2 files stored")
    page.click("#upload button", "Stop")
    page.wait_for("#upload button", "Upload 1 file")
    responding.set()
    assert [path.name for path in server.originals.iterdir() if path.is_file()] == ["0.txt"]


def test_a_large_trash_is_shown_by_day_in_pages_and_restored_after_a_preview(
    page: Browser, server: RunningServer
) -> None:
    folder = server.originals / ".asset-server/trash"
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time_ns()
    for number in range(250):
        age = 3 * DAY if number < 30 else 10 * DAY
        (folder / f"{stamp(now - age * 10**9 - number * 10**6)}-deleted-{number}.jpg").write_bytes(pictures.jpeg())
    server.upload("249.jpg", pictures.jpeg(3))
    page.go("trash")
    page.wait_for("#trash p", "250 files")
    second = page.until(lambda: page.all("#trash .day")[1:])[0]
    page.until(lambda: page.all("#trash .trash-picture canvas"))
    assert len(page.all("#trash .entry")) == 30
    second.find_element("css selector", "h3 button").click()
    page.wait_for("#trash .pager", "1–100 of 220")
    assert len(page.all("#trash .entry")) == 100
    page.click("#trash .pager button", "Next")
    page.click("#trash .pager button", "Next")
    page.wait_for("#trash .pager", "201–220 of 220")
    assert len(page.all("#trash .entry")) == 20
    page.click("#trash .entry input")
    page.wait_for("#trash .bar", "1 selected")

    second.find_element("css selector", "button.quiet").click()  # Restore all
    page.wait_for("dialog dt", "Will be restored: 219 files")
    page.wait_for("dialog dt", "Would replace a current file: 1 file")
    page.picture("restore")
    page.click("dialog button", "Restore 219 files")
    page.wait_for("dialog .notice", "219 files were restored.")
    page.click("dialog button", "Close")
    page.wait_for("#trash p", "31 files")
    page.type("#trash-search", "nothing")
    page.click("#trash form button")
    page.click("#trash .notice button", "Show the whole trash")
    page.click("#trash button", "Restore everything")
    page.click("dialog #replaces")
    page.click("dialog button", "Restore 31 files")
    page.wait_for("dialog .notice", "31 files were restored, 1 of them in place of a current file")
    page.click("dialog button", "Close")
    page.wait_for("#trash p", "1 file with")
    assert (server.originals / "249.jpg").read_bytes() == pictures.jpeg()


def test_dropped_files_are_uploaded_under_the_typed_names(page: Browser, server: RunningServer) -> None:
    page.go("upload")
    drop(page, "for (const name of ['one.txt', 'two.tar.gz']) files.items.add(new File(['x'], name))")
    first, second = page.until(lambda: page.all(".uploads li"))
    first.find_element("css selector", "input").clear()
    first.find_element("css selector", "input").send_keys("typed.txt")
    second.find_element("css selector", "[aria-label^='Do not upload']").click()
    page.click("#upload button", "Upload 1 file")
    page.wait_for("#upload .queue-state", "1 of 1 file stored")
    page.click(".uploads button", "Show it")
    page.wait_for("dialog h2", "typed.txt")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.all("dialog"))
    assert [path.name for path in server.originals.iterdir() if path.is_file()] == ["typed.txt"]


def test_a_generated_unique_name_has_the_same_extension(page: Browser, server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "photo.JPG").write_bytes(pictures.jpeg())
    page.go("upload")
    page.driver.find_element("id", "chooser").send_keys(str(tmp_path / "photo.JPG"))
    page.click("#upload button", "New unique name")
    page.click("#upload button", "Upload 1 file")
    page.wait_for("#upload .queue-state", "1 of 1 file stored")
    [stored] = [path.name for path in server.originals.iterdir() if path.is_file()]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.JPG", stored)


def test_server_errors_are_shown_next_to_the_action(browser: Browser, start: Start, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(2000))
    browser.open(start(MAX_UPLOAD_BYTES=1000).port)
    browser.sign_in(KEY)
    upload(browser, tmp_path / "large.bin")
    browser.wait_for("#upload .status.failed", "at most 1000 bytes")
    browser.click(".uploads button", "✕")
    (tmp_path / "small.bin").write_bytes(b"x")
    browser.driver.find_element("id", "chooser").send_keys(str(tmp_path / "small.bin"))
    browser.type(".uploads input", "..")
    browser.click("#upload button", "Upload 1 file")
    browser.wait_for("#upload .status.failed", "reserved")
    browser.complaints()


def test_files_that_require_a_token_are_shown(quiet: Browser, start: Start) -> None:
    server = start(
        COLLECTION_DIRS={"KU Fish": "fish", "KU Hérps & Co": "herps"},
        REQUIRE_KEY_FOR_GET=True,
        ALLOW_STATIC_FILE_ACCESS=False,
    )
    server.upload("a.jpg", pictures.jpeg(), coll="KU Hérps & Co")
    server.upload("b.jpg", pictures.jpeg(), coll="KU Fish")
    quiet.open(server.port, "#files")
    quiet.sign_in(KEY)
    quiet.until(lambda: quiet.script("return [...document.querySelectorAll('.tile img')].every((i) => i.complete)"))
    quiet.picture("files")
    quiet.choose("#search-collection", "KU Hérps & Co")
    quiet.until(lambda: [tile.text.split("\n")[0] for tile in quiet.all(".tile")] == ["a.jpg"])
    quiet.until(lambda: quiet.script("return document.querySelector('.tile img').naturalWidth") == 200)
    quiet.click(".tile")
    assert "2009:05:30" in quiet.text_of("dialog .metadata", "DateTimeOriginal")
    quiet.until(lambda: quiet.script("return document.querySelector('dialog img').naturalWidth") > 400)
    quiet.click("dialog button", "Delete")
    quiet.click("#news button", "Undo")
    quiet.wait_for("#news", "a.jpg was restored.")
    assert (server.base / "herps/originals/a.jpg").exists()


def test_stored_names_are_always_shown_as_text(page: Browser, server: RunningServer) -> None:
    server.upload(HOSTILE, b"x", coll="<b>bold</b>")
    server.upload(HOSTILE, b"y")
    server.get("/fileget", filename="<script>alert(1)</script>".replace("/", "-"))
    for part, selector in (("files", ".tile .name"), ("trash", ".entry"), ("activity", "td")):
        page.go(part)
        page.wait_for(f"#{part} {selector}", HOSTILE)
    page.wait_for("#activity td", "<b>bold</b>")
    page.wait_for("#activity td", "<script>alert(1)<-script>")
    page.go("files")
    page.click(".tile", HOSTILE)
    page.wait_for("dialog h2", HOSTILE)
    assert page.driver.title == "Status · Web Asset Server"
    assert page.script("return document.querySelectorAll('img[src=x], b, td script').length") == 0


def test_the_content_security_policy_blocks_markup_and_stored_scripts(browser: Browser, server: RunningServer) -> None:
    server.upload("evil.js", b"document.title = 'evil'")
    server.upload("evil.css", b"body { display: none }")
    browser.complaints()
    browser.open(server.port)
    browser.sign_in(KEY)
    for attack in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.head.append(Object.assign(document.createElement('script'), {src: 'fileget?filename=evil.js'}))",
        "document.body.setAttribute('onclick', 'document.title = 1')",
    ):
        assert browser.script(f"try {{ {attack}; return 'done' }} catch (fault) {{ return fault.name }}") == "TypeError"
    # What markup could do that somebody had got into the page all the same.
    browser.script(
        "const style = document.createElement('link');"
        "style.rel = 'stylesheet'; style.href = 'fileget?filename=evil.css'; document.head.append(style);"
        "document.body.setAttribute('style', 'display: none');"
        "const form = document.createElement('form');"
        "form.action = 'testkey'; document.body.append(form); form.submit();"
        "import('/fileget?filename=evil.js').catch(() => {});"
    )
    told = ""
    for rule in ("script-src", "style-src", "form-action"):
        while rule not in told:  # or it fails for want of a complaint
            told += browser.until(lambda: "\n".join(browser.complaints()), rule)
    assert browser.driver.title == "Status · Web Asset Server"
    assert browser.all("#overview")


def test_the_page_cannot_be_framed(browser: Browser, server: RunningServer) -> None:
    browser.driver.get(f"http://127.0.0.1:{server.port}/healthz")
    browser.complaints()
    browser.script(
        "const frame = document.createElement('iframe'); frame.src = '/status'; document.body.append(frame);"
    )
    assert browser.until(lambda: [found for found in browser.complaints() if "frame" in found.lower()])


# --- Storage, activity ---


def grow(server: RunningServer) -> None:
    """A store that has grown for a year; its files take no space."""
    now = time.time_ns()
    for month in range(12, -1, -1):
        for number in range(6):
            name, size = f"{month}-{number}.tif", (9 - abs(month - 5)) * 90_000_000
            moment = now - (month * 30 + number) * DAY * 10**9 - DAY * 10**9
            with open(server.originals / name, "wb") as file:
                file.truncate(size)
            event = Event("stored", "", name, "KU Fish", size, None, "10.0.0.7", moment)
            server.context.originals.journal.record(event)


def test_the_storage_view_shows_growth_and_the_disk_forecast(quiet: Browser, start: Start) -> None:
    before = start()
    grow(before)
    free = before.context.originals.space.free_bytes() or 0
    server = start(BASE_DIR=str(before.base), RESERVED_BYTES=max(0, free - 12 * 10**9))
    quiet.open(server.port, "#storage")
    quiet.sign_in(KEY)
    quiet.wait_for("#storage svg.plot")
    assert "78 originals" in quiet.text("#storage .figures")
    assert "days\nuntil the disk is full" in quiet.text("#storage .figures")
    assert "the disk is full in" in quiet.text("#storage")
    first, second = quiet.all("#storage svg.plot")
    assert "capacity is" in (first.get_attribute("aria-label") or "")
    assert len(second.find_elements("css selector", ".bar")) == 13
    quiet.picture("storage")
    quiet.click("#storage summary", "As a table")
    assert "6" in quiet.text("#storage td")
    quiet.in_the_dark(True)
    quiet.picture("storage-dark")
    quiet.in_the_dark(False)


def test_the_activity_view_shows_changes_and_rejections(page: Browser, server: RunningServer) -> None:
    for number in range(30):
        server.upload(f"{number}.txt", b"x")
    server.delete("7.txt")
    server.get("/fileget", filename="missing.jpg")
    page.go("activity")
    page.wait_for("#activity td", "There is no such file.")
    assert len(page.all("#activity .card:first-child tbody tr")) == 20
    page.picture("activity")
    page.click("#activity button", "Show all 31")
    assert len(page.all("#activity .card:first-child tbody tr")) == 31
    page.choose("#operation", "deleted")
    page.until(lambda: len(page.all("#activity .card:first-child tbody tr")) == 1)
    assert "7.txt" in page.text("#activity .card:first-child")


# --- The connection check ---


def checked(browser: Browser) -> dict[str, tuple[str, str]]:
    """What the check found: by its title the status, and the text with the remedy."""
    browser.wait_for("#connection li", "Check complete.")
    found = {}
    for step in browser.all("#connection .step"):
        status, title = (step.find_element("css selector", part).text for part in (".mark", "strong"))
        found[title] = (status, step.text.split("\n", 1)[1])
    return found


def test_on_a_healthy_server_the_check_finds_only_the_lack_of_https(quiet: Browser, tmp_path: Path) -> None:
    port = free_port()
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(tmp_path), "HOST": "127.0.0.1", "PORT": port}, port)
    try:
        quiet.open(port, "#connection")
        quiet.sign_in(KEY)
        found = checked(quiet)
        quiet.picture("connection-good")
    finally:
        server.stop()
    assert {title: status for title, (status, _) in found.items()} == {
        "Encryption": "Warning",
        "Address": "OK",
        "Clock": "OK",
        "Key": "OK",
        "Uploads from web pages": "OK",
    }


@pytest.mark.parametrize(("ahead", "status"), [(400, "Error"), (-400, "Error"), (40, "Warning")])
def test_a_skewed_clock_is_reported_and_the_page_still_works(
    quiet: Browser, server: RunningServer, ahead: int, status: str
) -> None:
    skew = quiet.before_pages(f"const now = Date.now; Date.now = () => now() + {ahead * 1000};")
    try:
        quiet.open(server.port, "#connection")
        quiet.sign_in(KEY)
        found = checked(quiet)
        quiet.picture(f"connection-clock-{ahead}")
    finally:
        quiet.not_before_pages(skew)
    assert found["Clock"][0] == status
    direction = "ahead of" if ahead > 0 else "behind"
    words = "7 minutes" if abs(ahead) == 400 else "40 seconds"
    assert f"This computer’s clock is {words} {direction} the server’s." in found["Clock"][1]
    assert "NTP" in found["Clock"][1]
    assert found["Key"][0] == "OK"
    quiet.complaints()  # nobody listens at the port that is advertised


def test_a_wrong_advertised_address_is_reported_with_a_remedy(browser: Browser, start: Start) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        server = start(PUBLIC_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/assets")
        browser.open(server.port, "#connection")
        browser.sign_in(KEY)
        found = checked(browser)
    browser.picture("connection-address")
    assert found["Address"][0] == "Warning"
    assert f"but this browser uses http://127.0.0.1:{server.port}/." in found["Address"][1]
    assert "PUBLIC_URL" in found["Address"][1]
    status, text = found["Advertised address"]
    assert status == "Error"
    assert "This browser cannot reach" in text
    [complaint] = browser.complaints()
    assert "ERR_CONNECTION_REFUSED" in complaint


def test_an_advertised_address_of_another_server_is_reported(browser: Browser, start: Start) -> None:
    other = start(KEY="another key")
    server = start(PUBLIC_URL=f"http://127.0.0.1:{other.port}")
    browser.open(server.port, "#connection")
    browser.sign_in(KEY)
    status, text = checked(browser)["Advertised address"]
    assert status == "Error"
    assert "it is not this server, or it has another key" in text
    browser.complaints()


def test_another_host_name_of_the_same_server_is_accepted(quiet: Browser, start: Start) -> None:
    first = start()
    server = start(BASE_DIR=str(first.base), PUBLIC_URL=f"http://localhost:{first.port}")
    quiet.open(server.port, "#connection")
    quiet.sign_in(KEY)
    assert checked(quiet)["Advertised address"][0] == "OK"


def meddled_with(server: RunningServer, meddle: Callable[[str, dict[str, str]], None]) -> None:
    """Puts something between the server and the browser that changes headers (by path, in small letters)."""
    application = server.http.wsgi_application

    def meddler(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            changed = {name.lower(): value for name, value in headers}
            meddle(environ["PATH_INFO"], changed)
            return start_response(changed.pop("status", status), list(changed.items()), *more)

        return application(environ, start)

    server.http.wsgi_application = meddler


@pytest.mark.parametrize(
    ("path", "changes", "title", "words"),
    [
        ("/web_asset_store.xml", {"x-timestamp": None}, "Clock", "The response has no X-Timestamp"),
        ("/web_asset_store.xml", {"content-type": "text/plain"}, "Addresses", "without the expected XML"),
        ("/fileupload", {"access-control-allow-origin": "*, *"}, "Uploads from web pages", "is “*, *” instead of “*”"),
        ("/fileupload", {"access-control-allow-origin": None}, "Uploads from web pages", "is missing"),
        ("/fileupload", {"status": "405 Method Not Allowed"}, "Uploads from web pages", "(OPTIONS) gets status 405"),
        ("/fileupload", {"status": "301 Moved", "location": "/elsewhere"}, "Uploads from web pages", "do not follow"),
    ],
)
def test_headers_removed_or_added_by_a_proxy_are_reported(
    browser: Browser, server: RunningServer, path: str, changes: dict[str, str | None], title: str, words: str
) -> None:
    def meddle(asked: str, headers: dict[str, str]) -> None:
        for name, value in changes.items() if asked == path else ():
            headers.pop(name, None)
            if value is not None:
                headers[name] = value

    meddled_with(server, meddle)
    browser.open(server.port, "#connection")
    browser.sign_in(KEY)
    status, text = checked(browser)[title]
    assert status == "Error"
    assert words in text
    assert "What to do:" in browser.script(
        "return getComputedStyle(document.querySelector('.step.error .remedy'), '::before').content"
    )
    browser.complaints()


def test_the_check_works_without_a_key(browser: Browser, server: RunningServer) -> None:
    browser.open(server.port)
    browser.click("#check-without-key")
    found = checked(browser)
    assert found["Key"] == ("Not checked", "No key was entered.")
    assert found["Clock"][0] == "OK"
    assert "this key" not in browser.text("#connection")
    assert "Not checked: whether Specify is configured" in browser.text("#connection")
    browser.complaints()


# --- For everybody ---


def test_every_control_has_a_name_and_is_reachable_by_keyboard(page: Browser, server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    server.upload("a.jpg", pictures.jpeg())
    nameless = (
        "return [...document.querySelectorAll('button, input, select, meter, progress, svg.plot')]"
        ".filter((found) => found.checkVisibility())"
        ".filter((found) => !(found.getAttribute('aria-label') || found.labels?.length || found.textContent.trim()))"
        ".map((found) => found.outerHTML)"
    )
    for part in ("overview", "storage", "files", "upload", "trash", "activity", "connection"):
        page.go(part)
        page.wait_for(f"#{part} .content > *")
        assert page.script(nameless) == []
        assert page.driver.switch_to.active_element.get_attribute("id") == f"{part}-heading"
    page.wait_for("#connection li", "Check complete.")
    page.go("trash")
    page.wait_for("#trash .entry")
    reached = set()
    for _ in range(24):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(page.driver.switch_to.active_element.text or page.driver.switch_to.active_element.tag_name)
    assert {"input", "Search", "Restore and replace"} <= reached
    page.complaints()


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_has_sufficient_contrast(page: Browser, server: RunningServer, is_dark: bool) -> None:
    """At least 4.5 to 1, as WCAG 2.1 asks for (1.4.3, AA)."""
    server.upload("a.txt", b"x")
    server.delete("a.txt")
    server.get("/fileget", filename="missing.jpg")
    page.in_the_dark(is_dark)
    try:
        for part in ("overview", "files", "upload", "trash", "activity", "connection"):
            page.go(part)
            page.wait_for(f"#{part} .content > *")
            assert page.script(FAINT) == [], part
        page.wait_for("#connection li", "Check complete.")
        assert page.script(FAINT) == []
    finally:
        page.in_the_dark(False)
    page.complaints()


#: Texts whose contrast is too low, with the contrast.
FAINT = r"""
const light = (colour) => {
  const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (found) => {
  for (let at = found; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\)$/.test(colour) && colour !== "transparent") return colour;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll("body *")]
  .filter((found) => found.checkVisibility() && !found.disabled)
  .filter((found) => [...found.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((found) => {
    const [a, b] = [light(getComputedStyle(found).color), light(behind(found))].sort((x, y) => y - x);
    return [found.textContent.trim().slice(0, 40), (a + 0.05) / (b + 0.05)];
  })
  .filter(([, contrast]) => contrast < 4.5);
"""
