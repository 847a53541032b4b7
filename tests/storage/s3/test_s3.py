"""Object storage: the content of the bucket, files that others put there, several servers on one bucket."""

import contextlib
import gzip
import hashlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from assetstore.concurrency import retry_budget
from assetstore.config.credentials import Credentials
from assetstore.config.loading import SettingsError
from tests import pictures
from tests.bad_weather import BUSY, CLOSED, FAIR, SKEWED, Way
from tests.object_store import BUCKETS, ObjectStore
from tests.support import KEY, PROJECT, Client, Response, RunningServer, load_settings

pytest.importorskip("obstore", reason="obstore is not to be had for this system")
from assetstore.app.object_storage import open_storage
from assetstore.storage.s3 import calls, client, library, multipart_uploads, parts, sizes
from assetstore.storage.s3.errors import unreachable
from assetstore.storage.s3.objects import ObjectFile
from assetstore.storage.s3.thumbnails import S3Thumbnails

BUCKET = BUCKETS[0]
MEGABYTE = 1 << 20


@pytest.fixture
def server(start: Callable[..., RunningServer], s3_settings: dict[str, object]) -> RunningServer:
    return start(**s3_settings)


class Prefix:
    """What lies below the prefix of a server, as any other program sees it."""

    def __init__(self, store: ObjectStore, settings: dict[str, object]) -> None:
        self.store = store
        self.path = str(settings["STORAGE_URL"]).removeprefix("s3:/")

    def keys(self) -> list[str]:
        prefix = self.path.split("/", 2)[2]
        page = self.store.request("GET", f"/{BUCKET}", f"list-type=2&prefix={prefix}%2F").decode()
        return sorted(key.removeprefix(prefix + "/") for key in re.findall("<Key>(.*?)</Key>", page))

    def put(self, key: str, content: bytes, **headers: str) -> None:
        self.store.request("PUT", f"{self.path}/{key}", body=content, headers=headers)

    def get(self, key: str) -> bytes:
        return self.store.request("GET", f"{self.path}/{key}")

    def headers(self, key: str) -> dict[str, str]:
        return self.store.headers(f"{self.path}/{key}")


@pytest.fixture
def prefix(object_store: ObjectStore, s3_settings: dict[str, object]) -> Prefix:
    return Prefix(object_store, s3_settings)


@pytest.fixture
def way(object_store: ObjectStore) -> Iterator[Way]:
    with Way(object_store.endpoint) as way:
        yield way


def picture(width: int, height: int) -> bytes:
    return pictures.encoded(pictures.scene(width, height), "JPEG")


def post_file_first(server: RunningServer, name: str, content: bytes) -> int:
    parts: list[tuple[str, str | tuple[str, bytes]]] = [("file", ("local.bin", content))]
    return server.post_parts([*parts, ("type", "O"), ("store", name), ("token", server.token(name))]).status


def test_the_bucket_has_the_layout_of_the_disk(start: Callable[..., RunningServer], prefix: Prefix) -> None:
    settings = {"STORAGE_URL": "s3:/" + prefix.path, "STORAGE_ENDPOINT": prefix.store.endpoint}
    server = start(**settings, COLLECTION_DIRS={"KU Fish": "fish", "KU Herps": "herps/all"})
    server.upload("a.jpg", pictures.jpeg(), coll="KU Fish")
    server.upload("b.jpg", pictures.jpeg(), coll="KU Herps")
    server.thumbnail("b.jpg", 100, coll="KU Herps")
    server.delete("a.jpg", coll="KU Fish")
    trashed, *others = prefix.keys()
    assert re.fullmatch(r"fish/trash/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{9}-deleted-\d{19}/a\.jpg", trashed)
    assert others == [
        "herps/all/originals/b.jpg",
        "herps/all/thumbnails/.asset-server/sizes/100",
        "herps/all/thumbnails/b_100.jpg",
    ]


