"""manage.py collections: running servers apply each change at once, and no file is lost."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from assetstore.collections import added as added_collections
from assetstore.files.locks import locked
from tests.support import KEY, PROJECT, Client, RunningServer, run_manage, visible_files
from tests.test_live import running

Manage = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., RunningServer]
STATIC = {"KU Fish": "fish", "KU Herps": "herps"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "attachments-0"


@pytest.fixture
def manage(base: Path) -> Manage:
    def run(*arguments: str, static: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        variables = {"COLLECTION_DIRS": json.dumps(static)} if static else {}
        return run_manage(base, "collections", *arguments, **variables)

    return run


def test_an_added_collection_works_immediately_in_every_process(start: Start, manage: Manage) -> None:
    server = start(COLLECTION_DIRS=STATIC)
    other = server.restarted()
    try:
        assert server.upload("a", b"x", coll="KU Plants").status == 404
        run = manage("add", "KU Plants", "botany/vascular", static=STATIC)
        assert (run.returncode, run.stdout) == (0, "KU Plants\tbotany/vascular\tadded\n"), run.stderr
        assert server.upload("a", b"x", coll="KU Plants").status == 200
        assert other.get("/fileget", filename="a", coll="KU Plants").body == b"x"
        assert other.get("/static/botany/vascular/originals/a").body == b"x"
        assert server.upload("b", b"y", coll="KU Fish").status == 200
        assert other.get("/fileget", filename="a", coll="KU Fish").status == 404
        assert other.delete("a", coll="KU Plants").status == 200
        assert json.loads(server.get("/readyz").text)["ready"]
    finally:
        other.stop()
    later = server.restarted()
    try:
        assert later.upload("c", b"z", coll="KU Plants").status == 200, "after a restart, too"
    finally:
        later.stop()


def test_all_processes_of_one_server_know_an_added_collection(base: Path, manage: Manage) -> None:
    with running(base, PROCESSES="3", COLLECTION_DIRS=json.dumps(STATIC)) as program:
        client = Client(program.port())
        assert client.upload("a", b"x", coll="KU Plants").status == 404
        assert manage("add", "KU Plants", "plants", static=STATIC).returncode == 0
        answers = {client.upload(f"f{number}", b"x", coll="KU Plants").status for number in range(30)}
        assert answers == {200}, "whichever process takes it"
        program.process.terminate()
        assert program.ended()[0] == 0


def test_commands_and_trash_know_added_collections(start: Start, manage: Manage, base: Path) -> None:
    server = start(COLLECTION_DIRS=STATIC)
    assert manage("add", "KU Plants", "botany", static=STATIC).returncode == 0
    server.upload("a", b"x", coll="KU Plants")
    server.delete("a", coll="KU Plants")
    variables = {"BASE_DIR": str(base), "COLLECTION_DIRS": json.dumps(STATIC), "KEY": KEY}
    command = [sys.executable, str(PROJECT / "manage.py"), "trash", "restore", "a", "--collection", "KU Plants"]
    assert subprocess.run(command, env=variables, capture_output=True, check=False).returncode == 0
    assert server.get("/fileget", filename="a", coll="KU Plants").body == b"x"


def test_uploads_continue_while_collections_are_added_and_removed(start: Start, manage: Manage) -> None:
    server = start(COLLECTION_DIRS=STATIC)
    ending, statuses = threading.Event(), []

    def upload() -> None:
        number = 0
        while not ending.is_set():
            number += 1
            statuses.append(server.upload(f"f{number}", b"x", coll="KU Fish").status)

    thread = threading.Thread(target=upload)
    thread.start()
    for number in range(3):
        assert manage("add", f"C{number}", f"c{number}", static=STATIC).returncode == 0
    assert manage("remove", "C1", static=STATIC).returncode == 0
    ending.set()
    thread.join()
    assert set(statuses) == {200}
    assert server.upload("a", b"x", coll="C1").status == 404
    assert server.upload("a", b"x", coll="C2").status == 200


@pytest.mark.parametrize(
    ("change", "before", "into"),
    [
        (("remove", "KU Plants"), STATIC, {"coll": "KU Plants"}),
        (("add", "KU Plants", "plants"), None, {}),
    ],
)
def test_an_upload_to_a_folder_being_removed_is_not_reported_as_stored(
    start: Start,
    manage: Manage,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, ...],
    before: dict[str, str] | None,
    into: dict[str, str],
) -> None:
    server = start(COLLECTION_DIRS=before)
    if change[0] == "remove":
        assert manage("add", "KU Plants", "plants", static=before).returncode == 0
    storage, waits, answers = server.context.originals.storage, threading.Event(), []
    locked_original = storage.locked_original

    def noticed(collection_dir: str, name: str) -> AbstractContextManager[None]:
        waits.set()
        return locked_original(collection_dir, name)

    monkeypatch.setattr(storage, "locked_original", noticed)
    upload = threading.Thread(target=lambda: answers.append(server.upload("a", b"x", **into)))
    with locked(server.base / ("plants" if into else "") / "originals", "a"):
        upload.start()
        assert waits.wait(60)
        assert manage(*change, static=before).returncode == 0
    upload.join()
    assert answers[0].status == 404
    assert "collection was removed from the asset server" in answers[0].text


def test_the_first_collection_requires_an_empty_shared_folder(start: Start, manage: Manage) -> None:
    server = start()
    server.upload("old", b"x", coll="KU Fish")
    run = manage("add", "KU Fish", "fish")
    assert run.returncode == 1
    assert "The shared folder contains files of all collections" in run.stderr
    server.delete("old")
    assert "The trash of the shared folder" in manage("add", "KU Fish", "fish").stderr
    assert server.upload("new", b"x").status == 200, "nothing has changed"


def test_the_first_collection_can_be_added_and_the_last_one_removed(start: Start, manage: Manage) -> None:
    server = start()
    run = manage("add", "KU Fish", "fish")
    assert run.returncode == 0
    assert "others get 404" in run.stderr
    assert server.upload("a", b"x").status == 404
    assert server.upload("a", b"x", coll="KU Fish").status == 200
    assert visible_files(server.base / "fish/originals") == ["a"]
    run = manage("remove", "KU Fish")
    assert run.returncode == 1
    assert "fish contains files which would no longer be found" in run.stderr
    server.delete("a", coll="KU Fish")
    assert "purge it first" in manage("remove", "KU Fish").stderr
    for entry in server.context.originals.trash():
        server.context.originals.trash_storage.purge(entry)
    run = manage("remove", "KU Fish")
    assert run.returncode == 0
    assert "share one folder" in run.stderr
    assert (server.base / "fish/originals").is_dir(), "nothing is deleted"
    assert server.upload("a", b"x").status == 200
    assert visible_files(server.originals) == ["a"]


@pytest.mark.parametrize(
    ("name", "folder", "sentence"),
    [
        ("New", "fish", "overlaps with fish, the folder of 'KU Fish'"),
        ("New", "fish/", "overlaps with fish, the folder of 'KU Fish'"),
        ("New", "fish/marine", "overlaps with"),
        ("New", "herps/../fish", "not a folder below BASE_DIR"),
        ("New", "link", "overlaps with fish, the folder of 'KU Fish'"),
        ("New", "link/deeper", "overlaps with"),
        ("New", "birds/all", "the folder of 'KU Birds'"),
        ("New", "birds/all/rare", "overlaps with"),
        ("New", "birds", "overlaps with"),
        ("New", "", "requires its own folder"),
        ("New", "/", "not a folder below BASE_DIR"),
        ("New", "/etc", "not a folder below BASE_DIR"),
        ("New", "../other", "not a folder below BASE_DIR"),
        ("New", "originals", "reserves the folder names"),
        ("New", "x/thumbnails", "reserves the folder names"),
        ("New", ".asset-server", "not a folder below BASE_DIR"),
        ("New", "loose", "contains 'IMG_1.jpg'"),
        ("New", "file", "is not a folder"),
        ("New", "filled", "use --existing"),
        ("KU Fish", "other", "is already in COLLECTION_DIRS, with the folder fish"),
        ("KU Birds", "other", "is already added, with the folder birds/all"),
        ("", "other", "one line of text"),
        ("A\nB", "other", "one line of text"),
    ],
)
def test_changes_that_would_hide_files_are_rejected(
    base: Path, manage: Manage, name: str, folder: str, sentence: str
) -> None:
    for made in ("fish/originals", "loose", "filled/originals"):
        (base / made).mkdir(parents=True)
    (base / "link").symlink_to("fish")
    (base / "loose/IMG_1.jpg").write_bytes(b"x")
    (base / "filled/originals/a").write_bytes(b"x")
    (base / "file").write_bytes(b"x")
    (base / ".asset-server").mkdir()
    added_collections.write(added_collections.location(base), {"KU Birds": "birds/all"})
    run = manage("add", name, folder, static=STATIC)
    assert run.returncode == 1
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert added_collections.read(added_collections.location(base)) == {"KU Birds": "birds/all"}


def test_an_existing_folder_is_adopted_on_request(base: Path, manage: Manage) -> None:
    (base / "plants/originals").mkdir(parents=True)
    (base / "plants/originals/a").write_bytes(b"x")
    assert manage("add", "KU Plants", "plants", "--existing", static=STATIC).returncode == 0
    assert manage("add", "KU Plants", "plants", static=STATIC).returncode == 0, "safe to repeat"
    assert (base / "plants/originals/a").read_bytes() == b"x"


def test_the_list_shows_where_each_collection_is_defined(base: Path, manage: Manage) -> None:
    base.mkdir()
    run = manage("list")
    assert (run.returncode, run.stdout) == (0, "")
    assert "share one folder" in run.stderr
    assert manage("add", "KU Plants", "plants", static=STATIC).returncode == 0
    changed = {**STATIC, "KU Plants": "botany"}
    assert [line.split("\t") for line in manage("list", static=STATIC).stdout.splitlines()] == [
        ["KU Fish", "fish", "settings"],
        ["KU Herps", "herps", "settings"],
        ["KU Plants", "plants", "added"],
    ]
    assert "KU Plants\tplants\tadded, overridden by settings" in manage("list", static=changed).stdout
    assert json.loads(manage("list", "--json").stdout)["folder"] == "plants"
    assert "is configured in COLLECTION_DIRS" in manage("remove", "KU Fish", static=STATIC).stderr
    assert "No collection 'KU Moss' has been added" in manage("remove", "KU Moss", static=STATIC).stderr


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"KU Fish": "../fish"}', '{"KU Fish": 5}', '{"": "x"}', '{"X": ""}', "\xff"]
)
def test_a_broken_file_preserves_the_old_mapping_and_is_logged(
    start: Start, manage: Manage, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    server = start(COLLECTION_DIRS=STATIC)
    assert manage("add", "KU Plants", "plants", static=STATIC).returncode == 0
    assert server.upload("a", b"x", coll="KU Plants").status == 200
    path = added_collections.location(server.base)
    path.write_bytes(content.encode("latin-1"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert server.get("/fileget", filename="a", coll="KU Plants").status == 200
    assert caplog.text.count("the collections stay unchanged") == 1
    run = manage("list", static=STATIC)
    assert run.returncode == 1
    assert "collections.json" in run.stderr
    with pytest.raises(Exception, match="COLLECTION_DIRS: The added collections cannot be read"):
        server.restarted()
    added_collections.write(path, {"KU Moss": "moss"})
    assert server.upload("a", b"x", coll="KU Moss").status == 200


def test_a_removed_file_preserves_the_old_mapping(start: Start, manage: Manage) -> None:
    server = start(COLLECTION_DIRS=STATIC)
    assert manage("add", "KU Plants", "plants", static=STATIC).returncode == 0
    assert server.upload("a", b"x", coll="KU Plants").status == 200
    added_collections.location(server.base).unlink()
    assert server.get("/fileget", filename="a", coll="KU Plants").status == 200


def test_an_unusable_folder_preserves_the_old_mapping(start: Start) -> None:
    server = start(COLLECTION_DIRS=STATIC)
    (server.base / "file").write_bytes(b"x")
    added_collections.write(added_collections.location(server.base), {"New": "file"})
    assert server.upload("a", b"x", coll="New").status == 404
    assert server.upload("a", b"x", coll="KU Fish").status == 200


def test_two_concurrent_additions_both_succeed(base: Path) -> None:
    base.mkdir()
    variables = {"BASE_DIR": str(base), "COLLECTION_DIRS": json.dumps(STATIC), "KEY": KEY}
    command = [sys.executable, str(PROJECT / "manage.py"), "collections", "add"]
    running = [
        subprocess.Popen([*command, f"C{number}", f"c{number}"], env=variables, stdout=subprocess.DEVNULL)
        for number in range(4)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * 4
    assert len(added_collections.read(added_collections.location(base))) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_advised_to_run_as_the_user_of_the_server(base: Path, manage: Manage) -> None:
    base.mkdir()
    os.chown(base, 65534, 65534)
    run = manage("add", "KU Plants", "plants", static=STATIC)
    assert run.returncode == 1
    assert "Run this command as that user" in run.stderr
    assert not (base / "plants").exists()
