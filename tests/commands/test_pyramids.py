"""manage.py pyramids: pyramids are made before anyone zooms, and removed when they are not needed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import pictures, zoomable
from tests.support import RunningServer, run_manage

SCAN = pictures.encoded(zoomable.scene(), "TIFF")


def cached(server: RunningServer) -> list[Path]:
    return sorted(server.thumbnails.glob(".asset-server/pyramids/*/*.tif"))


@pytest.fixture
def server(start: Callable[..., RunningServer]) -> RunningServer:
    server = start(THREADS=16, PYRAMID_UPLOAD_BYTES=None)
    server.upload("a.tif", SCAN)
    server.upload("small.jpg", pictures.jpeg())
    server.upload("notes.txt", b"notes")
    return server


def test_missing_pyramids_are_made_once(server: RunningServer) -> None:
    done = run_manage(server.base, "pyramids", "make", "--json")
    assert json.loads(done.stdout) == {"originals": 3, "made": 1, "failures": 0}
    assert len(cached(server)) == 1
    assert "0 pyramids made" in run_manage(server.base, "pyramids", "make", "--larger-than", "1").stdout
    kinds: list[str] = []
    server.context.pool.on_render = lambda kind, _outcome, _seconds: kinds.append(kind)
    assert server.get("/iiif/3/a.tif/0,0,512,512/512,512/0/default.jpg").status == 200
    assert kinds == ["pages", "region"]


def test_an_original_that_cannot_be_read_is_listed_with_the_reason(server: RunningServer) -> None:
    server.upload("broken.tif", b"II*\0" + bytes(100))
    done = run_manage(server.base, "pyramids", "make", "--since", "1h")
    assert done.returncode == 1
    assert "broken.tif" in done.stdout
    assert len(cached(server)) == 1


def test_unneeded_pyramids_are_removed(server: RunningServer) -> None:
    for name in ("a.tif", "b.tif"):
        server.upload(name, SCAN)
        server.get(f"/iiif/3/{name}/0,0,512,512/512,512/0/default.jpg")
    (server.originals / "b.tif").unlink()
    assert "1 pyramid" in run_manage(server.base, "pyramids", "prune", "--orphans", "--dry-run").stdout
    assert len(cached(server)) == 2
    run_manage(server.base, "pyramids", "prune", "--orphans")
    assert len(cached(server)) == 1
    run_manage(server.base, "pyramids", "prune", "--most-megabytes", "0")
    assert cached(server) == []
    assert run_manage(server.base, "pyramids", "prune").returncode == 2
