"""manage.py export and import: bags that others can validate, and hostile ones that are refused."""

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bagit
import pytest

from assetstore.bags.export import Export
from assetstore.bags.import_ import ReceivedBag
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.errors import AssetError, OutOfSpace, ReadOnly, StorageFault
from assetstore.journal.events import Event
from assetstore.storage.models import StoredFile
from tests import pictures
from tests.support import PROJECT, RunningServer, run_manage

Manage = Callable[..., subprocess.CompletedProcess[str]]

FOLDERS = {"KU Fish": "fish", "KU Birds": "vertebrates/birds"}

#: Store names that manifests, or the file systems of archives, would garble.
ODD_NAMES = (
    "a%0Ab.jpg", "100%.jpg", "blank at the end ", "dot at the end.", "Case.jpg", "case.jpg", "a:b?.jpg", "Stör.bläh",
    unicodedata.normalize("NFD", "Stör.bläh"), "line\u2028separator.txt", "ü" * 127, "export-in-progress.jsonl",
    "#1.txt", "*star.txt", "~", "-rf", "attachments.csv",
)  # fmt: skip


def manage_for(server: RunningServer) -> Manage:
    """Runs manage.py on the store of a running server."""
    variables = {}
    if server.settings.collection_dirs:
        variables["COLLECTION_DIRS"] = json.dumps(dict(server.settings.collection_dirs))

    def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
        return run_manage(server.base, *arguments, **{**variables, **environ})

    return run


@pytest.fixture
def manage(server: RunningServer) -> Manage:
    return manage_for(server)


