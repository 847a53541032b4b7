"""formats: the format of a file, and the name of its thumbnail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore import formats, media_types, names
from assetstore.doctor import samples
from assetstore.errors import BadRequest
from tests import pictures


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (pictures.jpeg(), formats.JPEG),
        (pictures.png(), formats.PNG),
        (pictures.gif(), formats.GIF),
        (pictures.tiff(), formats.TIFF),
        (pictures.heic(), formats.HEIC),
        (pictures.pdf(), formats.PDF),
        (pictures.webp(), formats.WEBP),
        (pictures.avif(), formats.AVIF),
        (pictures.bmp(), formats.BMP),
        (samples.ALL[-5].read(), formats.JPEG_2000),
        (samples.ALL[-4].read(), formats.JPEG_XL),
        (samples.ALL[-3].read(), formats.PSD),
        (samples.ALL[-2].read(), formats.SVG),
        (samples.ALL[-1].read(), formats.TIFF),  # a DNG, which its tags tell apart
        (b"II*\0\x10\0\0\0CR\2\0", formats.CAMERA_RAW),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", formats.CAMERA_RAW),
        (b"IIRO\x08\0\0\0", formats.CAMERA_RAW),
        (b"FUJIFILMCCD-RAW 0201", formats.CAMERA_RAW),
        (b"BM of something else", None),
        (b"MM\0+\0\x08\0\0", formats.TIFF),
        (b"junk before\n%PDF-1.4", formats.PDF),
        (b"", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", formats.SVG),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<!DOCTYPE svg>\n<svg>", formats.SVG),
        (b"<!DOCTYPE html><html><body><svg>", None),
        (b"<html><svg>", None),
        (b"push graphic-context\nviewbox 0 0 640 480", None),
        (b"%!PS-Adobe-3.0", None),
        (b"PK\x03\x04", None),
        (b"x" * 2000 + b"%PDF-1.4", None),
    ],
)
def test_formats_are_recognised_by_their_first_bytes(data: bytes, format: formats.Format | None) -> None:
    assert formats.recognise(data[: formats.HEAD_LENGTH]) is format


@pytest.mark.parametrize(
    ("name", "thumbnail"),
    [
        ("sp61.att.jpg", "sp61.att_100.jpg"),
        ("a.JPG", "a_100.JPG"),
        ("a.png", "a_100.png"),
        ("a.gif", "a_100.gif"),
        ("a.att.TIF", "a.att_100.png"),
        ("a.pdf", "a_100.png"),
        ("a.heic", "a_100.png"),
        ("a.HIF", "a_100.png"),
        ("a.NEF", "a_100.png"),
        ("*?[x]{y}.jpg", "*?[x]{y}_100.jpg"),
    ],
)
def test_thumbnails_have_the_same_names_as_on_earlier_servers(name: str, thumbnail: str) -> None:
    assert formats.thumbnail_name(name, media_types.guess(name), 100) == thumbnail


@given(st.text(min_size=1, max_size=255), st.integers(1, 30_000), st.sampled_from([".jpg", ".tiff", ".pdf", ".JPEG"]))
def test_every_valid_name_has_a_valid_thumbnail_name(root: str, scale: int, extension: str) -> None:
    try:
        name = names.store_name(root + extension)
    except BadRequest:
        return
    if media_types.guess(name) in formats.THUMBNAIL_TYPES:
        assert names.store_name(formats.thumbnail_name(name, media_types.guess(name), scale))


def test_camera_raw_may_start_like_a_tiff_but_not_like_a_jpeg() -> None:
    assert not formats.is_misnamed("image/x-nikon-nef", pictures.tiff())
    assert not formats.is_misnamed("image/x-canon-cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom")
    assert formats.is_misnamed("image/x-nikon-nef", pictures.jpeg())
