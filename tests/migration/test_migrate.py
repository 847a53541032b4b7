"""manage.py migrate: in each direction, interrupted, with a running server, and with everything that can be wrong."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from assetstore.concurrency.rate_limit import RateLimit
from assetstore.config import loading
from assetstore.migration import outcomes as migration_outcomes
from assetstore.migration import receipt
from assetstore.migration.endpoints import Address, End
from assetstore.migration.runner import Pass
from assetstore.migration.state import MigrationState, Result
from assetstore.migration.transfer import Rules
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.originals import DiskOriginalStorage
from assetstore.storage.disk.store import disk_store
from assetstore.storage.models import Past, StoredFile
from assetstore.storage.protocols import Incoming, OriginalStorage, Store
from tests import bad_weather, pictures
from tests.object_store import BUCKETS, ObjectStore
from tests.support import KEY, PROJECT, RunningServer

DAY = 86_400
LONG_AGO = 1_243_686_896_123_456_789

FILES = {
    "plain.jpg": b"a picture", "empty": b"", "植物 é.txt": "植物".encode(), "%41 b+c&d=e#f?.jpg": b"odd",
    "large.bin": b"0123456789abcdef" * 600_000,
}  # fmt: skip


class Migration:
    """Calls manage.py migrate between two ends, and looks into them."""

    def __init__(self, base: Path, source: str, target: str, endpoint: str | None) -> None:
        self.base, self.source, self.target = base, source, target
        self.environ = {"BASE_DIR": str(base), "KEY": KEY, "PATH": "/usr/bin:/bin"}
        if endpoint:
            self.environ |= {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
            self.environ["STORAGE_ENDPOINT"] = endpoint

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(PROJECT / "manage.py"), "migrate", self.source, self.target, *arguments]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        variables = {**self.environ, **environ}
        return subprocess.run(
            self.command(*arguments), env=variables, capture_output=True, text=True, check=False, timeout=120
        )

    def rows(self, *arguments: str, status: int = 0) -> dict[str, dict[str, object]]:
        """Runs it; returns the receipt's lines by name, and the summary by the name `summary`."""
        path = self.base / f"{uuid.uuid4()}.jsonl"
        run = self.run("--receipt", str(path), *arguments)
        assert (run.returncode, run.stderr) == (status, ""), run.stdout + run.stderr
        head, *lines, last = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert self.target.rstrip("/") in str(head["target"])
        return {**{line["name"]: line for line in lines}, **last}

    def outcomes(self, *arguments: str, status: int = 0) -> dict[str, object]:
        return {
            name: row.get("outcome") for name, row in self.rows(*arguments, status=status).items() if name != "summary"
        }

    def store(self, side: str) -> Store:
        settings = loading.load({}, self.environ, PROJECT, 2)
        store = Address(side, getattr(self, side)).open(settings, [""], {}).store
        store.space.prepare()
        return store

    def storage(self, side: str) -> OriginalStorage:
        return self.store(side).originals

    def put(self, side: str, files: Mapping[str, bytes]) -> None:
        storage = self.storage(side)
        for number, (name, content) in enumerate(files.items()):
            with storage.receive("", len(content), name, Past(LONG_AGO + number * DAY)) as incoming:
                incoming.write(content)
                incoming.sync()
                with storage.locked_original("", name):
                    incoming.commit("", name, keep_old=False)

    def delete(self, side: str, name: str) -> None:
        storage = self.storage(side)
        with storage.locked_original("", name):
            assert storage.delete_original("", name, keep_old=False)

    def contents(self, side: str) -> dict[str, bytes]:
        storage = self.storage(side)
        found = {}
        for listed in storage.originals(""):
            with storage.open_original("", listed.name) as stored:
                found[listed.name] = stored.section(0, stored.version.size).read()
        return found

    def dates(self, side: str) -> dict[str, int]:
        storage = self.storage(side)
        return {listed.name: storage.version("", listed.name).modified_ns for listed in storage.originals("")}