@pytest.mark.parametrize("size", [5_000, 9 * MEGABYTE])
def test_an_object_has_its_media_type(server: RunningServer, prefix: Prefix, size: int) -> None:
    before, content = time.time(), os.urandom(size)
    assert server.upload("first.txt", content).status == 200
    assert post_file_first(server, "last.pdf", content) == 200
    for name, content_type in (("first.txt", "text/plain; charset=UTF-8"), ("last.pdf", "application/pdf")):
        headers = prefix.headers(f"originals/{name}")
        assert headers["content-type"] == content_type
        assert before - 1 < float(headers["x-amz-meta-mtime"]) < time.time() + 1
        streamed = name == "first.txt" and size > client.PART_BYTES
        assert headers.get("x-amz-meta-sha256") == (None if streamed else hashlib.sha256(content).hexdigest())
        assert prefix.get(f"originals/{name}") == content


def test_objects_copied_into_the_bucket_by_others_are_served(server: RunningServer, prefix: Prefix) -> None:
    prefix.put("originals/copied.jpg", picture(640, 480))
    prefix.put("originals/dated.jpg", picture(640, 480), **{"x-amz-meta-mtime": "1000000000.5"})
    prefix.put("originals/packed.txt.gz", gzip.compress(b"text"))
    prefix.put("originals/empty.txt", b"")
    prefix.put("originals/", b"")
    prefix.put("originals/.asset-server/trash/2026-01-01T00.00.00.000000000-deleted-x", b"of a disk")
    assert server.get("/fileget", filename="copied.jpg").body == picture(640, 480)
    assert server.get("/fileget", filename="dated.jpg").headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert server.get("/fileget", filename="empty.txt").body == b""
    assert server.get("/fileget", filename="packed.txt.gz").headers["content-type"] == "application/gzip"
    assert Image.open(io.BytesIO(server.thumbnail("dated.jpg", 50).body)).size[0] == 50
    listed = {entry.name for entry in server.context.originals.storage.originals("")}
    assert listed == {"copied.jpg", "dated.jpg", "packed.txt.gz", "empty.txt"}
    prefix.put("originals/copied.jpg", picture(10, 10))
    assert Image.open(io.BytesIO(server.thumbnail("copied.jpg", 50).body)).size == (10, 10)


def test_thumbnails_of_an_earlier_server_are_reused(server: RunningServer, prefix: Prefix) -> None:
    prefix.put("originals/a.jpg", pictures.jpeg())
    seen_ns = server.context.originals.storage.version("", "a.jpg").changed_ns
    while time.time_ns() < seen_ns + 1e9:  # the service tells whole seconds only
        time.sleep(0.05)
    earlier = picture(33, 33)
    prefix.put("thumbnails/a_50.jpg", earlier)
    assert server.thumbnail("a.jpg", 50).body == earlier


def test_two_servers_on_one_bucket_behave_like_one(
    start: Callable[..., RunningServer], s3_settings: dict[str, object]
) -> None:
    one, other = start(**s3_settings), start(**s3_settings)
    assert one.upload("a.jpg", picture(300, 200)).status == 200
    assert other.get("/fileget", filename="a.jpg").body == one.get("/fileget", filename="a.jpg").body
    first = [server.thumbnail("a.jpg", 100).body for server in (one, other, one)]
    assert len(set(first)) == 1
    assert other.upload("a.jpg", picture(200, 300)).status == 200
    for server in (one, other):
        assert Image.open(io.BytesIO(server.thumbnail("a.jpg", 100).body)).size == (67, 100)
    assert one.delete("a.jpg").status == 200
    assert [server.get("/fileget", filename="a.jpg").status for server in (one, other)] == [404, 404]
    assert [server.thumbnail("a.jpg", 100).status for server in (one, other)] == [404, 404]
    assert len(list(other.context.originals.trash())) == 2


def test_links_to_thumbnails_work_after_the_same_bytes_were_uploaded_again(
    start: Callable[..., RunningServer], s3_settings: dict[str, object]
) -> None:
    one, other = start(**s3_settings), start(**s3_settings)
    content = picture(300, 200)

    def link(server: RunningServer) -> str:
        address = server.get("/getfileref", filename="a.jpg", type="T", scale="100").text
        return address.split(str(server.settings.server_port), 1)[1]

    one.upload("a.jpg", content)
    earlier = link(one)
    assert one.upload("a.jpg", content).status == 200
    for server in (one, other):
        assert server.get(earlier).status == 200, "the link is from before"
    for uploading, asking in ((one, one), (one, other), (other, one)):
        assert uploading.upload("a.jpg", content).status == 200
        assert asking.get(link(asking)).status == 200


