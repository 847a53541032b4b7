"""thumbnails: right pictures, fresh ones, each made once."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from assetstore.concurrency.single_flight import SingleFlight
from assetstore.storage.disk.thumbnails import DiskThumbnail
from assetstore.thumbnails import fingerprint, sizes
from assetstore.thumbnails.rendering.job import Job
from tests import pictures
from tests.support import WITHOUT_LIBRARIES, Response, RunningServer, is_of_this_run, visible_files

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


def test_a_replaced_original_gets_a_new_thumbnail(server: RunningServer) -> None:
    server.upload("a.png", pictures.png())
    server.thumbnail("a.png")
    server.upload("a.png", pictures.encoded(Image.new("RGB", (100, 100), "blue"), "PNG"))
    assert visible_files(server.thumbnails) == []
    assert pictures.opened(server.thumbnail("a.png").body).size == (100, 100)


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_thumbnail_of_an_original_that_changed_during_rendering_is_not_cached(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    # nginx may show what is kept without asking, so it must not be there even for a moment.
    pool, render, publish = server.context.pool, server.context.pool.render, DiskThumbnail.publish
    published: list[bool] = []

    def render_too_late(job: Job, client: str, **options: bool) -> None:
        monkeypatch.setattr(pool, "render", render)
        render(job, client, **options)
        if change == "replaced":
            server.upload("a.png", pictures.encoded(Image.new("RGB", (100, 100), "blue"), "PNG"))
        else:
            server.delete("a.png")

    def publish_and_look(thumbnail: DiskThumbnail, modified_ns: int) -> bool:
        is_cached = publish(thumbnail, modified_ns)
        picture = pictures.opened((server.thumbnails / "a_200.png").read_bytes())
        published.append((server.originals / "a.png").exists() and picture.size == (100, 100))
        return is_cached

    monkeypatch.setattr(DiskThumbnail, "publish", publish_and_look)
    server.upload("a.png", pictures.png())
    monkeypatch.setattr(pool, "render", render_too_late)
    first = server.thumbnail("a.png", 200)
    assert published == []
    second = server.thumbnail("a.png", 200)
    if change == "replaced":
        assert (first.status, second.status, published) == (200, 200, [True])
    else:
        assert (first.status, second.status, published) == (404, 404, [])


def test_an_original_replaced_by_hand_gets_a_new_thumbnail(server: RunningServer) -> None:
    server.upload("a.png", pictures.png())
    server.thumbnail("a.png")
    replacement = server.originals / "a.png"
    replacement.write_bytes(pictures.encoded(Image.new("RGB", (100, 100), "blue"), "PNG"))
    for moment in (1_000_000_000, 4_000_000_000):
        os.utime(replacement, (moment, moment))
        assert pictures.opened(server.thumbnail("a.png").body).size == (100, 100)


def write_by_hand(path: Path, colour: str) -> None:
    """Writes an image in place. Its length and its modification time are always the same."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(pictures.encoded(Image.new("RGB", (100, 100), colour), "BMP"))
    os.utime(path, (1_000_000_000, 1_000_000_000))


def colour_of(answer: Response) -> Any:
    return pictures.opened(answer.body).convert("RGB").getpixel((9, 9))


def count_renders(server: RunningServer) -> list[str]:
    made: list[str] = []
    server.context.pool.on_render = lambda kind, _outcome, _seconds: made.append(kind)
    return made


def test_an_edit_by_hand_that_keeps_length_and_date_shows_the_new_picture(server: RunningServer) -> None:
    for colour, pixel in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        write_by_hand(server.originals / "a.bmp", colour)
        for _ in range(2):
            assert colour_of(server.thumbnail("a.bmp", 90)) == pixel
        time.sleep(0.02)  # the clock of the file system ticks every few milliseconds


def stamp_as_before(server: RunningServer, name: str, thumbnail: str) -> None:
    """Marks a thumbnail as the version before did."""
    former_ns = fingerprint.former_stamp(name, server.context.originals.storage.version("", name))
    os.utime(server.thumbnails / thumbnail, ns=(former_ns, former_ns))


def test_a_thumbnail_of_the_previous_version_is_used_and_stamped_again(server: RunningServer) -> None:
    server.upload("a.png", pictures.png())
    before, made = server.thumbnail("a.png", 100).body, count_renders(server)
    stamp = (server.thumbnails / "a_100.png").stat().st_mtime_ns
    time.sleep(0.02)
    stamp_as_before(server, "a.png", "a_100.png")
    for _ in range(2):
        assert server.thumbnail("a.png", 100).body == before
        assert (server.thumbnails / "a_100.png").stat().st_mtime_ns == stamp
    assert made == []


def test_a_thumbnail_of_the_previous_version_is_rendered_again_if_its_original_was_edited_later(
    server: RunningServer,
) -> None:
    write_by_hand(server.originals / "a.bmp", "red")
    server.thumbnail("a.bmp", 90)
    time.sleep(0.02)
    stamp_as_before(server, "a.bmp", "a_90.png")
    time.sleep(0.02)
    write_by_hand(server.originals / "a.bmp", "blue")
    assert colour_of(server.thumbnail("a.bmp", 90)) == (0, 0, 255)


def test_a_namesake_s_thumbnail_of_the_version_before_stays_and_its_own_goes(server: RunningServer) -> None:
    for name, kind in (("x.png", "PNG"), ("x.tif", "TIFF")):
        server.upload(name, pictures.encoded(Image.new("RGB", (100, 100), "blue"), kind))
    server.thumbnail("x.png", 90)
    server.thumbnail("x.tif", 100)
    stamp_as_before(server, "x.png", "x_90.png")
    stamp_as_before(server, "x.tif", "x_100.png")
    assert server.delete("x.tif").status == 200
    assert visible_files(server.thumbnails) == ["x_90.png"]


