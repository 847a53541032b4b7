"""Several files at once on the status page over HTTP: the list, an archive, delete and restore."""

import hmac
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from assetstore.auth import status_tokens
from assetstore.http.request_context import REQUEST_CONTEXT, RequestContext
from assetstore.originals.zip_archive import archive_names
from assetstore.serving.admission import Admission
from tests.status_client import ask, data, target, token
from tests.support import Client, Response, RunningServer

Start = Callable[..., RunningServer]

COLLECTIONS = {"KU Fish": "fish", "KU Hérps/Co": "herps"}


def change(client: Client, path: str, pairs: object, signed: object = None) -> Response:
    """Sends a list as the page does; *signed* is another list, for which the token is valid."""
    body = json.dumps(pairs).encode()
    digest = hmac.new(b"", json.dumps(pairs if signed is None else signed).encode(), "md5").hexdigest()
    address = target(path, {"digest": digest})
    headers = {status_tokens.HEADER: token(client, f"POST {address}")}
    return client.request("POST", address, body, headers)


def changed(client: Client, path: str, pairs: object) -> Any:
    answer = change(client, path, pairs)
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


def archive(client: Client, pairs: object) -> zipfile.ZipFile:
    answer = client.get(f"/status/zip?ticket={changed(client, 'zip', pairs)['ticket']}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"].startswith("attachment; filename*=utf-8''")
    found = zipfile.ZipFile(io.BytesIO(answer.body))
    assert found.testzip() is None
    assert {info.compress_type for info in found.infolist()} <= {zipfile.ZIP_STORED}
    return found


def listed(client: Client, **parameters: str) -> list[str]:
    """The names in the list when it is current."""
    for _ in range(500):
        report = data(client, "files", **parameters)
        if report["state"]["as_of"] and report["state"]["is_current"] and not report["state"]["is_reading"]:
            return [row["name"] for row in report["rows"]]
        time.sleep(0.01)
    raise AssertionError(report["state"])


@pytest.fixture(params=["disk", "bucket"])
def server(request: pytest.FixtureRequest, start: Start) -> RunningServer:
    """On both kinds of storage."""
    own = request.getfixturevalue("s3_settings") if request.param == "bucket" else {}
    return start(COLLECTION_DIRS=COLLECTIONS, **own)


@pytest.fixture
def on_disk(start: Start) -> RunningServer:
    return start(COLLECTION_DIRS=COLLECTIONS)


def test_the_list_is_sorted_filtered_and_in_pages(on_disk: RunningServer) -> None:
    server = on_disk
    for name in ("c.txt", "a.jpg", "b.jpg"):
        server.upload(name, b"x" * (ord(name[0]) - 96), coll="KU Fish")
    assert listed(server, sort="name") == ["a.jpg", "b.jpg", "c.txt"]
    assert listed(server, sort="size", descending="yes", type="image/") == ["b.jpg", "a.jpg"]
    page = data(server, "files", sort="name", most="2")
    assert (len(page["rows"]), page["before"]) == (2, None)
    rest = data(server, "files", sort="name", most="2", start=page["after"])
    assert [row["name"] for row in rest["rows"]] == ["c.txt"]
    assert data(server, "files-total", sort="name", first=rest["first"]) == {"files": 3, "bytes": 6, "files_before": 2}
    assert data(server, "files-types") == {
        "types": [{"type": "image/jpeg", "files": 2}, {"type": "text/plain", "files": 1}]
    }
    row = page["rows"][0]
    assert (row["place"], row["type"], row["size"], row["has_thumbnail"]) == ("fish", "image/jpeg", 1, True)
    server.thumbnail("a.jpg", coll="KU Fish")
    assert listed(server, sort="name", without_thumbnail="yes") == ["a.jpg", "c.txt"]
    assert listed(server, since="1700000000.5", until="1700000001") == []
    assert listed(server, changed="yes") == []


def test_the_original_name_of_an_upload_is_shown_and_found(on_disk: RunningServer) -> None:
    for store, local in (("1.jpg", "C:\\Users\\me\\Fötö 7.JPG"), ("2.jpg", "x/../\x07y.jpg"), ("3.jpg", "3.jpg")):
        parts = {"type": "O", "coll": "KU Fish", "store": store, "token": on_disk.token(store)}
        assert on_disk.post_parts([*parts.items(), ("file", (local, b"x"))]).status == 200
    assert listed(on_disk, search="FÖTÖ") == ["1.jpg"]
    rows = data(on_disk, "files", sort="name")["rows"]
    assert [row["original_name"] for row in rows] == ["Fötö 7.JPG", "y.jpg", "3.jpg"]
    assert data(on_disk, "activity")["events"][2]["original_name"] == "Fötö 7.JPG"