@pytest.fixture
def between(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Migration]:
    """Gives a migration `disk to disk`, `disk to s3` …, between two empty ends."""

    def make(way: str) -> Migration:
        ends = []
        endpoint = None
        for kind in way.split(" to "):
            name = uuid.uuid4().hex
            if kind == "s3":
                endpoint = request.getfixturevalue("object_store").endpoint
                ends.append(f"s3://{BUCKETS[len(ends)]}/{name}")
            else:
                (tmp_path / name).mkdir()
                ends.append(str(tmp_path / name))
        base = tmp_path / "base"
        base.mkdir()
        return Migration(base, ends[0], ends[1], endpoint)

    return make


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_receipts_of_one_second_do_not_replace_each_other(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to disk")
    migrate.put("source", {"a.txt": b"text"})
    written = {json.loads(migrate.run("--json").stdout.splitlines()[-1])["receipt"] for _ in range(2)}
    assert all(Path(path).is_file() for path in written)
    assert len({receipt.new_path(migrate.base) for _ in range(100)}) == 100


@pytest.mark.parametrize("way", ["disk to s3", "s3 to disk", "s3 to s3"])
def test_every_file_is_copied_with_its_date_and_listed_in_the_receipt(
    between: Callable[[str], Migration], way: str
) -> None:
    migrate = between(way)
    migrate.put("source", FILES)
    rows = migrate.rows()
    assert migrate.contents("target") == migrate.contents("source") == FILES
    assert migrate.dates("target") == migrate.dates("source")
    for name, content in FILES.items():
        expected = {"outcome": "copied", "size": len(content), "sha256": sha256(content), "checked": "read-back"}
        assert expected.items() <= rows[name].items()
    assert rows["summary"]["outcomes"] == {"copied": len(FILES)}
    assert set(migrate.outcomes().values()) == {"unchanged"}
    assert set(migrate.outcomes("--compare-all").values()) == {"unchanged"}


def test_a_bucket_stores_the_checksum_of_large_files(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to s3")
    migrate.put("source", FILES)
    migrate.rows()
    for name, content in FILES.items():
        assert migrate.storage("target").open_original("", name).sha256 == sha256(content)


def test_a_checksum_computed_by_the_bucket_avoids_reading_back(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to s3")
    migrate.put("source", FILES)
    rows = migrate.rows("--trust-checksums")
    checked = {name: row["checked"] for name, row in rows.items() if name != "summary"}
    assert checked == {name: "read-back" if name == "large.bin" else "stored" for name in FILES}


@pytest.mark.parametrize("way", ["disk to s3", "s3 to disk"])
def test_a_killed_migration_resumes(between: Callable[[str], Migration], way: str) -> None:
    migrate = between(way)
    files = {f"file-{number:03}": f"file {number} ".encode() * 10_000 for number in range(60)}
    migrate.put("source", files)
    process = subprocess.Popen(migrate.command("--rate", "3", "--parallel", "2"), env=migrate.environ)
    target = migrate.storage("target")
    while sum(1 for _ in target.originals("")) < 12:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(migrate.contents("target")) < len(files)
    assert all(files[name] == content for name, content in migrate.contents("target").items())
    outcomes = list(migrate.outcomes().values())
    assert outcomes.count("unchanged") >= 8
    assert outcomes.count("copied") + outcomes.count("unchanged") + outcomes.count("equal") == len(files)
    assert migrate.contents("target") == migrate.contents("source") == files


def test_repeated_passes_copy_changes_and_report_deletions_while_the_server_runs(
    between: Callable[[str], Migration], server: RunningServer
) -> None:
    migrate = between("disk to s3")
    migrate.source = str(server.base)
    for number in range(40):
        server.upload(f"old-{number}.txt", b"old " * 5_000)

    def work() -> None:
        for number in range(15):
            assert server.upload(f"new-{number}.txt", b"new").status == 200
            assert server.upload(f"old-{number}.txt", b"newer").status == 200
            assert server.delete(f"old-{39 - number}.txt").status == 200

    museum = threading.Thread(target=work)
    museum.start()
    first = migrate.outcomes("--rate", "1")
    museum.join()
    second = migrate.rows()
    assert set(first.values()) <= {"copied", "deleted"}
    assert second["new-14.txt"]["outcome"] in ("copied", "unchanged")
    gone = {name for name, row in second.items() if name != "summary" and row["outcome"] == "deleted"}
    expected = migrate.contents("source")
    target = migrate.contents("target")
    assert {name: target[name] for name in expected} == expected
    assert set(target) - set(expected) == gone <= {f"old-{39 - number}.txt" for number in range(15)}


def test_a_store_moves_to_a_bucket_and_back_as_documented(
    between: Callable[[str], Migration], start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    migrate = between("disk to s3")
    before = start()
    migrate.base, migrate.source, migrate.environ["BASE_DIR"] = before.base, str(before.base), str(before.base)
    files = {"a.jpg": pictures.jpeg(), "b.txt": b"b", "c.txt": b"c", "植物.bin": FILES["large.bin"]}
    for name, content in files.items():
        before.upload(name, content)
    assert set(migrate.outcomes().values()) == {"copied"}
    before.upload("late.txt", b"after the last pass")
    bucket = {"STORAGE_URL": migrate.target, "STORAGE_ENDPOINT": migrate.environ["STORAGE_ENDPOINT"]}
    after = before.restarted(**bucket)
    try:
        assert {name: after.get("/fileget", filename=name).body for name in files} == files
        assert after.thumbnail("a.jpg").status == 200
        assert after.get("/fileget", filename="late.txt").status == 404
        assert after.upload("b.txt", b"newer in the bucket").status == after.delete("c.txt").status == 200
        third = migrate.outcomes(status=1)
        assert third.items() >= {"late.txt": "copied", "b.txt": "conflict", "c.txt": "conflict"}.items()
        assert after.get("/fileget", filename="late.txt").body == b"after the last pass"
        assert after.get("/fileget", filename="b.txt").body == b"newer in the bucket"
        verify = [sys.executable, str(PROJECT / "manage.py"), "verify"]
        run = subprocess.run(verify, env={**migrate.environ, **bucket}, capture_output=True, text=True, check=False)
        assert (run.returncode, "no problems found" in run.stdout) == (0, True), run.stdout
        (tmp_path / "back").mkdir()
        migrate.source, migrate.target = migrate.target, str(tmp_path / "back")
        assert set(migrate.outcomes().values()) == {"copied"}
        assert migrate.contents("target") == {
            **{name: files[name] for name in ("a.jpg", "植物.bin")},
            "b.txt": b"newer in the bucket", "late.txt": b"after the last pass",
        }  # fmt: skip
    finally:
        after.stop()


def test_a_storage_outage_stops_the_migration_and_it_resumes_later(
    between: Callable[[str], Migration], object_store: ObjectStore
) -> None:
    migrate = between("disk to s3")
    files = {f"file-{number:03}": b"0123456789" * 10_000 for number in range(80)}
    migrate.put("source", files)
    with bad_weather.Way(object_store.endpoint) as way:
        options = ("--target-endpoint", way.endpoint, "--parallel", "2")
        process = subprocess.Popen(
            migrate.command(*options, "--rate", "3"), env=migrate.environ, stderr=subprocess.PIPE, text=True
        )
        target = migrate.storage("target")
        while sum(1 for _ in target.originals("")) < 5:
            time.sleep(0.05)
        way.turn(bad_weather.CLOSED)
        _, errors = process.communicate()
        assert process.returncode == 1
        assert errors == "Too many files failed in a row. Repeat the command later to resume.\n"
        way.turn(bad_weather.FAIR)
        outcomes = list(migrate.outcomes(*options).values())
    assert outcomes.count("unchanged") >= 3
    assert migrate.contents("target") == files


def test_new_replaced_and_deleted_files_are_distinguished(between: Callable[[str], Migration]) -> None:
    migrate = between("s3 to disk")
    migrate.put("source", {"same": b"same", "old": b"old", "gone": b"gone"})
    migrate.rows()
    migrate.put("source", {"old": b"new", "more": b"more"})
    migrate.delete("source", "gone")
    expected = {"same": "unchanged", "old": "replaced", "more": "copied", "gone": "deleted"}
    assert migrate.outcomes() == expected
    assert migrate.contents("target") == {"same": b"same", "old": b"new", "more": b"more", "gone": b"gone"}
    assert migrate.outcomes("--remove-deleted")["gone"] == "removed"
    assert set(migrate.contents("target")) == {"same", "old", "more"}
    *_, last = migrate.store("target").trash.entries("")
    assert (last.name, last.reason) == ("gone", "deleted")


@pytest.mark.parametrize("way", ["disk to s3", "disk to disk"])
def test_files_put_at_the_target_by_others_are_left_alone(between: Callable[[str], Migration], way: str) -> None:
    migrate = between(way)
    migrate.put("source", {"a": b"source", "b": b"same", "c": b"copied", "d": b"copied"})
    migrate.put("target", {"a": b"target", "b": b"same", "z": b"only here"})
    assert migrate.outcomes(status=1) == {"a": "conflict", "b": "equal", "c": "copied", "d": "copied"}
    migrate.put("target", {"c": b"newer!"})
    migrate.delete("target", "d")
    again = migrate.rows(status=1)
    assert [again[name]["outcome"] for name in "abcd"] == ["conflict", "unchanged", "conflict", "conflict"]
    assert again["summary"]["only_at_target"] == 1
    assert migrate.contents("target") == {"a": b"target", "b": b"same", "c": b"newer!", "z": b"only here"}
    assert set(migrate.outcomes("--replace").values()) == {"replaced", "copied", "unchanged"}
    assert {**migrate.contents("source"), "z": b"only here"} == migrate.contents("target")
    assert sorted(entry.name for entry in migrate.store("target").trash.entries("")) == ["a", "c"]


class Unreliable(DiskOriginalStorage):
    """A disk that returns some files with a wrong byte, until they are written again or always."""

    wrong: AbstractSet[str] = frozenset()
    always = False

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        stored = super().open_original(collection_dir, name, reads)
        if name in self.wrong:
            content = stored.file.read()
            stored.file.close()
            descriptor = os.memfd_create("wrong")
            os.write(descriptor, b"?" + content[1:])
            os.lseek(descriptor, 0, os.SEEK_SET)
            return StoredFile(open(descriptor, "rb", buffering=0), stored.version)
        return stored

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> Incoming:
        if not self.always:
            self.wrong = self.wrong - {name}
        return super().receive(collection_dir, length, name, past)


@pytest.fixture
def damaging(tmp_path: Path) -> tuple[Unreliable, Callable[[], dict[str, Result]]]:
    """A damaging target, and what migrates to it, comparing everything."""
    stores = []
    for folder in (tmp_path / "source", tmp_path / "target"):
        folder.mkdir()
        stores.append(disk_store(folder, "originals", "thumbnails", [""]))
        stores[-1].space.prepare()
    source, target = stores
    unreliable = Unreliable(DiskLayout(tmp_path / "target", "originals", "thumbnails", [""]))
    target = dataclasses.replace(target, originals=unreliable)
    for name in ("a", "b"):
        (tmp_path / "source" / "originals" / name).write_bytes(name.encode() * 1000)

    def run() -> dict[str, Result]:
        with contextlib.closing(MigrationState(tmp_path / "notes.sqlite")) as state:
            rules = Rules(replaces=False, trusts_checksums=True, keeps_trash=True, collection_dirs={"": ""})
            run = Pass(End(source), End(target, lambda _: True), state, RateLimit(None, threading.Event()), rules, 2)
            run.list_both(compares_all=True)
            return {done.name: done.result for done in run.transfer_all(lambda: None)}

    return unreliable, run


def test_a_target_that_returns_different_bytes_is_detected(
    damaging: tuple[Unreliable, Callable[[], dict[str, Result]]],
) -> None:
    target, run = damaging
    target.wrong, target.always = {"a"}, True
    results = run()
    assert (results["a"].outcome, results["b"].outcome) == (migration_outcomes.FAILED, migration_outcomes.COPIED)
    assert results["a"].detail == "The target returns different content from what was stored."


def test_corruption_at_the_target_is_found_by_a_full_comparison_and_copied_again(
    damaging: tuple[Unreliable, Callable[[], dict[str, Result]]],
) -> None:
    target, run = damaging
    assert {result.outcome for result in run().values()} == {migration_outcomes.COPIED}
    target.wrong = {"b"}
    results = run()
    assert (results["a"].outcome, results["b"].outcome) == (migration_outcomes.UNCHANGED, migration_outcomes.REPAIRED)
    assert {result.outcome for result in run().values()} == {migration_outcomes.UNCHANGED}


def test_an_unreachable_bucket_is_reported_in_one_line(between: Callable[[str], Migration]) -> None:
    pytest.importorskip("obstore", reason="obstore is not to be had for this system")
    migrate = between("disk to disk")
    migrate.put("source", FILES)
    migrate.target = "s3://museum-files"
    key = {"AWS_ACCESS_KEY_ID": "AKIDOFTHETEST", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}
    run = migrate.run("--target-endpoint", "http://127.0.0.1:9", **key)
    assert run.returncode == 1
    assert run.stderr.startswith("The file storage cannot be reached; please try again soon.")
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr
    assert "OFTHETEST" not in run.stderr + run.stdout


def test_a_key_given_for_one_side_is_used_for_that_side_only(
    between: Callable[[str], Migration], object_store: ObjectStore
) -> None:
    migrate = between("disk to s3")
    migrate.put("source", {"a": b"a"})
    good = {f"TARGET_{name}": value for name, value in object_store.environ.items()}
    migrate.environ |= {"AWS_ACCESS_KEY_ID": "AKWRONG", "AWS_SECRET_ACCESS_KEY": "wrong"}
    refused = migrate.run()
    assert (refused.returncode, "rejects this server's key" in refused.stderr) == (1, True)
    migrate.environ |= good
    assert migrate.outcomes() == {"a": "copied"}


def test_a_dry_run_reports_what_would_be_done_and_changes_nothing(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to disk")
    migrate.put("source", {"a": b"a"})
    run = migrate.run("--dry-run")
    assert (run.returncode, run.stdout) == (0, "copy\t-\ta\t1\n1 of 1 file, 1 byte to copy.\n")
    assert list(Path(migrate.target).iterdir()) == []
    row = json.loads(migrate.run("--dry-run", "--json").stdout)
    assert row == {"would": "copy", "place": "", "name": "a", "size": 1}


def test_a_progress_bar_is_shown_on_a_terminal_only(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to disk")
    migrate.put("source", FILES)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(migrate.command(), env=migrate.environ, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # EIO: the process has ended
        while data := terminal.read(1 << 16):
            shown += data.decode("utf-8", "replace")
    assert process.wait() == 0
    assert "100%" in shown
    assert "9.6 MB of 9.6 MB, 5 of 5 files" in shown
    assert migrate.run().stderr == ""


def test_collections_are_moved_into_their_own_folders_and_buckets(
    between: Callable[[str], Migration], tmp_path: Path
) -> None:
    migrate = between("disk to s3")
    migrate.environ["COLLECTION_DIRS"] = json.dumps({"Fish": "fish", "Herps": "herps"})
    for collection_dir in ("fish", "herps"):
        folder = Path(migrate.source) / collection_dir / "originals"
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(collection_dir.encode())
    own = f"s3://{BUCKETS[1]}/{uuid.uuid4().hex}"
    run = migrate.run("--folder", "fish", "--folder", f"herps={own}")
    assert run.returncode == 0, run.stderr
    settings = loading.load({}, migrate.environ, PROJECT, 2)
    target = Address("target", migrate.target).open(settings, ["fish", own], {}).store.originals
    for collection_dir, content in (("fish", b"fish"), (own, b"herps")):
        with target.open_original(collection_dir, "a") as stored:
            assert stored.file.read() == content
    wrong = migrate.run("--folder", "birds")
    assert (wrong.returncode, "There is no collection folder 'birds'" in wrong.stderr) == (2, True)


def test_a_collection_added_later_is_moved(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to disk")
    migrate.source = str(migrate.base)
    migrate.environ["COLLECTION_DIRS"] = json.dumps({"Fish": "fish"})
    for collection_dir in ("fish", "birds"):
        (migrate.base / collection_dir / "originals").mkdir(parents=True)
        (migrate.base / collection_dir / "originals" / f"{collection_dir}.txt").write_text(collection_dir)
    add = [sys.executable, str(PROJECT / "manage.py"), "collections", "add", "Birds", "birds", "--existing"]
    subprocess.run(add, env=migrate.environ, check=True, capture_output=True)
    assert migrate.outcomes() == {"fish.txt": "copied", "birds.txt": "copied"}
    assert (Path(migrate.target) / "birds/originals/birds.txt").read_text() == "birds"


def test_a_suddenly_empty_source_is_not_mistaken_for_deletions(
    between: Callable[[str], Migration],
) -> None:
    migrate = between("disk to disk")
    migrate.put("source", {"a": b"a"})
    migrate.rows()
    migrate.delete("source", "a")
    run = migrate.run("--remove-deleted")
    assert (run.returncode, "Check that it is mounted" in run.stderr) == (1, True)
    assert migrate.contents("target") == {"a": b"a"}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("{folder}", "{folder}/", "SOURCE and TARGET are the same."),
        ("{folder}", "{folder}-link", "SOURCE and TARGET are the same."),
        ("{folder}", "s3://Not_A_Bucket", "expected the address of a bucket"),
        ("{folder}/missing", "{folder}", "There is no folder"),
    ],
)
def test_invalid_arguments_are_explained(
    between: Callable[[str], Migration], source: str, target: str, message: str
) -> None:
    migrate = between("disk to disk")
    folder = migrate.source
    Path(f"{folder}-link").symlink_to(folder)
    migrate.source, migrate.target = source.format(folder=folder), target.format(folder=folder)
    run = migrate.run()
    assert run.returncode in (1, 2)
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_an_unwritable_state_file_is_reported_in_one_line(
    between: Callable[[str], Migration], mounted: Callable[[Path, str], None]
) -> None:
    migrate = between("disk to disk")
    migrate.put("source", {f"file-{number:05}-{'x' * 200}": b"" for number in range(300)})
    mounted(migrate.base, "200k")
    run = migrate.run()
    assert run.returncode == 1
    assert run.stderr.startswith("The state or the receipt of the migration cannot be written:")
    assert run.stderr.count("\n") == 1
    run = migrate.run("--receipt", "/nowhere/receipt", BASE_DIR=migrate.source)
    assert (run.returncode, "/nowhere/receipt" in run.stderr) == (1, True)
    assert migrate.contents("target") == migrate.contents("source")


def test_the_same_migration_cannot_run_twice_at_once(between: Callable[[str], Migration]) -> None:
    migrate = between("disk to disk")
    migrate.put("source", {"a": b"a" * 3_000_000})
    # A shell that starts the tests in the background has them ignore SIGINT.
    command = ["env", "--default-signal=INT", *migrate.command("--rate", "0.2")]
    process = subprocess.Popen(command, env=migrate.environ)
    notes = migrate.base / ".asset-server" / "migrations"
    while not list(notes.glob("*.sqlite-wal")):
        time.sleep(0.05)
    run = migrate.run()
    process.send_signal(signal.SIGINT)
    assert (run.returncode, process.wait()) == (1, 130)
    assert run.stderr.startswith("Another process is running this migration")
