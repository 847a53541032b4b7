"""The list of files on the status page with very many files, in Chromium, and a large zip archive.

    script/acceptance files_page [--files 100000] [--screenshots FOLDER]

It requires chromium and chromium-driver (Debian packages). The files are sparse, except for a hundred pictures, and
5,000 others are in the trash. It prints the time until the first screen after the key, for the next page and for a
search, of the files and of the trash; the memory of the tab; and for an archive of 500 files of 2 GB together, the
memory of the server and the time that others wait for a thumbnail.

Exit status 0: the first screen took less than 1 s, paging and searching less than 0.3 s (each the median of several),
the memory did not grow, and the archive has the right names and bytes.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from selenium.webdriver.common.keys import Keys

from assetstore.storage.trash_names import stamp
from tests import browser as browsers
from tests import pictures
from tests.browser import DESKTOP, PHONE, Browser, chromium
from tests.routes.test_status_files import changed
from tests.status_client import data
from tests.support import KEY, GranianServer

FIRST_SECONDS, NEXT_SECONDS = 1.0, 0.3

#: How much the memory may grow: of the tab during fifty pages, of the server during an archive of 2 GB.
TAB_BYTES, SERVER_BYTES = 30_000_000, 60_000_000

ARCHIVE_FILES, ARCHIVE_BYTES = 500, 4_000_000

#: A fifth of them was deleted just now, the others during the days before.
TRASHED_FILES, TRASHED_DAYS = 5000, 20

COLLECTIONS = {"KU Fish": "fish", "KU Hérps & Co": "herps"}


class Results:
    """The measurements, and whether all are within their limits."""

    def __init__(self) -> None:
        self.is_good = True

    def show(self, what: str, value: float, unit: str, limit: float | None = None) -> None:
        """Prints a measurement, and compares it with its limit."""
        is_good = limit is None or value <= limit
        self.is_good = self.is_good and is_good
        note = "" if limit is None else f"   (limit {limit:g} {unit}){'' if is_good else '   TOO MUCH'}"
        print(f"{what:<58} {value:>10.3f} {unit}{note}", flush=True)


def fill(base: Path, number: int) -> None:
    """Creates the files: most are sparse, the newest hundred are pictures, and 500 have a size of their own."""
    chance = random.Random(1)
    now = time.time()
    for count in range(number):
        collection = "fish" if count % 3 else "herps"
        extension = chance.choice(("jpg", "jpg", "jpg", "tif", "pdf", "txt"))
        path = base / collection / "originals" / f"{chance.getrandbits(128):032x}-{count}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(chance.randrange(1, 10**7))
        age = chance.randrange(86_400, 10**8)
        os.utime(path, (now - age, now - age))
    picture = pictures.jpeg()
    for count in range(100):
        (base / "fish/originals" / f"picture-{count:03}.jpg").write_bytes(picture + bytes(count))
    for count in range(ARCHIVE_FILES):
        with open(base / ("fish", "herps")[count % 2] / "originals" / f"ärchive-{count // 2:03}.bin", "wb") as file:
            file.truncate(ARCHIVE_BYTES)
        os.utime(file.name, (now - 10**8, now - 10**8))


def fill_trash(base: Path) -> None:
    """Creates the files in the trash."""
    folders = [base / collection_dir / "originals/.asset-server/trash" for collection_dir in ("fish", "herps")]
    for folder in folders:
        folder.mkdir(parents=True)
    now_ns, recent = time.time_ns(), TRASHED_FILES // 5
    step_ns = TRASHED_DAYS * 86_400 * 1_000_000_000 // (TRASHED_FILES - recent)
    for count in range(TRASHED_FILES):
        age_ns = count + max(0, count - recent) * step_ns
        path = folders[count % 2] / f"{stamp(now_ns - age_ns)}-deleted-trashed-{count:04}.jpg"
        with open(path, "wb") as file:
            file.truncate(1000 + count)


def wait_for_index(server: GranianServer) -> float:
    """Waits until all folders have been read; returns how long that took, in seconds."""
    began = time.monotonic()
    while True:
        state = data(server, "files")["state"]
        if state["as_of"] and not state["is_reading"]:
            return time.monotonic() - began
        time.sleep(0.1)


def seconds(browser: Browser, act: Callable[[], object], script: str) -> float:
    """How long it takes from an action until a condition in the page is true, measured in the page."""
    browser.script(
        "const is = new Function(arguments[0]); window.took = null;"
        "document.addEventListener(arguments[1], () => { const began = performance.now();"
        "  const look = () => is() ? requestAnimationFrame(() => { window.took = performance.now() - began; })"
        "    : setTimeout(look, 5); look(); }, { once: true, capture: true });",
        script,
        "keydown" if act.__name__ == "typed" else "click",
    )
    act()
    return float(browser.until(lambda: browser.script("return window.took"), script)) / 1000


def in_browser(browser: Browser, server: GranianServer, files: int, results: Results) -> None:
    """Measures the first screen, paging and searching."""
    first = []
    for _ in range(3):
        browser.open(server.port, "#files")
        browser.type("#key", KEY)
        first.append(
            seconds(browser, lambda: browser.click("#open"), "return document.querySelectorAll('.tile').length === 100")
        )
    results.show("first screen after the key", statistics.median(first), "s", FIRST_SECONDS)
    browser.wait_for(".list-head", f"of {files:,} files")
    heap = used_heap(browser)
    pages = []
    for _ in range(50):
        shown = browser.script("return document.querySelector('.tile .name').innerText")
        changed_page = f"return document.querySelector('.tile .name').innerText !== {json.dumps(shown)}"
        pages.append(seconds(browser, lambda: browser.click(".pages a", "Next page"), changed_page))
    results.show("next page, median of 50", statistics.median(pages), "s", NEXT_SECONDS)
    results.show("next page, slowest", max(pages), "s")
    results.show("growth of the memory of the tab", (used_heap(browser) - heap) / 1e6, "MB", TAB_BYTES / 1e6)
    browser.open(server.port, "#files")
    browser.sign_in(KEY)
    browser.wait_for(".list-head", f"of {files:,} files")
    searches = []
    for text, found in (("picture-04", 10), ("ärchive-1", 200), ("no such name", 0), ("picture-077", 1), ("-9999.", 1)):
        number = min(found, 100)
        browser.script("document.querySelector('#search').value = arguments[0]", text)

        def typed() -> None:
            browser.wait_for("#search").send_keys(Keys.ENTER)

        selector = f"return document.querySelectorAll('.tile').length === {number}"
        searches.append(seconds(browser, typed, selector))
    results.show("search, slowest of 5", max(searches), "s", NEXT_SECONDS)
    for order in ("Name, A to Z", "Largest first", "Type"):
        browser.open(server.port, "#files")
        browser.sign_in(KEY)
        browser.wait_for(".list-head", f"of {files:,} files")
        began = time.monotonic()
        browser.choose("#search-sort", order)
        script = "return !document.querySelector('.tile .name').innerText.startsWith('picture')"
        browser.until(functools.partial(browser.script, script))
        results.show(f"order: {order}, with the time of the driver", time.monotonic() - began, "s")


def trash_in_browser(browser: Browser, server: GranianServer, results: Results) -> None:
    """Measures the first screen of the trash, paging and searching."""

    def is_found(number: int) -> str:
        return (
            f"return (document.querySelector('#trash p')?.innerText ?? '').startsWith('{number:,} file')"
            " && document.querySelector('#trash .entry') !== null"
        )

    def typed() -> None:
        browser.wait_for("#trash-search").send_keys(Keys.ENTER)

    def click_next() -> None:
        browser.click("#trash .pager button", "Next")

    def click_previous() -> None:
        browser.click("#trash .pager button", "Previous")

    browser.open(server.port, "#trash")
    browser.type("#key", KEY)
    took = seconds(browser, lambda: browser.click("#open"), is_found(TRASHED_FILES))
    results.show("first screen of the trash after the key", took, "s", FIRST_SECONDS)
    heap = used_heap(browser)
    pages = []
    for turn in range(20):
        first = browser.script("return document.querySelector('#trash .entry .name').innerText")
        changed_page = f"return document.querySelector('#trash .entry .name').innerText !== {json.dumps(first)}"
        pages.append(seconds(browser, click_next if turn % 2 == 0 else click_previous, changed_page))
    results.show("next page of the trash, median of 20", statistics.median(pages), "s", NEXT_SECONDS)
    searches = []
    for text, number in (("-00", 100), ("trashed", TRASHED_FILES), ("-0123", 1), ("JPG", TRASHED_FILES)) * 3:
        browser.script("document.querySelector('#trash-search').value = arguments[0]", text)
        searches.append(seconds(browser, typed, is_found(number)))
    results.show("search in the trash, median of 12", statistics.median(searches), "s", NEXT_SECONDS)
    results.show("search in the trash, slowest", max(searches), "s")
    results.show("growth of the memory of the tab", (used_heap(browser) - heap) / 1e6, "MB", TAB_BYTES / 1e6)


def used_heap(browser: Browser) -> float:
    """The memory of the tab after a garbage collection, in bytes."""
    browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    browser.driver.execute_cdp_cmd("Performance.enable", {})
    found = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float({metric["name"]: metric["value"] for metric in found}["JSHeapUsedSize"])


def server_memory(pid: int) -> int:
    """The memory of a process and its children, in bytes."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if str(pid) in {status.parent.name, fields.get("PPid", "").strip()}:
                total += int(fields["VmRSS"].split()[0]) * 1024
    return total


