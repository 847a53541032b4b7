"""No route gives anything of a private file without a token, nor shows whether it exists; a token opens every route."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

import pytest

from tests.nginx import throwaway_certificate  # noqa: F401 - a fixture
from tests.support import Response, with_query
from tests.visibility import sites
from tests.visibility.sites import (
    MAIN_STATES,
    PERMISSIONS,
    PUBLIC_STATES,
    STATES,
    VALID,
    Site,
    comparable,
    name_of,
)

ROUTES: dict[str, dict[str, object]] = {
    "/fileget": {"filename": "{}"},
    "/fileget?type=T": {"filename": "{}", "type": "T", "scale": 50},
    "/fileget?downloadname": {"filename": "{}", "downloadname": "specimen.jpg"},
    "/getmetadata": {"filename": "{}"},
    "/getmetadata?dt=date": {"filename": "{}", "dt": "date"},
    "/getfileref": {"filename": "{}"},
    "/getfileref?type=T": {"filename": "{}", "type": "T", "scale": 50},
    "/static/originals/{}": {},
    "/static/thumbnails/{}_50.jpg": {},
    "/view/{}": {},
    "/iiif/3/{}": {},
    "/iiif/3/{}/info.json": {},
    "/iiif/3/{}/full/32,/0/default.jpg": {},
    "/iiif/3/{}/nonsense/32,/0/default.jpg": {},
    "/iiif/2/{}/info.json": {},
    "/iiif/2/{}/full/32,/0/default.jpg": {},
    "/iiif/state/{}": {},
    "/iiif/manifest/{}": {},
    "/iiif/collection": {"names": "{}"},
    "/iiif/collection?several": {"names": f"{name_of('public')},{{}}"},
}

#: A browser that opens an address in a tab.
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html,*/*"}


@pytest.fixture(scope="module", params=["paste", "granian", "nginx", "s3"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sites.running(request.param, tmp_path_factory.mktemp("site"), request) as running:
        yield running


def ask(
    site: Site, route: str, state: str, token: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Response:
    name = name_of(state)
    stem = name.removesuffix(".jpg") if "_50" in route else name
    query = {key: str(value).format(name) for key, value in ROUTES[route].items()}
    path = route.partition("?")[0].format(quote(stem))
    parameters, cookie = site.permission(token, name)
    all_headers = {**(headers or {}), **cookie}
    return site.client.request(method, with_query(path, query | parameters, safe=","), headers=all_headers)


def is_allowed(state: str, token: str) -> bool:
    return state in PUBLIC_STATES or token in VALID


def refusal(route: str, token: str) -> int:
    """The status if nothing is allowed; the Image API prescribes another one for requests without a token."""
    has_token = token in ("expired", "of another file", "empty")
    return 401 if route.startswith("/iiif") and not has_token else 403


def success(route: str, state: str) -> int:
    if state == "missing":
        return 403 if "thumbnails" in route else 404  # no token can be made for a thumbnail of no file
    if "nonsense" in route:
        return 400
    return 303 if route == "/iiif/3/{}" else 200


@pytest.mark.parametrize("route", ROUTES)
def test_only_public_files_are_readable_without_a_valid_token(site: Site, route: str) -> None:
    is_full = site.kind == "paste"
    missing: dict[str, Response] = {}
    for state in STATES if is_full else ("public", "private", "missing"):
        for token in PERMISSIONS if state in MAIN_STATES and is_full else ("none", "valid", "expired"):
            response = ask(site, route, state, token)
            if is_allowed(state, token):
                assert response.status == success(route, state), (state, token)
            else:
                assert response.status == refusal(route, token), (state, token)
                if token not in missing:
                    missing[token] = ask(site, route, "missing", token)
                assert comparable(response) == comparable(missing[token]), (state, token)


@pytest.mark.parametrize("route", ROUTES)
def test_heads_ranges_and_conditions_show_no_more_than_a_get(site: Site, route: str) -> None:
    whole = ask(site, route, "private", "valid")
    requests: list[tuple[str, dict[str, str]]] = [
        ("HEAD", {}),
        ("GET", {"Range": "bytes=0-9"}),
        ("GET", {"Range": "bytes=9999999-"}),
        ("GET", {"If-None-Match": whole.headers.get("etag", "*")}),
        ("GET", {"If-None-Match": "*"}),
        ("GET", {"If-Modified-Since": whole.headers.get("last-modified", "Sat, 28 Nov 2026 02:00:00 GMT")}),
        ("GET", {"Sec-Fetch-Mode": "no-cors"}),
        ("GET", NAVIGATION),
        ("GET", {"Sec-Fetch-Dest": "script"}),
        ("GET", {"Accept": "image/avif,image/webp,*/*"}),
        ("GET", {"Origin": "https://specify.museum.org", "X-Requested-With": "XMLHttpRequest"}),
    ]
    if site.kind != "paste" and route.startswith(("/iiif", "/view")):
        requests = [("HEAD", {}), ("GET", NAVIGATION)]  # the rest does not depend on the web server or the store
    for method, headers in requests:
        refused = ask(site, route, "private", "none", method, headers)
        assert refused.status == refusal(route, "none"), (method, headers)
        assert comparable(refused) == comparable(ask(site, route, "missing", "none", method, headers)), headers
        assert not {"etag", "last-modified", "accept-ranges", "location", "content-disposition"} & set(refused.headers)
        if "Sec-Fetch-Dest" not in headers:
            assert ask(site, route, "private", "valid", method, headers).status not in (401, 403), (method, headers)


def test_shared_caches_may_not_store_what_requires_a_token(site: Site) -> None:
    for route in ROUTES:
        for token in VALID:
            response = ask(site, route, "private", token)
            if response.status == 200:
                stored = "no-store" if route.startswith(("/view", "/iiif/state")) else "private, no-cache"
                assert response.headers["cache-control"] == stored, (route, token)
        assert ask(site, route, "private", "none").headers["cache-control"] == "no-store", route
        assert ask(site, route, "missing", "valid").headers["cache-control"] == "no-store", route
        public = ask(site, route, "public", "none")
        if public.status in (200, 303):
            # `public` only with a time that is a part of VISIBILITY_SECONDS
            assert public.headers["cache-control"].endswith(("no-cache", "no-store", "max-age=0")), route
    assert ask(site, "/fileget", "public", "none").headers["cache-control"] == "no-cache"
    tile = ask(site, "/iiif/3/{}/full/32,/0/default.jpg", "public", "none")
    assert tile.headers["cache-control"] == "public, max-age=0", "at most a fifth of VISIBILITY_SECONDS"


def test_a_manifest_of_several_has_a_token_for_each_private_one(site: Site) -> None:
    private, unknown = name_of("private"), name_of("embargoed")
    names = f"/iiif/collection?names={name_of('public')},{private},{unknown}"
    assert site.client.get(f"{names}&token={site.server.token(private)}").status == 403
    both = f"{names}&token={site.server.token(private)}&token={site.server.token(unknown)}"
    assert site.client.get(both).status == 200


def test_an_img_gets_a_picture_that_says_not_public(site: Site) -> None:
    for headers in ({"Accept": "image/avif,image/webp,*/*;q=0.8"}, {"Sec-Fetch-Dest": "image"}):
        for state in ("private", "missing"):
            response = ask(site, "/fileget?type=T", state, "none", headers=headers)
            assert (response.status, response.headers["content-type"]) == (403, "image/svg+xml")
            assert "Not public" in response.text
            part = ask(site, "/iiif/3/{}/full/32,/0/default.jpg", state, "none", headers=headers)
            assert (part.status, part.headers["content-type"], part.body) == (401, "image/svg+xml", response.body)


def test_a_flag_in_the_table_takes_effect_both_ways(site: Site) -> None:
    def status() -> int:
        return ask(site, "/fileget", "private", "none").status

    sites.write_table(site.table, {**STATES, "private": [("yes", "")]})
    sites.until(lambda: status() == 200)
    sites.write_table(site.table, STATES)
    sites.until(lambda: status() == 403)


def test_browsers_are_redirected_to_the_bucket_only_for_readable_files_and_briefly(site: Site) -> None:
    if site.kind != "s3":
        pytest.skip("only with a bucket")
    navigates = {"Sec-Fetch-Mode": "navigate"}
    assert ask(site, "/fileget", "private", "none", headers=navigates).status == 403
    for state, token in (("public", "none"), ("private", "valid")):
        response = ask(site, "/fileget", state, token, headers=navigates)
        assert response.status == 302
        assert "X-Amz-Expires=1&" in response.headers["location"] + "&", "not longer than a change may take"
