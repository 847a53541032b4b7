"""thumbnails.previews: thumbnails that are rendered in advance, and never delay requests."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assetstore.errors import AssetError, Unavailable
from assetstore.thumbnails import previews as module
from assetstore.thumbnails.rendering import isolation
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.pool import RenderPool
from tests import pictures
from tests.support import RunningServer, visible_files

Start = Callable[..., RunningServer]


def eventually(look: Callable[[], Any], expected: Any) -> None:
    """Waits until *look* returns what is expected."""
    for _ in range(600):
        if look() == expected:
            return
        time.sleep(0.1)
    assert look() == expected


def queued(server: RunningServer) -> int:
    return len(server.context.previews._queue)


def cached(server: RunningServer) -> list[str]:
    return visible_files(server.thumbnails)


@contextmanager
def busy_background(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Lets nothing be rendered in the background until the end; yields the names of what is rendered then."""
    render, free, rendered = RenderPool._render, threading.Event(), []

    def render_later(pool: RenderPool, worker: Any, niceness: int, job: Job, *others: Any) -> None:
        if niceness:
            assert free.wait(60)
            rendered.append(f"{Path(job.source).name} {job.size}")
        render(pool, worker, niceness, job, *others)

    monkeypatch.setattr(RenderPool, "_render", render_later)
    try:
        yield rendered
    finally:
        free.set()


def test_previews_are_made_after_an_upload_and_served_without_rendering(start: Start) -> None:
    server = start(PREVIEW_SIZES=[200, 321])
    server.upload("a.jpg", pictures.jpeg())
    server.upload("b.tif", pictures.tiff())
    server.upload("notes.txt", b"no picture")
    eventually(lambda: cached(server), ["a_200.jpg", "a_321.jpg", "b_200.png", "b_321.png"])
    eventually(lambda: queued(server), 0)
    made: list[str] = []
    server.context.pool.on_render = lambda kind, _outcome, _seconds: made.append(kind)
    for name in ("a.jpg", "b.tif"):
        for size in (200, 321):
            assert pictures.shows_scene(pictures.opened(server.thumbnail(name, size).body))
    assert made == []
    assert server.delete("a.jpg").status == 200
    assert cached(server) == ["b_200.png", "b_321.png"]


