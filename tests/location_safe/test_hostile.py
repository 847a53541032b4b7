"""location_safe: whatever a file contains, there is a copy without it, or a refusal."""

import functools
import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetstore.location_safe import cleaning, icc, xmp
from assetstore.location_safe.recipe import CannotClean
from assetstore.location_safe.recipe_file import RecipeFile
from assetstore.metadata import xmp as xmp_reader
from tests import tiffs
from tests.location_safe import zoo

HEADS = {
    "jpg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "tif": b"II*\0\x08\0\0\0",
    "big.tif": b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10",
    "webp": b"RIFF\xff\0\0\0WEBPVP8X",
    "heic": b"\0\0\0\x14ftypheic\0\0\0\0heic",
}

#: One picture of each structure, to be damaged.
SOUND = ("maker-Canon.jpg", "between-scans.jpg", "raw-exif.png", "in-frame.webp", "geo.tif", "exif-and-xmp.heic")

#: Tags whose texts a copy keeps.
KEPT_TEXTS = (0x010F, 0x0110, 0x013B, 0x8298)

planted = st.binary(max_size=20).map(lambda data: data + zoo.SECRET)


def copy_or_refusal(data: bytes) -> bytes | None:
    try:
        recipe = cleaning.recipe(io.BytesIO(data), len(data))
    except CannotClean:
        return None
    return RecipeFile(recipe, lambda offset, length: data[offset : offset + length]).read()


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@settings(max_examples=25)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_copy_or_a_refusal(head: bytes, rest: bytes) -> None:
    copy_or_refusal(head + rest)


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=25)
@given(st.data())
def test_a_damaged_picture_gives_a_copy_or_a_refusal(name: str, data: st.DataObject) -> None:
    picture = bytearray(zoo.made()[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(picture) - 1, 2000)))
        picture[place] = data.draw(st.sampled_from((0, 1, 2, 0x7F, 0x80, 0xFF)))
    del picture[data.draw(st.one_of(st.just(len(picture)), st.integers(0, len(picture)))) :]
    copy_or_refusal(bytes(picture))


@functools.cache
def plain(kind: str) -> bytes:
    return zoo.save(kind)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0xE0, 0xFE), planted), max_size=4), st.binary(max_size=9))
def test_no_segment_of_a_jpeg_is_copied(segments: list[tuple[int, bytes]], between: bytes) -> None:
    image = plain("JPEG")
    added = b"".join(zoo.segment(marker, contents) for marker, contents in segments)
    copy = copy_or_refusal(image[:2] + added + between.replace(b"\xff", b"") + image[2:] + zoo.SECRET)
    assert copy is None or zoo.SECRET not in copy
    assert copy is None or zoo.pixels(copy) == zoo.pixels(image)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), planted), max_size=4))
def test_no_unknown_chunk_of_a_png_or_webp_is_copied(chunks: list[tuple[bytes, bytes]]) -> None:
    chunks = [(kind, contents) for kind, contents in chunks if kind not in (b"IDAT", b"VP8 ", b"VP8L", b"ALPH")]
    png, webp = plain("PNG"), zoo.save("WEBP", lossless=True)
    added = b"".join(zoo.chunk(kind, contents) for kind, contents in chunks)
    body = webp[12:] + b"".join(
        kind + struct.pack("<I", len(contents)) + contents + bytes(len(contents) % 2) for kind, contents in chunks
    )
    for data in (png[:33] + added + png[33:], b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body):
        copy = copy_or_refusal(data)
        assert copy is None or zoo.SECRET not in copy


@settings(max_examples=30)
@given(st.dictionaries(st.integers(0, 0xFFFF), planted, max_size=4), st.sampled_from((tiffs.BYTE, tiffs.ASCII, 7)))
def test_no_unknown_tag_of_a_tiff_is_copied(tags: dict[int, bytes], kind: int) -> None:
    page = tiffs.page(8, 8, [8], 1)
    added = {tag: (kind, list(text)) for tag, text in tags.items() if tag not in (*page, *KEPT_TEXTS)}
    data = tiffs.tiff(({**{tag: value for tag, value in added.items() if kind != 7}, **page}, bytes(64)))
    copy = copy_or_refusal(data)
    assert copy is None or zoo.SECRET not in copy


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from((b"free", b"uuid", b"moov", b"mdat", b"abcd")), planted), max_size=4))
def test_no_other_box_of_a_heic_is_copied(others: list[tuple[bytes, bytes]]) -> None:
    copy = copy_or_refusal(plain("HEIF") + b"".join(zoo.box(kind, contents) for kind, contents in others))
    assert copy is not None
    assert zoo.SECRET not in copy


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(("dc:title", "Iptc4xmpCore:Location")), st.text()), st.text(max_size=60))
def test_a_packet_is_valid_and_has_only_the_properties_of_the_list(others: dict[str, str], rights: str) -> None:
    packet = xmp.packet({**others, "dc:rights": rights, "exif:GPSLatitude": "38,57N"})
    if packet is not None:
        assert set(xmp_reader.read(packet)) <= {"dc:rights"}
        assert b"GPS" not in packet


@given(st.binary(max_size=200))
def test_any_profile_is_cleaned_to_the_same_length_or_left_out(data: bytes) -> None:
    assert icc.clean(data) is None
    profile = icc.clean(data[:36].ljust(36, b"\0") + b"acsp" + data.ljust(200, b"\0"))
    assert profile is None or len(profile) == 40 + 200


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a JPEG without an end", lambda: plain("JPEG")[:-2]),
        ("a PNG without an end", lambda: plain("PNG")[:-12]),
        ("an encrypted or unknown format", lambda: b"GIF89a"),
        ("a DNG", lambda: tiffs.tiff(({**tiffs.page(8, 8, [8], 1), 50706: b"\1\4\0\0"}, bytes(64)))),
        ("colours of a sensor", lambda: tiffs.tiff((tiffs.page(8, 8, [8], 32803), bytes(64)))),
        ("a page with its metadata as pixels", lambda: overlapping()),
    ],
)
def test_what_cannot_be_cleaned_for_certain_is_refused(name: str, reason: object) -> None:
    assert callable(reason)
    assert copy_or_refusal(reason()) is None, name


def overlapping() -> bytes:
    """A TIFF whose strip is as long as the file, so that it contains all texts, too."""
    data = tiffs.tiff(({**tiffs.page(8, 8, [8], 1), 270: (tiffs.ASCII, list(zoo.SECRET))}, bytes(64)))
    return data.replace(struct.pack("<HHII", 279, 4, 1, 64), struct.pack("<HHII", 279, 4, 1, len(data)))
