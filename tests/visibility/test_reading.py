"""No route gives anything of a private file without a token, nor shows whether it exists; a token opens every route."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

import pytest

from tests.nginx import throwaway_certificate  # noqa: F401 - a fixture
from tests.support import Response, with_query
from tests.visibility import sites
from tests.visibility.sites import PUBLIC_STATES, STATES, Site, comparable, name_of

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
}


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
    return site.client.request(method, with_query(path, {**query, **site.token(token, name)}), headers=headers)


def is_allowed(state: str, token: str) -> bool:
    return state in PUBLIC_STATES or token == "valid"


@pytest.mark.parametrize("route", ROUTES)
def test_only_public_files_are_readable_without_a_valid_token(site: Site, route: str) -> None:
    for state in STATES if site.kind in ("paste", "granian") else ("public", "private", "missing"):
        for token in ("none", "valid", "expired", "of another file", "empty"):
            response = ask(site, route, state, token)
            if is_allowed(state, token):
                is_absent = state == "missing"
                expected = 404 if is_absent else 200
                if "thumbnails" in route and state == "missing":
                    expected = 403  # no token can be made for a thumbnail of no file
                assert response.status == expected, (state, token)
            else:
                assert response.status == 403, (state, token)
                assert comparable(response) == comparable(ask(site, route, "missing", token)), (state, token)


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
        ("GET", {"Sec-Fetch-Dest": "script"}),
        ("GET", {"Accept": "image/avif,image/webp,*/*"}),
        ("GET", {"Origin": "https://specify.museum.org", "X-Requested-With": "XMLHttpRequest"}),
    ]
    for method, headers in requests:
        refused = ask(site, route, "private", "none", method, headers)
        assert refused.status == 403, (method, headers)
        assert comparable(refused) == comparable(ask(site, route, "missing", "none", method, headers)), headers
        assert not {"etag", "last-modified", "accept-ranges", "location", "content-disposition"} & set(refused.headers)
        if "Sec-Fetch-Dest" not in headers:
            assert ask(site, route, "private", "valid", method, headers).status != 403, (method, headers)


def test_shared_caches_may_not_store_what_requires_a_token(site: Site) -> None:
    for route in ROUTES:
        if "date" not in route:
            assert ask(site, route, "private", "valid").headers["cache-control"] == "private, no-cache", route
    assert ask(site, "/fileget", "private", "none").headers["cache-control"] == "no-store"
    assert ask(site, "/fileget", "public", "none").headers["cache-control"] == "no-cache"


def test_an_img_gets_a_picture_that_says_not_public(site: Site) -> None:
    for headers in ({"Accept": "image/avif,image/webp,*/*;q=0.8"}, {"Sec-Fetch-Dest": "image"}):
        for state in ("private", "missing"):
            response = ask(site, "/fileget?type=T", state, "none", headers=headers)
            assert (response.status, response.headers["content-type"]) == (403, "image/svg+xml")
            assert "Not public" in response.text


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
