"""manage.py thumbnails: thumbnails are rendered before anyone requests them, and removed when they are not needed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.storage.protocols import PrunableThumbnails
from assetstore.thumbnails import prune as pruning
from assetstore.thumbnails.prune import PruneOptions, Pruning
from tests import pictures
from tests.support import PROJECT, RunningServer, run_manage, use_up_sizes, visible_files

Manage = Callable[..., subprocess.CompletedProcess[str]]

NOTHING = PruneOptions(False, False, None, None, None)


@pytest.fixture
def manage(server: RunningServer) -> Manage:
    def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
        return run_manage(server.base, "thumbnails", *arguments, **environ)

    return run


@pytest.fixture
def renders(server: RunningServer) -> list[str]:
    """The pictures that the server itself makes."""
    made: list[str] = []
    server.context.pool.on_render = lambda kind, outcome, _seconds: made.append(f"{kind} {outcome}")
    return made


@pytest.fixture
def prune(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
    """Prunes in this process; thumbnails that were just rendered may be orphans."""
    monkeypatch.setattr(pruning, "_YOUNG_NS", 0)

    def run(dry_run: bool = False, **options: object) -> list[tuple[str, str]]:
        store = server.context.thumbnails.store
        assert isinstance(store, PrunableThumbnails)
        time.sleep(0.02)  # the clock of the file system ticks every few milliseconds
        pruned = Pruning(server.context.originals, store, PruneOptions(**{**vars(NOTHING), **options}), dry_run).run(
            [""]
        )  # type: ignore[arg-type]
        return sorted((one.reason, one.cached.name) for one in pruned)

    return run


def test_warmed_thumbnails_are_served_without_rendering(
    server: RunningServer, manage: Manage, renders: list[str]
) -> None:
    server.upload("a.jpg", pictures.jpeg())
    server.upload("b.tif", pictures.tiff())
    server.upload("notes.txt", b"no picture")
    run = manage("warm", "--size", 100, "--size", 200, "--workers", 2)
    assert (run.returncode, run.stdout) == (0, "2 originals, 4 thumbnails generated; no failures.\n"), run.stderr
    for name, size in (("a.jpg", 100), ("a.jpg", 200), ("b.tif", 100), ("b.tif", 200)):
        assert pictures.shows_scene(pictures.opened(server.thumbnail(name, size).body))
    assert renders == []
    server.thumbnail("a.jpg", 50)
    assert renders == ["jpeg made"]
    run = manage("warm", "--size", 100, "--size", 200, "--rate", 1000, "--json")
    assert json.loads(run.stdout) == {"originals": 2, "made": 0, "failures": 0}, "nothing is made twice"


def test_it_makes_the_previews_of_originals_that_exist_already(server: RunningServer, manage: Manage) -> None:
    server.upload("a.jpg", pictures.jpeg())
    assert manage("warm", PREVIEW_SIZES="300, 301").returncode == 0
    assert visible_files(server.thumbnails) == ["a_300.jpg", "a_301.jpg"]


def test_only_new_files_are_processed(server: RunningServer, manage: Manage) -> None:
    for name, age in (("old.jpg", 10 * 86_400), ("new.jpg", 3600)):
        server.upload(name, pictures.jpeg())
        timestamp = time.time() - age
        os.utime(server.originals / name, (timestamp, timestamp))
    assert manage("warm", "--size", 100, "--since", "1d").returncode == 0
    assert visible_files(server.thumbnails) == ["new_100.jpg"]


def test_unrenderable_files_are_reported_and_the_others_are_processed(server: RunningServer, manage: Manage) -> None:
    server.upload("broken.jpg", pictures.jpeg()[:300])
    server.upload("liar.png", b"no picture at all")
    server.upload("good.jpg", pictures.jpeg())
    run = manage("warm", "--size", 100)
    assert run.returncode == 1
    named = {line.split("\t")[1]: line.split("\t")[2] for line in run.stdout.splitlines()[:-1]}
    assert set(named) == {"broken.jpg", "liar.png"}
    assert "not an image of the type" in named["liar.png"]
    assert visible_files(server.thumbnails) == ["good_100.jpg"]


def test_its_sizes_replace_those_that_are_used_least(server: RunningServer, manage: Manage) -> None:
    server.upload("a.jpg", pictures.jpeg())
    use_up_sizes(server.base, left=1)
    (server.thumbnails / "earlier_3000.jpg").write_bytes(b"thumbnail")
    os.utime(server.thumbnails / ".asset-server/sizes/3000", (1, 1))
    run = manage("warm", "--size", 300, "--size", 301, "--size", 302)
    assert run.returncode == 0, run.stderr
    assert visible_files(server.thumbnails) == ["a_300.jpg", "a_301.jpg", "a_302.jpg"]
    server.delete("a.jpg")
    assert visible_files(server.thumbnails) == []


def test_more_sizes_than_are_cached_are_refused(server: RunningServer, manage: Manage) -> None:
    run = manage("warm", *(option for size in range(301, 335) for option in ("--size", size)))
    assert (run.returncode, "Choose fewer sizes" in run.stderr) == (1, True)


def test_pruned_sizes_make_room_for_others(server: RunningServer, manage: Manage) -> None:
    server.upload("a.jpg", pictures.jpeg())
    assert manage("warm", "--size", 100, "--size", 300).returncode == 0
    (server.thumbnails / "b_100-0.png").write_bytes(b"page")
    run = manage("prune", "--keep-size", 300)
    assert run.stdout.startswith("2 thumbnails, "), run.stderr
    assert visible_files(server.thumbnails) == ["a_300.jpg"]
    assert visible_files(server.thumbnails / ".asset-server/sizes") == ["300", "taken"]
    server.delete("a.jpg")
    assert visible_files(server.thumbnails) == [], "sizes that are kept are known"


def test_warming_yields_to_requests() -> None:
    code = (
        "import os, subprocess; from assetstore.thumbnails.warm import yield_to_others; yield_to_others()\n"
        "print(os.nice(0), subprocess.run(['ionice', '-p', str(os.getpid())], capture_output=True).stdout)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("19 b'idle")


def test_only_orphaned_thumbnails_are_pruned(
    server: RunningServer, prune: Callable[..., list[tuple[str, str]]]
) -> None:
    long_name = "x" * 250 + ".jpg"
    for name in ("a.jpg", "b.tif", "a_100.jpg", "gone.jpg", long_name):
        server.upload(name, pictures.tiff() if name == "b.tif" else pictures.jpeg())
        assert server.thumbnail(name, 100).status == 200
    (server.originals / "gone.jpg").unlink()  # by hand, or the server would have taken care
    (server.thumbnails / "readme_100").write_bytes(b"")
    (server.thumbnails / "notes.txt").write_bytes(b"no thumbnail")
    expected = [("orphan", "gone_100.jpg"), ("orphan", "readme_100")]
    before = visible_files(server.thumbnails)
    assert prune(orphans=True, dry_run=True) == expected
    assert visible_files(server.thumbnails) == before
    assert prune(orphans=True) == expected
    assert set(before) - set(visible_files(server.thumbnails)) == {"gone_100.jpg", "readme_100"}
    assert prune(orphans=True) == []


def test_a_recent_thumbnail_is_not_an_orphan(server: RunningServer, manage: Manage) -> None:
    (server.thumbnails / "its original comes_100.jpg").write_bytes(b"x")
    assert manage("prune", "--orphans").stdout == "1 thumbnail, 1 byte left.\n"


def test_pages_left_by_earlier_servers_are_pruned(server: RunningServer, manage: Manage) -> None:
    for name in ("b.tif", "c-0.jpg", "d_100-0.jpg"):
        server.upload(name, pictures.tiff() if name == "b.tif" else pictures.jpeg())
        server.thumbnail(name, 100)
    for name in ("b_100-0.png", "b_100-17.png"):
        (server.thumbnails / name).write_bytes(b"page")
    run = manage("prune", "--strays", "--dry-run", "--json")
    assert {json.loads(line).get("name") for line in run.stdout.splitlines()} == {"b_100-0.png", "b_100-17.png", None}
    assert manage("prune", "--strays").stdout.startswith("2 thumbnails, 8 bytes removed: an earlier server rendered it")
    assert visible_files(server.thumbnails) == ["b_100.png", "c-0_100.jpg", "d_100-0_100.jpg"]


def test_the_oldest_thumbnails_are_pruned_by_age_and_by_total_size(
    server: RunningServer, prune: Callable[..., list[tuple[str, str]]]
) -> None:
    server.upload("a.jpg", pictures.jpeg())
    moments = []
    for size in (90, 100, 123):
        moments.append(time.time_ns())
        time.sleep(0.02)
        server.thumbnail("a.jpg", size)
        time.sleep(0.02)
    assert prune(before_ns=moments[0]) == []
    assert prune(before_ns=moments[1]) == [("age", "a_90.jpg")]
    size = (server.thumbnails / "a_123.jpg").stat().st_size
    assert prune(most_bytes=size) == [("total", "a_100.jpg")]
    assert prune(most_bytes=size) == []
    (server.thumbnails / "notes.txt").write_bytes(b"what is not named as thumbnails are stays")
    assert prune(most_bytes=0) == [("total", "a_123.jpg")]
    assert visible_files(server.thumbnails) == ["notes.txt"]
    assert server.thumbnail("a.jpg", 90).status == 200, "it is rendered again on request"


def test_a_thumbnail_renewed_during_pruning_is_not_removed(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    server.thumbnail("a.jpg", 100)
    store = server.context.thumbnails.store
    assert isinstance(store, PrunableThumbnails)
    kept = next(store.cached(""))
    time.sleep(0.02)
    server.upload("a.jpg", pictures.jpeg(orientation=3))
    server.thumbnail("a.jpg", 100)
    assert not store.remove("", kept)
    assert visible_files(server.thumbnails) == ["a_100.jpg"]
    assert store.remove("", next(store.cached("")))
    assert not store.remove("", kept), "gone already"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("prune",), "Select thumbnails"),
        (("warm",), "--size"),
        (("warm", "--size", "1", "--collection", "x"), "no collection"),
    ],
)
def test_an_incomplete_command_names_what_is_missing(manage: Manage, arguments: tuple[str, ...], reason: str) -> None:
    run = manage(*arguments)
    assert (run.returncode, reason in run.stderr) == (2, True)


def test_the_commands_have_help(manage: Manage) -> None:
    for command in ((), ("warm",), ("prune",)):
        run = manage(*command, "--help")
        assert (run.returncode, "manage.py thumbnails" in run.stdout) == (0, True)


def test_warming_runs_concurrently_with_uploads_and_deletes(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    for number in range(30):
        server.upload(f"{number}.jpg", pictures.jpeg())
    command = [sys.executable, str(PROJECT / "manage.py"), "thumbnails", "warm", "--size", "100"]
    environ = {"BASE_DIR": str(server.base), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for number in range(0, 30, 2):
            assert server.delete(f"{number}.jpg").status == 200
            assert server.upload(f"{number + 1}.jpg", pictures.jpeg(orientation=3)).status == 200
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    for number in range(0, 30, 2):
        assert not (server.thumbnails / f"{number}_100.jpg").exists(), "none of a deleted original"
        assert server.thumbnail(f"{number + 1}.jpg", 100).status == 200
