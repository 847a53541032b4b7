"""An installation of version 0.1.0 goes on with this version: its store, settings.py, environment and bucket.

What stands here was written down from 0.1.0 while it ran, and must not follow later changes of the program.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import pictures
from tests.object_store import BUCKETS, ObjectStore
from tests.support import PROJECT, Client, free_port
from tests.test_live import Program

KEY = "museum-key-of-2026"

#: Content of that length and with that date has the cached thumbnails below.
ORIGINAL = b"\xff\xd8".ljust(8706, b".")
ORIGINAL_DATE_NS = 1795808515573800407
THUMBNAIL_DATE_NS = 513467771723121000

#: As of version 0.1.0, with what the example of its comments says for a museum with two collections.
SETTINGS = """
KEY = ("{key}",)
TIME_TOLERANCE = 150
REQUIRE_KEY_FOR_GET = False
ALLOW_STATIC_FILE_ACCESS = True
STATUS_PAGE = True
HOST = "localhost"
PORT = {port}
SERVER_NAME = None
SERVER_PORT = None
PUBLIC_URL = None
BIND_ADDRESS = "127.0.0.1"
TRUSTED_PROXIES = ("127.0.0.1",)
ACCEL_REDIRECT = None
GATEKEEPER_ADDRESS = "127.0.0.1:8081"
DEVELOPMENT_PORT = None
BASE_DIR = "{base}"
ORIG_DIR = "originals"
THUMB_DIR = "thumbnails"
COLLECTION_DIRS = {{"herb": "herbarium", "ento": "insects"}}
STORAGE_URL = None
STORAGE_ENDPOINT = None
STORAGE_REGION = "us-east-1"
STORAGE_ADDRESSING = None
STORAGE_SPOOL_BYTES = 10_000_000_000
STORAGE_REDIRECT_SECONDS = None
MAX_UPLOAD_BYTES = None
RESERVED_BYTES = 0
TRASH_DAYS = 30
TRASH_BYTES = None
VERIFY_DAYS = 0
CAN_THUMBNAIL = {{"image/jpeg", "image/tiff", "image/png", "application/pdf"}}
MAX_THUMBNAIL_SIZE = 4000
KEPT_THUMBNAIL_SIZES = 32
RENDER_WORKERS = None
RENDER_QUEUE = 128
RENDER_SECONDS = 60
RENDER_MEMORY = 1024
SERVER = "paste"
PROCESSES = 1
THREADS = 192
SOCKET_TIMEOUT = 60
DEBUG = False
LOG_FORMAT = "plain"
METRICS_ADDRESS = None
"""

#: Those of these settings that later versions removed, except those that are None.
REMOVED_SINCE = (
    *("GATEKEEPER_ADDRESS", "STORAGE_SPOOL_BYTES", "MAX_THUMBNAIL_SIZE", "KEPT_THUMBNAIL_SIZES"),
    *("RENDER_QUEUE", "RENDER_SECONDS", "SOCKET_TIMEOUT"),
)

JOURNAL = """
CREATE TABLE checks (
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    finding TEXT NOT NULL,
    PRIMARY KEY (place, name)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    operation TEXT NOT NULL,
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    collection TEXT NOT NULL,
    size INTEGER,
    sha256 TEXT,
    client TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,{now},'stored','herbarium','a.jpg','herb',8706,NULL,'127.0.0.1');
INSERT INTO "events" VALUES(2,{now},'stored','herbarium','b.txt','herb',5,
    'a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e','127.0.0.1');
INSERT INTO "events" VALUES(3,{now},'replaced','herbarium','b.txt','herb',6,
    '16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4','127.0.0.1');
INSERT INTO "events" VALUES(4,{now},'deleted','insects','gone.txt','ento',4,
    '283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247','127.0.0.1');
INSERT INTO "checks" VALUES('herbarium','c.txt',{now},'unnoted');
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    began_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    summary TEXT
);
CREATE INDEX events_by_name ON events (place, name, id);
CREATE INDEX events_by_time ON events (time_ns);
"""


@pytest.fixture
def program_folder(tmp_path: Path) -> Path:
    """A folder with the program, where an administrator's settings.py can lie."""
    folder = tmp_path / "web-asset-server"
    folder.mkdir()
    for name in ("assetstore", "views"):
        (folder / name).symlink_to(PROJECT / name)
    for name in ("server.py", "manage.py"):
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    return folder


