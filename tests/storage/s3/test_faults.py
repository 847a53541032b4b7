"""Object storage with faults: waits are bounded, other routes are fast, nothing incomplete is stored."""

import hashlib
import http.client
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetstore.concurrency import retry_budget
from tests import pictures
from tests.bad_weather import BAD, BUSY, CLOSED, FAIR, HANGING, SKEWED, Way
from tests.object_store import BUCKETS, ObjectStore
from tests.support import KEY, PROJECT, Response, RunningServer, multipart_body

pytest.importorskip("obstore", reason="obstore is not to be had for this system")
from assetstore.storage.s3 import calls, circuit_breaker, client, library

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is bounded is bounded by less, so that the tests do not wait as long as people would."""
    monkeypatch.setattr(retry_budget, "ALLOWANCE_SECONDS", 1.0)
    monkeypatch.setattr(calls, "QUICK_SECONDS", 1)
    monkeypatch.setattr(calls, "_TRIAL_SECONDS", 1)
    monkeypatch.setattr(library, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(client, "_PART_SECONDS", 2)
    monkeypatch.setattr(circuit_breaker, "_SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(circuit_breaker, "_TRIAL_SECONDS", 0.2)


@pytest.fixture
def way(object_store: ObjectStore) -> Iterator[Way]:
    with Way(object_store.endpoint) as way:
        yield way


@pytest.fixture
def server(start: Callable[..., RunningServer], s3_settings: dict[str, object], way: Way) -> RunningServer:
    return start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint})


def local_files(server: RunningServer) -> list[Path]:
    """What is on the disk besides the server's own notes."""
    private = server.base / ".asset-server"
    files = [path for path in server.base.rglob("*") if path.is_file() and private / "journal" not in path.parents]
    return [path for path in files if path.suffix != ".lock" and path.name != "trash-purged"]


def assert_try_again(answer: Response) -> None:
    assert answer.status == 503, answer.body[:200]
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert "file storage" in answer.text
    assert "127.0.0.1" not in answer.text


def eventually(server: RunningServer, ask: Callable[[], Response], status: int = 200) -> Response:
    """The answer as soon as the server has found out that the weather is fair."""
    for _ in range(100):
        answer = ask()
        if answer.status == status:
            return answer
        time.sleep(0.1)
    raise AssertionError(answer.text)


@pytest.mark.parametrize("weather", BAD)
def test_during_a_storage_outage_clients_are_asked_to_retry_and_service_resumes_afterwards(
    server: RunningServer, way: Way, weather: str
) -> None:
    picture = pictures.jpeg()
    assert server.upload("old.jpg", picture).status == 200
    assert server.thumbnail("old.jpg").status == 200
    way.turn(weather)
    for ask in (
        lambda: server.get("/fileget", filename="old.jpg"),
        lambda: server.get("/getmetadata", filename="old.jpg"),
        lambda: server.thumbnail("old.jpg"),
        lambda: server.upload("old.jpg", b"new"),
        lambda: server.upload("new.bin", bytes(20 * MEGABYTE)),
        lambda: server.delete("old.jpg"),
        lambda: server.get("/getfileref", filename="old.jpg"),
        lambda: server.get("/static/originals/old.jpg"),
    ):
        assert_try_again(ask())
    assert server.get("/healthz").status == 200
    assert server.get("/testkey", random="1", token=server.token("1")).status == 200
    assert server.get("/web_asset_store.xml").status == 200
    assert server.get("/readyz").status == 503
    assert local_files(server) == []
    way.turn(FAIR)
    assert eventually(server, lambda: server.get("/fileget", filename="old.jpg")).body == picture
    assert server.get("/fileget", filename="new.bin").status == 404
    assert server.upload("new.bin", bytes(20 * MEGABYTE)).status == 200
    assert server.thumbnail("old.jpg").status == 200


@pytest.mark.parametrize("weather", [HANGING, CLOSED])
def test_after_some_seconds_of_failure_requests_are_refused_without_any_wait(
    server: RunningServer, way: Way, weather: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.upload("old.jpg", pictures.jpeg())
    way.turn(weather)
    began = time.monotonic()
    while time.monotonic() - began < 4:
        server.get("/fileget", filename="old.jpg")
    monkeypatch.setattr(circuit_breaker, "_TRIAL_SECONDS", 3600)
    time.sleep(0.5)
    server.get("/fileget", filename="old.jpg")  # the last trial
    monkeypatch.setattr(calls, "_PAUSES", (3600,))  # a request that paused before a retry would not end
    before = way.connections
    for _ in range(10):
        for ask in (
            lambda: server.get("/fileget", filename="old.jpg"),
            lambda: server.thumbnail("old.jpg"),
            lambda: server.upload("old.jpg", b"new"),
            lambda: server.upload("new.bin", bytes(9 * MEGABYTE)),
            lambda: server.delete("old.jpg"),
        ):
            assert_try_again(ask())
    assert way.connections == before, "nothing was asked"


def test_the_server_starts_without_its_storage(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], way: Way
) -> None:
    way.turn(HANGING)
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint}, VERIFY_DAYS=1)
    assert server.get("/web_asset_store.xml").status == 200
    assert_try_again(server.get("/fileget", filename="a"))
    way.turn(FAIR)
    eventually(server, lambda: server.upload("a", b"x"))
    assert server.get("/fileget", filename="a").body == b"x"


