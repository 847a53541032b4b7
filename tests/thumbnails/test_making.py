"""making: a cached thumbnail is used only if it belongs to the current original, and those of earlier servers, too."""

import os
import shutil
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assetstore.concurrency.single_flight import SingleFlight
from assetstore.storage.disk.thumbnails import DiskThumbnail
from assetstore.thumbnails import fingerprint
from assetstore.thumbnails.rendering.job import Job
from tests import pictures
from tests.support import Response, RunningServer, is_of_this_run, visible_files


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
    # nginx may show what is in the folder without asking, so it must not be there at any time.
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
    for second in (1_000_000_000, 4_000_000_000):
        os.utime(replacement, (second, second))
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