def test_links_to_thumbnails_are_never_to_one_that_only_this_server_remembers(
    start: Callable[..., RunningServer], s3_settings: dict[str, object]
) -> None:
    one, other = start(**s3_settings), start(**s3_settings)
    one.upload("a.jpg", picture(300, 200))
    assert one.thumbnail("a.jpg", 100).status == 200
    one.delete("a.jpg")
    one.upload("a.jpg", picture(300, 200))
    assert other.thumbnail("a.jpg", 100).status == 200
    store = other.context.thumbnails.store
    [cached] = store.cached("")
    assert store.remove("", cached)
    for server in (one, other):
        address = server.get("/getfileref", filename="a.jpg", type="T", scale="100").text
        assert server.get(address.split(str(server.settings.server_port), 1)[1]).status == 200


def test_a_client_that_reads_an_original_during_its_replacement_gets_one_of_its_versions(
    start: Callable[..., RunningServer], s3_settings: dict[str, object]
) -> None:
    one, other = start(**s3_settings), start(**s3_settings)
    # More than comes with the first request to the bucket.
    versions = [pictures.jpeg() + bytes([number]) * 2 * MEGABYTE for number in range(3)]
    assert one.upload("a.jpg", versions[0]).status == 200
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            for version in versions:
                assert one.upload("a.jpg", version).status == 200

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(40):
            for server in (one, other):
                answer = server.get("/fileget", filename="a.jpg")
                assert (answer.status, answer.body in versions) == (200, True), answer.text[:200]
                part = server.get("/fileget", {"Range": "bytes=-2000"}, filename="a.jpg")
                assert (part.status, part.body in [version[-2000:] for version in versions]) == (206, True)
                assert server.get("/getmetadata", filename="a.jpg").status == 200
            assert other.thumbnail("a.jpg", 100).status == 200
    finally:
        ended.set()
        writer.join()


def test_conditional_requests_and_ranges_work_as_on_disk(server: RunningServer) -> None:
    content = bytes(range(256)) * 1000
    server.upload("a.wav", content)
    whole = server.get("/fileget", filename="a.wav")
    assert server.get("/fileget", filename="a.wav", headers={"If-None-Match": whole.headers["etag"]}).status == 304
    since = {"If-Modified-Since": whole.headers["last-modified"]}
    assert server.get("/fileget", filename="a.wav", headers=since).status == 304
    for header, first, end in (
        ("0-0", 0, 1),
        ("1000-1999", 1000, 2000),
        ("-5", 255_995, 256_000),
        ("255999-", 255_999, 256_000),
    ):
        part = server.get("/fileget", filename="a.wav", headers={"Range": f"bytes={header}"})
        assert (part.status, part.body) == (206, content[first:end])
        assert part.headers["content-range"] == f"bytes {first}-{end - 1}/256000"
    assert server.get("/fileget", filename="a.wav", headers={"Range": "bytes=256000-"}).status == 416
    assert server.head("/fileget", filename="a.wav").headers["content-length"] == "256000"


def test_only_the_requested_part_of_a_large_file_is_fetched(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], way: Way
) -> None:
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint})
    server.upload("a.mp4", bytes(20 * MEGABYTE))
    way.breaks_after = 3 * MEGABYTE
    assert len(server.get("/fileget", filename="a.mp4", headers={"Range": "bytes=9000000-9999999"}).body) == 1_000_000
    assert server.get("/getmetadata", filename="a.mp4").text == "[]"
    assert way.broken == 0


def end_tasks(server: RunningServer) -> None:
    """Ends the periodic tasks, whose first requests would be counted, too."""
    for task in server.context.tasks:
        task.close()


