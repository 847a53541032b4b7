"""metadata: EXIF, XMP and IPTC are found wherever the formats store them."""

import binascii
import io
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from assetstore.metadata import reading
from assetstore.metadata.containers import finding
from assetstore.metadata.containers.tiff import TiffFile
from tests import pictures, tiffs

XMP_URI = b"http://ns.adobe.com/xap/1.0/\0"
DATE = "2009:05:30 12:34:56"

PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:d="http://purl.org/dc/elements/1.1/" d:source="Herbarium"/></rdf:RDF></x:xmpmeta>'
)
IPTC = (
    b"\x1c\x01\x5a\0\x03\x1b%G"
    + b"\x1c\x02\x50\0\x07M\xc3\xbcller"
    + b"\x1c\x02\x19\0\x05moss "
    + b"\x1c\x02\x19\0\4fern"
)


def exif() -> bytes:
    return pictures.exif().tobytes().removeprefix(b"Exif\0\0")


def resource(number: int, contents: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(contents)) + contents + bytes(len(contents) % 2)


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    plain = pictures.encoded(Image.new("RGB", (9, 9)), "JPEG")
    inserted = b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data for marker, data in segments)
    return plain[:2] + inserted + plain[2:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    plain = pictures.encoded(Image.new("RGB", (9, 9)), "PNG")
    inserted = b"".join(struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in chunks)
    return plain[:33] + inserted + plain[33:]


def raw_profile(name: bytes, data: bytes) -> bytes:
    text = b"\n%s\n%8d\n%s\n" % (name, len(data), binascii.hexlify(data))
    return b"Raw profile type " + name + b"\0\0" + zlib.compress(text)


def box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents) + 8) + kind + contents


def read(data: bytes) -> dict[str, dict[str, str]]:
    return {str(group["Name"]): group["Fields"] for group in reading.read(io.BytesIO(data)).groups}  # type: ignore[misc]


def big_tiff(order: str = "<") -> bytes:
    """A BigTIFF with an artist, EXIF and a page after it."""
    mark = b"II+\0" if order == "<" else b"MM\0+"
    head = mark + struct.pack(f"{order}HHQ", 8, 0, 16)

    def directory(*entries: bytes, following: int = 0) -> bytes:
        return struct.pack(f"{order}Q", len(entries)) + b"".join(entries) + struct.pack(f"{order}Q", following)

    def entry(tag: int, kind: int, count: int, value: bytes | int) -> bytes:
        data = struct.pack(f"{order}Q", value) if isinstance(value, int) else value.ljust(8, b"\0")
        return struct.pack(f"{order}HHQ", tag, kind, count) + data

    first = directory(entry(0x13B, 2, 7, b"Ms. Ito"), entry(0x8769, 18, 1, 200), following=300)
    data = (head + first).ljust(200, b"\0") + directory(entry(0x9003, 2, 20, 400))
    data = data.ljust(300, b"\0") + directory(entry(0x13B, 2, 4, b"two"))
    return data.ljust(400, b"\0") + DATE.encode() + b"\0"


JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n"
JPEG_XL = b"\0\0\0\x0cJXL \r\n\x87\n"

WITH_EXIF: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: jpeg((0xE1, b"Exif\0\0" + exif())),
    "jpeg, behind XMP": lambda: jpeg((0xE1, XMP_URI + PACKET.ljust(60_000)), (0xE1, b"Exif\0\0" + exif())),
    "jpeg, behind C2PA": lambda: jpeg(*[(0xEB, b"JP" + bytes(60_000))] * 5, (0xE1, b"Exif\0\0" + exif())),
    "jpeg, behind Photoshop": lambda: jpeg(
        (0xED, b"Photoshop 3.0\0" + resource(0x040C, bytes(9000))), (0xE1, b"Exif\0\0" + exif())
    ),
    "jpeg, behind comments and fill bytes": lambda: jpeg(
        (0xFE, b"a comment"), (0xE2, bytes(50_000)), (0xE1, b"Exif\0\0" + exif())
    ).replace(b"\xff\xe1", b"\xff\xff\xff\xe1"),
    "jpeg, behind a broken chain": lambda: (
        jpeg().replace(b"\xff\xd8", b"\xff\xd8\0\0", 1)[:4] + jpeg((0xE1, b"Exif\0\0" + exif()))[2:]
    ),
    "png eXIf": lambda: png((b"eXIf", exif())),
    "png eXIf with a prefix": lambda: png((b"eXIf", b"Exif\0\0" + exif())),
    "png raw profile": lambda: png((b"zTXt", raw_profile(b"exif", b"Exif\0\0" + exif()))),
    "png raw profile APP1": lambda: png((b"zTXt", raw_profile(b"APP1", b"Exif\0\0" + exif()))),
    "webp": pictures.webp,
    "heic": pictures.heic,
    "bigtiff": big_tiff,
    "bigtiff, big-endian": lambda: big_tiff(">"),
    "photoshop": lambda: b"8BPS" + bytes(22) + bytes(4) + struct.pack(">I", 900) + resource(0x0422, exif()),
    "jpeg xl": lambda: JPEG_XL + box(b"Exif", bytes(4) + exif()),
    "jpeg 2000": lambda: JPEG_2000 + box(b"uuid", b"JpgTiffExif->JP2" + exif()),
    "fujifilm": lambda: b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">I", 200) + bytes(112) + pictures.jpeg(),
    "olympus": lambda: exif().replace(b"MM\0*", b"MMOR"),
}


