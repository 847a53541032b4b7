"""The administrator's commands on object storage: what they do, and that they resume after an interruption."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetstore.bags.export import Export
from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.fixity.verification import Verification
from tests import pictures
from tests.bad_weather import Way
from tests.bags.test_bags import is_valid
from tests.object_store import ObjectStore
from tests.support import RunningServer, run_manage

pytest.importorskip("obstore", reason="obstore is not to be had for this system")

FOLDERS = {"KU Fish": "fish", "KU Herps": "herps/all"}

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(start: Callable[..., RunningServer], s3_settings: dict[str, object]) -> RunningServer:
    return start(**s3_settings, COLLECTION_DIRS=FOLDERS)


@pytest.fixture
def manage(server: RunningServer, s3_settings: dict[str, object], object_store: ObjectStore) -> Manage:
    settings = {name: str(value) for name, value in s3_settings.items()} | object_store.environ
    settings["COLLECTION_DIRS"] = json.dumps(FOLDERS)

    def run(*arguments: object, base: Path = server.base, **own: str) -> subprocess.CompletedProcess[str]:
        return run_manage(base, *arguments, **{**settings, **own})

    return run


@pytest.fixture
def way(object_store: ObjectStore) -> Iterator[Way]:
    with Way(object_store.endpoint) as way:
        yield way


def test_thumbnails_are_pruned_in_the_bucket(server: RunningServer, manage: Manage, object_store: ObjectStore) -> None:
    for collection in FOLDERS:
        server.upload("a.jpg", pictures.jpeg(), coll=collection)
    assert manage("thumbnails", "warm", "--size", 100, "--size", 200).returncode == 0
    bucket = server.settings.storage_url.removeprefix("s3:/")  # type: ignore[union-attr]
    for name in ("a_200-0.jpg", "notes.txt"):
        object_store.request("PUT", f"{bucket}/fish/thumbnails/{name}", body=b"x")
    for options in (("--dry-run",), ()):
        run = manage(
            "thumbnails", "prune", "--strays", "--keep-size", 100, "--collection", "KU Fish", "--json", *options
        )
        *removed, summary = map(json.loads, run.stdout.splitlines())
        assert [(row["reason"], row["name"]) for row in removed] == [("stray", "a_200-0.jpg"), ("size", "a_200.jpg")]
        assert summary["files_left"] == 1
    run = manage("thumbnails", "prune", "--most-megabytes", 0, "--json")
    assert [json.loads(line).get("name") for line in run.stdout.splitlines()] == [*["a_100.jpg"] * 2, "a_200.jpg", None]
    assert object_store.request("GET", f"{bucket}/fish/thumbnails/notes.txt") == b"x", "it is no thumbnail"
    assert server.thumbnail("a.jpg", 200, coll="KU Fish").status == 200, "it is rendered again on request"


def test_deleted_and_replaced_objects_are_listed_and_can_be_restored(server: RunningServer, manage: Manage) -> None:
    for content in (b"first", b"second"):
        server.upload("a.txt", content, coll="KU Fish")
    server.delete("a.txt", coll="KU Fish")
    listed = [json.loads(line) for line in manage("trash", "list", "--json").stdout.splitlines()]
    assert [(row["reason"], row["size"], row["place"]) for row in listed] == [
        ("replaced", 5, "fish"),
        ("deleted", 6, "fish"),
    ]
    assert "Trash\t2 files\t11 bytes" in manage("usage").stdout
    assert manage("trash", "restore", "a.txt").returncode == 0
    assert server.get("/fileget", filename="a.txt", coll="KU Fish").body == b"second"
    assert manage("trash", "restore", "a.txt").returncode == 1, "it would replace another"
    assert manage("trash", "restore", "a.txt", "--replace").returncode == 0
    assert server.get("/fileget", filename="a.txt", coll="KU Fish").body == b"first"
    assert "no problems found" in manage("verify").stdout


def test_a_bag_can_be_exported_from_one_bucket_and_imported_into_another(
    server: RunningServer, manage: Manage, tmp_path: Path, s3_settings: dict[str, object]
) -> None:
    for number, collection in enumerate(FOLDERS):
        server.upload("é.bin", bytes([number]) * 300_000, coll=collection)
    bag, url = tmp_path / "bag", f"{s3_settings['STORAGE_URL']}-2"
    assert manage("export", bag).returncode == 0
    assert is_valid(bag)
    assert (
        manage("import", bag, "--dry-run", base=tmp_path, STORAGE_URL=url).stdout
        == "2 of 2 files importable or already there.\n"
    )
    assert manage("verify", base=tmp_path, STORAGE_URL=url).stdout.startswith("0 files")
    for _ in range(2):
        assert manage("import", bag, base=tmp_path, STORAGE_URL=url).stdout == "2 of 2 files now in the store.\n"
    assert (
        manage("verify", base=tmp_path, STORAGE_URL=url).stdout
        == "2 files, 600000 bytes: no problems found; 0 added to the journal.\n"
    )


def test_an_interrupted_export_does_not_reread_unchanged_objects(server: RunningServer, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin", "c.bin"):
        server.upload(name, name.encode(), coll="KU Fish")
    ending = threading.Event()
    export = Export(server.context.originals, tmp_path / "bag", {"fish": "KU Fish"}, {}, RateLimit(None, ending))
    with pytest.raises(Interrupted):
        for _ in export.run(lambda _: ending.set() if export.files == 2 else None):
            pass
    server.upload("a.bin", b"other", coll="KU Fish")
    ending.clear()
    export = Export(server.context.originals, tmp_path / "bag", {"fish": "KU Fish"}, {}, RateLimit(None, ending))
    assert list(export.run()) == []
    assert (export.files, export.reused) == (3, 1)
    assert is_valid(tmp_path / "bag")
    assert (tmp_path / "bag/data/fish/a.bin").read_bytes() == b"other"


class Replacing(RateLimit):
    """As soon as the first bytes have been read, the file is another one, and the connection breaks."""

    def __init__(self, server: RunningServer, way: Way, content: bytes) -> None:
        super().__init__(None, threading.Event())
        self._replace: Callable[[], object] | None = lambda: server.upload("a.bin", content, coll="KU Fish")
        self._way = way

    def spend(self, number: int) -> None:
        if number >= 1 << 20 and self._replace:
            replace, self._replace = self._replace, None
            replace()
            self._way.cut()


def test_an_object_replaced_while_it_is_read_is_read_again(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], way: Way, tmp_path: Path
) -> None:
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint}, COLLECTION_DIRS=FOLDERS)
    old, new = os.urandom(30_000_000), os.urandom(30_000_000)
    server.upload("a.bin", old, coll="KU Fish")
    export = Export(server.context.originals, tmp_path / "bag", {"fish": "KU Fish"}, {}, Replacing(server, way, new))
    assert list(export.run()) == []
    assert (tmp_path / "bag/data/fish/a.bin").read_bytes() == new
    rate_limit = Replacing(server, way, old)
    run = Verification(server.context.originals, rate_limit, adopt=False, accept=False, client="test")
    assert list(run.run(resume=False)) == []
    assert run.summary.bytes == 30_000_000