def test_a_small_original_is_one_request_and_a_304_transfers_none_of_its_bytes(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], way: Way
) -> None:
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint})
    end_tasks(server)
    for name, size in (("small.wav", 200_000), ("large.wav", 2 * MEGABYTE)):
        server.upload(name, bytes(size))
        whole = server.get("/fileget", filename=name)
        asked = {"If-None-Match": whole.headers["etag"]}, {"If-Modified-Since": whole.headers["last-modified"]}
        for statuses, methods, ask in (
            ([200], ["GET"] * (1 + (size > 300_000)), lambda name=name: [server.get("/fileget", filename=name)]),
            ([200], ["HEAD"], lambda name=name: [server.head("/fileget", filename=name)]),
            ([304] * 2, ["HEAD"] * 2, lambda n=name, a=asked: [server.get("/fileget", h, filename=n) for h in a]),
            ([206], ["HEAD", "GET"], lambda n=name: [server.get("/fileget", {"Range": "bytes=9-99"}, filename=n)]),
            ([200], ["HEAD"], lambda name=name: [server.get("/getfileref", filename=name)]),
            ([200], ["GET"], lambda name=name: [server.get("/getmetadata", filename=name)]),
        ):
            way.methods.clear()
            assert ([answer.status for answer in ask()], way.methods) == (statuses, methods)
    with server.context.originals.storage.open_original("", "large.wav") as stored:
        way.methods.clear()
        file = stored.section(0, stored.version.size)
        assert b"".join(iter(lambda: file.read(1000), b"")) == bytes(2 * MEGABYTE)
        assert way.methods == ["GET"], "also if it is read in small pieces"
        assert isinstance(file, ObjectFile)
        assert not file._windows, "the first bytes are no longer in memory"


def test_a_small_new_original_is_stored_by_one_request(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], way: Way
) -> None:
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint})
    end_tasks(server)
    server.upload("first.txt", b"text")  # finds out what the service can do
    for name, content, methods in (
        ("small.txt", b"old", ["PUT"]),
        ("small.txt", b"new", ["PUT", "HEAD", "PUT", "PUT"]),  # refused; looks; copies to the trash; stores
        ("large.txt", bytes(2 * MEGABYTE), ["HEAD", "PUT"]),
        ("image.jpg", pictures.jpeg(), ["PUT"]),  # no search for thumbnails of an earlier original
        ("image.jpg", pictures.jpeg(orientation=6), ["PUT", "HEAD", "PUT", "PUT", "GET", "GET"]),
    ):
        way.methods.clear()
        assert server.upload(name, content).status == 200
        assert way.methods == methods
    assert server.get("/fileget", filename="small.txt").body == b"new"
    trash = {entry.name: entry.size for entry in server.context.originals.trash()}
    assert trash == {"small.txt": 3, "image.jpg": len(pictures.jpeg())}


