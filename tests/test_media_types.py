"""media_types: from names to media types."""

import pytest

from assetstore import media_types


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.att.jpg", "image/jpeg"),
        ("a.JPG", "image/jpeg"),
        ("a.tif", "image/tiff"),
        ("a.heic", "image/heic"),
        ("a.pdf", "application/pdf"),
        ("a.txt", "text/plain; charset=UTF-8"),
        ("a.html", "text/html; charset=UTF-8"),
        ("a.csv", "text/csv; charset=UTF-8"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.gz", "application/gzip"),
        ("a.svgz", "application/octet-stream"),
        ("a.wav", "audio/x-wav"),
        ("a.mp4", "video/mp4"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        (".html", "application/octet-stream"),
        ("html", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("data:text/html,.x", "application/octet-stream"),
        ("a.ñandú", "application/octet-stream"),
    ],
)
def test_the_media_type_follows_the_last_extension(name: str, header: str) -> None:
    assert media_types.header(name) == header