@pytest.mark.parametrize(
    "parameters",
    [{"sort": "x"}, {"most": "1001"}, {"most": "0"}, {"since": "yesterday"}, {"start": "[]"}, {"start": '[false,"a"]'}],
)
def test_invalid_parameters_of_the_list_are_rejected(on_disk: RunningServer, parameters: dict[str, str]) -> None:
    assert ask(on_disk, "GET", "data/files", **parameters).status == 400


def test_a_selection_is_sent_as_one_archive_with_the_right_names(server: RunningServer) -> None:
    for name, collection, content in (
        ("täxa 日本.txt", "KU Fish", b"1"),
        ("a.jpg", "KU Fish", b"22" * 300_000),
        ("A.jpg", "KU Fish", b""),
        ("a.jpg", "KU Hérps/Co", b"4"),
    ):
        assert server.upload(name, content, coll=collection).status == 200
    pairs = [["fish", "täxa 日本.txt"], ["fish", "a.jpg"], ["fish", "A.jpg"], ["herps", "a.jpg"]]
    with archive(server, pairs) as found:
        assert found.namelist() == ["KU Fish/täxa 日本.txt", "KU Fish/a.jpg", "KU Fish/A-2.jpg", "KU Hérps_Co/a.jpg"]
        assert found.read("KU Fish/a.jpg") == b"22" * 300_000
    with archive(server, pairs[:1]) as found:
        assert found.namelist() == ["täxa 日本.txt"]


def test_files_that_are_missing_are_named_in_the_archive(server: RunningServer) -> None:
    server.upload("a.txt", b"1", coll="KU Fish")
    server.upload("b.txt", b"2", coll="KU Fish")
    ticket = changed(server, "zip", [["fish", "a.txt"], ["fish", "gone.txt"], ["fish", "b.txt"]])["ticket"]
    server.delete("a.txt", coll="KU Fish")
    with zipfile.ZipFile(io.BytesIO(server.get(f"/status/zip?ticket={ticket}").body)) as found:
        assert found.namelist() == ["b.txt", "MISSING FILES.txt"]
        assert found.read("MISSING FILES.txt").decode().splitlines()[2:] == [
            "a.txt: It was deleted.",
            "gone.txt: It was deleted.",
        ]