@contextlib.contextmanager
def sampled(measure: Callable[[], float], pause: float) -> Iterator[list[float]]:
    """Measures repeatedly in a thread."""
    found: list[float] = []
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(pause):
            found.append(measure())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        ending.set()
        thread.join()


def archive(server: GranianServer, folder: Path, results: Results) -> None:
    """Downloads an archive while others read."""
    pairs = [[("fish", "herps")[count % 2], f"ärchive-{count // 2:03}.bin"] for count in range(ARCHIVE_FILES)]
    ticket = changed(server, "zip", pairs)["ticket"]

    def wait() -> float:
        began = time.monotonic()
        assert server.thumbnail("picture-001.jpg", coll="KU Fish").status == 200
        return time.monotonic() - began

    wait()
    pid = server.process.pid or 0
    before = server_memory(pid)
    began = time.monotonic()
    with sampled(wait, 0.05) as waits, sampled(lambda: server_memory(pid), 0.2) as memory:
        urllib.request.urlretrieve(f"http://127.0.0.1:{server.port}/status/zip?ticket={ticket}", folder / "all.zip")
    took = time.monotonic() - began
    results.show("archive of 500 files, 2 GB", took, "s")
    results.show("speed of the archive", ARCHIVE_FILES * ARCHIVE_BYTES / took / 1e6, "MB/s")
    results.show("growth of the server's memory", (max(memory) - before) / 1e6, "MB", SERVER_BYTES / 1e6)
    results.show(f"a thumbnail meanwhile, median of {len(waits)}", statistics.median(waits), "s", NEXT_SECONDS)
    results.show("a thumbnail meanwhile, slowest", max(waits), "s")
    with zipfile.ZipFile(folder / "all.zip") as found:
        assert found.testzip() is None
        names = {
            f"{('KU Fish', 'KU Hérps & Co')[count % 2]}/ärchive-{count // 2:03}.bin" for count in range(ARCHIVE_FILES)
        }
        assert set(found.namelist()) == names
        assert {info.file_size for info in found.infolist()} == {ARCHIVE_BYTES}
    print("the archive has the right names and bytes")


