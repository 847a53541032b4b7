"""Details of the routes with VISIBILITY: thumbnails at /static, links, other settings, uploads, the status page."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from assetstore.thumbnails import service
from tests import pictures
from tests.status_client import data
from tests.support import Response, RunningServer
from tests.visibility import sites
from tests.visibility.sites import Site, name_of
from tests.visibility.test_reading import NAVIGATION


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sites.running("paste", tmp_path_factory.mktemp("site"), request) as running:
        yield running


def allow(site: Site, **flags: str) -> None:
    """Writes the table with these names as well, with `_` for the dot."""
    rows = [f"{name.replace('_', '.')},{flag}," for name, flag in flags.items()]
    site.table.with_suffix(".new").write_text("\n".join(["store_name,public,embargo_until", *rows, ""]))
    site.table.with_suffix(".new").replace(site.table)


def test_a_thumbnail_at_static_is_that_of_a_readable_original(site: Site) -> None:
    server = site.server
    red, blue = pictures.encoded(pictures.scene(60, 40), "PNG"), pictures.encoded(pictures.scene(40, 60), "BMP")
    server.upload("x.png", red)
    server.upload("x.bmp", blue)
    allow(site, x_png="yes", x_bmp="no")
    path = "/static/thumbnails/x_30.png"

    def make(name: str) -> None:
        """Has the thumbnail made of this original; both have the same file name."""
        token = server.token(name)
        assert server.get("/getfileref", filename=name, type="T", scale=30, token=token).status == 200

    make("x.png")
    sites.until(lambda: server.get(path).status == 200)
    make("x.bmp")
    assert server.get(path).status == 403, "it is now that of the private original"
    assert server.get(path, token=server.token("x.png")).status == 403
    assert server.get(path, token=server.token("x.bmp")).status == 200
    make("x.png")
    assert server.get(path).status == 200
    for name in ("x_30.jpg", "x.png", "_30.png", "x_.png", "30.png", "x_3٣.png"):
        assert server.get(f"/static/thumbnails/{quote(name)}").status in (400, 403), name
    server.delete("x.png")
    server.delete("x.bmp")


def test_a_thumbnail_in_memory_is_not_repeated_once_its_file_is_private(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_SETTLED_NS", 0)  # so that it is in memory at once
    site.server.upload("seen.jpg", sites.PICTURE)

    def status() -> int:
        return site.server.thumbnail("seen.jpg", 100).status

    allow(site, seen_jpg="yes")
    sites.until(lambda: status() == 200)
    with monkeypatch.context() as patch:
        patch.setattr(site.server.context.thumbnails, "open", None)
        assert status() == 200, "from memory"
        allow(site, seen_jpg="no")
        sites.until(lambda: status() == 403)
    allow(site, seen_jpg="yes")
    sites.until(lambda: status() == 200)
    site.server.delete("seen.jpg")
    assert status() == 404


def test_a_link_opens_a_private_file_with_a_token(site: Site) -> None:
    name = name_of("unknown")
    assert site.server.get("/getfileref", filename=name).status == 403
    link = site.server.get("/getfileref", filename=name, token=site.server.token(name)).text
    path = "/" + link.split("/", 3)[3]
    assert site.server.get(path).status == 403
    assert site.server.get(path, token=site.server.token(name)).body == sites.PICTURE


@pytest.mark.parametrize("name", ["scan.TiF", "s" * 246 + ".png", "s" * 246 + ".TiF"])
def test_a_link_to_a_thumbnail_names_an_original_that_cannot_be_found_by_its_name(site: Site, name: str) -> None:
    server = site.server
    server.upload(name, pictures.tiff() if name.endswith("TiF") else pictures.encoded(pictures.scene(60, 40), "PNG"))
    token = server.token(name)
    link = server.get("/getfileref", filename=name, type="T", scale=30, token=token).text
    path, _, query = ("/" + link.split("/", 3)[3]).partition("?")
    assert query == f"filename={name}"
    assert server.get(f"{path}?{query}").status == 403
    assert server.get(path, filename="another.TiF", token=server.token("another.TiF")).status == 403
    response = server.get(f"{path}?{query}&token={token}")
    assert (response.status, response.body) == (200, server.thumbnail(name, 30, token=token).body)
    assert server.get(path, filename="../" + name, token=token).status == 400
    server.delete(name)


def test_the_viewer_opens_for_those_who_may_read_and_its_cookie_opens_the_picture(site: Site) -> None:
    server, tiff = site.server, pictures.tiff()
    server.upload("secret.tif", tiff)
    server.upload("open.tif", tiff)
    allow(site, open_tif="yes")

    def opened(name: str, headers: dict[str, str] | None = None, **query: object) -> Response:
        return server.get("/fileget", NAVIGATION | (headers or {}), filename=name, **query)

    refused = opened("secret.tif")
    assert refused.status == 403
    assert sites.comparable(refused) == sites.comparable(opened("missing.tif"))
    sites.until(lambda: opened("open.tif").status == 200)
    assert "openseadragon" in opened("open.tif").text
    assert "set-cookie" not in opened("open.tif").headers
    page = opened("secret.tif", token=server.token("secret.tif"))
    assert "openseadragon" in page.text
    cookie = {"Cookie": page.headers["set-cookie"].split(";")[0]}
    assert opened("secret.tif", cookie, view=0).body == tiff
    assert server.get("/static/originals/secret.tif", cookie).body == tiff
    assert server.get("/iiif/manifest/secret.tif", cookie).status == 200
    assert server.get("/iiif/manifest/open.tif", cookie).headers["cache-control"] == "no-cache"
    assert server.get("/fileget", cookie, filename=name_of("unknown")).status == 403
    server.delete("secret.tif")
    server.delete("open.tif")


def test_malformed_requests_and_unknown_collections_say_nothing_of_a_file(site: Site) -> None:
    client, name = site.server, name_of("unknown")
    assert client.get("/fileget").status == 400
    assert client.get("/fileget", filename="../a").status == 400
    for query in ("downloadname=a&downloadname=b", "scale=x&type=T", "coll=a&coll=b"):
        assert client.get(f"/fileget?filename={name}&{query}").status == 403
    twice = client.get(f"/fileget?filename={name}&token={client.token(name)}&token=x")
    assert twice.status == 403
    assert client.request("OPTIONS", f"/fileget?filename={name}").status == 200


def test_uploads_and_deletes_are_as_ever(site: Site) -> None:
    assert site.server.upload("new.jpg", b"x").status == 200
    assert site.server.get("/fileget", filename="new.jpg").status == 403, "nothing is known of it yet"
    assert site.server.get("/fileget", filename="new.jpg", token=site.server.token("new.jpg")).body == b"x"
    assert site.server.delete("new.jpg").status == 200
    assert site.server.delete("new.jpg").status == 404


def test_the_status_page_shows_the_state_and_explains_a_file(site: Site) -> None:
    allow(site, known_jpg="no")
    sites.until(lambda: data(site.server, "visibility?name=known.jpg")["explained"]["file"] is not None)
    page = data(site.server, "visibility?name=known.jpg")
    assert (page["enabled"], page["fault"], type(page["is_current"])) == (True, "", bool)
    assert page["explained"]["records"][0]["is_public"] is False
    assert page["explained"]["file"]["is_public"] is False
    assert data(site.server, "overview")["needs_key_to_read"] is True
    assert {change["state"] for change in page["changes"]} <= {"public", "private"}


def test_refusals_are_no_rejected_tokens_and_no_warnings(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    site.server.get("/fileget", filename="nosuch.jpg")
    refused = [record for record in caplog.records if "is not public" in record.getMessage()]
    assert [record.levelname for record in refused] == ["INFO"]
    site.server.get("/fileget", filename="nosuch.jpg", token="x")
    assert "rejected token" in caplog.text


def test_with_require_key_for_get_public_files_also_require_a_token_everywhere(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    table = tmp_path / "visibility.csv"
    table.write_text("store_name,public,embargo_until\na.jpg,yes,\n")
    base = tmp_path / "attachments"
    base.mkdir()
    own = {"KEY": "k", "BASE_DIR": str(base), "THREADS": 8, "VISIBILITY": "file", "VISIBILITY_FILE": str(table)}
    server = RunningServer({**own, "RESERVED_BYTES": 0, "REQUIRE_KEY_FOR_GET": True})
    try:
        server.upload("a.jpg", b"x")
        sites.until(lambda: server.context.visibility is not None and server.context.visibility.is_public("a.jpg"))
        for path in ("/fileget", "/getfileref", "/getmetadata"):
            assert server.get(path, filename="a.jpg").status == 403
        assert server.get("/static/originals/a.jpg").status == 403
        assert server.get("/static/originals/a.jpg", token=server.token("a.jpg")).body == b"x"
    finally:
        server.stop()


def test_readyz_and_its_reason(site: Site) -> None:
    sites.write_table(site.table, sites.STATES)
    sites.until(lambda: site.server.readiness()["checks"]["visibility"]["status"] == "ok")
    public = {"status": "ok"}  # without the reason
    sites.until(lambda: json.loads(site.server.get("/readyz").text)["checks"]["visibility"] == public)
