"""rendering.engines: what pixels mean, in pictures that libraries and programs often get wrong."""

import io
import os
import resource
import signal
import struct
import time
import types
import zlib
from collections.abc import Sequence
from pathlib import Path

import pillow_heif.heif
import pytest
from PIL import Image, ImageCms, ImageStat

from assetstore import formats
from assetstore.doctor import samples
from assetstore.errors import Unavailable
from assetstore.thumbnails.rendering import engines, headers, libvips, pillow, refusals
from assetstore.thumbnails.rendering.job import Job, Limits
from tests import pdfs, pictures, tiffs
from tests.test_zoo import chunk, pdf, png
from tests.tiffs import FLOAT, LONG, RATIONAL, SHORT, page

LIMITS = Limits(30, 512)


class Drawn:
    """What `draw` returns: the thumbnail and the note for the log."""

    def __init__(self, picture: Image.Image, note: str) -> None:
        self.picture, self.note = picture, note

    def color(self, x: float = 0.5, y: float = 0.5) -> tuple[int, ...]:
        """The colour at a place given by parts of the sides, on white."""
        flat = Image.alpha_composite(Image.new("RGBA", self.picture.size, "white"), self.picture.convert("RGBA"))
        spot = (int(x * (flat.width - 1)), int(y * (flat.height - 1)))
        return flat.convert("RGB").getpixel(spot)  # type: ignore[return-value]


def draw(folder: Path, data: bytes, size: int = 100, only: Sequence[engines.Engine] | None = None) -> Drawn:
    source, target = folder / "source", folder / "thumbnail"
    source.write_bytes(data)
    format = formats.recognise(data[: formats.HEAD_LENGTH])
    assert format
    note = engines.render(Job(str(source), str(target), format.decoder, "png", size), LIMITS, only)
    return Drawn(pictures.opened(target.read_bytes()), note)


def solid(*values: int, pixels: int = 64 * 48) -> bytes:
    return bytes(values) * pixels


def in_profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)
BITS_16 = struct.pack("<H", 4095) * (64 * 24) + bytes(2 * 64 * 24)
#: A fifth of the light of white as SGI LogL and neutral LogLuv: the planes of a row, each a run of 64 bytes.
LOG_ROW, NEUTRAL = bytes((190, 15818 >> 8, 190, 15818 & 0xFF)), bytes((190, 86, 190, 194))
LOG = {"t259": (SHORT, [34676]), "t339": (SHORT, [2])}
FLOATS = struct.pack("<4f", 10, 0, 0, 1) * (64 * 48)
REDUCED = page(16, 12, (8,), 1, t254=(LONG, [1]))