@pytest.mark.parametrize("name", WITH_EXIF)
def test_exif_is_found_in_every_container(name: str) -> None:
    assert reading.read(io.BytesIO(WITH_EXIF[name]())).date == DATE


def test_all_directory_boxes_of_canon_cr3_are_read() -> None:
    def directory(tag: int, text: bytes) -> bytes:
        return b"II*\0" + struct.pack("<IHHHIII", 8, 1, tag, 2, len(text), 26, 0) + text

    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    boxes = box(b"CMT1", directory(0x10F, b"Canon\0")) + box(b"CMT2", directory(0x9003, DATE.encode() + b"\0"))
    data = box(b"ftyp", b"crx ") + box(b"moov", box(b"uuid", canon + boxes))
    assert read(data) == {"Image": {"Make": "Canon"}, "EXIF": {"DateTimeOriginal": DATE}}


def test_all_pages_of_a_bigtiff_are_read() -> None:
    found = read(big_tiff())
    assert (found["Image"]["Artist"], found["Thumbnail"]["Artist"]) == ("Ms. Ito", "two")


def tiff_with_xmp_and_iptc() -> bytes:
    entries = struct.pack("<HHII", 700, 1, len(PACKET), 100) + struct.pack(
        "<HHII", 33723, 7, len(IPTC), 100 + len(PACKET)
    )
    return (b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)).ljust(100, b"\0") + PACKET + IPTC


WITH_XMP: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: jpeg((0xE1, b"Exif\0\0" + exif()), (0xE1, XMP_URI + PACKET)),
    "png": lambda: png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET)),
    "png, compressed": lambda: png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(PACKET))),
    "webp": lambda: pictures.encoded(Image.new("RGB", (9, 9)), "WEBP", xmp=PACKET),
    "heic": lambda: pictures.encoded(Image.new("RGB", (64, 64)), "HEIF", xmp=PACKET),
    "tiff": tiff_with_xmp_and_iptc,
    "jpeg xl": lambda: JPEG_XL + box(b"xml ", PACKET),
    "jpeg 2000": lambda: JPEG_2000 + box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + PACKET),
}


@pytest.mark.parametrize("name", WITH_XMP)
def test_xmp_is_listed_after_the_exif_groups(name: str) -> None:
    found = read(WITH_XMP[name]())
    assert list(found)[-1] == "XMP"
    assert found["XMP"]["dc:source"] == "Herbarium"


@pytest.mark.parametrize(
    "data",
    [
        lambda: jpeg((0xED, b"Photoshop 3.0\0" + resource(0x03ED, bytes(16)) + resource(0x0404, IPTC))),
        # One list of resources in two segments.
        lambda: jpeg(
            (0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC)[:30]),
            (0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC)[30:]),
        ),
        lambda: png((b"zTXt", raw_profile(b"iptc", resource(0x0404, IPTC)))),
        tiff_with_xmp_and_iptc,
    ],
    ids=["jpeg", "jpeg, two segments", "png", "tiff"],
)
def test_iptc_is_listed_as_a_separate_group(data: Callable[[], bytes]) -> None:
    assert read(data())["IPTC"] == {"By-line": "Müller", "Keywords": "moss; fern"}


@pytest.mark.parametrize(("too_many", "kinds"), [(0, ["EXIF", "XMP", "IPTC"]), (1, ["EXIF", "XMP"])])
def test_the_blocks_of_a_file_are_read_up_to_a_sum_of_bytes(
    monkeypatch: pytest.MonkeyPatch, too_many: int, kinds: list[str]
) -> None:
    monkeypatch.setattr(finding, "_MOST_BYTES", len(PACKET) + len(IPTC) - too_many)
    assert [block.kind for block in finding.find(io.BytesIO(tiff_with_xmp_and_iptc()))] == kinds


#: How many bytes a value of each type has (TIFF 6.0, section 2, and BigTIFF).
LENGTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@pytest.mark.parametrize("is_big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_every_type_are_found_in_their_entry_or_at_their_offset(order: str, is_big: bool) -> None:
    for count in (1, 2, 4, 8, 9):
        values = {kind: bytes(range(1, count * length + 1)) for kind, length in LENGTHS.items()}
        entries = [(1000 + kind, kind, count, data) for kind, data in values.items()]
        tiff = TiffFile(io.BytesIO(tiffs.directory(*entries, order=order, is_big=is_big, following=77)))
        found, following = tiff.directory(tiff.first)
        assert {entry.type: tiff.value(entry) for entry in found} == values
        assert following == 77


def test_iptc_without_a_character_set_is_decoded_as_latin_1() -> None:
    found = read(jpeg((0xED, b"Photoshop 3.0\0" + resource(0x0404, b"\x1c\x02\x50\0\6M\xfcller"))))
    assert found["IPTC"] == {"By-line": "Müller"}


def test_only_the_first_of_thousands_of_blocks_are_read() -> None:
    packet = XMP_URI + PACKET.replace(b"</rdf:RDF>", b"<rdf:Description/>" * 3000 + b"</rdf:RDF>")
    began = time.process_time()
    assert read(jpeg(*[(0xE1, packet)] * 1900))["XMP"]["dc:source"] == "Herbarium"
    assert time.process_time() - began < 8


def test_decompression_of_text_is_bounded() -> None:
    bomb = zlib.compress(b"\nexif\n 1\n" + b"0" * (50 << 20))
    assert read(png(*[(b"zTXt", b"Raw profile type exif\0\0" + bomb)] * 3)) == {}