@pytest.mark.parametrize("content", [bytes(1000), b"x" * 3_000_000], ids=["shorter", "other bytes"])
def test_a_file_that_is_edited_while_it_is_sent_is_named_in_the_archive(
    on_disk: RunningServer, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    on_disk.upload("a.bin", bytes(3_000_000), coll="KU Fish")
    on_disk.upload("b.txt", b"b", coll="KU Fish")
    opened = on_disk.context.originals.storage.open_original

    def edited(collection_dir: str, name: str, reads: bool = True) -> Any:
        stored = opened(collection_dir, name, reads)
        if name == "a.bin":
            time.sleep(0.02)  # a file system may not distinguish changes within some milliseconds
            (on_disk.base / "fish/originals/a.bin").write_bytes(content)
        return stored

    monkeypatch.setattr(on_disk.context.originals.storage, "open_original", edited)
    with archive(on_disk, [["fish", "a.bin"], ["fish", "b.txt"]]) as found:
        assert found.namelist() == ["a.bin", "b.txt", "MISSING FILES.txt"]
        assert b"a.bin: The file was modified while it was read." in found.read("MISSING FILES.txt")


def test_a_ticket_expires(on_disk: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk.upload("a.txt", b"1", coll="KU Fish")
    assert on_disk.get("/status/zip?ticket=nonsense").status == 404
    monkeypatch.setattr("assetstore.listing.selections._VALID_SECONDS", -1)
    answer = on_disk.get(f"/status/zip?ticket={changed(on_disk, 'zip', [['fish', 'a.txt']])['ticket']}")
    assert (answer.status, answer.text) == (404, "This download has expired. Select the files again.")


def test_files_are_deleted_and_restored_together(server: RunningServer) -> None:
    for name, collection in (("a.txt", "KU Fish"), ("b.txt", "KU Fish"), ("a.txt", "KU Hérps/Co")):
        server.upload(name, b"x", coll=collection)
    report = changed(server, "delete", [["fish", "a.txt"], ["herps", "a.txt"], ["fish", "gone.txt"], ["fish", "../x"]])
    assert [(row["place"], row["name"], row["reason"]) for row in report["failed"]] == [
        ("fish", "gone.txt", "There is no such file."),
        ("fish", "../x", "A file name must not contain a slash or backslash."),
    ]
    assert listed(server) == ["b.txt"]
    events = data(server, "activity", operation="deleted")["events"]
    assert {(event["place"], event["collection"]) for event in events} == {
        ("fish", "KU Fish"),
        ("herps", "KU Hérps/Co"),
    }
    entries = [[row["place"], row["entry"]] for row in report["deleted"]]
    server.upload("a.txt", b"new", coll="KU Hérps/Co")
    restored = changed(server, "undelete", [*entries, ["fish", "nonsense"]])
    assert restored["restored"] == 1
    assert [row["reason"] for row in restored["failed"]] == [
        "A file with this name exists already.",
        "The file is no longer in the trash.",
    ]
    assert sorted(listed(server)) == ["a.txt", "a.txt", "b.txt"]


def test_a_list_requires_a_token_for_just_this_list(on_disk: RunningServer) -> None:
    on_disk.upload("a.txt", b"1", coll="KU Fish")
    pair = ["fish", "a.txt"]
    for path in ("zip", "delete", "undelete"):
        assert change(Client(on_disk.port, "another key"), path, [pair]).status == 403
        answer = change(on_disk, path, [pair], signed=[["fish", "b.txt"]])
        assert (answer.status, answer.text) == (403, "The list of files is not the one that was signed.")
        assert on_disk.request("POST", f"/status/{path}", b"[]").status == 403
    assert on_disk.get("/fileget", filename="a.txt", coll="KU Fish").status == 200


@pytest.mark.parametrize("pairs", [{}, 7, [7], [["fish"]], [["fish", 7]], [["fish", "a", "b"]], "ab"])
def test_an_invalid_list_is_rejected(on_disk: RunningServer, pairs: object) -> None:
    assert change(on_disk, "delete", pairs).status == (200 if pairs == {} else 400)
    assert change(on_disk, "delete", [["elsewhere", "a"]]).status == 404
    assert change(on_disk, "delete", [["fish", str(number)] for number in range(201)]).status == 413


def test_a_response_of_unknown_length_counts_as_a_large_one() -> None:
    def application(_environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/zip")])
        return iter([b"zip"])

    def asked() -> Any:
        context = RequestContext("id", "10.0.0.1", "GET", "/", 0.0, 0.0, "/", 0)
        environ = {REQUEST_CONTEXT: context, "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1"}
        return admission(environ, lambda status, *_: statuses.append(status[:3]))

    statuses: list[str] = []
    admission = Admission(application, 16, 8)
    held = [asked() for _ in range(3)]
    assert statuses == ["200", "200", "503"]
    for body in held[:2]:
        body.close()
    asked()
    assert statuses[-1] == "200"


def test_others_go_on_while_an_archive_is_sent(on_disk: RunningServer) -> None:
    on_disk.upload("a.bin", bytes(4_000_000), coll="KU Fish")
    ticket = changed(on_disk, "zip", [["fish", "a.bin"]])["ticket"]
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(len(on_disk.get(f"/status/zip?ticket={ticket}").body)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert on_disk.get("/fileget", filename="a.bin", coll="KU Fish").status == 200
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1


def test_names_in_an_archive_are_unique_on_every_file_system() -> None:
    pairs = [("", "a.jpg"), ("", "A.JPG"), ("", "é"), ("", "e\u0301"), ("", "x\\y"), ("", "a-2.jpg")]
    assert archive_names(pairs, {"": ""}) == ["a.jpg", "A-2.JPG", "é", "e\u0301-2", "x_x5cy", "a-2-2.jpg"]
    assert archive_names([("s3://b", "a"), ("", "a")], {"s3://b": "", "": ""}) == ["s3___b/a", "other/a"]
