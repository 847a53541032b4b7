"""The cookies of the viewer: each opens one picture, for an hour."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.auth import tokens, viewer_cookies
from assetstore.auth.viewer_cookies import LIFETIME_SECONDS, MOST, headers, is_valid

KEY, NOW = "key", 1_800_000_000


def made(collection_dir: str = "", name: str = "a.tif", key: str = KEY, now: float = NOW) -> str:
    """What a browser sends after it got the cookie of a picture."""
    return headers(key, collection_dir, name, now, "/", is_secure=False)[0].split(";")[0]


def test_a_cookie_is_valid_for_its_picture_only() -> None:
    cookie = made("fish", "a.tif")
    assert is_valid([KEY], cookie, "fish", "a.tif", NOW)
    for collection_dir, name in (("fish", "b.tif"), ("herps", "a.tif"), ("", "a.tif"), ("", "fish/a.tif")):
        value = cookie.split("=")[1]
        renamed = f"{viewer_cookies.cookie_name(collection_dir, name)}={value}"
        if (collection_dir, name) != ("", "fish/a.tif"):  # which is no store name
            assert not is_valid([KEY], f"{cookie}; {renamed}", collection_dir, name, NOW)


def test_a_cookie_is_valid_for_an_hour() -> None:
    cookie = made()
    assert is_valid([KEY], cookie, "", "a.tif", NOW + LIFETIME_SECONDS - 1)
    assert not is_valid([KEY], cookie, "", "a.tif", NOW + LIFETIME_SECONDS)


def test_a_cookie_requires_one_of_the_keys() -> None:
    assert is_valid(["new", KEY], made(), "", "a.tif", NOW)
    assert not is_valid(["new"], made(), "", "a.tif", NOW)
    assert not is_valid(None, made(), "", "a.tif", NOW)


def test_tokens_are_no_cookies() -> None:
    expires = NOW + LIFETIME_SECONDS
    for name in ("a.tif", f"{expires:x} /a.tif", "viewer cookie"):
        signature = tokens.make(KEY, name, NOW).split(":")[0]
        forged = f"{viewer_cookies.cookie_name('', 'a.tif')}={expires:x}.{signature[:22]}"
        assert not is_valid([KEY], forged, "", "a.tif", NOW)


def test_a_changed_cookie_is_not_valid() -> None:
    name, value = made().split("=")
    expires, signature = value.split(".")
    for changed in (f"{int(expires, 16) - 1:x}.{signature}", f"{expires}.{signature[::-1]}", f"{expires}.", expires):
        assert not is_valid([KEY], f"{name}={changed}", "", "a.tif", NOW)


@given(st.text(max_size=80))
def test_other_cookies_do_no_harm(others: str) -> None:
    others = others.replace(made(), "")
    assert not is_valid([KEY], others, "", "a.tif", NOW)
    assert is_valid([KEY], f"{others}; {made()}", "", "a.tif", NOW)


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_cookie_is_hidden_from_scripts_and_other_sites(is_secure: bool) -> None:
    [cookie] = headers(KEY, "", "a.tif", NOW, "/assets/", is_secure=is_secure)
    attributes = cookie.split("; ")[1:]
    assert {"HttpOnly", "SameSite=Lax", "Path=/assets/", f"Max-Age={LIFETIME_SECONDS}"} <= set(attributes)
    assert ("Secure" in attributes) == is_secure
    assert "a.tif" not in cookie


def test_a_browser_has_a_limited_number_of_short_cookies() -> None:
    had = [made(name=f"{number}.tif", now=NOW + number) for number in range(MOST + 2)]
    assert len("; ".join(had[:MOST])) < 2500
    set_now = headers(KEY, "", "new.tif", NOW + 100, "/", is_secure=False, received="; ".join([*had, "theme=dark"]))
    removed = [found[1] for cookie in set_now[1:] if (found := re.match(r"(view-\S+)=; Max-Age=0; Path=/", cookie))]
    assert len(removed) == len(set_now) - 1
    assert set(removed) == {cookie.split("=")[0] for cookie in had[:3]}
