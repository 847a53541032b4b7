"""The cookies of the viewer: each opens its pictures, for an hour."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.auth import tokens
from assetstore.auth.viewer_cookies import LIFETIME_SECONDS, MOST_BYTES, MOST_PICTURES, headers, is_valid

KEY, NOW = "key", 1_800_000_000


def made(collection_dir: str = "", name: str = "a.tif", key: str = KEY, now: float = NOW) -> str:
    """What a browser sends after it got the cookie of a picture."""
    return made_for([(collection_dir, name)], key, now)


def made_for(pictures: list[tuple[str, str]], key: str = KEY, now: float = NOW) -> str:
    return headers(key, pictures, now, "/", is_secure=False)[0].split(";")[0]


def test_a_cookie_is_valid_for_its_picture_only() -> None:
    cookie = made("fish", "a.tif")
    assert is_valid([KEY], cookie, "fish", "a.tif", NOW)
    for collection_dir, name in (("fish", "b.tif"), ("herps", "a.tif"), ("", "a.tif")):
        other = made(collection_dir, name)
        with_other_picture = cookie.rpartition(".")[0] + "." + other.rpartition(".")[2]
        with_both = cookie + other.rpartition(".")[2]
        for forged in (cookie, with_other_picture, with_both):
            assert not is_valid([KEY], forged, collection_dir, name, NOW)


def test_a_cookie_for_several_pictures_is_valid_for_each_of_them() -> None:
    names = [f"{number}.tif" for number in range(MOST_PICTURES)]
    cookie = made_for([("fish", name) for name in names])
    assert all(is_valid([KEY], cookie, "fish", name, NOW) for name in names)
    assert not is_valid([KEY], cookie, "fish", "other.tif", NOW)
    assert not is_valid([KEY], cookie[:-16], "fish", names[0], NOW), "without one of them, it was changed"
    assert cookie == made_for([("fish", name) for name in reversed(names)])


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
        forged = ".".join((made().split("=")[0] + f"={expires:x}", signature[:22], made().split(".")[-1]))
        assert not is_valid([KEY], forged, "", "a.tif", NOW)


def test_a_changed_cookie_is_not_valid() -> None:
    name, value = made().split("=")
    expires, signature, picture = value.split(".")
    later, turned = f"{int(expires, 16) + 1:x}", signature[::-1]
    for changed in (
        f"{later}.{signature}.{picture}",
        f"{expires}.{turned}.{picture}",
        f"{expires}..{picture}",
        expires,
    ):
        assert not is_valid([KEY], f"{name}={changed}", "", "a.tif", NOW)


@given(st.text(max_size=80))
def test_other_cookies_do_no_harm(others: str) -> None:
    others = others.replace(made(), "")
    assert not is_valid([KEY], others, "", "a.tif", NOW)
    assert is_valid([KEY], f"{others}; {made()}", "", "a.tif", NOW)


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_cookie_is_hidden_from_scripts_and_other_sites(is_secure: bool) -> None:
    [cookie] = headers(KEY, [("", "a.tif")], NOW, "/assets/", is_secure=is_secure)
    attributes = cookie.split("; ")[1:]
    assert {"HttpOnly", "SameSite=Lax", "Path=/assets/", f"Max-Age={LIFETIME_SECONDS}"} <= set(attributes)
    assert ("Secure" in attributes) == is_secure
    assert "a.tif" not in cookie


@pytest.mark.parametrize("number", [1, MOST_PICTURES])
def test_the_oldest_cookies_are_removed_if_they_are_too_long_together(number: int) -> None:
    had = [made(name=f"{number}.tif", now=NOW + number) for number in range(40)]
    received = "; ".join([*had, "theme=dark"])
    pictures = [("", f"new {at}.tif") for at in range(number)]
    first, *others = headers(KEY, pictures, NOW + 100, "/", is_secure=False, received=received)
    removed = [found[1] for cookie in others if (found := re.match(r"(view-\S+)=; Max-Age=0; Path=/", cookie))]
    kept = [cookie for cookie in had if cookie.split("=")[0] not in removed]
    assert len(removed) == len(others) > 0
    assert kept == had[len(others) :], "the oldest ones are removed"
    length = len("; ".join([first.split(";")[0], *kept]))
    assert MOST_BYTES - len(had[0]) - 4 <= length <= MOST_BYTES
    assert sum(map(len, (first, *others))) < 1500, "nginx accepts 4 kB of headers"
