"""originals.renaming: files that no client can request are in every listing, and get names that clients can request."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.errors import BadRequest
from assetstore.journal import events
from assetstore.journal.events import Event, Origin
from assetstore.names import spelled
from assetstore.originals import point_in_time, renaming
from assetstore.originals.service import Originals
from assetstore.storage.disk import originals as disk_originals
from tests.support import RunningServer, originals_in, run_manage

ODD = [b"line\nbreak.txt", "Käfer.txt".encode("latin-1"), b"back\\slash.txt", b"carriage\rreturn.txt"]
ODD.append(b"\x1b[2Jesc.txt")  # clears a terminal
BETTER = ["line_break.txt", "Käfer.txt", "back_slash.txt", "carriage_return.txt", "_[2Jesc.txt"]
SPELLED = sorted(spelled(os.fsdecode(name)) for name in ODD)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "a"
    (folder / "originals").mkdir(parents=True)
    for number, name in enumerate([*ODD, b"good.txt"]):
        path = os.fsencode(folder / "originals") + b"/" + name
        with open(path, "wb") as file:
            file.write(b"%d" % number)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return folder


@pytest.fixture
def originals(base: Path) -> Iterator[Originals]:
    with originals_in(base, "") as store:
        yield store


def names_in(base: Path) -> list[str]:
    return sorted(path.name for path in (base / "originals").iterdir() if path.is_file())


def rows(base: Path, *command: object) -> list[dict[str, object]]:
    return [json.loads(line) for line in run_manage(base, *command, "--json").stdout.splitlines()]


def test_verify_reads_and_reports_them(base: Path) -> None:
    for options, kinds in (((), "unknown,unreachable"), (("--adopt",), "unreachable"), ((), "unreachable")):
        found = rows(base, "verify", *options)
        assert found[-1]["files"] == 6
        assert sorted(str(row["name"]) for row in found[:-1] if row["name"] != "good.txt") == SPELLED
        assert {row["finding"] for row in found[:-1] if row["name"] != "good.txt"} == {kinds}
    assert run_manage(base, "verify").returncode == 1
    assert "names repair --dry-run" in run_manage(base, "verify").stdout
    os.unlink(os.fsencode(base / "originals") + b"/" + ODD[0])
    [missing] = [row for row in rows(base, "verify") if row.get("finding") == "missing"]
    assert missing["name"] == spelled(os.fsdecode(ODD[0]))


def test_usage_counts_them_and_names_duplicates(base: Path) -> None:
    (base / "originals/copy.txt").write_bytes(b"0")
    rows(base, "verify", "--adopt")
    found = rows(base, "usage", "--duplicates")
    assert [row["files"] for row in found if row["figure"] == "total"] == [7]
    [duplicate] = [row for row in found if row["figure"] == "duplicate"]
    assert {file["name"] for file in duplicate["files"]} == {"copy.txt", r"line\x0abreak.txt"}  # type: ignore[attr-defined]
    assert r"line\x0abreak.txt" in run_manage(base, "usage", "--duplicates").stdout


def test_a_bag_has_them_and_gives_them_names_that_clients_can_request(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("bagit")
    done = run_manage(base, "export", tmp_path / "bag")
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "bag/attachments.csv", encoding="utf-8", newline="") as file:
        assert sorted(row["name"] for row in csv.DictReader(file)) == sorted([*SPELLED, "good.txt"])
    other = tmp_path / "b"
    with originals_in(other, ""):
        pass  # a new store
    done = run_manage(other, "import", tmp_path / "bag")
    assert done.returncode == 0, done.stdout + done.stderr
    assert names_in(other) == sorted([*BETTER, "good.txt"])
    contents = {path.name: path.read_bytes() for path in (other / "originals").iterdir() if path.is_file()}
    assert [contents[name] for name in BETTER] == [b"%d" % number for number in range(5)]


def test_they_are_in_the_journal_and_at_a_point_in_time(originals: Originals) -> None:
    name = os.fsdecode(ODD[1])
    for odd in map(os.fsdecode, ODD):
        assert originals.journal.record(Event(events.ADOPTED, "", odd, size=1, time_ns=1_650_000_000 * 10**9))
        latest = originals.journal.latest("", odd)
        assert latest is not None
        assert latest.name == odd
    assert [event.name for event in originals.journal.search(name=name)] == [name]
    assert {past.name for past in point_in_time.existed(originals, 1_700_000_000 * 10**9)} == {
        *map(os.fsdecode, ODD), "good.txt"
    }  # fmt: skip


def test_as_of_reconcile_and_the_journal_print_them(base: Path, tmp_path: Path) -> None:
    rows(base, "verify", "--adopt")
    for command in (["as-of", "2026-01-01"], ["journal"]):
        assert sorted(str(row["name"]) for row in rows(base, *command)) == sorted([*SPELLED, "good.txt"])
        text = run_manage(base, *command).stdout
        assert all(name in text for name in SPELLED)
    (tmp_path / "records.csv").write_text("AttachmentID,AttachmentLocation\n1,good.txt\n")
    found = [row for row in rows(base, "reconcile", tmp_path / "records.csv") if "name" in row]
    assert sorted(str(row["name"]) for row in found) == SPELLED
    plan = tmp_path / "plan.csv"
    assert run_manage(base, "reconcile", tmp_path / "records.csv", "--plan", plan).returncode == 1
    with open(plan, encoding="utf-8-sig", newline="") as file:
        planned = list(csv.DictReader(file))
    assert sorted(row["name"] for row in planned) == SPELLED
    assert {row["action"] for row in planned} == {""}, "the trash could not list them"


def test_the_command_lists_them_and_renames_them_after_a_dry_run(base: Path) -> None:
    assert run_manage(base, "verify", "--adopt").returncode == 1
    listed = run_manage(base, "names", "list")
    assert listed.returncode == 1
    assert all(name in listed.stdout for name in SPELLED)
    before = names_in(base)
    planned = rows(base, "names", "repair", "--dry-run")
    assert names_in(base) == before
    renamed = rows(base, "names", "repair")
    key = lambda row: (row["name"], row["new_name"])  # noqa: E731
    assert sorted(map(key, planned)) == sorted(map(key, renamed))
    assert names_in(base) == sorted([*BETTER, "good.txt"])
    assert (base / "originals/Käfer.txt").read_bytes() == b"1"
    assert run_manage(base, "names", "list").returncode == 0
    checked = run_manage(base, "verify")
    assert checked.returncode == 0, checked.stdout
    operations = [(row["operation"], row["name"]) for row in rows(base, "journal")][6:]
    assert ("gone", r"K\xe4fer.txt") in operations
    assert ("adopted", "Käfer.txt") in operations


@pytest.mark.parametrize("has_links", [True, False])
def test_renaming_replaces_nothing(
    originals: Originals, base: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(disk_originals.os, "link", refuse)
    (base / "originals/line_break.txt").write_bytes(b"other")
    (base / "originals/line_break-2.txt").write_bytes(b"other")
    name = os.fsdecode(ODD[0])
    assert renaming.new_name(originals, "", name, set()) == "line_break-3.txt"
    assert renaming.new_name(originals, "", name, {("", "line_break-3.txt")}) == "line_break-4.txt"
    assert renaming.repair(originals, "", name, Origin("", "test")) == "line_break-3.txt"
    assert (base / "originals/line_break.txt").read_bytes() == b"other"
    assert (base / "originals/line_break-3.txt").read_bytes() == b"0"
    assert name not in names_in(base)


def refuse(*_arguments: object, **_named: object) -> None:
    raise PermissionError(1, "not possible")


def test_a_migration_does_not_pass_them_over(base: Path) -> None:
    from assetstore.migration.runner import _with_store_name

    with originals_in(base, "") as originals, pytest.raises(BadRequest, match="names repair --dry-run"):
        list(map(_with_store_name, originals.storage.originals("")))


def test_the_server_counts_them_on_its_page_and_goes_on(base: Path) -> None:
    server = RunningServer({"BASE_DIR": str(base), "KEY": "k", "RESERVED_BYTES": 0, "VERIFY_DAYS": 1})
    try:
        assert server.get("/fileget", filename="good.txt").status == 200
        assert server.get("/fileget?filename=K%E4fer.txt").status in (400, 404)
        assert server.get("/readyz").status == 200
    finally:
        server.stop()
