"""LOCATION_SAFE over HTTP: without a token, every route sends copies of pictures, and nothing where there is none."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import pictures
from tests.location_safe import zoo
from tests.object_store import BUCKETS
from tests.support import KEY, Response, RunningServer

PHOTO = zoo.made()["maker-Canon.jpg"]
SCAN = zoo.made()["geo.tif"]
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0isom" + zoo.SECRET

#: Files that the table says are public.
FILES = {
    "photo.jpg": PHOTO,
    "scan.tif": SCAN,
    "film.mp4": VIDEO,
    "cut.jpg": PHOTO[:-40],
    "raw.nef": SCAN,
    "paper.pdf": pictures.pdf(),
    "song.mp3": b"ID3" + bytes(100),
    "changed.jpg": PHOTO,
}
AS_THEY_ARE = ("paper.pdf", "song.mp3")
COPIED = ("photo.jpg", "scan.tif")
REFUSED = ("film.mp4", "cut.jpg", "raw.nef")


def started(folder: Path, **own: object) -> RunningServer:
    """A server on whose disk or bucket all files are."""
    base, table = folder / "attachments", folder / "visibility.csv"
    base.mkdir()
    rows = [f"{name},yes," for name in FILES]
    table.write_text("\n".join(["store_name,public,embargo_until", *rows, "private.jpg,no,", ""]), encoding="utf-8")
    visibility = {"VISIBILITY": "file", "VISIBILITY_FILE": str(table), "VISIBILITY_SECONDS": 1, "LOCATION_SAFE": True}
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, "THREADS": 16, **visibility, **own})
    for name, data in {**FILES, "private.jpg": PHOTO}.items():
        assert server.upload(name, data).status == 200
    while server.get("/fileget", filename="song.mp3").status == 403:
        pass  # the table has not been read yet
    return server


@pytest.fixture(scope="module", params=["disk", "bucket"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    own: dict[str, object] = {"ACCEL_REDIRECT": "/protected"}
    if request.param == "bucket":
        store = request.getfixturevalue("object_store")
        own = {"STORAGE_URL": f"s3://{BUCKETS[0]}/{uuid.uuid4().hex}", "STORAGE_ENDPOINT": store.endpoint}
        own["STORAGE_REDIRECT_SECONDS"] = 60
    running = started(tmp_path_factory.mktemp("safe"), **own)
    yield running
    running.stop()


def get(server: RunningServer, name: str, **query: object) -> Response:
    return server.get("/fileget", filename=name, **query)


@pytest.mark.parametrize("name", COPIED)
def test_without_a_token_every_route_sends_the_copy(server: RunningServer, name: str) -> None:
    copy = get(server, name)
    assert copy.status == 200
    assert zoo.SECRET not in copy.body
    assert zoo.pixels(copy.body) == zoo.pixels(FILES[name])
    expired = get(server, name, token=server.token(name, age=10_000))
    other = get(server, name, token=server.token("another.jpg"))
    static = server.get(f"/static/originals/{name}")
    navigating = server.get("/fileget", {"Sec-Fetch-Mode": "navigate"}, filename=name)
    for answer in (expired, other, static, navigating):
        assert (answer.status, answer.body) == (200, copy.body)
        assert "x-accel-redirect" not in answer.headers
    reference = server.get("/getfileref", filename=name)
    assert reference.text.endswith(f"/static/originals/{name}")


@pytest.mark.parametrize("name", FILES)
def test_with_a_token_the_original_is_sent(server: RunningServer, name: str) -> None:
    answer = get(server, name, token=server.token(name))
    assert answer.status == 200
    if "x-accel-redirect" in answer.headers:
        assert answer.headers["x-accel-redirect"] == f"/protected/originals/{name}"
    else:
        assert answer.body == FILES[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cleaned_requires_a_token_on_every_route(server: RunningServer, name: str) -> None:
    for answer in (
        get(server, name),
        server.get(f"/static/originals/{name}"),
        server.get("/getmetadata", filename=name),
        server.get("/fileget", {"Range": "bytes=0-9"}, filename=name),
        server.head("/fileget", filename=name),
    ):
        assert answer.status == 403
        assert zoo.SECRET not in answer.body
        assert "etag" not in answer.headers


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_other_kinds_of_files_are_sent_as_they_are(server: RunningServer, name: str) -> None:
    answer = get(server, name)
    assert answer.headers.get("x-accel-redirect") or answer.body == FILES[name]


def test_head_ranges_and_conditions_concern_the_copy(server: RunningServer) -> None:
    copy = get(server, "photo.jpg")
    head = server.head("/fileget", filename="photo.jpg")
    same = ("etag", "content-length", "last-modified", "content-type")
    assert {name: head.headers[name] for name in same} == {name: copy.headers[name] for name in same}
    assert int(copy.headers["content-length"]) == len(copy.body)
    for first, last in ((0, 9), (10, 700), (len(copy.body) - 5, len(copy.body) - 1)):
        part = server.get("/fileget", {"Range": f"bytes={first}-{last}"}, filename="photo.jpg")
        assert (part.status, part.body) == (206, copy.body[first : last + 1])
        assert part.headers["content-range"].endswith(f"/{len(copy.body)}")
    assert server.get("/fileget", {"If-None-Match": copy.headers["etag"]}, filename="photo.jpg").status == 304
    token = server.token("photo.jpg")
    original = server.get("/fileget", {"If-None-Match": copy.headers["etag"]}, filename="photo.jpg", token=token)
    assert original.status == 200
    assert original.headers["etag"] != copy.headers["etag"]


def test_metadata_without_a_token_is_that_of_the_copy(server: RunningServer) -> None:
    def groups(**query: object) -> str:
        answer = server.get("/getmetadata", filename="photo.jpg", **query)
        assert answer.status == 200
        return json.dumps(json.loads(answer.body))

    assert "GPS" in groups(token=server.token("photo.jpg"))
    public = groups()
    assert all(word not in public for word in ("GPS", "Serial", "MakerNote", "Sekret"))
    assert zoo.ARTIST in public
    date = server.get("/getmetadata", filename="photo.jpg", dt="date")
    assert date.text == "2009:05:30 12:34:56"


def test_the_viewer_shows_the_copy_without_a_token_and_the_original_with_one(server: RunningServer) -> None:
    public = server.get("/view/photo.jpg")
    assert public.status == 200
    assert "set-cookie" not in public.headers
    assert "GPS" not in server.get("/getmetadata", filename="photo.jpg").text
    with_token = server.get("/view/photo.jpg", token=server.token("photo.jpg"))
    cookie = {"Cookie": with_token.headers["set-cookie"].split(";")[0]}
    metadata = server.get("/getmetadata", cookie, filename="photo.jpg")
    assert "GPS" in metadata.text
    assert metadata.headers["cache-control"] == "private, no-cache"
    assert "GPS" not in server.get("/getmetadata", cookie, filename="scan.tif").text


def test_a_manifest_shows_size_and_checksum_of_the_original_only_with_a_token(server: RunningServer) -> None:
    for address in ("/iiif/manifest/photo.jpg", "/iiif/collection?names=photo.jpg"):
        public = server.get(address)
        assert public.status == 200
        assert "SHA-256" not in public.text
        assert "File size" not in public.text
        assert public.headers["cache-control"] == "no-cache"
        mark = "&" if "?" in address else "?"
        private = server.get(f"{address}{mark}token={server.token('photo.jpg')}")
        assert "SHA-256" in private.text
        assert private.headers["cache-control"] == "private, no-cache"


def test_parts_of_a_picture_have_no_metadata(server: RunningServer) -> None:
    for kind in ("jpg", "png", "webp", "tif"):
        part = server.get(f"/iiif/3/photo.jpg/full/max/0/default.{kind}")
        if part.status == 200:
            assert zoo.SECRET not in part.body
            assert b"Exif" not in part.body
            assert b"GPS" not in part.body
    assert server.get("/iiif/3/photo.jpg/full/max/0/default.jpg").status == 200


def test_thumbnails_are_sent_of_all_pictures(server: RunningServer) -> None:
    assert server.get("/fileget", filename="photo.jpg", type="T", scale=20).status == 200


def test_a_replaced_or_deleted_picture_is_never_sent_again(server: RunningServer) -> None:
    name = "changed.jpg"
    before = get(server, name)
    server.upload(name, zoo.made()["mpo.jpg"])
    after = get(server, name)
    assert (before.status, after.status) == (200, 200)
    assert after.headers["etag"] != before.headers["etag"]
    assert zoo.pixels(after.body) == zoo.pixels(zoo.made()["mpo.jpg"])
    server.delete(name)
    assert get(server, name).status == 404


def test_private_pictures_stay_private(server: RunningServer) -> None:
    assert get(server, "private.jpg").status == 403
    token = server.token("private.jpg")
    assert "gps" in str(server.get("/getmetadata", filename="private.jpg", token=token).body).lower()


def test_thumbnails_of_earlier_servers_are_not_taken_over_or_sent(tmp_path: Path) -> None:
    server = started(tmp_path)

    def thumbnail(name: str) -> bytes:
        answer = server.get("/fileget", filename=name, type="T", scale=100)
        assert answer.status == 200
        return answer.body

    try:
        old = zoo.save("JPEG", pictures.scene(20, 20), exif=pictures.exif())
        cached = server.thumbnails / "photo_100.jpg"
        server.thumbnails.mkdir(exist_ok=True)
        cached.write_bytes(old)
        new = thumbnail("photo.jpg")
        assert b"Exif" not in new
        assert thumbnail("scan.tif")
        files = [cached, server.thumbnails / "scan_100.png"]
        made = [file.stat().st_ino for file in files]
        assert thumbnail("photo.jpg") == new
        assert thumbnail("scan.tif")
        assert [file.stat().st_ino for file in files] == made, "without metadata, they are not rendered again"
        before = cached.stat()
        cached.write_bytes(old)
        os.utime(cached, ns=(0, before.st_mtime_ns))  # as if it had been taken over without LOCATION_SAFE
        assert server.get("/static/thumbnails/photo_100.jpg").status == 403
        assert thumbnail("photo.jpg") == new
        assert server.get("/static/thumbnails/photo_100.jpg").body == new
    finally:
        server.stop()
