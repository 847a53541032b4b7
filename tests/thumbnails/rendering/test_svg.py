"""rendering.libvips: SVG is drawn, without scripts, other files, connections or endless work."""

import base64
import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from assetstore.thumbnails.rendering import engines, refusals
from tests import pictures
from tests.thumbnails.rendering.test_engines import RED, WHITE, draw

RED_PNG = pictures.encoded(Image.new("RGB", (50, 50), RED), "PNG")
RED_URL = "data:image/png;base64," + base64.b64encode(RED_PNG).decode()


def svg(content: str, attributes: str = 'width="80" height="60"', before: str = "") -> bytes:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"{before}<svg {names} {attributes}>{content}</svg>".encode()


def image(url: str) -> str:
    return f'<image href="{url}" width="80" height="60"/>'


def test_an_svg_is_drawn_at_the_size_that_is_asked(tmp_path: Path) -> None:
    small = svg('<rect width="80" height="60" fill="red"/>')
    assert draw(tmp_path, small, 40).picture.size == (40, 30)
    assert draw(tmp_path, small).color(0.99, 0.99) == RED
    huge = svg('<rect width="100%" height="100%" fill="red"/>', 'width="30000" height="15000"')
    assert draw(tmp_path, huge).picture.size == (100, 50)
    assert draw(tmp_path, huge).color(0.99, 0.99) == RED


def test_a_picture_inside_is_drawn(tmp_path: Path) -> None:
    assert draw(tmp_path, svg(image(RED_URL))).color() == RED


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A web server's address, and the paths that it is asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever).start()
        yield f"http://127.0.0.1:{web.server_address[1]}", paths
        web.shutdown()


def test_nothing_that_an_svg_refers_to_is_opened(tmp_path: Path, asked: tuple[str, list[str]]) -> None:
    web, paths = asked
    for name, content in (("red.png", RED_PNG), ("red.css", b"rect{fill:red}"), ("red.svg", svg(image(RED_URL)))):
        (tmp_path / name).write_bytes(content)
    inside = base64.b64encode(svg(image(f"file://{tmp_path}/red.png"))).decode()
    rect = '<rect width="80" height="60" fill="white"/>'
    for data in (
        *(svg(image(base + "red.png")) for base in ("", f"{tmp_path}/", f"file://{tmp_path}/", f"{web}/")),
        svg(f'<image xlink:href="file://{tmp_path}/red.png" width="80" height="60"/>'),
        svg(f'<use href="file://{tmp_path}/red.svg#a"/><use href="{web}/red.svg#a"/>'),
        svg(f'<style>@import url("file://{tmp_path}/red.css"); @import url("{web}/red.css");</style>{rect}'),
        svg(rect, before=f'<?xml-stylesheet href="file://{tmp_path}/red.css" type="text/css"?>'),
        svg(rect, before=f'<!DOCTYPE svg SYSTEM "{web}/x.dtd">'),
        svg(image(f"data:image/svg+xml;base64,{inside}")),
        svg(f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file://{tmp_path}/red.svg"/>'),
        svg(f'{rect}<script>while (1) {{}}</script><rect onload="while (1) {{}}"/>'),
    ):
        assert draw(tmp_path, data).color() == WHITE, data
    assert paths == []


def test_entities_of_other_files_and_of_endless_length_are_damage(tmp_path: Path) -> None:
    other = f'<!DOCTYPE svg [<!ENTITY a SYSTEM "file://{tmp_path}/source">]>'
    pairs = itertools.pairwise("abcdefghi")
    laughs = "".join(f'<!ENTITY {longer} "' + f"&{shorter};" * 10 + '">' for shorter, longer in pairs)
    for before, text in ((other, "&a;"), (f'<!DOCTYPE svg [<!ENTITY a "ha">{laughs}]>', "&i;")):
        with pytest.raises(refusals.Damaged):
            draw(tmp_path, svg(f"<text>{text}</text>", before=before))


def test_a_drawing_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_PROGRAM_SECONDS", 2)
    slow = '<filter id="f">' + '<feMorphology operator="dilate" radius="500"/>' * 200 + "</filter>"
    with pytest.raises(refusals.Refused, match="too long"):
        draw(tmp_path, svg(f'{slow}<rect width="80" height="60" filter="url(#f)"/>'), 80)
