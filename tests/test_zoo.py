"""A zoo of broken, hostile and odd files: each gets the expected status and reason, and harms nothing else."""

import contextlib
import io
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests import pictures
from tests.support import WITHOUT_LIBRARIES, Client, RunningServer
from tests.test_live import running


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, rows: bytes = b"") -> bytes:
    """A PNG of one bit a pixel, with whatever chunks before its rows."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def pdf(page: bytes = b"", media: bytes = b"0 0 595 842", content: bytes = b"") -> bytes:
    stream = b"4 0 obj<</Length %d>>stream\n%s\nendstream endobj\n" % (len(content), content)
    return (
        b"%%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R %s>>endobj\n%s trailer<</Root 1 0 R>>"
        % (media, page, stream)
    )


def tiff(*entries: tuple[int, int, int, int], after: bytes = b"") -> bytes:
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + after


def jpeg_size(width: int, height: int) -> bytes:
    """A JPEG whose header claims these dimensions."""
    data = bytearray(pictures.jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def scans(number: int) -> bytes:
    """A progressive JPEG whose first scan is repeated."""
    data = pictures.encoded(pictures.scene(), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    tables = data.index(b"\xff\xc4", first)
    return data[: min(second, tables)] + data[first : min(second, tables)] * number + data[min(second, tables) :]


def frames(number: int) -> bytes:
    first = Image.new("P", (50, 50))
    others = [Image.new("P", (50, 50), index % 250) for index in range(number)]
    return pictures.encoded(first, "GIF", save_all=True, append_images=others)


def encrypted() -> bytes:
    """A PDF that opens with a password only."""
    options = ["-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-dEncryptionR=3", "-dKeyLength=128"]
    passwords = ["-sOwnerPassword=curator", "-sUserPassword=secret"]
    with tempfile.TemporaryDirectory() as folder:
        plain, locked = Path(folder) / "plain.pdf", Path(folder) / "locked.pdf"
        plain.write_bytes(pdf())
        subprocess.run(["gs", *options, *passwords, f"-sOutputFile={locked}", str(plain)], check=True)
        return locked.read_bytes()


def encrypted_for_a_certificate() -> bytes:
    identity = b"[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]"
    handler = b"/Filter/Adobe.PubSec/SubFilter/adbe.pkcs7.s5/V 4/R 4/Length 128/Recipients[<30>]"
    return pdf().replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt<<%s>>/ID%s" % (handler, identity))


DAMAGED, NO_PICTURE, LARGE = "damaged", "not an image", "too large"
MSL = b'<?xml version="1.0"?><image><read filename="/etc/passwd"/><write filename="/tmp/msl"/></image>'
MVG = b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 9,9 'text:/etc/passwd'\npop graphic-context"
POSTSCRIPT = b"%!PS\n(/etc/passwd) (r) file\n"

#: Name -> content, status, a word of the reason (or None for a picture).
ZOO: dict[str, tuple[Callable[[], bytes], int, str | None]] = {
    # not what the name says
    **{f"empty.{kind}": (lambda: b"", 422, NO_PICTURE) for kind in ("jpg", "png", "gif", "tif", "heic", "pdf")},
    **{f"text.{kind}": (lambda: b"just a text\n", 422, NO_PICTURE) for kind in ("jpg", "tif", "pdf", "webp", "bmp")},
    **{f"msl.{kind}": (lambda: MSL, 422, NO_PICTURE) for kind in ("jpg", "png")},
    **{f"mvg.{kind}": (lambda: MVG, 422, NO_PICTURE) for kind in ("jpg", "gif")},
    **{f"postscript.{kind}": (lambda: POSTSCRIPT, 422, NO_PICTURE) for kind in ("jpg", "pdf")},
    "postscript with a pdf header.pdf": (lambda: b"%!PS\n%%PDF-1.4\n{} loop\n", 422, NO_PICTURE),
    "control-d postscript.pdf": (lambda: b"\x04%!PS\n%PDF-1.4\n{} loop\n", 422, NO_PICTURE),
    "archive.jpg": (lambda: b"PK\x03\x04" + bytes(100), 422, NO_PICTURE),
    "gzip.pdf": (lambda: b"\x1f\x8b\x08" + bytes(100), 422, NO_PICTURE),
    "html.gif": (lambda: b"<html><script>alert(1)</script>", 422, NO_PICTURE),
    "arguments.png": (lambda: b"-write /tmp/x.txt xc:red", 422, NO_PICTURE),
    "at.jpg": (lambda: b"@/etc/passwd", 422, NO_PICTURE),
    "video.heic": (lambda: b"\0\0\0\x20ftypisom" + bytes(100), 422, NO_PICTURE),
    "bitmap in name only.bmp": (lambda: b"BM is no bitmap at all", 422, NO_PICTURE),
    # another picture than the name says: the bytes decide
    "png.jpg": (pictures.png, 200, None),
    "jpeg.png": (pictures.jpeg, 200, None),
    "heic.jpg": (pictures.heic, 200, None),
    "pdf.tif": (pictures.pdf, 200, None),
    "tiff.pdf": (pictures.tiff, 200, None),
    "webp.jpg": (pictures.webp, 200, None),
    # no type with thumbnails
    "notes.txt": (lambda: b"text", 415, "no thumbnails"),
    "picture without extension": (pictures.jpeg, 415, "no thumbnails"),
    "page.ps": (lambda: POSTSCRIPT, 415, "no thumbnails"),
    # cut off and damaged
    "half.jpg": (lambda: pictures.jpeg()[: len(pictures.jpeg()) // 2], 200, None),
    "half.png": (lambda: pictures.png()[: len(pictures.png()) // 3], 200, None),
    "half.gif": (lambda: pictures.gif()[: len(pictures.gif()) // 3], 200, None),
    "half.tif": (lambda: pictures.tiff()[: len(pictures.tiff()) // 3], 422, DAMAGED),
    "half.heic": (lambda: pictures.heic()[: len(pictures.heic()) // 2], 422, DAMAGED),
    "half.webp": (lambda: pictures.webp()[: len(pictures.webp()) // 2], 422, DAMAGED),
    "half.pdf": (lambda: pictures.pdf()[: len(pictures.pdf()) // 3], 422, DAMAGED),
    "signature only.jpg": (lambda: b"\xff\xd8\xff", 422, DAMAGED),
    "signature only.png": (lambda: b"\x89PNG\r\n\x1a\n", 422, DAMAGED),
    "signature only.gif": (lambda: b"GIF89a", 422, DAMAGED),
    "signature only.tif": (lambda: b"II*\0\x08\0\0\0", 422, DAMAGED),
    "signature only.pdf": (lambda: b"%PDF-1.7\n", 422, DAMAGED),
    "signature only.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 422, DAMAGED),
    "noise behind a signature.jpg": (lambda: b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40, 422, DAMAGED),
    "noise behind a signature.tif": (lambda: b"MM\0*" + bytes(range(255, -1, -1)) * 40, 422, DAMAGED),
    "no pixels.png": (lambda: png(0, 0), 422, None),
    "tiff without pixels.tif": (lambda: tiff((256, 3, 1, 10), (257, 3, 1, 10)), 422, DAMAGED),
    "tiff in a circle.tif": (lambda: tiff()[:-4] + struct.pack("<I", 8), 422, DAMAGED),
    "encrypted.pdf": (encrypted, 422, "requires a password"),
    "encrypted for a certificate.pdf": (encrypted_for_a_certificate, 422, "a certificate"),
    "pdf without pages.pdf": (lambda: pdf().replace(b"/Kids[3 0 R]/Count 1", b"/Kids[]/Count 0"), 422, DAMAGED),
    "a page inside itself.pdf": (lambda: pdf().replace(b"/Kids[3 0 R]", b"/Kids[2 0 R]"), 422, DAMAGED),
    # too large
    "30000 squared.png": (lambda: png(30_000, 30_000, rows=bytes(30_000 * 3751)), 422, LARGE),
    "65000 squared.jpg": (lambda: jpeg_size(65_000, 65_000), 422, None),
    "giant header.tif": (
        lambda: tiff((256, 4, 1, 400_000), (257, 4, 1, 400_000), (258, 3, 1, 8), (273, 4, 1, 8), (279, 4, 1, 9)),
        422,
        None,
    ),
    # odd, but pictures
    "compressed texts.png": (
        lambda: png(1, 1, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(49_000_000)))] * 8, rows=bytes(2)),
        200,
        None,
    ),
    "one pixel.png": (lambda: png(1, 1, rows=bytes(2)), 200, None),
    "thousands of frames.gif": (lambda: frames(1500), 200, None),
    "repeated scans.jpg": (lambda: scans(50), 200, None),
    "extra bytes behind.jpg": (lambda: pictures.jpeg() + bytes(1000), 200, None),
    "junk before.pdf": (lambda: b"some junk\n" + pictures.pdf(), 200, None),
    "blank page.pdf": (pdf, 200, None),
    "narrow label.pdf": (lambda: pdf(media=b"0 0 300 6"), 200, None),
    "tiny page.pdf": (lambda: pdf(media=b"0 0 1 1"), 200, None),
    "giant page.pdf": (lambda: pdf(media=b"0 0 14400 14400"), 200, None),
    "a form inside itself.pdf": (
        lambda: pdf(page=b"/Resources<</XObject<</F 5 0 R>>>>", content=b"/F Do").replace(
            b" trailer",
            b"5 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F 5 0 R>>>>/Length 5>>stream\n"
            b"/F Do\nendstream endobj trailer",
        ),
        200,
        None,
    ),
    # Ghostscript takes time by the square of their number, and how much differs between its versions.
    "ten thousand saved states.pdf": (lambda: pdf(content=b"q " * 10_000), 200, None),
    "javascript.pdf": (lambda: pdf(page=b"/AA<</O<</S/JavaScript/JS(app.alert(1))>>>>"), 200, None),
    "reads a file.pdf": (lambda: pdf(content=b"(/etc/passwd) (r) file"), 200, None),
    "text before the exif.jpg": (lambda: pictures.jpeg()[:2] + b"\xff\xfe\0\x06@/et" + pictures.jpeg()[2:], 200, None),
}


#: Drawn in part by libraries; ImageMagick says only that they are damaged.
DRAWN_BY_LIBRARIES_ONLY = ("half.jpg", "half.png", "half.gif")


@pytest.fixture(
    scope="module", params=["with libraries", pytest.param("without libraries", marks=pytest.mark.acceptance)]
)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("zoo") / "attachments"
    environ = {} if request.param == "with libraries" else {"PYTHONPATH": WITHOUT_LIBRARIES}
    with running(base, **environ) as program:
        yield Client(program.port())
        assert not list(base.rglob("thumbnail-*")), "temporary files are left over"


def test_the_test_corpus_is_large() -> None:
    assert len(ZOO) >= 60


@pytest.mark.parametrize("name", ZOO)
def test_every_hostile_file_gets_the_expected_status_and_reason(
    request: pytest.FixtureRequest, client: Client, name: str
) -> None:
    make, status, reason = ZOO[name]
    if "without libraries" in request.node.name and name in DRAWN_BY_LIBRARIES_ONLY:
        status, reason = 422, DAMAGED
    assert client.upload(name, make()).status == 200
    answer = client.thumbnail(name, 100)
    assert answer.status == status, answer.body[:300]
    if status == 200:
        assert max(pictures.opened(answer.body).size) <= 100
        assert b"root:" not in answer.body
    else:
        assert reason is None or reason in answer.text
        assert 10 < len(answer.text) < 200
        assert "/" not in answer.text
    metadata = client.get("/getmetadata", filename=name)
    assert metadata.status == 200
    assert client.get("/testkey", random="1", token=client.token("1")).status == 200


@pytest.mark.parametrize("size", [(100, 75), (640, 480), (3, 200)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "HEIF", "WEBP"])
def test_thumbnails_are_never_enlarged(server: RunningServer, kind: str, size: tuple[int, int]) -> None:
    name = f"a.{kind.lower().replace('heif', 'heic')}"
    server.upload(name, pictures.encoded(pictures.scene(640, 480).resize(size), kind))
    for scale in (max(size) + 1, 2 * max(size), 4000):
        assert pictures.opened(server.thumbnail(name, scale).body).size == size


def test_a_file_replaced_and_deleted_while_it_is_rendered_never_counts_as_damaged(server: RunningServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    versions = [pictures.encoded(pictures.scene(800 + number, 600), "PNG") for number in range(4)]
    server.upload("a.png", versions[0])

    def change(number: int) -> int:
        if number % 7 == 6:
            return server.delete("a.png").status
        return server.upload("a.png", versions[number % 4]).status

    with ThreadPoolExecutor(8) as threads:
        changes = threads.map(change, range(60))
        answers = list(threads.map(lambda size: server.thumbnail("a.png", size), (90, 100, 123, 150) * 30))
        assert set(changes) <= {200, 404}
    for answer in answers:
        assert answer.status in (200, 404, 503), answer.text
        if answer.status == 200:
            with contextlib.closing(io.BytesIO(answer.body)) as data:
                Image.open(data).load()


def test_nothing_was_written_outside() -> None:
    assert not Path("/tmp/msl").exists()
    assert not Path("/tmp/x.txt").exists()