#: A TIFF of 64 x 48 pixels, and the colour in its upper half.
TIFFS = {
    "CMYK": (tiffs.tiff((page(64, 48, (8,) * 4, 5), solid(0, 255, 255, 0))), RED),
    "CMYK and a spot colour": (
        tiffs.tiff((page(64, 48, (8,) * 5, 5, t338=(SHORT, [0])), solid(0, 255, 255, 0, 0))),
        RED,
    ),
    "RGB and data that are no opacity": (
        tiffs.tiff((page(64, 48, (8,) * 4, 2, t338=(SHORT, [0])), solid(255, 0, 0, 0))),
        RED,
    ),
    "RGB and opacity": (tiffs.tiff((page(64, 48, (8,) * 4, 2, t338=(SHORT, [2])), solid(255, 0, 0, 0))), WHITE),
    "grey and data that are no opacity": (
        tiffs.tiff((page(64, 48, (8,) * 2, 1, t338=(SHORT, [0])), solid(128, 0))),
        (128, 128, 128),
    ),
    "white is least, 1 bit": (tiffs.tiff((page(64, 48, (1,), 0), bytes(8 * 48))), WHITE),
    "white is least, 4 bits": (tiffs.tiff((page(64, 48, (4,), 0), bytes(32 * 48))), WHITE),
    "white is least, 8 bits": (tiffs.tiff((page(64, 48, (8,), 0), solid(0))), WHITE),
    "white is least, 16 bits": (tiffs.tiff((page(64, 48, (16,), 0), bytes(2 * 64 * 24) + b"\xff" * 3072)), WHITE),
    "12 bits in 16": (tiffs.tiff((page(64, 48, (16,), 1), BITS_16)), WHITE),
    "12 bits in 16, said by a tag": (tiffs.tiff((page(64, 48, (16,), 1, t281=(SHORT, [4095])), BITS_16)), WHITE),
    "16 bits, all of them dark": (tiffs.tiff((page(64, 48, (16,), 1), solid(200, 0))), (12, 12, 12)),
    "floating point up to 1": (
        tiffs.tiff((page(64, 48, (32,), 1, t339=(SHORT, [3])), struct.pack("<f", 1) * 1536 + bytes(4 * 1536))),
        WHITE,
    ),
    "floating point a little above 1": (
        tiffs.tiff((page(64, 48, (32,), 1, t339=(SHORT, [3])), struct.pack("<f", 1.5) * 1536 + bytes(4 * 1536))),
        WHITE,
    ),
    "CMYK in floating point": (
        tiffs.tiff((page(64, 48, (32,) * 4, 5, t339=(SHORT, [3] * 4)), struct.pack("<4f", 0, 1, 1, 0) * (64 * 48))),
        RED,
    ),
    "YCbCr": (tiffs.tiff((page(64, 48, (8,) * 3, 6, t530=(SHORT, [1, 1])), solid(76, 85, 255))), RED),
    "CMYK in 16 bits, with little ink": (
        tiffs.tiff((page(64, 48, (16,) * 4, 5), struct.pack("<4H", 1000, 1000, 1000, 0) * (64 * 48))),
        (251, 251, 251),
    ),
    "Lab and opacity": (
        tiffs.tiff((page(64, 48, (8,) * 4, 8, t338=(SHORT, [2])), solid(138, 81, 70, 255))),
        (254, 0, 0),
    ),
    "floating point up to 255": (
        tiffs.tiff((page(64, 48, (32,), 1, t339=(SHORT, [3])), struct.pack("<f", 128) * 1536 + bytes(4 * 1536))),
        (128, 128, 128),
    ),
    "floating point up to 10": (
        tiffs.tiff((page(64, 48, (32,), 1, t339=(SHORT, [3])), struct.pack("<f", 10) * 1536 + bytes(4 * 1536))),
        WHITE,
    ),
    "floating point up to 10 and opacity up to 1": (
        tiffs.tiff((page(64, 48, (32,) * 4, 2, t338=(SHORT, [2]), t339=(SHORT, [3] * 4)), FLOATS)),
        RED,
    ),
    "floating point of a stated range": (
        tiffs.tiff(
            (
                page(64, 48, (32,), 1, t339=(SHORT, [3]), t340=(FLOAT, [-5.0]), t341=(FLOAT, [5.0])),
                struct.pack("<f", 0) * 3072,
            )
        ),
        (127, 127, 127),
    ),
    "signed": (
        tiffs.tiff((page(64, 48, (8,), 1, t339=(SHORT, [2])), bytes((*range(224, 256), *range(32))) * 48)),
        (126, 126, 126),
    ),
    "signed only by its tag": (
        tiffs.tiff((page(64, 48, (8,), 1, t339=(SHORT, [2])), bytes(range(96, 160)) * 48)),
        (128, 128, 128),
    ),
    "luminance as logarithm": (tiffs.tiff((page(64, 48, (16,), 32844, **LOG), LOG_ROW * 48)), (128, 128, 128)),
    "luminance as logarithm, and colour": (
        tiffs.tiff((page(64, 48, (16,) * 3, 32845, **LOG), (LOG_ROW + NEUTRAL) * 48)),
        (128, 128, 128),
    ),
    "8 bits, multiplied by their opacity": (
        tiffs.tiff((page(64, 48, (8,) * 4, 2, t338=(SHORT, [1])), solid(64, 0, 0, 128))),
        (191, 127, 127),
    ),
    "16 bits, multiplied by their opacity": (
        tiffs.tiff((page(64, 48, (16,) * 4, 2, t338=(SHORT, [1])), solid(0, 64, 0, 0, 0, 0, 0, 128))),
        (191, 127, 127),
    ),
    "a preview before the picture": (tiffs.tiff((REDUCED, bytes(16 * 12)), (page(64, 48, (8,), 1), solid(255))), WHITE),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff_samples_are_interpreted_by_their_tags(tmp_path: Path, name: str) -> None:
    data, color = TIFFS[name]
    drawn = draw(tmp_path, data)
    assert drawn.picture.size == (64, 48)
    assert pictures.alike(drawn.color(0.5, 0.25), color), drawn.color(0.5, 0.25)
    assert drawn.note == ""


def test_12_bits_are_scaled_to_their_range(tmp_path: Path) -> None:
    data = tiffs.tiff((page(64, 48, (12,), 1), bytes.fromhex("800800") * (32 * 48)))
    assert pictures.alike(draw(tmp_path, data).color(), (128, 128, 128))


def in_planes(*strips: bytes, rows: int = 48) -> dict[str, tiffs.Value]:
    """The tags of a TIFF that starts with these strips, the planes one after the other."""
    offsets = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    return {"t284": (SHORT, [2]), "t278": (LONG, [rows]), "t273": (LONG, offsets), "t279": (LONG, [*map(len, strips)])}


@pytest.mark.parametrize(
    ("inks", "color"),
    [((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), BLACK), ((255, 255, 255, 0), BLACK), ((255, 255, 255, 255), BLACK)],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_no_ink_is_white_and_full_inks_are_black(
    tmp_path: Path, bits: int, inks: tuple[int, ...], color: tuple[int, ...]
) -> None:
    pixel = b"".join(bytes([ink]) * (bits // 8) for ink in inks)
    assert draw(tmp_path, tiffs.tiff((page(64, 48, (bits,) * 4, 5), pixel * (64 * 48)))).color() == color


def test_a_tiff_in_planes_that_every_engine_would_mix_up_is_refused(tmp_path: Path) -> None:
    planes = [solid(value) for value in (128, 255, 255)]
    data = tiffs.tiff((page(64, 48, (8,) * 3, 1, t338=(SHORT, [2, 0]), **in_planes(*planes)), b"".join(planes)))
    with pytest.raises(refusals.Refused, match="its channels are stored separately"):
        draw(tmp_path, data)


def test_grey_with_opacity_in_planes_is_rendered(tmp_path: Path) -> None:
    strips = [bytes([value]) * (64 * rows) for value in (64, 128) for rows in (32, 16)]
    planes = in_planes(*strips, rows=32)
    drawn = draw(tmp_path, tiffs.tiff((page(64, 48, (8, 8), 1, t338=(SHORT, [1]), **planes), b"".join(strips))))
    assert all(pictures.alike(drawn.color(0.5, y), (191, 191, 191)) for y in (0, 0.5, 1))
    assert drawn.picture.size == (64, 48)


def test_ycbcr_in_planes_is_rendered_with_full_or_reduced_chroma(tmp_path: Path) -> None:
    for across, down in ((1, 1), (2, 2), (4, 1)):
        chroma = (64 // across) * (48 // down)
        strips = [solid(76), bytes([85]) * chroma, bytes([255]) * chroma]
        tags = page(64, 48, (8,) * 3, 6, t530=(SHORT, [across, down]), t274=(SHORT, [6]), **in_planes(*strips))
        drawn = draw(tmp_path, tiffs.tiff((tags, b"".join(strips))))
        assert drawn.picture.size == (48, 64)
        assert pictures.alike(drawn.color(), RED)
        assert drawn.note == ""


def test_the_smallest_sufficient_level_of_a_pyramid_is_rendered(tmp_path: Path) -> None:
    # Each level has a grey of its own, so that it is seen which one was taken.
    full = (page(640, 480, (8,), 1), solid(0, pixels=640 * 480))
    levels = [
        (page(640 // by, 480 // by, (8,), 1, t254=(LONG, [1])), solid(50 * by, pixels=640 * 480 // by**2))
        for by in (2, 4)
    ]
    for data in (tiffs.tiff(full, *levels), tiffs.tiff(full, children=levels)):
        assert draw(tmp_path, data, 100).color() == (200, 200, 200)
        assert draw(tmp_path, data, 200).color() == (100, 100, 100)
        assert draw(tmp_path, data, 400).color() == BLACK


@pytest.mark.parametrize("offset", [2**32, 2**63 - 1, 2**64 - 1])
def test_a_directory_offset_beyond_the_file_is_damage(tmp_path: Path, offset: int) -> None:
    with pytest.raises(refusals.Damaged):
        draw(tmp_path, struct.pack("<2sHHHQ", b"II", 43, 8, 0, offset) + bytes(100))


def test_non_square_pixels_are_corrected(tmp_path: Path) -> None:
    fax = page(96, 48, (8,), 1, t282=(RATIONAL, [204.0]), t283=(RATIONAL, [102.0]))
    assert draw(tmp_path, tiffs.tiff((fax, solid(9, pixels=96 * 48)))).picture.size == (48, 48)


def test_an_unsupported_compression_is_named(tmp_path: Path) -> None:
    with pytest.raises(refusals.Refused, match=r"does not support the compression of this image \(JPEG XL\)"):
        draw(tmp_path, tiffs.tiff((page(64, 48, (8,), 1, t259=(SHORT, [50002])), solid(0))))


@pytest.mark.parametrize("profile", [b"rubbish", in_profile("sRGB")[:200], in_profile("LAB"), b""])
def test_a_mismatched_profile_is_ignored(tmp_path: Path, profile: bytes) -> None:
    for mode, color in (("RGB", RED), ("CMYK", (0, 255, 255, 0))):
        data = pictures.encoded(Image.new(mode, (64, 48), color), "JPEG", icc_profile=profile)
        assert pictures.alike(draw(tmp_path, data).color(), RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_rendered_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    turns = [None, 0, 3, 1, 5, 2, 6, 4]  # what makes a picture lie as EXIF says
    scene = pictures.scene(320, 240)
    turn = turns[orientation - 1]
    lying = scene if turn is None else scene.transpose(Image.Transpose(turn))
    drawn = draw(tmp_path, pictures.encoded(lying, kind, exif=pictures.exif(orientation).tobytes()))
    assert drawn.picture.size == (100, 75)
    assert pictures.shows_scene(drawn.picture)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_transparency_is_preserved(tmp_path: Path, kind: str) -> None:
    picture = Image.new("RGBA", (64, 48), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 32, 48))
    drawn = draw(tmp_path, pictures.encoded(picture, kind))
    assert pictures.alike(drawn.color(0.25), RED)
    assert drawn.color(0.75) == WHITE


def test_the_first_frame_of_a_gif_is_placed_on_its_canvas(tmp_path: Path) -> None:
    small = pictures.encoded(Image.new("RGB", (40, 30), RED), "GIF")
    frame = small.index(b",")
    moved = small[:6] + struct.pack("<HH", 400, 300) + small[10:frame] + b"," + struct.pack("<HH", 300, 200)
    drawn = draw(tmp_path, moved + small[frame + 5 :])
    assert drawn.picture.size == (100, 75)
    assert pictures.alike(drawn.color(0.8, 0.72), RED)
    assert drawn.color(0.1, 0.1) == WHITE


def test_lossless_jpeg_is_recognised_by_its_header(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    for frame, is_lossless in ((b"\xff\xc0", False), (b"\xff\xc2", False), (b"\xff\xc3", True)):
        source.write_bytes(pictures.jpeg().replace(b"\xff\xc0", frame, 1))
        with open(source, "rb") as file:
            assert headers.jpeg_header(file.fileno()).is_lossless == is_lossless


@pytest.mark.parametrize("sample", samples.ALL, ids=lambda sample: sample.title)
def test_the_samples_of_the_doctor_are_rendered_without_warnings(tmp_path: Path, sample: samples.Sample) -> None:
    assert draw(tmp_path, sample.read(), 32).note == ""


def test_a_photoshop_file_of_16_bits_is_drawn_although_pillow_reads_only_8(tmp_path: Path) -> None:
    header = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 48, 64, 16, 3) + bytes(12)
    planes = b"".join(struct.pack(">H", value) * (64 * 48) for value in (65535, 0, 0))
    assert pictures.alike(draw(tmp_path, header + bytes(2) + planes).color(), RED)


def test_camera_raw_is_rendered_from_its_preview_with_its_orientation(tmp_path: Path) -> None:
    drawn = draw(tmp_path, tiffs.dng())
    assert drawn.picture.size == (75, 100)
    turned = pictures.scene().transpose(Image.Transpose.ROTATE_270)
    assert all(map(pictures.alike, pictures.corners(drawn.picture), pictures.corners(turned)))


def test_camera_raw_without_anything_to_see_is_refused(tmp_path: Path) -> None:
    preview = pictures.encoded(pictures.scene(32, 24), "JPEG", quality=90)
    raw = tiffs.dng(32, 24).replace(preview, bytes(len(preview))).replace(struct.pack("<H", 900), bytes(2))
    with pytest.raises(refusals.Damaged):
        draw(tmp_path, raw)


def test_camera_raw_with_a_broken_preview_is_developed(tmp_path: Path) -> None:
    raw, preview = tiffs.dng(), pictures.encoded(pictures.scene(640, 480), "JPEG", quality=90)
    assert preview in raw
    drawn = draw(tmp_path, raw.replace(preview, preview[:200] + bytes(len(preview) - 200)))
    assert drawn.picture.size == (75, 100)
    assert len(set(pictures.corners(drawn.picture))) == 1, "it shows the sensor data, which is all of one colour"


def test_a_heic_with_a_broken_preview_is_rendered_from_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_preview: object) -> None:
        raise ValueError("damaged")

    monkeypatch.setattr(pillow_heif.heif.HeifThumbnail, "load", fail)
    drawn = draw(tmp_path, pictures.encoded(pictures.scene(400, 300), "HEIF", thumbnails=[160]))
    assert drawn.picture.size == (100, 75)
    assert pictures.shows_scene(drawn.picture)


def test_a_pdf_is_rendered_within_its_crop_box_and_rotated(tmp_path: Path) -> None:
    content = b"1 0 0 rg 100 100 200 100 re f"
    for engine in (engines.PDFIUM, engines.GHOSTSCRIPT):
        data = pdf(page=b"/CropBox[100 100 300 200] /Rotate 90", content=content)
        drawn = draw(tmp_path, data, only=[engine])
        assert drawn.picture.size == (50, 100)
        assert pictures.alike(drawn.color(0.1, 0.1), RED)


def with_objects(data: bytes, objects: bytes, catalog: bytes = b"") -> bytes:
    return data.replace(b"/Catalog", b"/Catalog" + catalog).replace(b" trailer", b" " + objects + b" trailer")


PDFS = {
    "annotations": with_objects(
        pdf(page=b"/Annots[5 0 R]", media=b"0 0 100 100"),
        b"5 0 obj<</Type/Annot/Subtype/Stamp/F 4/Rect[0 0 100 100]/AP<</N 6 0 R>>>>endobj\n"
        b"6 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 100 100]/Length 27>>stream\n"
        b"1 0 0 rg 0 0 100 100 re f  \nendstream endobj\n",
    ),
    "units of other sizes": pdf(page=b"/UserUnit 10", media=b"0 0 100 100", content=b"1 0 0 rg 0 0 100 100 re f"),
    "the cover page of a portfolio": with_objects(
        pdf(media=b"0 0 100 100", content=b"1 0 0 rg 0 0 100 100 re f"),
        b"5 0 obj<</Type/Filespec/F(a.pdf)/UF(a.pdf)/EF<</F 6 0 R>>>>endobj\n"
        b"6 0 obj<</Type/EmbeddedFile/Length 9>>stream\n%PDF-1.7\n\nendstream endobj\n",
        b"/Collection<</Type/Collection/View/D>>/Names<</EmbeddedFiles<</Names[(a.pdf) 5 0 R]>>>>",
    ),
}


@pytest.mark.parametrize("what", PDFS)
@pytest.mark.parametrize("only", [engines.PDFIUM, engines.GHOSTSCRIPT], ids=lambda engine: engine.title)
def test_a_pdf_is_drawn_with_everything_that_a_viewer_shows(tmp_path: Path, what: str, only: engines.Engine) -> None:
    drawn = draw(tmp_path, PDFS[what], only=[only])
    assert drawn.picture.size == (100, 100)
    assert all(pictures.alike(drawn.color(x, y), RED) for x in (0.1, 0.9) for y in (0.1, 0.9))


def test_a_pdf_is_rendered_without_a_password_if_its_owner_password_is_empty(tmp_path: Path) -> None:
    content = b"1 0 0 rg 0 0 300 300 re f"
    drawn = draw(tmp_path, pdfs.encrypted(content, user=b"secret", owner=b""))
    assert "password" in drawn.note
    assert drawn.color() == RED
    locked = pdfs.encrypted(content, user=b"secret", owner=b"curator")
    with pytest.raises(refusals.Refused, match="requires a password"):
        draw(tmp_path, locked)
    # Ghostscript draws a blank page then.
    with pytest.raises(refusals.Refused, match="requires a password"):
        draw(tmp_path, locked[: locked.index(b"xref")] + locked[locked.index(b"trailer") : locked.index(b"startxref")])


def test_postscript_before_the_start_of_a_pdf_never_runs(tmp_path: Path) -> None:
    program = b"0 0 300 300 rectfill showpage ".ljust(1015) + b"%PDF-1.4\n"
    with pytest.raises(refusals.Damaged):
        draw(tmp_path, program, only=[engines.GHOSTSCRIPT])


# --- the order --------------------------------------------------------------------------------------------------------


def module(render: object) -> types.ModuleType:
    made = types.ModuleType("engine")
    made.render = render  # type: ignore[attr-defined]
    return made


def engine(monkeypatch: pytest.MonkeyPatch, *works: object) -> list[engines.Engine]:
    """Engines that do this; None: not installed."""
    made = [engines.Engine(f"engine {number}", str(number), package="a-package") for number in range(len(works))]
    found = {one: None if work is None else module(work) for one, work in zip(made, works, strict=True)}
    monkeypatch.setattr(engines.Engine, "load", lambda one: found[one])
    return made


def draws(job: Job, _limits: Limits) -> str:
    Image.new("RGB", (9, 9), "white").save(job.target, "PNG")
    return ""


def says_damaged(_job: Job, _limits: Limits) -> str:
    raise refusals.damaged("cannot read it")


def says_encrypted(_job: Job, _limits: Limits) -> str:
    raise refusals.encrypted("needs a password")


def says_encrypted_otherwise(_job: Job, _limits: Limits) -> str:
    raise refusals.encrypted_otherwise("needs a certificate")


def says_too_large(_job: Job, _limits: Limits) -> str:
    raise refusals.too_large("many pixels")


def crashes(_job: Job, _limits: Limits) -> str:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ""


def test_one_successful_engine_suffices_and_failures_of_others_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = engine(monkeypatch, None, says_damaged, crashes, says_too_large, draws, crashes)
    note = draw(tmp_path, pictures.jpeg(), only=order).note
    assert "engine 1: cannot read it" in note
    assert "engine 2: the process ended with -11" in note
    assert "engine 3" in note
    assert "engine 5" not in note


def test_a_file_is_damaged_only_if_every_engine_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(refusals.Damaged):
        draw(tmp_path, pictures.jpeg(), only=engine(monkeypatch, says_damaged, crashes))
    with pytest.raises(refusals.Refused, match="requires a password"):
        draw(tmp_path, pictures.jpeg(), only=engine(monkeypatch, says_encrypted, says_damaged))
    with pytest.raises(refusals.Refused, match="requires a certificate"):
        draw(tmp_path, pictures.jpeg(), only=engine(monkeypatch, says_damaged, says_encrypted_otherwise, draws))
    with pytest.raises(refusals.Refused, match="too large"):
        draw(tmp_path, pictures.jpeg(), only=engine(monkeypatch, says_damaged, says_too_large, says_damaged))


def test_a_blank_page_is_rendered_if_no_other_engine_finds_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draw(tmp_path, pdf()).color() == WHITE

    def sees_nothing(job: Job, _limits: Limits) -> str:
        Image.new("RGB", (7, 7), "white").save(job.target, "PNG")
        raise refusals.Blank("blank", "no font")

    assert draw(tmp_path, pdf(), only=engine(monkeypatch, sees_nothing, says_damaged)).picture.size == (7, 7)
    assert draw(tmp_path, pdf(), only=engine(monkeypatch, sees_nothing, draws)).picture.size == (9, 9)


def test_the_engines_share_the_time_for_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_PROGRAM_SECONDS", 1)

    def never_ends(_job: Job, _limits: Limits) -> str:
        time.sleep(100)
        return ""

    with pytest.raises(refusals.Refused, match="too long") as raised:
        draw(tmp_path, pdf(), only=engine(monkeypatch, never_ends, draws))
    assert "engine 1: no time was left" in raised.value.detail


def test_a_format_without_an_engine_names_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match=r"engine 0 is not installed \(Python package a-package\)"):
        draw(tmp_path, pictures.jpeg(), only=engine(monkeypatch, None))


def test_too_many_pixels_are_rejected_by_the_header(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")
    with pytest.raises(refusals.Refused, match="too large"):
        draw(tmp_path, data.getvalue())


def test_every_format_in_the_table_is_supported_by_its_engines() -> None:
    for engine, known in ((engines.LIBVIPS, libvips.LOADERS), (engines.PILLOW, pillow._FORMATS)):
        assert {decoder for decoder, row in engines.TABLE.items() if engine in row} <= set(known)


def test_text_chunks_of_a_png_take_no_memory_and_little_time(tmp_path: Path) -> None:
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000)))
    data = png(1, 1, *[text] * 20, rows=bytes(2))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert draw(tmp_path, data).picture.size == (1, 1)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 600 << 10)


@pytest.mark.parametrize(("size", "least"), [(100, 220), (800, 233)])
def test_thin_lines_of_a_pdf_stay_light(tmp_path: Path, size: int, least: int) -> None:
    lines = b"".join(b"%d 0 m %d 800 l %d 800 m\n" % (x, x, x) for x in range(0, 800, 8))
    drawn = draw(tmp_path, pdf(media=b"0 0 800 800", content=b"0.4 w\n" + lines + b"S"), size)
    assert ImageStat.Stat(drawn.picture.convert("L")).mean[0] > least