def written(path: Path, content: bytes, date_ns: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if date_ns is not None:
        os.utime(path, ns=(date_ns, date_ns))


def trash_time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H.%M.%S.616867607")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store as version 0.1.0 left it."""
    base, now = tmp_path / "attachments", time.time() - 3600
    herbarium, insects = base / "herbarium", base / "insects"
    written(herbarium / "originals/a.jpg", ORIGINAL, ORIGINAL_DATE_NS)
    written(herbarium / "originals/b.txt", b"second")
    written(herbarium / "originals/c.txt", b"copied in by hand")
    written(herbarium / f"originals/.asset-server/trash/{trash_time(now)}-replaced-b.txt", b"first")
    written(insects / f"originals/.asset-server/trash/{trash_time(now)}-deleted-gone.txt", b"gone")
    for collection_folder in (herbarium, insects):
        written(collection_folder / "originals/.asset-server/ballast/0", bytes(16384))
    written(herbarium / "thumbnails/a_200.jpg", pictures.jpeg(), THUMBNAIL_DATE_NS)
    for name in ("200", "taken"):
        written(herbarium / "thumbnails/.asset-server/sizes" / name, b"")
    written(base / ".asset-server/trash-purged", str(int(now)).encode())
    written(base / ".asset-server/journal.lock", b"")
    journal = base / ".asset-server/journal/journal.sqlite"
    written(journal, b"")
    with contextlib.closing(sqlite3.connect(journal)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(JOURNAL.format(now=int(now * 1e9)))
    return base


@contextlib.contextmanager
def started(folder: Path, **environ: str) -> Iterator[tuple[Program, Client]]:
    program = Program(environ, (str(folder / "server.py"),), folder)
    try:
        yield program, Client(program.port(), KEY)
    finally:
        program.process.terminate()
        program.ended()


def test_the_store_and_every_setting_of_0_1_0_still_work(program_folder: Path, store: Path) -> None:
    settings = SETTINGS.format(key=KEY, base=store, port=free_port())
    (program_folder / "settings.py").write_text(settings)
    with started(program_folder) as (program, client):
        assert client.get("/fileget", type="O", filename="a.jpg", coll="herb").body == ORIGINAL
        assert client.thumbnail("a.jpg", coll="herb").body == pictures.jpeg(), "it is not drawn again"
        assert client.upload("b.txt", b"third", coll="herb").status == 200
        assert client.delete("c.txt", coll="herb").status == 200
        manage = Program({}, (str(program_folder / "manage.py"), "trash", "list"), program_folder)
        status, listed = manage.ended()
        assert status == 0, listed
        assert [listed.count(name) for name in ("b.txt", "c.txt", "gone.txt")] == [2, 1, 1]
        warned = "".join(program.lines)
        for name in REMOVED_SINCE:
            assert f"The setting {name} was removed" in warned, "a removed setting is only warned of"
        manage = Program({}, (str(program_folder / "manage.py"), "journal"), program_folder)
        status, listed = manage.ended()
        assert status == 0, listed
        assert listed.count("b.txt") == 3


def test_the_environment_of_the_0_1_0_unit_and_compose_file_still_works(program_folder: Path, store: Path) -> None:
    (program_folder / "settings.py").write_bytes((PROJECT / "settings.py").read_bytes())
    unit = {"BASE_DIR": str(store), "PYTHONUNBUFFERED": "1"}
    compose = {
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "ATTACHMENT_KEY": KEY,
        "DEBUG_MODE": "false",
        "PUBLIC_URL": "",
        "TRUSTED_PROXIES": "",
        "ACCEL_REDIRECT": "",
        "GATEKEEPER_ADDRESS": "",
        "COLLECTION_DIRS": '{"herb": "herbarium", "ento": "insects"}',
    }
    local = {"PORT": str(free_port()), "BIND_ADDRESS": "127.0.0.1"}
    with started(program_folder, **unit, **compose, **local) as (_program, client):
        assert client.get("/fileget", type="O", filename="b.txt", coll="herb").text == "second"
        assert client.thumbnail("a.jpg", coll="herb").body == pictures.jpeg()
        assert client.upload("new.txt", b"new", coll="ento").status == 200
    assert (store / "insects/originals/new.txt").read_bytes() == b"new"


def test_a_bucket_of_0_1_0_still_works(
    program_folder: Path, tmp_path: Path, object_store: ObjectStore, s3_settings: dict[str, str]
) -> None:
    (program_folder / "settings.py").write_bytes((PROJECT / "settings.py").read_bytes())
    prefix = "/" + s3_settings["STORAGE_URL"].removeprefix("s3://")
    assert prefix.startswith(f"/{BUCKETS[0]}/")

    def put(path: str, content: bytes, **metadata: str) -> None:
        headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        object_store.request("PUT", f"{prefix}/{path}", body=content, headers=headers)

    now = time.time() - 3600
    put("originals/a.jpg", ORIGINAL, upload="704bdfe29cf64f35bc62330ce469c938", mtime="1795808559.035358471")
    put("thumbnails/.asset-server/sizes/200", b"")
    put(f"trash/{trash_time(now)}-deleted-{int(now * 1e9)}/gone.txt", b"gone", mtime=f"{now:.9f}", upload="18")
    base = tmp_path / "state"
    base.mkdir()
    environ = {**s3_settings, **object_store.environ, "BASE_DIR": str(base), "ATTACHMENT_KEY": KEY}
    local = {"PORT": str(free_port()), "BIND_ADDRESS": "127.0.0.1"}
    with started(program_folder, **environ, **local) as (_program, client):
        assert client.get("/fileget", type="O", filename="a.jpg").body == ORIGINAL
        assert client.upload("a.jpg", b"another").status == 200
    manage = Program(environ, (str(program_folder / "manage.py"), "trash", "list"), program_folder)
    status, listed = manage.ended()
    assert status == 0, listed
    assert [listed.count(name) for name in ("a.jpg", "gone.txt")] == [1, 1]
