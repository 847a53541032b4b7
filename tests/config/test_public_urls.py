"""config.public_urls: the addresses that the server advertises."""

from pathlib import Path

import pytest

from assetstore.config import loading, public_urls


@pytest.mark.parametrize(
    ("own", "scheme", "url"),
    [
        ({}, "http", "http://localhost:8080"),
        ({"SERVER_NAME": "museum.org", "SERVER_PORT": 80}, "http", "http://museum.org"),
        ({"SERVER_NAME": "museum.org", "SERVER_PORT": 80}, "https", "https://museum.org"),
        ({"SERVER_NAME": "museum.org", "SERVER_PORT": 443}, "http", "https://museum.org"),
        ({"SERVER_NAME": "museum.org", "SERVER_PORT": 8443}, "https", "https://museum.org:8443"),
        ({"SERVER_NAME": "2001:db8::1", "SERVER_PORT": 8080}, "http", "http://[2001:db8::1]:8080"),
        ({"PUBLIC_URL": "https://museum.org/assets/", "SERVER_PORT": 1}, "http", "https://museum.org/assets"),
    ],
)
def test_the_base_url_is_public_url_or_built_from_name_and_port(own: dict[str, object], scheme: str, url: str) -> None:
    settings = loading.load(own, {}, Path("/program"), 1)
    assert public_urls.base_url(settings, scheme) == url


def test_links_to_files_are_percent_encoded() -> None:
    url = public_urls.static_url("http://m.org", "fish/wet", "originals", "ñ #1 50%?.jpg")
    assert url == "http://m.org/static/fish/wet/originals/%C3%B1%20%231%2050%25%3F.jpg"