def hashes(server: RunningServer) -> dict[str, str]:
    """The SHA-256 of every original, by its path."""
    found = {}
    for folder, _, names in os.walk(server.base):
        if folder.endswith("/originals"):
            for name in names:
                path = Path(folder) / name
                found[str(path.relative_to(server.base))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def is_valid(bag: Path) -> bool:
    """What the Library of Congress's validator says, in a process of its own."""
    command = [sys.executable, "-m", "bagit", "--validate", str(bag)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_bag(folder: Path, files: dict[str, bytes], checksums: tuple[str, ...] = ("sha256",)) -> Path:
    """A bag as another system makes it."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    bagit.make_bag(str(folder), checksums=list(checksums))
    return folder


def test_a_bag_is_valid_and_can_be_imported_into_an_empty_store(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    source, target = start(COLLECTION_DIRS=FOLDERS), start(COLLECTION_DIRS={**FOLDERS, "KU Fish": "ichthyology"})
    for number, name in enumerate(ODD_NAMES):
        collection = tuple(FOLDERS)[number % 2] if name.lower() != "case.jpg" else "KU Fish"
        assert source.upload(name, f"{number}".encode() * 1000, coll=collection).status == 200
    source.upload("picture.jpg", pictures.jpeg(), coll="KU Birds")
    bag = tmp_path / "bag"
    run = manage_for(source)("export", bag, "--info", "Source-Organization=Museum of X", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["files"] == len(ODD_NAMES) + 1
    assert is_valid(bag)
    information = bagit.Bag(str(bag)).info
    assert information["Source-Organization"] == "Museum of X"
    assert information["Payload-Oxum"] == f"{json.loads(run.stdout)['bytes']}.{len(ODD_NAMES) + 1}"
    assert (bag / "data/vertebrates/birds/picture.jpg").read_bytes() == pictures.jpeg(), "plain names stay"
    taking = manage_for(target)
    assert taking("import", bag, "--dry-run").stdout == "18 of 18 files importable or already there.\n"
    assert hashes(target) == {}
    run = taking("import", bag)
    assert (run.returncode, run.stdout) == (0, "18 of 18 files now in the store.\n"), run.stderr
    assert {path.replace("ichthyology", "fish"): found for path, found in hashes(target).items()} == hashes(source)
    assert "unknown" not in taking("verify").stdout, "all are in the journal"
    assert target.thumbnail("picture.jpg", coll="KU Birds").status == 200
    assert taking("import", bag, "--json").stdout.count("there already") == 18, "it can be repeated"


def test_a_single_collection_can_be_exported(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start(COLLECTION_DIRS=FOLDERS)
    for collection in FOLDERS:
        for name in ("a.jpg", "b.jpg"):
            server.upload(name, collection.encode(), coll=collection)
    bag, documentation = tmp_path / "bag", (PROJECT / "docs/records.md").read_text(encoding="utf-8")
    run = manage_for(server)("export", bag, "--collection", "KU Fish", "--info", "Source-Organization=Museum of X")
    shown = "$ manage export /mnt/archive/bag --collection 'KU Fish' --info 'Source-Organization=Museum of X'\n"
    assert shown + run.stdout.replace(str(bag), "/mnt/archive/bag") in documentation
    assert is_valid(bag)
    assert [path.read_bytes() for path in (bag / "data").rglob("*.jpg")] == [b"KU Fish", b"KU Fish"]


def test_a_killed_export_resumes_and_detects_changes(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    for number in range(6):
        server.upload(f"{number}.bin", bytes([number]) * 200_000)
    bag = tmp_path / "bag"
    command = [sys.executable, str(PROJECT / "manage.py"), "export", str(bag), "--rate", "0.4"]
    process = subprocess.Popen(command, env={"BASE_DIR": str(server.base), "PATH": "/usr/bin:/bin"})
    work = bag / "data/export-in-progress.jsonl"
    while not work.exists() or work.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not is_valid(bag)
    done = [json.loads(line)["name"] for line in work.read_text().splitlines()[:2]]
    with open(work, "a") as file:
        file.write('{"cut off')
    server.upload(done[0], b"replaced")
    server.delete(done[1])
    run = manage("export", bag, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["files"] == 5
    assert is_valid(bag)
    exported = {path.name: path.read_bytes() for path in (bag / "data").iterdir()}
    assert exported == {path.name: path.read_bytes() for path in server.originals.iterdir() if path.is_file()}
    run = manage("export", bag)
    assert (run.returncode, "Choose a new folder" in run.stderr) == (1, True), "a finished bag is never touched again"
    assert is_valid(bag)


def test_a_resumed_export_does_not_reread_finished_files(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    server.upload("a.bin", b"x")
    server.upload("b.bin", b"y")
    bag = tmp_path / "bag"
    (bag / "data").mkdir(parents=True)
    version = server.context.originals.storage.version("", "a.bin")
    checksum = hashlib.sha256(b"x").hexdigest()
    item = {"path": "data/a.bin", "collection": "", "place": "", "name": "a.bin", "size": 1, "sha256": checksum}
    work = bag / "data/export-in-progress.jsonl"
    work.write_text(json.dumps({**item, "modified_ns": version.modified_ns, "tag": version.tag}) + "\n")
    (bag / "data/a.bin").write_bytes(b"x")
    (bag / "data/left over").write_bytes(b"half of a file that was deleted since")
    assert json.loads(manage("export", bag, "--json").stdout)["from_before"] == 1
    assert is_valid(bag)


def test_a_file_that_differs_from_its_journaled_checksum_is_reported(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    server.upload("a.txt", b"right")
    server.upload("b.txt", b"right")
    (server.originals / "a.txt").write_bytes(b"wrong")
    (tmp_path / "elsewhere").write_bytes(b"x")
    (server.originals / "link.txt").symlink_to(tmp_path / "elsewhere")
    run = manage("export", tmp_path / "bag")
    assert run.returncode == 1
    assert {line.split("\t")[0:3:2][0] + " " + line.split("\t")[2] for line in run.stdout.splitlines()[:-1]} == {
        "changed a.txt",
        "unreadable link.txt",
    }
    assert is_valid(tmp_path / "bag")
    assert (tmp_path / "bag/data/a.txt").read_bytes() == b"wrong"


@pytest.mark.parametrize(
    ("change", "times", "kinds", "exported"),
    [
        (lambda path: path.unlink(), 1, [], b""),
        (lambda path: (path.parents[1] / "new").rename(path), 1, ["changed"], b"newer"),
        (lambda path: path.write_bytes(b"WRONG"), 1, ["changed"], b"WRONG"),
        (lambda path: path.write_bytes(b"right"), 1, [], b"right"),
        (lambda path: path.write_bytes(b"wrong"), 3, ["modified"], b""),
    ],
    ids=["it is removed", "it is replaced", "it is edited in place", "it is corrected", "it is edited each time"],
)
def test_a_file_that_changes_while_it_is_exported_is_copied_again(
    server: RunningServer,
    tmp_path: Path,
    change: Callable[[Path], object],
    times: int,
    kinds: list[str],
    exported: bytes,
) -> None:
    server.upload("a.txt", b"right")
    (server.originals / "a.txt").write_bytes(b"wrong")
    (server.base / "new").write_bytes(b"newer")
    rate_limit, changes = RateLimit(None, threading.Event()), iter([change] * times)

    def spend(_bytes: int) -> None:
        time.sleep(0.02)  # a file system may not distinguish changes within some milliseconds
        next(changes, str)(server.originals / "a.txt")

    rate_limit.spend = spend  # type: ignore[method-assign]
    export = Export(server.context.originals, tmp_path / "bag", {"": ""}, {}, rate_limit)
    assert [problem.kind for problem in export.run()] == kinds
    bagit.Bag(str(tmp_path / "bag")).validate()
    copy = tmp_path / "bag/data/a.txt"
    assert (copy.read_bytes() if copy.exists() else b"") == exported


def test_an_upload_that_is_not_yet_in_the_journal_is_not_reported(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    originals = server.context.originals
    latest, record = originals.journal.latest, originals.journal.record
    is_stored, is_known = threading.Event(), threading.Event()

    def record_late(event: Event) -> None:
        is_stored.set()
        assert is_known.wait(10)
        record(event)

    def latest_before(collection_dir: str, name: str) -> Event | None:
        found = latest(collection_dir, name)
        is_known.set()
        return found

    server.upload("a.txt", b"old")
    monkeypatch.setattr(originals.journal, "record", record_late)
    monkeypatch.setattr(originals.journal, "latest", latest_before)
    with ThreadPoolExecutor() as threads:
        upload = threads.submit(server.upload, "a.txt", b"new")
        assert is_stored.wait(10)
        export = Export(originals, tmp_path / "bag", {"": ""}, {}, RateLimit(None, threading.Event()))
        assert list(export.run()) == []
        assert upload.result().status == 200
    assert (tmp_path / "bag/data/a.txt").read_bytes() == b"new"


@pytest.mark.parametrize("fault", [ReadOnly("The disk is read-only."), OutOfSpace("The disk is full.")])
def test_a_changed_file_is_also_reported_if_it_cannot_be_locked(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: AssetError
) -> None:
    def refuse(_collection_dir: str, _name: str) -> None:
        raise fault

    server.upload("a.txt", b"right")
    (server.originals / "a.txt").write_bytes(b"wrong")
    monkeypatch.setattr(server.context.originals.storage, "locked_original", refuse)
    export = Export(server.context.originals, tmp_path / "bag", {"": ""}, {}, RateLimit(None, threading.Event()))
    assert [problem.kind for problem in export.run()] == ["changed"]


def test_a_bag_is_only_written_to_an_empty_folder_outside_the_store(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "letter.txt").write_text("dear")
    run = manage("export", tmp_path / "papers")
    assert (run.returncode, "Choose a new folder" in run.stderr) == (1, True)
    assert [path.name for path in (tmp_path / "papers").iterdir()] == ["letter.txt"]
    run = manage("export", server.base / "bag")
    assert (run.returncode, "must not be inside BASE_DIR" in run.stderr) == (2, True)


def test_a_full_disk_is_reported_and_the_export_can_be_resumed(
    server: RunningServer, manage: Manage, tmp_path: Path, mounted: Callable[[Path, str], None]
) -> None:
    server.upload("a.bin", os.urandom(600_000))
    server.upload("b.bin", os.urandom(600_000))
    mounted(tmp_path / "small", "1m")
    run = manage("export", tmp_path / "small/bag")
    assert (run.returncode, "Free space, then repeat the command" in run.stderr) == (1, True)
    subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path / "small")], check=True)
    assert manage("export", tmp_path / "small/bag").returncode == 0
    assert is_valid(tmp_path / "small/bag")


@pytest.mark.parametrize("checksums", [("sha256",), ("sha512",), ("md5", "sha256")])
def test_bags_of_other_systems_can_be_imported(
    start: Callable[..., RunningServer], tmp_path: Path, checksums: tuple[str, ...]
) -> None:
    server = start(COLLECTION_DIRS=FOLDERS)
    bag = make_bag(tmp_path / "bag", {"KU Fish/a.jpg": b"fish", "vertebrates/birds/a.jpg": b"bird"}, checksums)
    assert manage_for(server)("import", bag).returncode == 0
    assert (server.base / "fish/originals/a.jpg").read_bytes() == b"fish"
    assert (server.base / "vertebrates/birds/originals/a.jpg").read_bytes() == b"bird"
    assert manage_for(server)("journal", "a.jpg").stdout.count(hashlib.sha256(b"fish").hexdigest()) == 1


@pytest.mark.parametrize(("on_disk", "in_manifest"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_normalisation_may_differ_between_disk_and_manifest(
    server: RunningServer, manage: Manage, tmp_path: Path, on_disk: str, in_manifest: str
) -> None:
    name = unicodedata.normalize(on_disk, "Stör.jpg")
    bag = make_bag(tmp_path / "bag", {name: b"x"})
    rewrite(bag / "manifest-sha256.txt", name, unicodedata.normalize(in_manifest, name))
    (bag / "tagmanifest-sha256.txt").unlink()
    done = manage("import", bag)
    assert (done.returncode, done.stdout) == (0, "1 of 1 file now in the store.\n"), done.stderr
    assert server.get("/fileget", filename=unicodedata.normalize(in_manifest, name)).body == b"x"


def test_an_unknown_collection_is_reported_and_can_be_overridden(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start(COLLECTION_DIRS=FOLDERS)
    bag = make_bag(tmp_path / "bag", {"KU Mammals/a.jpg": b"x"})
    run = manage_for(server)("import", bag)
    assert (run.returncode, "'KU Mammals', which is not in COLLECTION_DIRS" in run.stderr) == (1, True)
    assert manage_for(server)("import", bag, "--collection", "KU Fish").returncode == 0
    assert hashes(server) == {"fish/originals/a.jpg": hashlib.sha256(b"x").hexdigest()}


def test_an_existing_file_is_replaced_only_on_request_and_moved_to_the_trash(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    server.upload("a.jpg", b"ours!")
    bag = make_bag(tmp_path / "bag", {"a.jpg": b"their"})
    run = manage("import", bag)
    assert (run.returncode, "a different file with this name exists" in run.stdout) == (1, True)
    assert (server.originals / "a.jpg").read_bytes() == b"ours!"
    assert manage("import", bag, "--replace").returncode == 0
    assert (server.originals / "a.jpg").read_bytes() == b"their"
    assert manage("trash", "list").stdout.count("a.jpg") == 1


def test_without_a_trash_nothing_is_replaced(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    server.upload("a.jpg", b"ours!")
    run = manage("import", make_bag(tmp_path / "bag", {"a.jpg": b"their"}), "--replace", TRASH_DAYS="0")
    assert (run.returncode, "TRASH_DAYS = 0" in run.stderr) == (2, True)
    assert (server.originals / "a.jpg").read_bytes() == b"ours!"


def test_an_unreadable_file_of_the_store_is_reported(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BadSector(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    server.upload("a.txt", b"here")
    bag = ReceivedBag(make_bag(tmp_path / "bag", {"a.txt": b"bag!"}), lambda _collection: "")
    originals, thumbnails = server.context.originals, server.context.thumbnails
    broken = StoredFile(BadSector(), originals.storage.version("", "a.txt"))
    monkeypatch.setattr(originals.storage, "open_original", lambda _collection_dir, _name: broken)
    rate_limit = RateLimit(None, threading.Event())
    with pytest.raises(StorageFault, match=r"a\.txt cannot be read"):
        list(bag.import_files(originals, thumbnails, "test", rate_limit, replace=False, dry_run=True))


def test_a_file_that_does_not_match_the_manifest_is_not_imported(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    bag = make_bag(tmp_path / "bag", {"a.jpg": b"right", "b.jpg": b"right"})
    (bag / "data/a.jpg").write_bytes(b"wrong")
    for options in (["--dry-run"], []):
        run = manage("import", bag, *options)
        assert run.returncode == 1
        assert "not imported, does not match the manifest\t-\ta.jpg" in run.stdout
    assert list(hashes(server)) == ["originals/b.jpg"]


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def link_payload(bag: Path) -> None:
    (bag / "data/a.jpg").unlink()
    (bag / "data/a.jpg").symlink_to("/etc/passwd")


def link_folder(bag: Path) -> None:
    (bag / "data").rename(bag.parent / "bag-data")
    (bag / "data").symlink_to(bag.parent / "bag-data")


def plant_beside(bag: Path) -> None:
    """A path that leads to a folder whose name begins like the bag's: not refused by the library."""
    (bag.parent / f"{bag.name}-beside").mkdir()
    (bag.parent / f"{bag.name}-beside" / "a.jpg").write_bytes(b"a")
    with open(bag / "tagmanifest-sha256.txt", "a") as manifest:
        manifest.write(f"{hashlib.sha256(b'a').hexdigest()} ../{bag.name}-beside/a.jpg\n")


def with_inventory(row: str) -> Callable[[Path], None]:
    def write(bag: Path) -> None:
        header = "path,collection,folder,name,size,modified,sha256"
        (bag / "attachments.csv").write_text(f"{header}\n{row}\n")

    return write


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "out of the bag": (lambda bag: rewrite(bag / "manifest-sha256.txt", "data/a", "data/../../a"), "not a valid bag"),
    "absolute": (lambda bag: rewrite(bag / "manifest-sha256.txt", "data/a.jpg", "/etc/passwd"), "not a valid bag"),
    "beside the bag": (plant_beside, "leads out of it"),
    "a link": (link_payload, "not a regular file"),
    "a folder that is a link": (link_folder, "not a regular file"),
    "a pipe": (lambda bag: os.mkfifo(bag / "data/pipe"), "not a regular file"),
    "a file too many": (lambda bag: (bag / "data/b.jpg").write_bytes(b""), "not a valid bag"),
    "a file too few": (lambda bag: (bag / "data/a.jpg").unlink(), "not a valid bag"),
    "no manifest": (lambda bag: (bag / "manifest-sha256.txt").unlink(), "not a valid bag"),
    "no declaration": (lambda bag: (bag / "bagit.txt").unlink(), "not a valid bag"),
    "a declaration of rubbish": (lambda bag: (bag / "bagit.txt").write_bytes(b"\xff\xfe:\n" * 10), "not a valid bag"),
    "a wrong sum": (lambda bag: rewrite(bag / "bag-info.txt", "Payload-Oxum: 7", "Payload-Oxum: x"), "not a valid bag"),
    "a huge tag file": (lambda bag: os.truncate(bag / "bag-info.txt", 1 << 40), "too large"),
    "a changed tag file": (
        lambda bag: rewrite(bag / "bag-info.txt", "Bagging-Date", "Baggage-Date"),
        "does not match the manifest",
    ),
    "files to fetch": (lambda bag: (bag / "fetch.txt").write_text("http://x/ 1 data/x"), "is incomplete"),
    "a name that leads out": (with_inventory("data/a.jpg,,,../../a.jpg,7,0,"), "slash"),
    "the server's own folder": (with_inventory("data/a.jpg,,,.asset-server,7,0,"), "reserved"),
    "a path that steers terminals": (lambda bag: (bag / "data/a.jpg").rename(bag / "data/\x1b[2J\udcff"), "?[2J"),
    "an oversize name": (with_inventory(f"data/a.jpg,,,{'a' * 256},7,0,"), "too long"),
    "another file's path": (with_inventory("../a.jpg,,,a.jpg,7,0,"), "does not match the files"),
    "a table of rubbish": (with_inventory("data/a.jpg,,,a.jpg,seven,0,"), "has an invalid number"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_bag_is_rejected_as_a_whole(server: RunningServer, manage: Manage, tmp_path: Path, kind: str) -> None:
    bag = make_bag(tmp_path / "bag", {"a.jpg": b"content"})
    harm, reason = HOSTILE[kind]
    harm(bag)
    run = manage("import", bag)
    assert (run.returncode, reason in run.stderr) == (1, True), run.stderr
    assert len(run.stderr) < 600
    assert hashes(server) == {}


def test_a_bag_with_only_weak_checksums_is_rejected(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    run = manage("import", make_bag(tmp_path / "bag", {"a.jpg": b"x"}, ("md5",)))
    assert (run.returncode, "no SHA-256 or SHA-512" in run.stderr) == (1, True)


def test_the_commands_have_help(manage: Manage) -> None:
    for command in ("export", "import"):
        run = manage(command, "--help")
        assert (run.returncode, "Exit status 1" in run.stdout) == (0, True)