def test_without_the_setting_nothing_is_made_and_no_thread_is_started(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    assert queued(server) == 0
    assert "previews" not in [thread.name for thread in threading.enumerate()]
    assert cached(server) == []


def test_uploads_do_not_wait_and_a_replaced_or_deleted_file_is_skipped(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(PREVIEW_SIZES=[200])
    with busy_background(server, monkeypatch) as rendered:
        for name in ("first.png", "again.png", "gone.png"):
            assert server.upload(name, pictures.png()).status == 200
        for colour in ("red", "blue"):
            server.upload("again.png", pictures.encoded(Image.new("RGB", (100, 100), colour), "PNG"))
        assert server.delete("gone.png").status == 200
        assert pictures.shows_scene(pictures.opened(server.thumbnail("first.png", 100).body)), "requests do not wait"
        assert cached(server) == ["first_100.png"]
    eventually(lambda: cached(server), ["again_200.png", "first_100.png", "first_200.png"])
    assert rendered == ["first.png 200", "again.png 200"]
    assert pictures.opened((server.thumbnails / "again_200.png").read_bytes()).getpixel((9, 9)) == (0, 0, 255)


def test_a_file_that_is_replaced_or_deleted_while_its_preview_is_made_leaves_no_wrong_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(PREVIEW_SIZES=[200])
    render, changes = RenderPool._render, iter(["replace", "delete"])

    def render_and_change(pool: RenderPool, worker: Any, niceness: int, job: Job, *others: Any) -> None:
        render(pool, worker, niceness, job, *others)
        change = next(changes, None)
        if change == "replace":
            server.upload("a.png", pictures.encoded(Image.new("RGB", (100, 100), "blue"), "PNG"))
        elif change == "delete":
            server.delete("a.png")

    monkeypatch.setattr(RenderPool, "_render", render_and_change)
    server.upload("a.png", pictures.png())
    server.upload("last.png", pictures.png())
    eventually(lambda: (queued(server), cached(server)), (0, ["last_200.png"]))


def test_a_failure_in_the_background_is_not_remembered_and_stops_no_other_preview(start: Start) -> None:
    server = start(PREVIEW_SIZES=[90, 200])
    made: list[str] = []
    server.context.pool.on_render = lambda _kind, outcome, _seconds: made.append(outcome)
    server.upload("bad.png", pictures.png()[:100])
    server.upload("good.png", pictures.png())
    eventually(lambda: cached(server), ["good_200.png", "good_90.png"])
    assert len([outcome for outcome in made if outcome != "made"]) == 1, "one size is enough to see it"
    assert server.thumbnail("bad.png", 200).status == 422


def test_an_accident_ends_one_preview_and_not_the_thread(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0)
    server = start(PREVIEW_SIZES=[200])
    thumbnails = server.context.thumbnails
    open_, accidents = thumbnails.open, [
        AssetError("The folder of thumbnails cannot be written."),
        RuntimeError("surprise"),
        Unavailable("Please try again.", retry_after=1),
        Unavailable("ImageMagick is not installed."),
    ]  # fmt: skip

    def open_with_accidents(*arguments: Any, **keywords: Any) -> Any:
        if accidents:
            raise accidents.pop(0)
        return open_(*arguments, **keywords)

    monkeypatch.setattr(thumbnails, "open", open_with_accidents)
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png"):
        server.upload(name, pictures.png())
        eventually(lambda: queued(server), 0)
    eventually(lambda: "e_200.png" in cached(server), True)
    assert not accidents
    assert "a_200.png" not in cached(server)
    assert "cannot be written" in caplog.text
    assert "surprise" in caplog.text


def test_the_queue_is_bounded(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_QUEUED", 3)
    previews = module.Previews(server.context.thumbnails, {200})
    monkeypatch.setattr(previews, "_run", lambda: None)
    for number in range(9):
        previews.add("", f"{number}.png", 1)
        previews.add("", "0.png", 1)
    assert len(previews._queue) == 3
    previews.close()


def test_a_full_queue_is_logged_once_until_it_is_empty(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MOST_QUEUED", 2)
    previews = module.Previews(server.context.thumbnails, {200})
    monkeypatch.setattr(previews, "_run", lambda: None)
    for times in (1, 2):
        for number in range(4):
            previews.add("", f"{number}.png", 1)
        previews._take()
        for number in range(4):
            previews.add("", f"{number}.png", 1)
        assert caplog.text.count("2 originals are waiting for previews") == times
        for _ in range(2):
            previews._take()
    previews.close()


def test_an_original_is_tried_five_times_if_all_workers_are_busy(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def refuse(_collection_dir: str, name: str, _size: int, **_options: object) -> None:
        tried.append(name)
        raise Unavailable("All workers are busy.", retry_after=1)

    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(server.context.thumbnails, "open", refuse)
    previews = module.Previews(server.context.thumbnails, {200})
    for name in ("a.png", "b.png"):
        previews.add("", name, 1)
    eventually(lambda: sorted(tried), ["a.png"] * 5 + ["b.png"] * 5)
    previews.close()
    assert len(tried) == 10


def test_a_server_ends_while_previews_are_waiting(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(PREVIEW_SIZES=[200, 300, 400])
    for number in range(20):
        server.upload(f"{number}.png", pictures.png())
    server.context.pool.close()
    server.context.previews.close()
    assert "previews" not in [thread.name for thread in threading.enumerate()]


def test_sizes_that_left_the_setting_are_cleaned_up_at_the_next_start(start: Start) -> None:
    server = start(PREVIEW_SIZES=[200, 321])
    server.upload("a.png", pictures.png())
    eventually(lambda: cached(server), ["a_200.png", "a_321.png"])
    server.thumbnail("a.png", 100)
    markers = server.thumbnails / ".asset-server/sizes"
    eventually(lambda: {"200-preview", "321-preview"} <= set(visible_files(markers)), True)
    later = server.restarted(PREVIEW_SIZES=[200])
    try:
        eventually(lambda: cached(server), ["a_100.png", "a_200.png"])
        eventually(lambda: visible_files(markers), ["100", "200", "200-preview", "taken"])
    finally:
        later.stop()


def test_previews_work_in_a_bucket(start: Start, request: pytest.FixtureRequest) -> None:
    server = start(**request.getfixturevalue("s3_settings"), PREVIEW_SIZES=[321])
    server.upload("a.png", pictures.png())
    cached = server.context.thumbnails.store.cached
    eventually(lambda: [thumbnail.name for thumbnail in cached("")], ["a_321.png"])


def test_rendering_in_the_background_has_a_lower_priority_and_the_next_job_has_not(tmp_path: Path) -> None:
    def niceness() -> str:
        return str(os.nice(0))

    limits = Limits(30, 512)
    here = int(niceness())
    assert [int(isolation.run(niceness, limits, 30, tmp_path, by)) - here for by in (10, 0)] == [10, 0]
