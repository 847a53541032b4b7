"""Manifests of originals, as the Presentation API 3.0 requires them."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from assetstore.iiif import levels, manifests
from assetstore.iiif.identifiers import Identifier
from assetstore.iiif.images import Page
from assetstore.iiif.manifests import Original
from tests import pictures
from tests.support import KEY, RunningServer

BASE = "https://museum.org/assets"


def original(*pages: Page, name: str = "a b.tif", collection: str | None = "KU/Fish") -> Original:
    return Original(Identifier(collection, name), 324_000_000, "ab" * 32, pages or (Page(6000, 4000),))


def parts(data: Any) -> Iterator[dict[str, Any]]:
    """All objects in a manifest."""
    if isinstance(data, dict):
        yield data
    for part in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from parts(part)


def test_every_page_is_a_canvas_with_its_image() -> None:
    manifest = manifests.of_original(BASE, original(Page(6000, 4000), Page(300, 200)))
    assert manifest["type"] == "Manifest"
    assert manifest["id"] == f"{BASE}/iiif/manifest/KU%2FFish%2Fa%20b.tif"
    assert [(canvas["width"], canvas["height"]) for canvas in manifest["items"]] == [(6000, 4000), (300, 200)]
    assert [canvas["label"]["none"] for canvas in manifest["items"]] == [["1"], ["2"]]
    for canvas, page in zip(manifest["items"], ("", ";page=2"), strict=True):
        [[annotation]] = [page["items"] for page in canvas["items"]]
        assert annotation["target"] == canvas["id"]
        assert annotation["motivation"] == "painting"
        [service] = annotation["body"]["service"]
        assert service == {
            "id": f"{BASE}/iiif/3/KU%2FFish%2Fa%20b.tif{page}",
            "type": "ImageService3",
            "profile": "level2",
        }


def test_a_manifest_links_to_the_viewer_only_if_there_is_one() -> None:
    assert manifests.of_original(BASE, original())["homepage"][0]["id"] == f"{BASE}/view/KU%2FFish%2Fa%20b.tif"
    assert "homepage" not in manifests.of_original(BASE, original(), has_viewer=False)


def test_a_manifest_describes_the_file_and_links_to_it() -> None:
    manifest = manifests.of_original(BASE, original())
    texts = {pair["label"]["en"][0]: pair["value"]["none"][0] for pair in manifest["metadata"]}
    assert texts == {
        "File name": "a b.tif",
        "File type": "TIFF",
        "File size": "324 MB (324,000,000 bytes)",
        "SHA-256": "ab" * 32,
    }
    [file] = manifest["rendering"]
    assert file["id"] == f"{BASE}/fileget?coll=KU%2FFish&filename=a+b.tif&view=0"
    assert (file["format"], file["type"]) == ("image/tiff", "Image")
    assert manifest["homepage"][0]["id"] == f"{BASE}/view/KU%2FFish%2Fa%20b.tif"


def test_images_are_offered_in_sizes_that_the_server_returns() -> None:
    manifest = manifests.of_original(BASE, original(Page(30_000, 20_000)))
    [canvas] = manifest["items"]
    assert (canvas["width"], canvas["height"]) == (30_000, 20_000)
    body = canvas["items"][0]["items"][0]["body"]
    assert (body["width"], body["height"]) == levels.largest(30_000, 20_000)
    [thumbnail] = manifest["thumbnail"]
    size = (thumbnail["width"], thumbnail["height"])
    assert size in levels.sizes(30_000, 20_000)
    assert 200 <= max(size) < 400
    assert thumbnail["id"].endswith(f"/full/{size[0]},{size[1]}/0/default.jpg")


def test_small_pictures_have_a_thumbnail_of_their_own_size() -> None:
    [thumbnail] = manifests.of_original(BASE, original(Page(20, 10)))["thumbnail"]
    assert (thumbnail["width"], thumbnail["height"]) == (20, 10)


def test_several_originals_are_in_one_manifest_in_their_order() -> None:
    front, back = original(name="front.tif"), original(Page(9, 9), Page(8, 8), name="back.tif")
    query = manifests.collection_query([front.identifier, back.identifier])
    manifest = manifests.of_collection(BASE, query, [front, back])
    assert manifest["id"] == f"{BASE}/iiif/collection?names=KU%2FFish%2Ffront.tif&names=KU%2FFish%2Fback.tif"
    labels = [canvas["label"]["none"][0] for canvas in manifest["items"]]
    assert labels == ["front.tif", "back.tif, page 1", "back.tif, page 2"]
    assert [len(canvas["rendering"]) for canvas in manifest["items"]] == [1, 1, 1]


def test_identifiers_in_a_manifest_are_unique_addresses() -> None:
    manifest = manifests.of_collection(BASE, "", [original(Page(9, 9), Page(9, 9)), original(name="b.tif")])
    kinds = ("Manifest", "Canvas", "AnnotationPage", "Annotation")
    found = [part["id"] for part in parts(manifest) if part.get("type") in kinds]
    assert len(set(found)) == len(found) == 1 + 3 * 3
    assert all(identifier.startswith(f"{BASE}/iiif/") for identifier in found)


def test_a_checksum_that_is_not_known_is_left_out() -> None:
    unknown = Original(Identifier(None, "a.tif"), 1, None, (Page(1, 1),))
    assert "SHA-256" not in json.dumps(manifests.of_original(BASE, unknown))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_499, "99.5 kB"),
        (324_400_000, "324 MB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes_are_in_units_that_people_read(size: int, words: str) -> None:
    assert manifests.size_in_words(size) == words


# --- Over HTTP ---


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    base = str(tmp_path_factory.mktemp("attachments"))
    server = RunningServer({"KEY": KEY, "BASE_DIR": base, "RESERVED_BYTES": 0, "PUBLIC_URL": BASE})
    for name in ("front ä.tif", "a,b.tif"):
        server.upload(name, pictures.tiff())
    server.upload("a.txt", b"a text")
    server.upload("bad.tif", b"II*\0 nothing")
    yield server
    server.stop()


def test_the_manifest_of_a_stored_original_is_served(server: RunningServer) -> None:
    answer = server.get("/iiif/manifest/" + quote("front ä.tif"))
    assert answer.headers["content-type"] == manifests.MEDIA_TYPE
    assert answer.headers["access-control-allow-origin"] == "*"
    manifest = json.loads(answer.body)
    assert [(canvas["width"], canvas["height"]) for canvas in manifest["items"]] == [(640, 480), (300, 200), (300, 200)]
    assert manifest["metadata"][-1]["label"] == {"en": ["SHA-256"]}
    unchanged = server.get("/iiif/manifest/" + quote("front ä.tif"), {"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")


def test_addresses_in_a_manifest_lead_to_what_they_name(server: RunningServer) -> None:
    manifest = json.loads(server.get("/iiif/manifest/" + quote("front ä.tif")).body)
    kinds = ("Manifest", "Image", "Dataset", "Text", "ImageService3")
    for part in parts(manifest):
        if part.get("type") in kinds:
            path = part["id"].removeprefix(BASE)
            answer = server.get(f"{path}/info.json" if part["type"] == "ImageService3" else path)
            assert answer.status == 200, path
            if "format" in part:
                assert answer.headers["content-type"].split(";")[0] == part["format"]
            if "width" in part and part["type"] == "Image":
                assert pictures.opened(answer.body).size == (part["width"], part["height"])


@pytest.mark.parametrize(("pages", "has_more"), [(64, False), (66, True)])
def test_a_manifest_says_that_a_file_has_more_pages_than_are_shown(
    server: RunningServer, pages: int, has_more: bool
) -> None:
    page = Image.new("L", (8, 8))
    server.upload("pages.tif", pictures.encoded(page, "TIFF", save_all=True, append_images=[page] * (pages - 1)))
    for address in ("/iiif/manifest/pages.tif", "/iiif/collection?names=pages.tif"):
        manifest = json.loads(server.get(address).body)
        assert len(manifest["items"]) == 64
        described = manifest if "manifest/" in address else manifest["items"][0]
        assert ("only the first 64 are shown" in json.dumps(described.get("summary"))) == has_more
    answer = server.get("/iiif/3/pages.tif;page=65/info.json")
    assert (answer.status, "only the first 64" in answer.text) == (404, has_more)


def test_a_changed_file_has_no_checksum(server: RunningServer) -> None:
    server.upload("changed.tif", pictures.tiff())
    (server.originals / "changed.tif").write_bytes(pictures.tiff(2))
    manifest = json.loads(server.get("/iiif/manifest/changed.tif").body)
    assert "SHA-256" not in [pair["label"]["en"][0] for pair in manifest["metadata"]]


def test_names_are_separated_by_commas_or_given_repeatedly(server: RunningServer) -> None:
    first, second = quote("front ä.tif"), "a%2Cb.tif"
    for query in (f"names={first},{second}", f"names={first}&names={second}"):
        manifest = json.loads(server.get(f"/iiif/collection?{query}").body)
        names = [canvas["label"]["none"][0].split(", page")[0] for canvas in manifest["items"]]
        assert [name for name, _ in itertools.groupby(names)] == ["front ä.tif", "a,b.tif"]
        assert server.get(manifest["id"].removeprefix(BASE)).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("manifest/none.tif", 404),
        ("manifest/a.txt", 415),
        ("manifest/bad.tif", 422),
        ("manifest/..%2F..%2Fkey", 404),
        ("manifest/.asset-server", 404),
        ("collection", 400),
        ("collection?names=", 400),
        ("collection?names=none.tif", 404),
        ("collection?names=%ff", 400),
        (f"collection?names={','.join(['a.tif'] * 51)}", 400),
    ],
)
def test_what_has_no_manifest_is_explained(server: RunningServer, path: str, status: int) -> None:
    answer = server.get(f"/iiif/{path}")
    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(answer.text) > 10


def test_pages_of_other_origins_may_request_manifests(server: RunningServer) -> None:
    answer = server.request("OPTIONS", "/iiif/manifest/a.tif")
    assert (answer.status, answer.headers["access-control-allow-methods"]) == (200, "GET, HEAD, OPTIONS")
