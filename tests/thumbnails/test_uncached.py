"""thumbnails.uncached: if the cache cannot be used, thumbnails are still shown."""

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests import pictures
from tests.support import RunningServer, run_manage, visible_files

Break = Callable[[RunningServer], None]
Start = Callable[..., RunningServer]


@pytest.fixture(params=["a file in its place", "may not be changed", "mounted read-only", "private folder gone bad"])
def break_cache(request: pytest.FixtureRequest) -> Iterator[Break]:
    """Makes the folder of thumbnails unusable, each in another way, and usable again at the end."""
    undo: list[list[str]] = []

    def run(command: list[str], back: list[str]) -> None:
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"{command[0]} is not permitted here")
        undo.append(back)

    def break_it(server: RunningServer) -> None:
        folder = str(server.thumbnails)
        if request.param == "a file in its place":
            shutil.rmtree(folder)
            server.thumbnails.write_bytes(b"in the way")
        elif request.param == "may not be changed":
            run(["chattr", "+i", folder], ["chattr", "-i", folder])
        elif request.param == "mounted read-only":
            run(["mount", "--bind", folder, folder], ["umount", "-l", folder])
            subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        else:
            shutil.rmtree(server.thumbnails / ".asset-server")
            (server.thumbnails / ".asset-server").write_bytes(b"in the way")

    yield break_it
    for command in undo:
        subprocess.run(command, check=True)


def thumbnail_check(server: RunningServer) -> dict[str, str]:
    answer = server.get("/readyz")
    assert answer.status == 200, "it is ready to serve"
    found: dict[str, str] = json.loads(answer.body)["checks"]["thumbnails"]
    return found


def test_thumbnails_are_served_although_they_cannot_be_cached(
    start: Start,
    break_cache: Break,
    caplog: pytest.LogCaptureFixture,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    break_cache(server)
    with caplog.at_level(logging.WARNING):
        for scale in (123, 200, 123):
            answer = server.thumbnail("a.jpg", scale)
            assert answer.status == 200, answer.text
            assert max(pictures.opened(answer.body).size) == scale
    warnings = [record.message for record in caplog.records if "but not cached" in record.message]
    assert len(warnings) == 1, "one warning, not one for each thumbnail"
    assert thumbnail_check(server)["status"] == "warning"
    assert server.upload("b.jpg", pictures.jpeg()).status == 200
    assert server.upload("a.jpg", pictures.jpeg(orientation=6)).status == 200
    assert pictures.opened(server.thumbnail("a.jpg", 200).body).size == (150, 200), "never an outdated one"
    assert server.delete("a.jpg").status == 200
    assert not list(temporary.iterdir())


def test_no_link_is_given_to_a_thumbnail_that_is_not_cached(start: Start, break_cache: Break) -> None:
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    break_cache(server)
    answer = server.get("/getfileref", type="T", filename="a.jpg", scale=200)
    assert answer.status in (404, 503)
    assert "linked to" in answer.text


def test_a_server_starts_although_thumbnails_cannot_be_cached(start: Start, break_cache: Break) -> None:
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    break_cache(server)
    again = server.restarted()
    try:
        assert again.thumbnail("a.jpg").status == 200
        assert thumbnail_check(again)["status"] == "warning"
    finally:
        again.stop()


def test_when_the_cache_works_again_thumbnails_are_cached_and_the_next_failure_is_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    caplog.set_level(logging.INFO)
    server.upload("a.jpg", pictures.jpeg())
    for _ in range(2):
        shutil.rmtree(server.thumbnails)
        server.thumbnails.write_bytes(b"in the way")
        for scale in (123, 200):
            assert server.thumbnail("a.jpg", scale).status == 200
        server.thumbnails.unlink()
        assert server.thumbnail("a.jpg", 200).status == 200
        assert visible_files(server.thumbnails) == ["a_200.jpg"]
        assert thumbnail_check(server)["status"] == "ok"
    logged = [
        words for record in caplog.records for words in ("but not cached", "cached again") if words in record.message
    ]
    assert logged == ["but not cached", "cached again"] * 2


def test_each_collection_whose_thumbnails_cannot_be_cached_is_logged_once(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(COLLECTION_DIRS={"Birds": "birds", "Fish": "fish", "Frogs": "frogs"})
    for folder in ("birds", "fish"):
        shutil.rmtree(server.base / folder / "thumbnails")
        (server.base / folder / "thumbnails").write_bytes(b"in the way")
    for coll in ("Birds", "Fish", "Frogs"):
        server.upload("a.jpg", pictures.jpeg(), coll=coll)
    for scale in (123, 200):
        for coll in ("Birds", "Fish", "Frogs"):
            assert server.thumbnail("a.jpg", scale, coll=coll).status == 200
    warnings = [record.message for record in caplog.records if "but not cached" in record.message]
    assert [warning.split(" are ")[0] for warning in warnings] == ["thumbnails of birds", "thumbnails of fish"]


def test_thumbnails_made_in_advance_must_be_cached(start: Start, break_cache: Break) -> None:
    server = start()
    server.upload("a.jpg", pictures.jpeg())
    break_cache(server)
    done = run_manage(server.base, "thumbnails", "warm", "--size", "200")
    assert done.returncode == 1
    assert "cannot write" in done.stderr or "read-only" in done.stderr