def test_a_service_that_ignores_the_condition_of_a_new_object_never_replaces_one_unseen(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(bucket: client.Bucket, key: str, data: bytes, attributes: dict[str, str]) -> bool:
        bucket.put(key, data, attributes)
        return True

    monkeypatch.setattr(client.Bucket, "create", put)
    for content in (b"old", b"new"):
        assert server.upload("a.txt", content).status == 200
    [entry] = server.context.originals.trash()
    assert (entry.name, entry.reason) == ("a.txt", "replaced")


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("arrives", [False, True])
def test_an_upload_whose_answer_was_lost_has_succeeded_if_it_is_there(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, exists: bool, arrives: bool
) -> None:
    originals = server.context.originals
    server.upload("first.txt", b"text")  # finds out what the service can do
    if exists:
        server.upload("a.txt", b"old")

    def lose(name: str) -> None:
        store = getattr(client.Bucket, name)

        def store_and_lose(bucket: client.Bucket, key: str, *arguments: object) -> object:
            stored = store(bucket, key, *arguments) if arrives or key.rpartition("/")[2] != "a.txt" else True
            if stored is False:
                return False  # the answer that there is one already
            if name == "put":
                retry_budget.RetryBudget().lose(retry_budget.ALLOWANCE_SECONDS)
            raise unreachable("the answer was lost")

        monkeypatch.setattr(client.Bucket, name, store_and_lose)

    lose("create")
    lose("put")
    answer = server.upload("a.txt", b"new")
    assert answer.status == (200 if arrives else 503)
    monkeypatch.undo()
    found = server.get("/fileget", filename="a.txt")
    assert (found.status, found.body if found.status == 200 else b"") == (
        (200, b"new") if arrives else (200, b"old") if exists else (404, b"")
    )
    [event, *_] = originals.journal.search(newest_first=True)
    expected = (
        ("replaced" if exists else "stored", "a.txt") if arrives else ("stored", "a.txt" if exists else "first.txt")
    )
    assert (event.operation, event.name) == expected
    # A copy stays if it is uncertain whether the original was replaced.
    assert [entry.name for entry in originals.trash()] == (["a.txt"] if exists else [])


def test_lists_of_more_than_a_page_are_complete(
    server: RunningServer, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MOST_KEYS", 3)
    monkeypatch.setattr(sizes, "_BATCH", 2)
    names = [f"{number}.txt" for number in range(7)]
    for name in names:
        prefix.put(f"originals/{name}", b"text")
    storage = server.context.originals.storage
    assert [listed.name for listed in storage.originals("")] == names
    for name in names:
        assert server.delete(name).status == 200
    assert sorted(entry.name for entry in server.context.originals.trash()) == names
    for size in range(100, 107):
        for name in ("a", "b"):
            prefix.put(f"thumbnails/{name}_{size}.jpg", b"picture")
    thumbnails = server.context.thumbnails.store
    assert isinstance(thumbnails, S3Thumbnails)
    thumbnails.delete("", "a", ".jpg", frozenset)
    assert [thumbnail.name for thumbnail in thumbnails.cached("")] == [f"b_{size}.jpg" for size in range(100, 107)]
    thumbnails.retire_sizes("", frozenset())
    for size in range(100, 106):
        prefix.put(f"thumbnails/.asset-server/sizes/{size}-leaving", b"")
    thumbnails.remove_retired("", threading.Event())
    left = prefix.keys()
    assert [key for key in left if key.startswith("thumbnails/")] == ["thumbnails/b_106.jpg"]


@pytest.mark.parametrize("weather", [FAIR, BUSY, CLOSED, SKEWED])
def test_no_key_and_no_signed_request_is_logged_or_shown(
    start: Callable[..., RunningServer],
    s3_settings: dict[str, object],
    object_store: ObjectStore,
    way: Way,
    weather: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry_budget, "ALLOWANCE_SECONDS", 0.1)
    caplog.set_level(logging.DEBUG)
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint}, STORAGE_REDIRECT_SECONDS=60)
    server.upload("a.jpg", picture(300, 200))
    way.turn(weather)
    large = bytes(9 * MEGABYTE)
    shown = [
        answer.body.decode("latin-1") if answer.status != 302 else ""  # which is for this client alone
        for answer in (
            server.get("/fileget", filename="a.jpg"),
            server.get("/fileget", {"Sec-Fetch-Mode": "navigate"}, filename="a.jpg"),
            server.get("/fileget", filename="missing.jpg"),
            server.thumbnail("a.jpg"),
            server.upload("a.jpg", b"new"),
            server.upload("b.bin", large),
            server.delete("a.jpg"),
        )
    ]
    server.context.originals.space.sweep()
    shown += [check.reason for check in server.context.health.report().values()]
    said = caplog.text + "".join(shown)
    assert weather == FAIR or "storage" in said
    for secret in (object_store.access_key, object_store.secret_key, "Signature", "AWS4-HMAC"):
        assert secret not in said


