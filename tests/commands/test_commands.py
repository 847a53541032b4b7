"""manage.py: each command as an administrator calls it, with a running server and without one."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assetstore.storage import trash_names
from tests import pictures
from tests.support import PROJECT, RunningServer, run_manage, visible_files

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def manage(server: RunningServer) -> Manage:
    """Runs manage.py on the store of the running server."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return run_manage(server.base, *arguments, **{"TZ": "UTC", **environ})

    return run


def rows(run: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def now() -> str:
    """The current time in the form of the command line; whatever happens next is later."""
    time.sleep(0.002)
    timestamp = datetime.now(UTC).isoformat()
    time.sleep(0.002)
    return timestamp


def test_deleted_files_can_be_restored_by_name(server: RunningServer, manage: Manage) -> None:
    server.upload("a.jpg", pictures.jpeg())
    server.upload("b.txt", b"b")
    server.delete("a.jpg")
    server.delete("b.txt")
    run = manage("trash", "restore", "a.jpg")
    assert run.returncode == 0, run.stderr
    assert "1 file restored." in run.stdout
    assert server.get("/fileget", filename="a.jpg").body == pictures.jpeg()
    assert server.thumbnail("a.jpg").status == 200
    assert server.get("/fileget", filename="b.txt").status == 404
    assert [row["name"] for row in rows(manage("trash", "list", "--json"))] == ["b.txt"]


def test_a_time_window_restores_only_what_was_deleted_in_it(server: RunningServer, manage: Manage) -> None:
    for name in ("before", "within", "after"):
        server.upload(name, name.encode())
    server.delete("before")
    since = now()
    server.delete("within")
    until = now()
    server.delete("after")
    assert manage("trash", "restore", "--since", since, "--until", until).returncode == 0
    assert visible_files(server.originals) == ["within"]


def test_the_latest_version_or_the_latest_before_a_time_is_restored(server: RunningServer, manage: Manage) -> None:
    server.upload("a", b"first")
    server.upload("a", b"second")
    until = now()
    server.upload("a", b"third")
    server.delete("a")
    assert manage("trash", "restore", "a").returncode == 0
    assert (server.originals / "a").read_bytes() == b"third"
    assert manage("trash", "restore", "a", "--until", until, "--replace").returncode == 0
    assert (server.originals / "a").read_bytes() == b"first"
    assert sorted(row["size"] for row in rows(manage("trash", "list", "a", "--json"))) == [5, 6]


@pytest.mark.parametrize("files", [150, pytest.param(1000, marks=pytest.mark.acceptance)])
def test_files_deleted_by_mistake_are_restored_byte_for_byte(server: RunningServer, manage: Manage, files: int) -> None:
    contents = {f"specimen {number}.bin": bytes([number % 251]) * (number + 1) for number in range(files)}
    for name, content in contents.items():
        assert server.upload(name, content).status == 200
    since = now()
    for name in contents:
        assert server.delete(name).status == 200
    until = now()
    assert visible_files(server.originals) == []
    run = manage("trash", "restore", "--since", since, "--until", until)
    assert run.stdout.splitlines()[-1] == f"{files} files restored."
    assert {path.name: path.read_bytes() for path in server.originals.iterdir() if path.is_file()} == contents
    size = files * (files + 1) // 2
    assert manage("verify").stdout.startswith(f"{files} files, {size} bytes: no problems found")


def test_an_existing_file_is_replaced_only_on_request(server: RunningServer, manage: Manage) -> None:
    server.upload("a", b"old")
    server.upload("a", b"new")
    run = manage("trash", "restore", "a")
    assert run.returncode == 1
    assert "an original with this name exists" in run.stdout
    assert (server.originals / "a").read_bytes() == b"new"
    assert manage("trash", "restore", "a", "--replace").returncode == 0
    assert (server.originals / "a").read_bytes() == b"old"


def test_a_dry_run_changes_nothing(server: RunningServer, manage: Manage) -> None:
    server.upload("a", b"x")
    server.delete("a")
    before = manage("trash", "list").stdout
    assert "would be restored" in manage("trash", "restore", "*", "--dry-run").stdout
    assert "would be permanently deleted" in manage("trash", "purge", "*", "--dry-run").stdout
    assert manage("trash", "list").stdout == before
    assert visible_files(server.originals) == []


def test_purging_asks_for_confirmation_and_is_permanent(server: RunningServer, manage: Manage) -> None:
    server.upload("a", b"x")
    server.delete("a")
    assert manage("trash", "purge", "a").returncode == 1, "nobody answered the question"
    assert manage("trash", "list").stdout.count("\n") == 1
    assert manage("trash", "purge", "a", "--yes").returncode == 0
    assert manage("trash", "list").stdout == ""
    assert manage("journal", "a").stdout.splitlines()[-1].split("\t")[1] == "purged"


def test_restore_and_purge_require_a_selection(manage: Manage) -> None:
    for command in ("restore", "purge"):
        run = manage("trash", command)
        assert run.returncode == 2
        assert "Select files" in run.stderr


def test_as_of_shows_what_existed_and_where_it_is_now(server: RunningServer, manage: Manage) -> None:
    for name in ("kept", "replaced", "deleted"):
        server.upload(name, name.encode())
    timestamp = now()
    server.upload("replaced", b"newer")
    server.delete("deleted")
    server.upload("later", b"later")
    found = rows(manage("as-of", timestamp, "--json"))
    assert [(row["name"], row["size"], row["where"]) for row in found] == [
        ("deleted", 7, "in the trash"),
        ("kept", 4, "in place"),
        ("replaced", 8, "in the trash"),
    ]
    assert {row["evidence"] for row in found} == {"journal"}
    assert manage("as-of", "2020-01-01").stdout == ""
    for nobody_lives in ("0001-01-02", "9999-12-30"):
        assert manage("as-of", nobody_lives).returncode == 0


def test_the_journal_shows_who_did_what(server: RunningServer, manage: Manage) -> None:
    server.upload("a", b"x", coll="KU Fish\x1b[31m")
    server.upload("b", b"y")
    server.delete("a")
    lines = [line.split("\t") for line in manage("journal").stdout.splitlines()]
    assert [(line[1], line[5]) for line in lines] == [("stored", "a"), ("stored", "b"), ("deleted", "a")]
    assert lines[0][6] == "KU Fish?[31m", "nothing that could steer a terminal"
    assert {line[7] for line in lines} == {"127.0.0.1"}
    assert len(manage("journal", "--last", "1").stdout.splitlines()) == 1
    assert len(manage("journal", "a", "--operation", "deleted").stdout.splitlines()) == 1
    assert len(manage("journal", "--sha256", str(lines[1][3])[:10]).stdout.splitlines()) == 1
    assert manage("journal", "[ab]", "--since", "1h").stdout.count("\n") == 3


def test_collections_are_selected_by_name_or_folder(start: Callable[..., RunningServer]) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish", "KU Herps": "herps"})
    for collection in ("KU Fish", "KU Herps"):
        server.upload("a", b"x", coll=collection)
        server.delete("a", coll=collection)
    environ = {"BASE_DIR": str(server.base), "COLLECTION_DIRS": '{"KU Fish": "fish", "KU Herps": "herps"}'}

    def collection_dirs(*arguments: str) -> list[str]:
        command = [sys.executable, str(PROJECT / "manage.py"), "trash", "list", "--json", *arguments]
        run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return [str(row["place"]) for row in rows(run)] if run.returncode == 0 else [run.stderr]

    assert collection_dirs() == ["fish", "herps"]
    assert collection_dirs("--collection", "KU Herps") == collection_dirs("--collection", "herps") == ["herps"]
    assert "Collections: KU Fish, KU Herps." in collection_dirs("--collection", "KU Birds")[0]


def test_verify_reports_by_exit_status_and_updates_the_journal_on_request(
    server: RunningServer, manage: Manage
) -> None:
    server.upload("a.txt", b"right")
    server.upload("gone.txt", b"x")
    assert manage("verify").returncode == 0
    (server.originals / "a.txt").write_bytes(b"wrong")
    (server.originals / "gone.txt").unlink()
    (server.originals / "hand.txt").write_bytes(b"by hand")
    run = manage("verify", "--json")
    assert run.returncode == 1
    found = {(row["name"], row["finding"]) for row in rows(run) if "finding" in row}
    assert found == {("a.txt", "changed"), ("gone.txt", "missing"), ("hand.txt", "unknown")}
    assert manage("verify", "--adopt").stdout.endswith("1 added to the journal.\n")
    assert manage("verify", "--accept-changes").returncode == 0
    assert manage("verify").stdout == "2 files, 12 bytes: no problems found; 0 added to the journal.\n"


def test_verify_locates_files_whose_delete_was_not_journaled(server: RunningServer, manage: Manage) -> None:
    server.upload("a.txt", b"x")
    went = trash_names.stamp(time.time_ns())
    (server.originals / "a.txt").rename(server.originals / f".asset-server/trash/{went}-deleted-a.txt")
    run = manage("verify")
    assert run.returncode == 1
    assert "without a journal entry (its previous version has been in the trash since 20" in run.stdout
    assert manage("verify", "--adopt").stdout == "0 files, 0 bytes: no problems found; 1 added to the journal.\n"
    assert "unknown, noted by manage.py" in manage("journal", "--operation", "deleted").stdout
    assert manage("trash", "restore", "a.txt").returncode == 0
    assert manage("verify").stdout == "1 file, 1 byte: no problems found; 0 added to the journal.\n"


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-13-01", "2026-11-24 25:00", "5x", ""])
def test_an_invalid_time_is_rejected_with_the_expected_format(manage: Manage, timestamp: str) -> None:
    run = manage("as-of", timestamp)
    assert run.returncode == 2
    assert "expected 2026-11-24" in run.stderr


def test_invalid_settings_are_reported_in_one_line(manage: Manage, tmp_path: Path) -> None:
    run = manage("trash", "list", BASE_DIR=str(tmp_path / "nowhere"))
    assert run.returncode == 1
    assert run.stderr.startswith("The settings cannot be used. BASE_DIR: there is no folder")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "command", ["", "trash", "trash list", "trash restore", "trash purge", "as-of", "journal", "verify"]
)
def test_every_command_has_help(manage: Manage, command: str) -> None:
    run = manage(*command.split(), "--help")
    assert run.returncode == 0
    assert f"Usage: python {PROJECT}/manage.py {command}" in run.stdout
    assert " manage.py" not in run.stdout, "every example names the program as it was called"
    assert "Traceback" not in run.stderr