def test_other_requests_are_answered_while_some_wait_for_the_storage(
    start: Callable[..., RunningServer],
    s3_settings: dict[str, object],
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "QUICK_SECONDS", 2)
    monkeypatch.setattr(circuit_breaker, "_DOUBTFUL_SECONDS", 0.1)
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": way.endpoint}, THREADS=32)
    way.turn(HANGING)
    ended = threading.Semaphore(0)

    def ask() -> None:
        assert_try_again(server.get("/fileget", filename="a.jpg"))
        ended.release()

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    # More of them have come than there are threads. Those that nobody has yet found out to be in vain are waiting.
    for path in ("/healthz", "/web_asset_store.xml"):
        assert server.get(path).status == 200
    waiting = [thread for thread in threads if thread.is_alive()]
    assert waiting, "all had been answered before"
    for thread in threads:
        thread.join()
    assert all(ended.acquire(blocking=False) for _ in threads)


def test_an_interrupted_read_from_the_storage_is_resumed(server: RunningServer, way: Way) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(2_000_000))
    server.upload("a.bin", content)
    way.breaks_after = 3_000_000
    assert server.get("/fileget", filename="a.bin").body == content
    assert way.broken == 1
    way.breaks_after = 1_000_000
    part = server.get("/fileget", filename="a.bin", headers={"Range": "bytes=2000000-5999999"})
    assert (part.status, part.body) == (206, content[2_000_000:6_000_000])
    assert way.broken == 2


def test_a_download_that_cannot_be_resumed_is_visibly_truncated(server: RunningServer, way: Way) -> None:
    server.upload("a.bin", bytes(30 * MEGABYTE))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/fileget?filename=a.bin")
    answer = connection.getresponse()
    answer.read(MEGABYTE)
    way.turn(BUSY)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()


def test_a_few_busy_responses_are_retried_unnoticed(server: RunningServer, way: Way) -> None:
    server.upload("a", b"x")
    way.busy_answers = 2
    way.turn(BUSY)
    assert server.get("/fileget", filename="a").body == b"x"
    assert way.weather == FAIR


