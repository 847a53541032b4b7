"""Replays what the real Specify clients send, byte for byte, against the running server.

The recordings in tests/wire/ build on one another, so each client is replayed from the top on an
empty store. Valid tokens are signed again with the current time; see tests/wire/README.md.
"""

import csv
import hashlib
import hmac
import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from assetstore.app import bootstrap
from tests.support import KEY, PROJECT, Response, RunningServer, is_of_this_run

EVERY_SERVER = True


@pytest.fixture(params=["disk", "s3"])
def start(request: pytest.FixtureRequest, start: Callable[..., RunningServer]) -> Callable[..., RunningServer]:
    """As elsewhere, on each kind of store."""
    more = request.getfixturevalue("s3_settings") if request.param == "s3" else {}
    return lambda **own: start(**more, **own)


WIRE = Path(__file__).parent / "wire"
NAME = re.compile(rb"(?:[?&]|^)(?:filename|random)=([^& ]*)", re.MULTILINE)
STORE = re.compile(rb'name="store"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')
TOKEN = re.compile(rb"[0-9a-f]{32}(:|%3A)[0-9]{10}")


def recordings(client: str) -> list[dict[str, str]]:
    with open(WIRE / "INDEX.tsv", encoding="utf-8") as index:
        return [row for row in csv.DictReader(index, delimiter="\t") if row["file"].startswith(client)]


def signed_anew(recording: bytes) -> bytes:
    """Replaces the token by one made now, independently of the server's own code."""
    match = STORE.search(recording) or NAME.search(recording)
    assert match
    timestamp = str(int(time.time())).encode()
    signature = hmac.new(KEY.encode(), timestamp + match[1], hashlib.md5).hexdigest().encode()
    return TOKEN.sub(lambda token: signature + token[1] + timestamp, recording)


def replay(server: RunningServer, client: str) -> dict[str, Response]:
    answers = {}
    for row in recordings(client):
        recording = (WIRE / row["file"]).read_bytes()
        if row["token"] == "valid":
            recording = signed_anew(recording)
        answer = server.raw(recording, finish=False)
        assert answer.status == int(row["status"]), f"{row['file']}: {answer.status} {answer.body[:200]!r}"
        answers[row["file"]] = answer
    return answers


def stored_bytes(recording: str) -> bytes:
    """The file in a recorded upload."""
    data = (WIRE / recording).read_bytes()
    boundary = re.search(rb"boundary=([^;\r\n]+)", data)
    assert boundary
    part = next(part for part in data.split(b"--" + boundary[1])[1:] if b"filename=" in part.split(b"\r\n\r\n")[0])
    return part.split(b"\r\n\r\n", 1)[1][: -len(b"\r\n")]


def test_all_recordings_are_present() -> None:
    assert len(recordings("sp6-")) + len(recordings("sp7fe-")) == 101
    assert {row["file"] for row in recordings("sp")} == {path.name for path in WIRE.glob("*.http")}


@pytest.mark.parametrize("mapped", [False, True], ids=["one folder", "a folder per collection"])
def test_specify_6_works_unchanged(start: Callable[..., RunningServer], mapped: bool) -> None:
    folders = {"KU Fish": "fish", "Herpetología 植物 & más": "herps/all"}
    server = start(COLLECTION_DIRS=folders if mapped else None)
    answers = replay(server, "sp6-")
    original = stored_bytes("sp6-store-jpeg.fileupload.http")
    assert answers["sp6-store-jpeg.fileupload.http"].text == "Ok."
    assert answers["sp6-store-jpeg.fileupload-2.http"].text == "Ignoring thumbnail upload!"
    assert answers["sp6-getoriginal-jpeg.fileget.http"].body == original
    assert answers["sp6-init.testkey.http"].text == "Ok."
    picture = Image.open(io.BytesIO(answers["sp6-getthumb-tif.fileget.http"].body))
    assert picture.format == "PNG"
    assert max(picture.size) == 100
    # Everything that was stored has been deleted again, thumbnails included.
    for folder in ("originals", "thumbnails"):
        assert not [path for path in server.base.rglob(f"{folder}/*") if path.is_file()]
    originals = bootstrap.open_originals(server.settings, PROJECT)
    assert not [
        listed for collection_dir in originals.collection_dirs for listed in originals.storage.originals(collection_dir)
    ]
    originals.journal.close()


def test_specify_7_and_the_web_portal_work_unchanged(server: RunningServer) -> None:
    answers = replay(server, "sp7fe-")
    for name, answer in answers.items():
        request = (WIRE / name).read_bytes().split(b"\r\n", 1)[0].split(b" ")[1].decode()
        url = urlsplit(request)
        if url.path == "/fileget" and answer.status == 200:
            wanted = parse_qs(url.query)
            if wanted["type"] == ["T"]:
                picture = Image.open(io.BytesIO(answer.body))
                assert max(picture.size) <= int(wanted["scale"][0])
    sound = answers["sp7fe-media-wav.fileget.http"]
    assert sound.headers["content-range"] == f"bytes 0-{len(sound.body) - 1}/{len(sound.body)}"
    assert sound.body == stored_bytes("sp7fe-upload-wav.fileupload.http")
    assert answers["sp7fe-upload-jpeg.fileupload-preflight.http"].body == b""


@pytest.mark.parametrize("client", ["sp6-", "sp7fe-"])
def test_every_response_has_the_headers_required_by_the_protocol(server: RunningServer, client: str) -> None:
    for name, answer in replay(server, client).items():
        assert is_of_this_run(int(answer.headers["x-timestamp"])), name
        assert answer.headers["access-control-allow-origin"] == "*", name
        assert answer.headers["content-type"], name
        if answer.status >= 400:
            assert answer.headers["content-type"] == "text/plain; charset=UTF-8", name
            assert 10 < len(answer.text) < 200, name
