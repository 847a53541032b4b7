"""A real Chromium without a window, and what the tests of the page do in it."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.support import PROJECT

#: Pictures of the page, for people to look at; not in git.
SCREENSHOTS = PROJECT / "screenshots"

DESKTOP, PHONE = (1200, 800), (390, 844)

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="not installed: chromium and chromium-driver (Debian packages)",
)


#: In one step, because each question to the browser takes its time.
_SHOWN = """
return [...document.querySelectorAll(arguments[0])]
  .filter((found) => found.checkVisibility() && (!arguments[1] || found.innerText.includes(arguments[1])))
"""
_TEXTS = _SHOWN + ".map((found) => found.innerText)"


class Browser:
    """A page in Chromium; what goes wrong in it is collected in `complaints`."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads
        self.resize(DESKTOP)

    def resize(self, size: tuple[int, int]) -> None:
        """Makes the page as large as a screen."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, port: int, part: str = "") -> None:
        """Opens the page again, at one of its parts."""
        self.driver.get("about:blank")
        self.driver.get(f"http://127.0.0.1:{port}/status{part}")

    def sign_in(self, key: str) -> None:
        """Types the key and waits until the page is open."""
        self.type("#key", key)
        self.click("#open")
        self.wait_for("#overview .checks, #key-answer .error, section:not([hidden]) .content > *")

    def go(self, part: str) -> None:
        """Goes to a part by its link."""
        self.click(f"#parts a[href='#{part}']")
        self.wait_for(f"#{part}:not([hidden])")

    def all(self, selector: str) -> list[WebElement]:
        """What is shown now and fits."""
        found: list[WebElement] = self.script(_SHOWN, selector, "")
        return found

    def wait_for(self, selector: str, text: str = "") -> WebElement:
        """The first that fits, is shown and has this text, as soon as there is one."""
        found: list[WebElement] = self.until(lambda: self.script(_SHOWN, selector, text), selector, text)
        return found[0]

    def text_of(self, selector: str, text: str = "") -> str:
        """The text of the first that `wait_for` would find; the page may replace that at any time."""
        found: list[str] = self.until(lambda: self.script(_TEXTS, selector, text), selector, text)
        return found[0]

    def until(self, ask: Callable[[], Any], *what: str) -> Any:
        """The answer, as soon as it is one."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = None
            # The page was changing, or a message covers the element.
            with contextlib.suppress(StaleElementReferenceException, ElementClickInterceptedException):
                found = ask()
            if found:
                return found
            time.sleep(0.05)
        shown = self.driver.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"not shown: {what}; but:\n{shown}")

    def click(self, selector: str, text: str = "") -> None:
        """Clicks as soon as it is there."""

        def clicked() -> bool:
            for found in self.script(_SHOWN, selector, text):
                found.click()
                return True
            return False

        self.until(clicked, selector, text)

    def choose(self, selector: str, text: str) -> None:
        """Chooses from a list."""
        Select(self.wait_for(selector)).select_by_visible_text(text)

    def type(self, selector: str, text: str) -> None:
        """Types into a field."""
        field = self.wait_for(selector)
        field.clear()
        field.send_keys(text)

    def text(self, selector: str) -> str:
        """The text of what is shown."""
        return "\n".join(self.script(_TEXTS, selector, ""))

    def script(self, code: str, *arguments: object) -> Any:
        """Runs JavaScript in the page, for the test alone."""
        return self.driver.execute_script(code, *arguments)

    def before_pages(self, code: str) -> str:
        """Has every page begin with this; returns what takes it away again (`not_before_pages`)."""
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": code})
        return str(added["identifier"])

    def not_before_pages(self, identifier: str) -> None:
        """Ends what `before_pages` began."""
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identifier})

    def complaints(self) -> list[str]:
        """What the console said since the last time: errors, warnings, and violations of the policy."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def requests(self) -> list[dict[str, str]]:
        """What the page has sent since the last time: the address, and all of each request as text."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [{"url": sent["request"]["url"], "text": json.dumps(sent["request"])} for sent in asked]

    def slow_down(self, bytes_per_second: int | None) -> None:
        """Makes uploads slow, None: as quick as can be."""
        speed = -1 if bytes_per_second is None else bytes_per_second
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed}
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def in_the_dark(self, is_dark: bool) -> None:
        """Has the system of the reader prefer dark colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def picture(self, name: str) -> None:
        """Keeps pictures of the whole page as it is, in both widths."""
        SCREENSHOTS.mkdir(exist_ok=True)
        for kind, size in (("desktop", DESKTOP), ("phone", PHONE)):
            self.resize(size)
            self.script("return new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            height = self.script("return document.documentElement.scrollHeight")
            self.resize((size[0], max(size[1], min(height, 2400))))
            self.driver.save_screenshot(str(SCREENSHOTS / f"{name}-{kind}.png"))
            self.resize(size)
            width = self.script("return document.documentElement.scrollWidth")
            assert width <= size[0], f"{name} is wider than the {kind}: {width}"
        self.resize(DESKTOP)


@contextmanager
def chromium(downloads: Path, *more: str) -> Iterator[Browser]:
    """Runs one, with further arguments."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    # No sandbox: the tests run as root in containers, and open no pages but ours.
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en", *more):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver, downloads)
    finally:
        driver.quit()