def test_an_upload_aborted_by_its_client_leaves_nothing(server: RunningServer, object_store: ObjectStore) -> None:
    server.upload("a.bin", b"old")
    before = object_store.unfinished_uploads()
    fields: list[tuple[str, str | tuple[str, bytes]]]
    fields = [("type", "O"), ("store", "a.bin"), ("token", server.token("a.bin"))]
    body, content_type = multipart_body([*fields, ("file", ("local.bin", bytes(30 * MEGABYTE)))])
    head = (
        f"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body[: 20 * MEGABYTE])
    for _ in range(100):
        if object_store.unfinished_uploads() <= before:
            break
        time.sleep(0.1)
    assert object_store.unfinished_uploads() == before
    assert server.get("/fileget", filename="a.bin").body == b"old"
    assert local_files(server) == []


def test_an_upload_whose_response_from_the_storage_is_lost_succeeds(server: RunningServer, way: Way) -> None:
    content = bytes(range(256)) * 40_000
    assert server.upload("a.bin", content).status == 200
    way.breaks_after = 0  # the very next answer of the storage
    assert server.upload("a.bin", b"short").status == 200
    assert server.get("/fileget", filename="a.bin").body == b"short"
    [event, *_] = server.context.originals.journal.search(newest_first=True)
    assert event.sha256 == hashlib.sha256(b"short").hexdigest()


def test_a_wrong_key_is_reported_immediately_and_never_shown(
    start: Callable[..., RunningServer],
    s3_settings: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    server = start(**s3_settings)
    with caplog.at_level(logging.DEBUG):
        for answer in (server.get("/fileget", filename="a"), server.upload("a", b"x"), server.delete("a")):
            assert answer.status == 503
            assert "rejects this server's key" in answer.text
    assert "not-the-secret" not in caplog.text
    assert "403" in caplog.text, "the log says why"


def test_a_missing_bucket_is_not_mistaken_for_an_empty_one(
    start: Callable[..., RunningServer], s3_settings: dict[str, object]
) -> None:
    server = start(**{**s3_settings, "STORAGE_URL": "s3://no-such-bucket"})
    for answer in (server.get("/fileget", filename="a"), server.upload("a", b"x"), server.delete("a")):
        assert (answer.status, answer.text) == (503, "The bucket of the file storage does not exist.")
    assert server.get("/readyz").status == 503


def test_a_clock_that_differs_is_named_on_every_route(
    server: RunningServer, way: Way, object_store: ObjectStore, tmp_path: Path
) -> None:
    server.upload("a.jpg", pictures.jpeg())
    way.turn(SKEWED)
    for answer in on_every_route(server, "a.jpg"):
        assert (answer.status, "clocks" in answer.text, "key" in answer.text) == (503, True, False), answer.text
    assert "clocks" in server.context.health.report()["store"].reason
    environ = {**os.environ, **object_store.environ, "BASE_DIR": str(tmp_path), "KEY": KEY}
    environ |= {"STORAGE_URL": f"s3://{BUCKETS[0]}", "STORAGE_ENDPOINT": way.endpoint}
    command = [sys.executable, str(PROJECT / "manage.py"), "doctor"]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, check=False).stdout
    assert "The clocks of this server and of the file storage differ" in said
    assert "Synchronize the clock" in said
    assert "the key's permissions" not in said


def test_a_bucket_that_is_deleted_underneath_is_never_taken_for_an_empty_one(
    start: Callable[..., RunningServer], object_store: ObjectStore
) -> None:
    bucket = f"gone-{uuid.uuid4().hex[:8]}"
    object_store.request("PUT", f"/{bucket}")
    server = start(STORAGE_URL=f"s3://{bucket}", STORAGE_ENDPOINT=object_store.endpoint)
    server.upload("a.jpg", pictures.jpeg())
    assert server.thumbnail("a.jpg").status == 200
    for key in ("originals/a.jpg", "thumbnails/a_200.jpg", "thumbnails/.asset-server/sizes/200"):
        object_store.request("DELETE", f"/{bucket}/{key}")
    object_store.request("DELETE", f"/{bucket}")
    for answer in on_every_route(server, "a.jpg"):
        assert (answer.status, answer.text) == (503, "The bucket of the file storage does not exist.")
    assert server.head("/fileget", filename="a.jpg").status == 503
    assert "bucket" in server.context.health.report()["store"].reason


def on_every_route(server: RunningServer, name: str) -> list[Response]:
    """The answers of all routes that need the storage."""
    return [
        server.get("/fileget", filename=name),
        server.get("/fileget", {"Range": "bytes=0-9"}, filename=name),
        server.get("/fileget", filename="missing.jpg"),
        server.thumbnail(name),
        server.get("/getmetadata", filename=name),
        server.get("/getfileref", filename=name),
        server.get("/getfileref", filename=name, type="T", scale="200"),
        server.get(f"/static/originals/{name}"),
        server.get("/static/thumbnails/a_200.jpg"),
        server.upload(name, b"new"),
        server.upload("new.bin", bytes(9 * MEGABYTE)),
        server.delete(name),
    ]


def test_a_process_forked_after_its_first_request_fails_instead_of_hanging(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.upload("a", b"x")
    monkeypatch.setattr(library, "_used_by", [1])  # as if another process had used the library
    answer = server.get("/fileget", filename="a")
    assert (answer.status, "the way it was started" in answer.text) == (500, True)


def test_buckets_of_two_collections_fail_independently(
    start: Callable[..., RunningServer], s3_settings: dict[str, object], object_store: ObjectStore, way: Way
) -> None:
    folders = {"KU Fish": "fish", "KU Herps": f"s3://{BUCKETS[1]}/all"}
    endpoints = {BUCKETS[0]: object_store.endpoint, BUCKETS[1]: way.endpoint}
    server = start(**{**s3_settings, "STORAGE_ENDPOINT": endpoints}, COLLECTION_DIRS=folders, KEY=KEY)
    for collection in folders:
        assert server.upload("a.jpg", pictures.jpeg(), coll=collection).status == 200
    assert object_store.request("GET", f"/{BUCKETS[1]}/all/originals/a.jpg") == pictures.jpeg()
    link = server.get("/getfileref", filename="a.jpg", coll="KU Herps").text
    assert server.get(link.split(str(server.settings.server_port), 1)[1]).body == pictures.jpeg()
    way.turn(HANGING)
    assert_try_again(server.get("/fileget", filename="a.jpg", coll="KU Herps"))
    assert server.get("/fileget", filename="a.jpg", coll="KU Fish").body == pictures.jpeg()
    assert server.thumbnail("a.jpg", coll="KU Fish").status == 200