@pytest.mark.parametrize("change", ["mode", "hard link", "rename", "restored backup"])
def test_a_change_of_the_file_but_not_of_its_bytes_costs_one_rendering(
    server: RunningServer, tmp_path: Path, change: str
) -> None:
    server.upload("a.png", pictures.png())
    before, made, original = server.thumbnail("a.png", 100).body, count_renders(server), server.originals / "a.png"
    time.sleep(0.02)
    if change == "mode":
        original.chmod(0o600)
    elif change == "hard link":
        (tmp_path / "backup").hardlink_to(original)
    elif change == "rename":
        original.rename(tmp_path / "a.png")
        (tmp_path / "a.png").rename(original)
    else:
        shutil.copytree(server.base, tmp_path / "backup")
        for folder in (server.originals, server.thumbnails):
            shutil.copytree(tmp_path / "backup" / folder.name, folder, dirs_exist_ok=True)
    for _ in range(3):
        assert server.thumbnail("a.png", 100).body == before
    assert made == ["png"]


def test_a_thumbnail_is_dated_by_its_generation(server: RunningServer) -> None:
    server.upload("a.png", pictures.png())
    for path in ("/fileget?filename=a.png&type=T&scale=100", "/static/thumbnails/a_100.png"):
        answer = server.get(path)
        assert is_of_this_run(parsedate_to_datetime(answer.headers["last-modified"]).timestamp())
        assert server.get(path, {"If-None-Match": answer.headers["etag"]}).status == 304


def test_thumbnails_are_cached_on_file_systems_with_whole_second_timestamps(server: RunningServer) -> None:
    server.upload("a.png", pictures.png())
    before = server.thumbnail("a.png", 100)
    kept = server.thumbnails / "a_100.png"
    os.utime(kept, (int(kept.stat().st_mtime),) * 2)
    inode = kept.stat().st_ino
    assert server.thumbnail("a.png", 100).body == before.body
    assert kept.stat().st_ino == inode


def test_two_originals_with_the_same_root_never_share_a_thumbnail(server: RunningServer) -> None:
    dimensions = {"x.png": (100, 100), "x.tif": (100, 50), "x.pdf": (50, 100)}
    for name, size in dimensions.items():
        kind = {"x.png": "PNG", "x.tif": "TIFF", "x.pdf": "PDF"}[name]
        server.upload(name, pictures.encoded(Image.new("RGB", size, "blue"), kind))
        os.utime(server.originals / name, (1_000_000_000, 1_000_000_000))
    for _ in range(2):
        for name, size in dimensions.items():
            assert pictures.opened(server.thumbnail(name, 100).body).size == size, name
    server.thumbnail("x.png", 90)
    server.thumbnail("x.tif", 123)
    assert server.delete("x.tif").status == 200
    assert "x_90.png" in visible_files(server.thumbnails), "it is of x.png"
    assert "x_123.png" not in visible_files(server.thumbnails), "it was of x.tif"


def test_concurrent_thumbnails_of_originals_with_the_same_root_are_not_mixed_up(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.upload("x.png", pictures.encoded(Image.new("RGB", (100, 100), "blue"), "PNG"))
    server.upload("x.tif", pictures.encoded(Image.new("RGB", (100, 50), "blue"), "TIFF"))
    do, overtaken = SingleFlight.do, []

    def be_overtaken(*arguments: Any) -> Any:
        result = do(*arguments)
        if not overtaken:
            # Between making the one and opening it, the other is made under the same file name.
            overtaken.append(server.thumbnail("x.tif", 90))
        return result

    monkeypatch.setattr(SingleFlight, "do", be_overtaken)
    assert pictures.opened(server.thumbnail("x.png", 90).body).size == (90, 90)
    assert pictures.opened(overtaken[0].body).size == (90, 45)


def legacy_tree(server: RunningServer) -> bytes:
    """What the sample server leaves: an original and a thumbnail that shows another colour, to tell it apart."""
    (server.originals / "old.jpg").write_bytes(pictures.jpeg())
    thumbnail = pictures.encoded(Image.new("RGB", (100, 75), "magenta"), "JPEG")
    time.sleep(0.02)
    (server.thumbnails / "old_100.jpg").write_bytes(thumbnail)
    return thumbnail


def test_thumbnails_of_an_earlier_server_are_used(server: RunningServer) -> None:
    thumbnail = legacy_tree(server)
    for _ in range(2):
        assert server.thumbnail("old.jpg", 100).body == thumbnail


@pytest.mark.parametrize("spoil", ["truncated", "empty", "older", "namesake", "not a picture"])
def test_ambiguous_thumbnails_of_an_earlier_server_are_regenerated(server: RunningServer, spoil: str) -> None:
    name, kept = "old.jpg", server.thumbnails / "old_100.jpg"
    thumbnail = legacy_tree(server)
    if spoil == "truncated":
        kept.write_bytes(thumbnail[:-20])
    elif spoil == "empty":
        kept.write_bytes(b"")
    elif spoil == "older":
        (server.originals / name).write_bytes(pictures.jpeg())
        os.utime(kept, ns=(1, 10**18))
    elif spoil == "not a picture":
        kept.write_bytes(b"<html>")
    else:
        name, kept = "old.tif", server.thumbnails / "old_100.png"
        (server.originals / "old.tif").write_bytes(pictures.tiff())
        (server.originals / "old.pdf").write_bytes(pictures.pdf())
        time.sleep(0.02)
        kept.write_bytes(pictures.encoded(Image.new("RGB", (100, 75), "magenta"), "PNG"))
    assert pictures.shows_scene(pictures.opened(server.thumbnail(name, 100).body))


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
