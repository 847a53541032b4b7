"""thumbnails.service: thumbnails are correct and current, and each is rendered once."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from assetstore.storage.disk.thumbnails import DiskThumbnail
from assetstore.thumbnails import sizes
from tests import pictures
from tests.support import WITHOUT_LIBRARIES, RunningServer, visible_files

MADE = [
    ("a.jpg", pictures.jpeg, "JPEG", "image/jpeg"),
    ("a.JPG", pictures.jpeg, "JPEG", "image/jpeg"),
    ("a.jpeg", pictures.jpeg, "JPEG", "image/jpeg"),
    ("a.png", pictures.png, "PNG", "image/png"),
    ("a.PNG", pictures.png, "PNG", "image/png"),
    ("a.gif", pictures.gif, "GIF", "image/gif"),
    ("a.tif", pictures.tiff, "PNG", "image/png"),
    ("a.TIFF", pictures.tiff, "PNG", "image/png"),
    ("a.heic", pictures.heic, "PNG", "image/png"),
    ("a.HEIF", pictures.heic, "PNG", "image/png"),
    ("a.webp", pictures.webp, "PNG", "image/png"),
    ("a.bmp", pictures.bmp, "PNG", "image/png"),
    ("a.avif", pictures.avif, "PNG", "image/png"),
    ("a.pdf", pictures.pdf, "PNG", "image/png"),
    ("a.PDF", pictures.pdf, "PNG", "image/png"),
]


def test_every_format_is_rendered_correctly_from_its_first_page(server: RunningServer) -> None:
    for name, make, kind, content_type in MADE:
        server.upload(name, make())
        answer = server.thumbnail(name, 200)
        assert answer.status == 200, (name, answer.text)
        assert answer.headers["content-type"] == content_type, name
        picture = pictures.opened(answer.body)
        assert picture.format == kind, name
        assert picture.size == (200, 150), name
        assert pictures.shows_scene(picture), (name, pictures.corners(picture))


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tif", "TIFF"), ("a.heic", "HEIF")])
def test_fast_decoding_looks_like_full_decoding(server: RunningServer, name: str, kind: str) -> None:
    # Fine noise under a gradient shows at once where pixels were just left out.
    noise = Image.effect_noise((1200, 900), 120)
    picture = Image.merge("RGB", (noise, Image.linear_gradient("L").resize((1200, 900)), noise))
    server.upload(name, pictures.encoded(picture, kind, quality=95))
    shown = pictures.opened(server.thumbnail(name, 200).body).convert("RGB")
    slowly = picture.resize((200, 150), Image.Resampling.LANCZOS)
    difference = ImageStat.Stat(ImageChops.difference(shown, slowly)).mean
    assert max(difference) < 12, difference
    leaving_out = picture.resize((200, 150), Image.Resampling.NEAREST)
    assert max(ImageStat.Stat(ImageChops.difference(leaving_out, slowly)).mean) > 60, "the measure can tell"


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_the_camera_s_orientation_is_applied(server: RunningServer, orientation: int) -> None:
    server.upload("turned.jpg", pictures.jpeg(orientation))
    turned = {2: (1, 0, 3, 2), 3: (2, 3, 0, 1), 6: (3, 0, 1, 2), 8: (1, 2, 3, 0)}[orientation]
    colours = (pictures.RED, pictures.GREEN, pictures.BLUE, pictures.YELLOW)
    picture = pictures.opened(server.thumbnail("turned.jpg", 200).body)
    assert picture.size == ((150, 200) if orientation in (6, 8) else (200, 150))
    assert all(map(pictures.alike, pictures.corners(picture), [colours[index] for index in turned]))


def test_a_thumbnail_is_never_larger_than_the_original(server: RunningServer) -> None:
    server.upload("small.png", pictures.encoded(Image.new("RGB", (30, 20), "red"), "PNG"))
    assert pictures.opened(server.thumbnail("small.png", 2000).body).size == (30, 20)


def test_a_scale_beyond_the_largest_size_gets_the_largest_size(start: Callable[..., RunningServer]) -> None:
    server = start(limits={"largest_thumbnail": 200})
    server.upload("a.jpg", pictures.jpeg())
    assert pictures.opened(server.thumbnail("a.jpg", 99_999).body).size == (200, 150)
    assert visible_files(server.thumbnails) == ["a_200.jpg"]


def test_pdf_pages_are_rendered_at_the_requested_size_on_white(server: RunningServer) -> None:
    blank = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj
trailer<</Root 1 0 R>>"""
    server.upload("blank.pdf", blank)
    for scale in (50, 200, 1500):
        picture = pictures.opened(server.thumbnail("blank.pdf", scale).body)
        assert max(picture.size) == scale
        assert picture.convert("RGB").getpixel((10, 10)) == (255, 255, 255)
    tiny = blank.replace(b"595 842", b"72 36")
    server.upload("tiny.pdf", tiny)
    assert pictures.opened(server.thumbnail("tiny.pdf", 800).body).size == (800, 400)


