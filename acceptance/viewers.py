"""Opens a manifest of this server in Mirador, Universal Viewer and OpenSeadragon, in Chromium without a window.

    script/acceptance viewers [FOLDER]

It installs the viewers from npm, and iiif-prezi3 from PyPI into an environment of its own, in FOLDER (default: a
temporary folder; keep it to save the downloads). The models of iiif-prezi3 are made from IIIF's JSON schema, which has
no licence to be copied. The exit status is 1 if they reject a manifest, or a viewer shows no tile within a minute.
Screenshots are in the folder screenshots.
"""

import argparse
import contextlib
import functools
import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests import pictures
from tests.browser import SCREENSHOTS, Browser, chromium
from tests.support import KEY, RunningServer, free_port

PACKAGES = ("mirador@4.0.0", "universalviewer@4.4.0", "openseadragon@6.1.1")
VALIDATOR = "iiif-prezi3==3.1.1"
SECONDS = 60

MIRADOR = """<!DOCTYPE html><meta charset="utf-8"><body><div id="m" style="position:absolute;inset:0"></div>
<script src="mirador/dist/mirador.min.js"></script><script>
Mirador.viewer({id: "m", windows: [{manifestId: MANIFEST}]});
</script>"""
UNIVERSAL = """<!DOCTYPE html><meta charset="utf-8"><link rel="stylesheet" href="universalviewer/dist/uv.css">
<body><div id="uv" class="uv" style="width:1100px;height:700px"></div>
<script src="universalviewer/dist/umd/UV.js"></script><script>
UV.init("uv", {manifest: MANIFEST});
</script>"""
OPENSEADRAGON = """<!DOCTYPE html><meta charset="utf-8"><body><div id="o" style="width:900px;height:600px"></div>
<script src="openseadragon/build/openseadragon/openseadragon.min.js"></script><script>
fetch(MANIFEST).then((found) => found.json()).then((manifest) => {
  const [service] = manifest.items[0].items[0].items[0].body.service;
  OpenSeadragon({element: document.getElementById("o"), drawer: "canvas", tileSources: [service.id + "/info.json"]});
});
</script>"""
PAGES = {"mirador": MIRADOR, "universal-viewer": UNIVERSAL, "openseadragon": OPENSEADRAGON}

VALIDATE = """
import json, sys, iiif_prezi3
manifest = json.load(sys.stdin)
again = json.loads(iiif_prezi3.Manifest(**manifest).json())
assert [canvas["id"] for canvas in again["items"]] == [canvas["id"] for canvas in manifest["items"]]
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="script/acceptance viewers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    given = parser.parse_args().folder
    with contextlib.ExitStack() as stack:
        folder = given or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        install(folder)
        server = stack.enter_context(running_server(folder))
        manifests = [
            f"{server.settings.public_url}/iiif/{path}" for path in ("manifest/a.tif", "collection?names=a.tif")
        ]
        results = {f"schema of {address}": validated(folder, server, address) for address in manifests}
        port = stack.enter_context(pages(folder, manifests[0]))
        downloads = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(chromium(downloads, "--enable-unsafe-swiftshader"))
        for name in PAGES:
            results[name] = shows_a_tile(browser, server, f"http://127.0.0.1:{port}/{name}.html", name)
    for name, fault in results.items():
        print(f"{'FAIL' if fault else 'ok':4}  {name}  {fault}")
    return 1 if any(results.values()) else 0


def install(folder: Path) -> None:
    """Downloads the viewers, without what they need to be built, and the validator."""
    for package in PACKAGES:
        target = folder / "node_modules" / package.split("@")[0]
        if not target.exists():
            command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
            packed = subprocess.run(command, check=True, capture_output=True, text=True)
            target.mkdir(parents=True)
            archive = str(folder / packed.stdout.split()[-1])
            subprocess.run(["tar", "-xzf", archive, "-C", str(target), "--strip-components=1"], check=True)
    if not (folder / "venv").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        subprocess.run([str(folder / "venv/bin/pip"), "install", "--quiet", VALIDATOR], check=True)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[RunningServer]:
    """A server with a picture of three pages, that advertises the address at which it listens."""
    with tempfile.TemporaryDirectory(dir=folder) as base:
        port = free_port()
        settings = {"KEY": KEY, "BASE_DIR": base, "RESERVED_BYTES": 0, "PUBLIC_URL": f"http://127.0.0.1:{port}"}
        server = RunningServer(settings, port)
        try:
            server.upload("a.tif", pictures.tiff())
            yield server
        finally:
            server.stop()


def validated(folder: Path, server: RunningServer, address: str) -> str:
    """Why the models reject a manifest; empty if they do not."""
    manifest = server.get(address.removeprefix(str(server.settings.public_url))).text
    command = [str(folder / "venv/bin/python"), "-c", VALIDATE]
    run = subprocess.run(command, input=manifest, check=False, capture_output=True, text=True)
    return run.stderr[-500:] if run.returncode else ""


@contextlib.contextmanager
def pages(folder: Path, manifest: str) -> Iterator[int]:
    """Serves a page for each viewer, on another origin than the manifest; yields the port."""
    for name, text in PAGES.items():
        (folder / f"node_modules/{name}.html").write_text(text.replace("MANIFEST", json.dumps(manifest)), "utf-8")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "node_modules"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def shows_a_tile(browser: Browser, server: RunningServer, page: str, name: str) -> str:
    """Opens a viewer; what is the matter if the red corner of the picture is not seen, else nothing."""
    browser.requests()
    browser.driver.get(page)
    asked: list[str] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        asked += [request["url"] for request in browser.requests() if f":{server.port}/iiif/3/" in request["url"]]
        screen = pictures.opened(browser.driver.get_screenshot_as_png()).convert("RGB").resize((120, 80))
        colours = [colour for _, colour in screen.getcolors(10_000)]
        is_seen = all(any(pictures.alike(seen, colour) for seen in colours) for colour in (pictures.RED, pictures.BLUE))
        if is_seen and any(url.endswith(("default.jpg", "default.png")) for url in asked):
            SCREENSHOTS.mkdir(exist_ok=True)
            time.sleep(1)
            browser.driver.save_screenshot(str(SCREENSHOTS / f"acceptance-{name}.png"))
            return ""
        time.sleep(0.5)
    browser.driver.save_screenshot(str(SCREENSHOTS / f"acceptance-{name}.png"))
    return f"no tile is seen; requests: {asked[:5]}; console: {browser.complaints()[:3]}"


if __name__ == "__main__":
    sys.exit(main())