def screenshots(browser: Browser, server: GranianServer) -> None:
    """Pictures of the list and of one file, for people to look at."""
    for is_dark in (False, True):
        browser.in_the_dark(is_dark)
        browser.resize(DESKTOP)
        browser.open(server.port, "#files")
        browser.sign_in(KEY)
        browser.wait_for(".list-head", "files with")
        browser.until(lambda: browser.script("return document.querySelector('.tile img').complete"))
        time.sleep(1)
        for view in ("Gallery", "List"):
            browser.click("#files .views button", view)
            browser.picture(f"files-{view.lower()}{'-dark' if is_dark else ''}")
        browser.click(".tile .name")
        browser.until(lambda: browser.script("return document.querySelector('dialog .large img').naturalWidth > 400"))
        for kind, size in (("desktop", DESKTOP), ("phone", PHONE)):
            browser.resize(size)
            browser.driver.save_screenshot(str(browsers.SCREENSHOTS / f"file{'-dark' if is_dark else ''}-{kind}.png"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = folder / "attachments"
        base.mkdir()
        fill(base, arguments.files)
        fill_trash(base)
        settings = {"KEY": KEY, "BASE_DIR": str(base), "COLLECTION_DIRS": COLLECTIONS, "PROCESSES": 2, "THREADS": 32}
        server = GranianServer(settings)
        try:
            results.show("reading all folders for the first time", wait_for_index(server), "s")
            with chromium(folder) as browser:
                in_browser(browser, server, arguments.files + 100 + ARCHIVE_FILES, results)
                trash_in_browser(browser, server, results)
                if arguments.screenshots:
                    browsers.SCREENSHOTS = arguments.screenshots
                    screenshots(browser, server)
            archive(server, folder, results)
        finally:
            server.stop()
    return 0 if results.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