def test_thumbnails_contain_no_metadata(server: RunningServer) -> None:
    for name, data in (("a.jpg", pictures.jpeg()), ("a.png", pictures.png()), ("a.tif", pictures.tiff())):
        server.upload(name, data)
        thumbnail = server.thumbnail(name).body
        assert b"Canon" not in thumbnail
        assert not pictures.opened(thumbnail).getexif()


def test_transparency_is_preserved(server: RunningServer) -> None:
    server.upload("clear.png", pictures.encoded(Image.new("RGBA", (300, 300), (255, 0, 0, 0)), "PNG"))
    assert pictures.opened(server.thumbnail("clear.png").body).convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


def test_concurrent_requests_generate_a_thumbnail_once(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda _: server.thumbnail("a.jpg"), range(16)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1, "a second one would be another file"


DAMAGED = {
    "cut.jpg": (pictures.jpeg()[: pictures.jpeg().index(b"\xff\xda") + 14], "damaged"),
    "cut.png": (pictures.png()[:100], "damaged"),
    "cut.gif": (pictures.gif()[:40], "damaged"),
    "cut.tif": (pictures.tiff()[:400], "damaged"),
    "cut.heic": (pictures.heic()[: len(pictures.heic()) // 2], "damaged"),
    "cut.pdf": (pictures.pdf()[:500], "damaged"),
    "empty.jpg": (b"", "not an image"),
    "text.jpg": (b"hello", "not an image"),
    "drawing.jpg": (b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'msl:/tmp/x'\n", "not an image"),
    "script.pdf": (b"%!PS\n(/etc/passwd) (r) file\n", "not an image"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_not_an_image_gets_a_reason(server: RunningServer, name: str) -> None:
    content, reason = DAMAGED[name]
    server.upload(name, content)
    answer = server.thumbnail(name)
    assert answer.status == 422
    assert reason in answer.text
    assert visible_files(server.thumbnails) == []


def test_the_readable_part_of_a_truncated_file_is_rendered_and_logged(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.upload("half.jpg", pictures.jpeg()[: len(pictures.jpeg()) // 2])
    picture = pictures.opened(server.thumbnail("half.jpg").body)
    assert picture.size == (200, 150)
    assert all(map(pictures.alike, pictures.corners(picture)[:2], (pictures.RED, pictures.GREEN)))
    assert "half.jpg: rendered as far as it can be read" in caplog.text


@pytest.mark.parametrize(
    "accept",
    [
        "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    ],
)
def test_a_browser_that_expects_an_image_gets_the_reason_as_an_image(server: RunningServer, accept: str) -> None:
    server.upload("cut.jpg", DAMAGED["cut.jpg"][0])
    server.upload("notes.txt", b"text")
    for name, status, words in (("cut.jpg", 422, "damaged"), ("notes.txt", 415, "no thumbnails")):
        answer = server.get("/fileget", {"Accept": accept}, type="T", filename=name, scale=100)
        assert (answer.status, answer.headers["content-type"]) == (status, "image/svg+xml")
        drawing = ET.fromstring(answer.body)
        assert words in " ".join(element.text or "" for element in drawing.iter() if element.tag.endswith("text"))
        assert "sandbox" in answer.headers["content-security-policy"]
        page = server.get("/fileget", {"Accept": "text/html,image/*"}, type="T", filename=name, scale=100)
        assert page.headers["content-type"] == "text/plain; charset=UTF-8"
    missing = server.get("/fileget", {"Accept": accept}, type="T", filename="absent.jpg", scale=100)
    assert missing.headers["content-type"] == "text/plain; charset=UTF-8"


def test_types_without_thumbnails_get_a_reason(start: Callable[..., RunningServer]) -> None:
    server = start(CAN_THUMBNAIL={"image/png"})
    for name in ("a.txt", "a", "a.jpg"):
        server.upload(name, pictures.jpeg())
        answer = server.thumbnail(name)
        assert (answer.status, answer.text) == (415, "Files of this type have no thumbnails.")


@pytest.mark.parametrize(
    "name", ["*.jpg", "?[a-z]{x,y}.jpg", "@x.jpg", "-write x.jpg", "svg:x.jpg", "a%d.jpg", "a[0].jpg"]
)
def test_stored_names_are_never_interpreted_by_the_tools(server: RunningServer, name: str) -> None:
    trap = b"-write " + str(server.base / "written").encode() + b" xc:red"
    server.upload("x", trap)
    server.upload(name, pictures.jpeg())
    assert pictures.shows_scene(pictures.opened(server.thumbnail(name).body))
    assert not (server.base / "written").exists()
    assert server.delete(name).status == 200
    assert visible_files(server.originals) == ["x"]


def test_a_missing_tool_is_reported_with_its_package_and_the_rest_works(
    start: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    imagemagick = shutil.which("magick") or "/usr/bin/convert"
    (tools / Path(imagemagick).name).symlink_to(imagemagick)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("PYTHONPATH", WITHOUT_LIBRARIES)
    server = start()
    server.upload("a.pdf", pictures.pdf())
    server.upload("a.jpg", pictures.jpeg())
    answer = server.thumbnail("a.pdf")
    assert answer.status == 503
    assert "ghostscript" in answer.text
    assert answer.headers["retry-after"]
    assert server.thumbnail("a.jpg").status == 200
    (tools / Path(imagemagick).name).unlink()
    answer = server.thumbnail("a.jpg", 50)
    assert answer.status == 503
    assert "imagemagick" in answer.text


def tool_in_place_of_imagemagick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "magick").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "magick").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", WITHOUT_LIBRARIES)


def test_a_hanging_tool_is_stopped_and_fails_one_thumbnail(
    start: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool_in_place_of_imagemagick(tmp_path, monkeypatch, "exec sleep 1000")
    server = start(limits={"render_seconds": 1})
    server.upload("a.jpg", pictures.jpeg())
    answer = server.thumbnail("a.jpg")
    assert (answer.status, answer.text) == (422, "The image takes too long to render.")
    (tmp_path / "tools" / "magick").unlink()
    assert server.thumbnail("a.jpg").status == 422, "it is known not to work"
    for _ in range(60):  # on a busy machine a good tool may need more than a second, too
        server.upload("a.jpg", pictures.jpeg())
        if server.thumbnail("a.jpg").status == 200:
            break
    assert server.thumbnail("a.jpg").status == 200


def test_a_worker_that_dies_fails_one_thumbnail(
    start: Callable[..., RunningServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tool_in_place_of_imagemagick(tmp_path, monkeypatch, "kill -9 $(ps -o ppid= -p $PPID); sleep 1000")
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    answer = server.thumbnail("a.jpg")
    assert answer.status == 500
    assert "could not be rendered" in answer.text
    assert "a render worker died and is started again" in caplog.text
    (tmp_path / "tools" / "magick").unlink()
    assert server.thumbnail("a.jpg").status == 200


def test_when_the_queue_is_full_clients_are_asked_to_retry(
    start: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tool_in_place_of_imagemagick(tmp_path, monkeypatch, f'cat "{gate}" >/dev/null; exec convert "$@"')
    server = start(limits={"render_workers": 1, "thumbnail_waiters": 1})
    for name in ("a.jpg", "b.jpg"):
        server.upload(name, pictures.jpeg())
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(server.thumbnail, "a.jpg")
        with open(gate, "wb"):  # opens once the tool reads: now the only worker is busy
            answer = server.thumbnail("b.jpg")
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            assert server.get("/testkey", random="1", token=server.token("1")).status == 200
        waiting.result()


def test_however_many_sizes_of_one_original_are_requested_none_but_specify_s_is_cached(
    start: Callable[..., RunningServer],
) -> None:
    server = start(limits={"cached_sizes": 3})
    server.upload("a.png", pictures.png())
    for scale in (*range(1, 20), 100):
        answer = server.thumbnail("a.png", scale)
        assert max(pictures.opened(answer.body).size) == scale
        assert server.get("/fileget", {"Range": "bytes=0-9"}, type="T", filename="a.png", scale=scale).status == 206
    assert visible_files(server.thumbnails) == ["a_100.png"]
    assert server.delete("a.png").status == 200
    assert visible_files(server.thumbnails) == []


def test_sizes_that_several_originals_were_requested_in_are_cached_in_turn(
    start: Callable[..., RunningServer],
) -> None:
    server = start(limits={"cached_sizes": 2})
    names = [f"{letter}.png" for letter in "abcd"]
    for name in names:
        server.upload(name, pictures.png())
    for scale in (10, 20, 30):
        for name in names:
            assert max(pictures.opened(server.thumbnail(name, scale).body).size) == scale
        time.sleep(0.02)  # the clock of the file system ticks every few milliseconds
    sizes.update(server.context.thumbnails.store, [""], threading.Event())
    cached = [f"{name}_{scale}.png" for name in "cd" for scale in (20, 30)]
    assert visible_files(server.thumbnails) == cached, "the third original and those after it"
    for name in names:
        assert server.delete(name).status == 200
    assert visible_files(server.thumbnails) == []


def test_a_thumbnail_of_a_size_that_is_retired_while_it_is_made_is_shown_but_not_cached(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, publish = server.context.thumbnails.store, DiskThumbnail.publish

    def publish_too_late(thumbnail: DiskThumbnail, modified_ns: int) -> bool:
        store.retire_sizes("", frozenset())
        store.remove_retired("", threading.Event())
        return publish(thumbnail, modified_ns)

    monkeypatch.setattr(DiskThumbnail, "publish", publish_too_late)
    server.upload("a.png", pictures.png())
    assert pictures.shows_scene(pictures.opened(server.thumbnail("a.png", 100).body))
    assert visible_files(server.thumbnails) == []
    monkeypatch.setattr(DiskThumbnail, "publish", publish)
    server.thumbnail("a.png", 100)
    assert visible_files(server.thumbnails) == ["a_100.png"]


def test_a_link_leads_to_a_matching_cached_thumbnail(start: Callable[..., RunningServer]) -> None:
    server = start(limits={"cached_sizes": 3})
    server.upload("a.png", pictures.png())
    for scale, linked in ((50, 50), (100, 100), (200, 200), (111, 100), (70, 50), (50, 50)):
        answer = server.get("/getfileref", type="T", filename="a.png", scale=scale)
        assert answer.text.endswith(f"/static/thumbnails/a_{linked}.png")
        picture = pictures.opened(server.get(answer.text.partition(str(server.settings.port))[2]).body)
        assert max(picture.size) == linked
    assert server.get("/getfileref", type="T", filename="a.png", scale=20).status == 404
    assert server.get("/getfileref", type="T", filename="absent.png", scale=50).status == 404


def test_a_broken_file_is_rendered_once_until_it_changes(
    start: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "renders"
    tool_in_place_of_imagemagick(tmp_path, monkeypatch, f'echo . >> "{counter}"; exit 1')
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda scale: server.thumbnail("a.jpg", scale), [100] * 8))
    assert {answer.status for answer in answers} == {422}
    assert len(counter.read_text().split()) == 1
    server.upload("a.jpg", pictures.jpeg())
    server.thumbnail("a.jpg", 100)
    assert len(counter.read_text().split()) == 2


def test_two_server_processes_generate_a_thumbnail_once(
    start: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "renders"
    tool_in_place_of_imagemagick(tmp_path, monkeypatch, f'echo . >> "{counter}"; sleep 0.5; exec convert "$@"')
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    other = server.restarted()
    try:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda one: one.thumbnail("a.jpg", 100), [server, other] * 4))
    finally:
        other.stop()
    assert len({answer.body for answer in answers}) == 1
    assert len(counter.read_text().split()) == 1


def test_colours_are_converted_by_the_embedded_profile(server: RunningServer) -> None:
    # A profile that swaps red and blue shows at once whether it is applied.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    for name, kind in (("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.png", "PNG"), ("a.heic", "HEIF")):
        picture = Image.new("RGB", (300, 300), (220, 20, 20))
        data = pictures.encoded(picture, kind, icc_profile=swapped)
        assert pictures.opened(data).info["icc_profile"] == swapped
        server.upload(name, data)
        shown = pictures.opened(server.thumbnail(name).body).convert("RGB").getpixel((50, 50))
        assert pictures.alike(shown, (20, 20, 220)), (name, shown)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "I;16", "LA", "P"])
def test_every_pixel_format_is_converted_to_eight_bits(server: RunningServer, mode: str) -> None:
    picture = Image.new(mode, (300, 200), 0 if mode != "CMYK" else (0, 255, 255, 0))  # type: ignore[arg-type]
    server.upload("a.tif", pictures.encoded(picture, "TIFF" if mode != "P" else "PNG"))
    shown = pictures.opened(server.thumbnail("a.tif", 90).body)
    assert shown.size == (90, 60)
    assert shown.mode in ("RGB", "L", "1", "P", "LA", "RGBA")
    if mode == "CMYK":
        red, green, blue = shown.convert("RGB").getpixel((30, 30))  # type: ignore[misc]
        assert red > 150 > max(green, blue)


def test_transparency_in_a_file_named_jpeg_becomes_white(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.encoded(Image.new("RGBA", (300, 300), (255, 0, 0, 0)), "PNG"))
    assert pictures.opened(server.thumbnail("a.jpg").body).convert("RGB").getpixel((9, 9)) == (255, 255, 255)


def test_a_percent_sign_in_a_folder_name_is_not_interpreted(start: Callable[..., RunningServer]) -> None:
    server = start(COLLECTION_DIRS={"KU": "100%d %s"})
    for name, make in (("a.jpg", pictures.jpeg), ("a.pdf", pictures.pdf)):
        server.upload(name, make(), coll="KU")
        assert server.thumbnail(name, coll="KU").status == 200


def test_a_removed_thumbnail_folder_is_created_again(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    shutil.rmtree(server.thumbnails)
    assert server.thumbnail("a.jpg").status == 200
