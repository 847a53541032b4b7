"""The page at /status behind the real nginx: https, and below a path on the host of Specify 7."""

import re
from pathlib import Path

import pytest

from tests import pictures
from tests.browser import chromium, needs_chromium
from tests.nginx import (  # noqa: F401 - fixtures
    ADVANCED,
    BASIC,
    CHECKED,
    HOST,
    NGINX,
    Behind,
    SecureClient,
    Start,
    below_assets,
    started_nginx,
    throwaway_certificate,
)
from tests.status_client import ask, data
from tests.support import KEY, PROJECT

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; script/bootstrap --dev does that")


@needs_chromium
def test_the_page_works_under_a_path_and_over_https(start: Start, behind: Behind, tmp_path: Path) -> None:
    server = start(**{**CHECKED, "PUBLIC_URL": f"https://{HOST}/assets"})
    front = behind(server, below_assets())
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg())
    leading_here = f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{front.port}"
    with chromium(tmp_path, leading_here, "--ignore-certificate-errors") as browser:
        browser.driver.get(f"https://{HOST}/assets/")
        browser.click("a", "Status of this server")
        assert not browser.all("#insecure")
        browser.sign_in(KEY)
        browser.go("connection")
        browser.wait_for("#connection li", "Check complete.")
        steps = [step.text.split("\n")[0] for step in browser.all("#connection .step")]
        assert steps == ["OK Encryption", "OK Address", "OK Clock", "OK Key", "OK Uploads from web pages"]
        browser.go("upload")
        browser.driver.find_element("id", "chooser").send_keys(str(tmp_path / "a.jpg"))
        browser.click("#upload button", "Upload 1 file")
        browser.wait_for("#upload .queue-state", "1 of 1 file stored")
        browser.go("files")
        browser.until(lambda: browser.script("return document.querySelector('.tile img')?.naturalWidth") == 200)
        browser.click(".tile")
        browser.wait_for("dialog .metadata", "DateTimeOriginal")
        browser.until(lambda: browser.script("return document.querySelector('dialog img').naturalWidth") > 400)
        browser.click("dialog button", "Delete")
        browser.click("#news button", "Undo")
        browser.wait_for("#news", "a.jpg was restored.")
        assert [line for line in browser.complaints() if "INFO" not in line] == []
    [uploaded] = [event for event in data(server, "activity")["events"] if event["operation"] == "stored"]
    assert uploaded["client"] == "127.0.0.1"


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_the_example_restricts_the_page_to_some_addresses(start: Start, behind: Behind, name: str) -> None:
    server = start(**CHECKED)
    page = (PROJECT / "docs/nginx.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```nginx\n(.*?)```", page, re.S)
    [instead] = re.findall(r"In `nginx-advanced.conf`, write `(.*?)`", page)
    own = example.replace("192.0.2.0/24", "127.0.0.1")
    if name == ADVANCED:
        own = own.replace("proxy_pass http://asset_server;", instead)
    front = behind(server, {"    location / {": f"    location / {{\n{own}"}, name)
    assert front.get("/status").headers["x-frame-options"] == "DENY"
    assert data(front, "overview")["ready"] is True
    stranger = SecureClient(front.port, front.trust, source="127.0.0.2")
    for path in ("/status", "/status/view/main.js", "/status/data/overview"):
        refused = stranger.get(path)
        assert (refused.status, refused.headers["content-type"]) == (403, "text/plain; charset=UTF-8")
    assert ask(stranger, "GET", "data/overview").status == 403
    assert stranger.get("/web_asset_store.xml").status == 200
    assert front.http.get("/status").headers["location"] == f"https://{HOST}/status"