def test_calls_for_small_files_have_a_short_timeout(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, new_client = [], calls.new_client

    def noting(bucket: str, service: library.Service, seconds: int, retries: int = 0) -> object:
        limits.append(seconds)
        return new_client(bucket, service, seconds, retries)

    monkeypatch.setattr(calls, "new_client", noting)
    server = start(**s3_settings)
    for _ in range(2):
        assert server.upload("a.jpg", picture(300, 200)).status == 200
        assert server.thumbnail("a.jpg", 100).status == 200
    for headers in ({}, {"Range": "bytes=9-99"}):
        assert server.get("/fileget", headers, filename="a.jpg").status in (200, 206)
    assert server.delete("a.jpg").status == 200
    downloads = [seconds for seconds in limits if seconds == library.DAY]
    assert downloads, "these end when they are silent"
    assert all(seconds <= retry_budget.ALLOWANCE_SECONDS for seconds in limits if seconds not in downloads)


def test_objects_too_large_for_a_server_side_copy_are_streamed(
    server: RunningServer, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_LARGEST_COPY", 1000)
    content = os.urandom(100_000)
    server.upload("a.bin", content)
    server.delete("a.bin")
    [entry] = server.context.originals.trash()
    server.context.originals.trash_storage.restore(entry, keep_old=True)
    assert server.get("/fileget", filename="a.bin").body == content
    assert prefix.headers("originals/a.bin")["x-amz-meta-sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, "https://museum-files.s3.eu-central-1.amazonaws.com/originals/a"),
        ("https://s3.museum.org", "https://s3.museum.org/museum-files/originals/a"),
        ("https://{bucket}.s3.museum.org", "https://museum-files.s3.museum.org/originals/a"),
        ({"museum-files": "http://{bucket}.s3.museum.org:900"}, "http://museum-files.s3.museum.org:900/originals/a"),
        ({"other-files": "https://s3.museum.org"}, "https://museum-files.s3.eu-central-1.amazonaws.com/originals/a"),
    ],
)
def test_the_bucket_name_is_sent_where_the_service_expects_it(
    endpoint: str | dict[str, str] | None, expected: str, tmp_path: Path
) -> None:
    own = {"BASE_DIR": str(tmp_path), "STORAGE_URL": "s3://museum-files", "STORAGE_REGION": "eu-central-1"}
    settings = load_settings({**own, "STORAGE_ENDPOINT": endpoint})
    storage = open_storage(settings, [""], {}, Credentials("a", "b", None))
    assert storage.originals._layout.root("").bucket.link("originals/a", 60).partition("?")[0] == expected


def test_each_bucket_may_have_a_key_and_a_region_of_its_own(
    start: Callable[..., RunningServer], object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "STORAGE_URL": f"s3://{BUCKET}/{uuid.uuid4().hex}",
        "STORAGE_ENDPOINT": object_store.endpoint,
        "COLLECTION_DIRS": {"KU Fish": "fish", "KU Herps": f"s3://{BUCKETS[1]}/all"},
        "STORAGE_CREDENTIALS": {BUCKET: "FISH"},
        "STORAGE_REGION": {BUCKET: "eu-central-1"},
    }
    for name, value in object_store.environ.items():
        monkeypatch.setenv(f"FISH_{name}", value)
        monkeypatch.setenv(name, "of another service")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another service")
    server = start(**settings)
    assert server.upload("a.txt", b"text", coll="KU Fish").status == 200
    refused = server.upload("a.txt", b"text", coll="KU Herps")
    assert (refused.status, "rejects this server's key" in refused.text) == (503, True)
    link = server.context.originals.storage._layout.root("fish").bucket.link("a", 60)
    assert "%2Feu-central-1%2F" in link
    monkeypatch.delenv("FISH_AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SettingsError, match="expected FISH_AWS_ACCESS_KEY_ID and FISH_AWS_SECRET_ACCESS_KEY"):
        start(**settings)


def test_use_of_the_local_disk_is_bounded(start: Callable[..., RunningServer], s3_settings: dict[str, object]) -> None:
    server = start(**s3_settings, limits={"spool_bytes": 10 * MEGABYTE})
    assert post_file_first(server, "a.bin", bytes(12 * MEGABYTE)) == 413
    assert post_file_first(server, "a.bin", bytes(9 * MEGABYTE)) == 200
    assert server.upload("b.jpg", pictures.jpeg() + bytes(12 * MEGABYTE)).status == 200
    answer = server.thumbnail("b.jpg")
    assert (answer.status, answer.text) == (422, "The file is too large for a thumbnail.")
    spool = server.base / ".asset-server/spool"
    assert list(spool.iterdir()) == []


def test_temporary_files_left_by_a_crash_are_removed(server: RunningServer) -> None:
    spool = server.base / ".asset-server/spool"
    (spool / "upload-of-nobody").write_bytes(b"left over")
    with server.context.originals.storage.receive(None, None) as incoming:
        incoming.write(bytes(9 * MEGABYTE))
        server.context.originals.space.prepare()
        assert len(list(spool.iterdir())) == 1, "what has an owner stays"
    assert list(spool.iterdir()) == []


def test_what_a_killed_server_left_on_the_local_disk_is_swept_by_the_next_start(
    server: RunningServer, s3_settings: dict[str, object], start: Callable[..., RunningServer]
) -> None:
    program = f"""
import os, signal
from pathlib import Path
from assetstore.files.locks import locked
from assetstore.storage.s3.spool import Spool
spool = Spool(Path({str(server.base)!r}), 1000)
with spool.path() as path, spool.file() as file, locked(spool.base, "a.jpg"):
    path.write_bytes(b"half a picture")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    private = server.base / ".asset-server"

    def found() -> list[str]:
        return sorted(path.name.partition("-")[0] for path in [*private.glob("lock-*"), *private.glob("spool/*")])

    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == -9
    assert found() == ["lock", "thumbnail", "upload"]
    storage, spool = server.context.originals.storage, server.context.thumbnails.store._spool
    with spool.path() as path, storage.locked_original("", "b.jpg"):
        path.write_bytes(b"half a picture")
        server.context.originals.space.prepare()
        assert found() == ["lock", "thumbnail"], "what has an owner stays"
        assert path.exists()
    assert found() == []


def test_abandoned_multipart_uploads_are_aborted(
    server: RunningServer, prefix: Prefix, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = object_store.unfinished_uploads()
    for key in ("originals/a b ü+&?.jpg", "trash/x-deleted-1/a.jpg", "foreign.jpg"):
        object_store.request("POST", f"{prefix.path}/{key}", "uploads=")
    server.context.originals.space.sweep()
    assert object_store.unfinished_uploads() == before + 3, "these are new"
    monkeypatch.setattr(multipart_uploads, "_ABANDONED_AFTER_SECONDS", -10)
    server.context.originals.space.sweep()
    assert object_store.unfinished_uploads() == before + 1, "only those of this server"


def test_damage_is_found_by_the_checksum_in_the_bucket_even_by_a_new_server(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], prefix: Prefix, object_store: ObjectStore
) -> None:
    one = start(**s3_settings)
    one.upload("sound.txt", b"as it was")
    prefix.put("originals/damaged.txt", b"as it is", **{"x-amz-meta-sha256": hashlib.sha256(b"as it was").hexdigest()})
    prefix.put("originals/foreign.txt", b"from elsewhere")
    other = start(**s3_settings)
    environ = {**os.environ, **object_store.environ, "BASE_DIR": str(other.base), "KEY": KEY}
    environ |= {name: str(value) for name, value in s3_settings.items()}
    command = [sys.executable, str(PROJECT / "manage.py"), "verify"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    found = sorted(line.split("\t")[0::2][:2] for line in run.stdout.splitlines()[:-1])
    assert (run.returncode, found) == (1, [["changed", "damaged.txt"], ["unknown", "foreign.txt"]]), run.stderr


def test_one_of_two_servers_verifies_what_both_did(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], object_store: ObjectStore
) -> None:
    one, other = start(**s3_settings), start(**s3_settings)
    for name in ("kept.txt", "deleted.txt", "replaced.txt"):
        one.upload(name, name.encode())
    other.delete("deleted.txt")
    other.upload("replaced.txt", b"new")
    other.upload("large.bin", bytes(9 * MEGABYTE))
    environ = {**os.environ, **object_store.environ, "BASE_DIR": str(one.base), "KEY": KEY}
    environ |= {name: str(value) for name, value in s3_settings.items()}

    def status(*options: str) -> int:
        command = [sys.executable, str(PROJECT / "manage.py"), "verify", *options]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False).returncode

    assert [status(), status("--adopt"), status()] == [1, 0, 0]


def test_a_collection_added_later_is_usable_in_the_bucket_immediately(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], object_store: ObjectStore
) -> None:
    server = start(**s3_settings, COLLECTION_DIRS={"KU Fish": "fish"})
    folder = f"s3://{BUCKETS[1]}/{uuid.uuid4().hex}"
    added = {"KU Birds": "birds", "KU Herps": folder}
    (server.base / ".asset-server/collections.json").write_text(json.dumps(added))
    for collection in ("KU Fish", *added):
        assert server.upload("a.txt", collection.encode(), coll=collection).status == 200
        assert server.get("/fileget", filename="a.txt", coll=collection).text == collection
    assert object_store.request("GET", f"/{folder.removeprefix('s3://')}/originals/a.txt") == b"KU Herps"


def doctor(object_store: ObjectStore, base: Path, **own: object) -> str:
    environ = {**os.environ, **object_store.environ, "BASE_DIR": str(base), "KEY": KEY}
    environ |= {name: str(value) for name, value in own.items()}
    command = [sys.executable, str(PROJECT / "manage.py"), "doctor"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False).stdout


def test_the_doctor_checks_the_bucket(
    s3_settings: dict[str, object], object_store: ObjectStore, tmp_path: Path
) -> None:
    assert f"{s3_settings['STORAGE_URL']} is writable" in doctor(object_store, tmp_path, **s3_settings)
    told = doctor(object_store, tmp_path, **s3_settings, AWS_SECRET_ACCESS_KEY="wrong")
    assert "The file storage rejects this server's key" in told


def test_two_processes_serve_from_a_bucket_without_revealing_its_key(
    server: RunningServer, object_store: ObjectStore, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environ = {**os.environ, "BASE_DIR": str(tmp_path), "KEY": KEY, "PORT": "0", "BIND_ADDRESS": "127.0.0.1"}
    environ |= {
        "STORAGE_URL": "s3://museum-files",
        "STORAGE_ENDPOINT": object_store.endpoint,
        "DEBUG": "true",
        "PROCESSES": "2",
    }
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "server.py")],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "listening" in line:
            break
    client_of_both = Client(int(line.split("port ")[1].split()[0]))
    name = f"{uuid.uuid4()}.jpg"
    assert client_of_both.upload(name, picture(300, 200)).status == 200
    assert {client_of_both.get("/fileget", filename=name).status for _ in range(10)} == {200}
    assert client_of_both.thumbnail(name).status == 200
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        lines.append(process.communicate(timeout=30)[0])
    printed = "".join(lines)
    assert "STORAGE_URL = 's3://museum-files'" in printed
    assert object_store.secret_key not in printed
    assert object_store.access_key not in printed


def test_only_browsers_are_redirected_to_the_bucket_if_configured(
    start: Callable[..., RunningServer], s3_settings: dict[str, object]
) -> None:
    server = start(**s3_settings, STORAGE_REDIRECT_SECONDS=60, REQUIRE_KEY_FOR_GET=True)
    content = picture(300, 200)
    for name, data in (("a b.jpg", content), ("page.html", b"<script>")):
        assert server.upload(name, data).status == 200

    def get(name: str, headers: dict[str, str], **query: str) -> Response:
        return server.get("/fileget", headers, filename=name, token=server.token(name), **query)

    shown, opened = {"Sec-Fetch-Mode": "no-cors"}, {"Sec-Fetch-Mode": "navigate"}
    for headers in (shown, opened, {**shown, "Range": "bytes=0-9"}):
        answer = get("a b.jpg", headers)
        assert (answer.status, answer.body, answer.headers["cache-control"]) == (302, b"", "no-store")
        with urllib.request.urlopen(answer.headers["location"], timeout=20) as followed:
            assert (followed.read(), followed.headers["Content-Type"]) == (content, "image/jpeg")
    for headers in ({}, {"Sec-Fetch-Mode": "cors"}):
        assert (get("a b.jpg", headers).status, get("a b.jpg", headers).body) == (200, content)
    assert get("a b.jpg", shown, type="T", scale="100").status == 200
    assert get("a b.jpg", shown, downloadname="x.jpg").status == 200
    assert get("page.html", opened).body == b"<script>"
    assert server.head("/fileget", shown, filename="a b.jpg", token=server.token("a b.jpg")).status == 200
    tag = get("a b.jpg", {}).headers["etag"]
    assert get("a b.jpg", {**shown, "If-None-Match": tag}).status == 304
    assert server.get("/fileget", shown, filename="a b.jpg", token="1:1").status == 403
    assert get("gone.jpg", shown).status == 404
