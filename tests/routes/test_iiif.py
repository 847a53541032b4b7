"""assetstore.routes.iiif: the Image API by HTTP, on one server."""

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from tests import pictures, zoomable
from tests.support import KEY, Response, RunningServer

#: The peak signal-to-noise ratio that a tile must have at least, in dB.
LEAST_PSNR = 35.0


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """One server for all tests of this module."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "attachments"
        base.mkdir()
        running = RunningServer({"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, "THREADS": 32})
        running.upload("scene.jpg", pictures.jpeg(6))
        running.upload("a b&c.pdf", pictures.pdf())
        try:
            yield running
        finally:
            running.stop()


def info(server: RunningServer, identifier: str, version: int = 3) -> dict[str, object]:
    answer = server.get(f"/iiif/{version}/{quote(identifier)}/info.json")
    assert answer.status == 200, answer.text
    found: dict[str, object] = json.loads(answer.body)
    return found


def part(server: RunningServer, identifier: str, request: str) -> Response:
    return server.get(f"/iiif/3/{quote(identifier)}/{request}")


def picture(answer: Response) -> Image.Image:
    assert answer.status == 200, answer.text
    return pictures.opened(answer.body)


# --- the right pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoomable.KINDS)
def test_tiles_show_the_right_pixels_at_every_level(server: RunningServer, name: str) -> None:
    make, page = zoomable.KINDS[name]
    data = make()
    assert server.upload(name, data).status == 200
    whole = zoomable.reference(data, name, page)
    identifier = f"{name};page={page}"
    found = info(server, identifier)
    assert (found["width"], found["height"]) == whole.size
    for factor in found["tiles"][0]["scaleFactors"]:  # type: ignore[index]
        tiles = zoomable.tiles(*whole.size, factor)
        for region, size in {tiles[0], tiles[-1], tiles[len(tiles) // 2]}:
            request = f"{','.join(map(str, region))}/{size[0]},{size[1]}/0/default.jpg"
            tile = picture(part(server, identifier, request))
            assert tile.size == size
            psnr = zoomable.psnr(tile, zoomable.part_of(whole, region, size))
            assert psnr >= LEAST_PSNR, f"{request}: {psnr:.1f} dB"


@pytest.mark.acceptance
@pytest.mark.parametrize("name", zoomable.KINDS)
def test_any_part_shows_the_right_pixels(server: RunningServer, name: str) -> None:
    make, page = zoomable.KINDS[name]
    data = make()
    server.upload(name, data)
    whole, numbers = zoomable.reference(data, name, page), random.Random(name)
    for _ in range(100):
        left, top = numbers.randrange(whole.width - 40), numbers.randrange(whole.height - 40)
        region = (left, top, numbers.randint(40, whole.width - left), numbers.randint(40, whole.height - top))
        factor = numbers.uniform(1, min(region[2:]) / 30)
        size = (max(1, round(region[2] / factor)), max(1, round(region[3] / factor)))
        request = f"{','.join(map(str, region))}/{size[0]},{size[1]}/0/default.png"
        tile = picture(part(server, f"{name};page={page}", request))
        assert tile.size == size
        assert zoomable.psnr(tile, zoomable.part_of(whole, region, size)) >= 30.0, request  # another filter


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_upright_before_anything_else(server: RunningServer, orientation: int) -> None:
    server.upload("turned.jpg", pictures.jpeg(orientation))
    upright = pictures.opened(server.thumbnail("turned.jpg", 200).body)
    tile = picture(part(server, "turned.jpg", "full/!200,200/0/default.png"))
    assert tile.size == upright.size
    assert all(map(pictures.alike, pictures.corners(tile), pictures.corners(upright)))


@pytest.mark.parametrize(
    ("rotation", "operation"),
    [
        ("90", [Image.Transpose.ROTATE_270]),
        ("180", [Image.Transpose.ROTATE_180]),
        ("270", [Image.Transpose.ROTATE_90]),
        ("!0", [Image.Transpose.FLIP_LEFT_RIGHT]),
        ("!90", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270]),
    ],
)
def test_a_part_is_mirrored_and_then_turned_clockwise(
    server: RunningServer, rotation: str, operation: list[Image.Transpose]
) -> None:
    expected = picture(part(server, "scene.jpg", "full/120,/0/default.png"))
    for step in operation:
        expected = expected.transpose(step)
    assert picture(part(server, "scene.jpg", f"full/120,/{rotation}/default.png")).tobytes() == expected.tobytes()


def test_qualities_and_formats(server: RunningServer) -> None:
    gray = picture(part(server, "scene.jpg", "full/100,/0/gray.png"))
    assert gray.mode == "L"
    assert len(gray.getcolors() or ()) > 2
    bitonal = picture(part(server, "scene.jpg", "full/100,/0/bitonal.png"))
    assert {color for _, color in bitonal.convert("L").getcolors() or ()} == {0, 255}
    for format, name in (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")):
        answer = part(server, "scene.jpg", f"full/100,/0/color.{format}")
        assert answer.headers["content-type"] == f"image/{name.lower()}"
        assert picture(answer).format == name


def test_parts_have_no_metadata(server: RunningServer) -> None:
    for format in ("jpg", "png", "webp"):
        shown = picture(part(server, "scene.jpg", f"full/max/0/default.{format}"))
        assert not shown.getexif()
        assert "icc_profile" not in shown.info


# --- info.json -------------------------------------------------------------------------------------------------------


def test_info_describes_the_upright_picture(server: RunningServer) -> None:
    found = info(server, "scene.jpg")
    assert (found["width"], found["height"]) == (480, 640)
    assert found["id"] == "http://localhost:8080/iiif/3/scene.jpg"
    assert (found["type"], found["profile"]) == ("ImageService3", "level2")
    assert {"width": 480, "height": 640} in found["sizes"]  # type: ignore[operator]
    assert found["tiles"] == [{"width": 512, "height": 512, "scaleFactors": [1, 2]}]
    older = info(server, "scene.jpg", 2)
    assert older["@id"] == "http://localhost:8080/iiif/2/scene.jpg"
    assert older["profile"][0] == "http://iiif.io/api/image/2/level2.json"  # type: ignore[index]


def test_pages_of_a_pdf_have_their_own_descriptions(server: RunningServer) -> None:
    first, second = info(server, "a b&c.pdf"), info(server, "a b&c.pdf;page=2")
    assert first["width"] != second["width"]
    assert second["id"] == "http://localhost:8080/iiif/3/a%20b%26c.pdf;page=2"
    assert server.get("/iiif/3/a%20b&c.pdf;page=3/info.json").text == "There is no page 3: the file has 2."


def test_json_ld_is_negotiated(server: RunningServer) -> None:
    plain = server.get("/iiif/3/scene.jpg/info.json")
    assert plain.headers["content-type"] == "application/json"
    assert 'rel="http://www.w3.org/ns/json-ld#context"' in plain.headers["link"]
    linked = server.get("/iiif/3/scene.jpg/info.json", {"Accept": "application/ld+json"})
    assert linked.headers["content-type"] == ('application/ld+json;profile="http://iiif.io/api/image/3/context.json"')
    assert plain.headers["vary"] == linked.headers["vary"] == "Accept"


def test_the_address_of_a_picture_redirects_to_its_description(server: RunningServer) -> None:
    answer = server.get("/iiif/3/scene.jpg")
    assert (answer.status, answer.headers["location"]) == (303, "http://localhost:8080/iiif/3/scene.jpg/info.json")


def test_a_redirect_has_the_tokens_of_the_request_and_nothing_else(server: RunningServer) -> None:
    token = server.token("scene.jpg")
    for query in (f"token={token}&x={'y' * 5000}", f"token={'z' * 5000}&token={token}"):
        answer = server.get(f"/iiif/3/scene.jpg?{query}")
        expected = f"http://localhost:8080/iiif/3/scene.jpg/info.json?token={token.replace(':', '%3A')}"
        assert (answer.status, answer.headers["location"]) == (303, expected)


# --- HTTP ------------------------------------------------------------------------------------------------------------


def test_parts_can_be_cached_until_the_original_changes(server: RunningServer) -> None:
    server.upload("changing.jpg", pictures.jpeg(1))
    first = part(server, "changing.jpg", "full/100,/0/default.jpg")
    assert first.headers["cache-control"] == "public, max-age=600"
    condition = {"If-None-Match": first.headers["etag"]}
    address = "/iiif/3/changing.jpg/full/100,/0/default.jpg"
    assert server.get(address, condition).status == 304
    server.upload("changing.jpg", pictures.jpeg(3))
    second = server.get(address, condition)
    assert second.status == 200
    assert not pictures.shows_scene(picture(second))


def test_equal_parts_have_one_canonical_address(server: RunningServer) -> None:
    for request in ("full/max/0/default.jpg", "0,0,480,640/480,640/360/color.jpg"):
        link = part(server, "scene.jpg", request).headers["link"]
        assert '<http://localhost:8080/iiif/3/scene.jpg/full/max/0/default.jpg>;rel="canonical"' in link
        assert '<http://iiif.io/api/image/3/level2.json>;rel="profile"' in link


def test_pages_of_other_origins_may_read_parts(server: RunningServer) -> None:
    assert part(server, "scene.jpg", "full/50,/0/default.jpg").headers["access-control-allow-origin"] == "*"
    assert server.request("OPTIONS", "/iiif/3/scene.jpg/info.json").status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/iiif/3/missing.jpg/info.json", 404),
        ("/iiif/3/missing.jpg", 404),
        ("/iiif/3/missing.jpg/full/max/0/default.jpg", 404),
        ("/iiif/3/..%2F..%2Fetc%2Fpasswd/info.json", 404),
        ("/iiif/3/originals%2Fscene.jpg/info.json", 404),
        ("/iiif/3/scene.jpg%00/info.json", 404),
        ("/iiif/3/scene.jpg/full/full/0/default.jpg", 400),
        ("/iiif/3/scene.jpg/full/9999,/0/default.jpg", 400),
        ("/iiif/3/scene.jpg/pct:NaN,0,1,1/max/0/default.jpg", 400),
        ("/iiif/3/scene.jpg/full/max/17/default.jpg", 400),
        ("/iiif/3/scene.jpg/full/max/0/default.tif", 400),
        ("/iiif/4/scene.jpg/info.json", 404),
        ("/iiif/3/notes.txt/info.json", 415),
        ("/iiif/3/broken.tif/info.json", 422),
    ],
)
def test_errors_have_a_status_and_a_sentence(server: RunningServer, path: str, status: int) -> None:
    server.upload("notes.txt", b"notes")
    server.upload("broken.tif", b"II*\0\xff\xff\xff\x7f")
    answer = server.get(path)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.text.endswith(".")
    assert "/tmp" not in answer.text


# --- access ----------------------------------------------------------------------------------------------------------


def test_a_key_for_reading_is_required_and_nothing_is_revealed_without_it(tmp_path: Path) -> None:
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(tmp_path), "RESERVED_BYTES": 0, "REQUIRE_KEY_FOR_GET": True})
    try:
        server.upload("a.jpg", pictures.jpeg())
        for path in ("info.json", "full/max/0/default.jpg", "full/nonsense/0/default.jpg"):
            there, missing = (server.get(f"/iiif/3/{name}/{path}") for name in ("a.jpg", "missing.jpg"))
            assert (there.status, there.text) == (missing.status, missing.text) == (401, there.text)
        assert server.get("/iiif/3/a.jpg").status == 401
        target = server.get("/iiif/3/a.jpg", token=server.token("a.jpg")).headers["location"]
        assert server.get(target.partition(":8080")[2]).status == 200, "the token is passed on"
        assert server.get("/iiif/state/a.jpg").status == 401
        token = server.token("a.jpg")
        assert server.get("/iiif/3/a.jpg/info.json", token=token).status == 200
        answer = server.get("/iiif/3/a.jpg/full/50,/0/default.jpg", token=token)
        assert answer.headers["cache-control"] == "private, no-cache"
        assert server.get("/iiif/3/a.jpg/info.json", token=server.token("b.jpg")).status == 403
    finally:
        server.stop()


def test_with_collections_the_identifier_begins_with_the_collection(tmp_path: Path) -> None:
    folders = {"KU Fish": "fish", "KU Herps": "herps"}
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(tmp_path), "RESERVED_BYTES": 0, "COLLECTION_DIRS": folders})
    try:
        server.upload("a.jpg", pictures.jpeg(), coll="KU Fish")
        for slash in ("/", "%2F"):
            answer = server.get(f"/iiif/3/KU%20Fish{slash}a.jpg/info.json")
            assert json.loads(answer.body)["id"] == "http://localhost:8080/iiif/3/KU%20Fish%2Fa.jpg"
        assert server.get("/iiif/3/KU%20Herps%2Fa.jpg/info.json").status == 404
        assert server.get("/iiif/3/Nobody%2Fa.jpg/info.json").status == 404
        assert "COLLECTION/NAME" in server.get("/iiif/3/a.jpg/info.json").text
    finally:
        server.stop()
