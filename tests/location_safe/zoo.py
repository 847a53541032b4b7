"""Pictures with locations and serial numbers in every place that cameras, phones and programs use.

Each hidden value contains SECRET, as text or as digits, so that a copy can be searched for it. exiftool writes the tags
of most pictures; what it does not write is built here.
"""

import binascii
import functools
import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pillow_heif
from PIL import Image, ImageCms

from tests import pictures, tiffs, vips

EXIFTOOL = shutil.which("exiftool")

#: Part of every value that must not be in a copy.
SECRET = b"Sekret"
SERIAL = 1234567890

#: What must be in a copy.
ARTIST, COPYRIGHT = "Kim Ito", "CC BY 4.0 Museum"

#: The tags that exiftool writes into every picture.
_TAGS = [
    *(f"-Artist={ARTIST}", f"-Copyright={COPYRIGHT}", "-EXIF:DateTimeOriginal=2009:05:30 12:34:56"),
    *("-Orientation#=1", "-Make=Canon", "-Model=EOS", "-EXIF:OffsetTimeOriginal=+11:00"),
    *("-GPSLatitude=38.95", "-GPSLatitudeRef=N", "-GPSLongitude=95.26", "-GPSAreaInformation=Sekret"),
    *("-EXIF:SerialNumber=Sekret1", "-EXIF:LensSerialNumber=Sekret2", "-ImageDescription=Sekret valley"),
    *("-UserComment=Sekret", "-ImageUniqueID=Sekret", "-OwnerName=Sekret"),
    *("-XMP:GPSLatitude=38.95", "-XMP:GPSLongitude=-95.26", "-XMP-aux:SerialNumber=Sekret3"),
    *("-XMP-exifEX:LensSerialNumber=Sekret4", "-XMP-iptcCore:Location=Sekret", "-XMP-photoshop:City=Sekret"),
    *("-XMP-iptcExt:LocationCreated={City=Sekret,Sublocation=Sekret}", "-XMP-dc:Description=Sekret"),
    "-XMP-iptcExt:LocationShown={City=Sekret}",
    *(f"-XMP-dc:Rights={COPYRIGHT}", f"-XMP-dc:Creator={ARTIST}", "-XMP-xmpRights:UsageTerms=CC BY"),
    *("-IPTC:City=Sekret", "-IPTC:Sub-location=Sekret", "-IPTC:Keywords=Sekret", f"-IPTC:By-line={ARTIST}"),
]


def scene() -> Image.Image:
    return pictures.scene(48, 32)


def save(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    # A copy, because Pillow keeps the options of one format in the image.
    return pictures.encoded((picture or scene()).copy(), kind, **options)


def _profile() -> bytes:
    """A colour profile with a private tag, as displays have."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    [count] = struct.unpack_from(">I", plain, 128)
    table = [struct.unpack_from(">4sII", plain, 132 + 12 * at) for at in range(count)]
    hidden = b"text\0\0\0\0" + SECRET
    body = plain[132 + 12 * count :]
    table = [(name, place + 12, length) for name, place, length in table]
    table.append((b"mmod", 132 + 12 * (count + 1) + len(body), len(hidden)))
    data = plain[:128] + struct.pack(">I", count + 1) + b"".join(struct.pack(">4sII", *row) for row in table)
    data += body + hidden
    return struct.pack(">I", len(data)) + data[4:]


def bases() -> dict[str, bytes]:
    """Small pictures of each format, compression and structure."""
    picture, second = scene(), pictures.scene(32, 48).copy()
    both = {"save_all": True, "append_images": [second]}
    tiff = {
        name: save("TIFF", compression=compression)
        for name, compression in (
            *(("none", None), ("lzw", "tiff_lzw"), ("deflate", "tiff_adobe_deflate"), ("packbits", "packbits")),
            *(("jpeg", "jpeg"), ("lzma", "lzma"), ("zstd", "zstd")),
        )
    }
    found = {
        "plain.jpg": save("JPEG"),
        "progressive.jpg": save("JPEG", progressive=True),
        "grey.jpg": save("JPEG", picture.convert("L")),
        "cmyk.jpg": save("JPEG", picture.convert("CMYK")),
        "subsampled.jpg": save("JPEG", subsampling=2, restart_marker_blocks=1),
        "profile.jpg": save("JPEG", icc_profile=_profile()),
        **{f"{name}.tif": data for name, data in tiff.items()},
        "pages.tif": save("TIFF", **both),
        "fax.tif": save("TIFF", picture.convert("1"), compression="group4"),
        "palette.tif": save("TIFF", picture.convert("P")),
        "profile.tif": save("TIFF", icc_profile=_profile()),
        "tiles.tif": _tiles(picture),
        "plain.png": save("PNG"),
        "palette.png": save("PNG", picture.convert("P"), transparency=0),
        "animated.png": save("PNG", save_all=True, append_images=[picture.rotate(90)]),
        "profile.png": save("PNG", icc_profile=_profile()),
        "lossy.webp": save("WEBP"),
        "lossless.webp": save("WEBP", lossless=True),
        "alpha.webp": save("WEBP", picture.convert("RGBA").rotate(10)),
        "animated.webp": save("WEBP", save_all=True, append_images=[picture.rotate(90)]),
        "profile.webp": save("WEBP", icc_profile=_profile()),
        "plain.avif": save("AVIF", speed=10),
    }
    pillow_heif.register_heif_opener()
    return found | {"plain.heic": save("HEIF"), "two.heic": save("HEIF", **both), "alpha.heic": _heic_with_alpha()}


def _tiles(picture: Image.Image) -> bytes:
    return vips.saved(picture, tile=True, tile_width=16, tile_height=16, pyramid=True, subifd=True)


def _heic_with_alpha() -> bytes:
    picture = scene().convert("RGBA")
    picture.putalpha(picture.convert("L"))
    return save("HEIF", picture)


def tagged(folder: Path) -> list[Path]:
    """Writes the bases with all tags into a folder; returns their paths."""
    paths = []
    for name, data in bases().items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    command = [str(EXIFTOOL), "-q", "-q", "-m", "-overwrite_original", "-ee", *_TAGS]
    # A large picture inside XMP makes exiftool divide the packet among segments of a JPEG.
    large = folder / "large"
    large.write_bytes(SECRET * 12_000)
    subprocess.run([*command, *paths], check=True)
    shutil.copy(folder / "plain.jpg", folder / "extended-xmp.jpg")
    paths.append(folder / "extended-xmp.jpg")
    subprocess.run([*command, f"-XMP-GImage:ImageData<={large}", paths[-1]], check=True)
    large.unlink()
    return paths


# What exiftool does not write.


def entry(order: str, tag: int, type: int, count: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HHI", tag, type, count) + value.ljust(4, b"\0")


def maker_note(maker: str) -> bytes:
    """A maker note with a serial number, as exiftool knows it of this maker, and a preview."""
    preview = save("JPEG", exif=pictures.exif()) + SECRET
    if maker == "Canon":  # places are relative to the EXIF data; the number is inside the entry
        return struct.pack("<H", 1) + entry("<", 0x000C, 4, 1, struct.pack("<I", SERIAL)) + bytes(4) + preview
    if maker == "Nikon":
        number = b"Sekret9\0"
        directory = struct.pack(">H", 1) + entry(">", 0x001D, 2, len(number), struct.pack(">I", 26)) + bytes(4)
        return b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08" + directory + number + preview
    if maker == "Panasonic":
        number = SECRET.ljust(16, b"\0")
        return b"Panasonic\0\0\0" + struct.pack("<H", 1) + entry("<", 0x0025, 7, 4, number[:4]) + bytes(4) + preview
    return SECRET + b" of an unknown maker" + preview


def exif_with_maker_note(maker: str) -> bytes:
    """EXIF with a maker note, GPS, interoperability, and a preview as thumbnail."""
    tags = pictures.exif(camera=maker)
    tags[0x013B], tags[0x8298] = ARTIST, COPYRIGHT
    photo = tags.get_ifd(0x8769)
    photo[0x927C], photo[0xA431], photo[0xA435] = maker_note(maker), "Sekret5", "Sekret6"
    tags.get_ifd(0x8825)[29] = "2009:05:30"
    data = tags.tobytes().removeprefix(b"Exif\0\0")
    return _with_thumbnail(data)


def _with_thumbnail(exif: bytes) -> bytes:
    """EXIF data whose second directory has a thumbnail with EXIF of its own."""
    order = "<" if exif[:2] == b"II" else ">"
    [first] = struct.unpack_from(f"{order}I", exif, 4)
    [count] = struct.unpack_from(f"{order}H", exif, first)
    link, place = first + 2 + 12 * count, len(exif)
    thumbnail = save("JPEG", pictures.scene(16, 16), exif=pictures.exif())
    directory = struct.pack(f"{order}H", 2)
    directory += entry(order, 0x0201, 4, 1, struct.pack(f"{order}I", place + 30))
    directory += entry(order, 0x0202, 4, 1, struct.pack(f"{order}I", len(thumbnail))) + bytes(4)
    return exif[:link] + struct.pack(f"{order}I", place) + exif[link + 4 :] + directory + thumbnail


def segment(marker: int, contents: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(contents) + 2) + contents


def chunk(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


def _raw_profile(name: bytes, data: bytes) -> bytes:
    return b"\n%s\n%8d\n%s\n" % (name, len(data), binascii.hexlify(data))


def _video() -> bytes:
    """A video of a phone, with its place as Android and Apple write it."""
    place = b"+38.9500-095.2600/"
    text = struct.pack(">HH", len(place), 0x15C7) + place
    return box(b"ftyp", b"mp42\0\0\0\0isom") + box(b"moov", box(b"udta", box(b"\xa9xyz", text)) + SECRET)


def _packet(text: bytes = b"") -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        b' xmlns:dc="http://purl.org/dc/elements/1.1/" exif:GPSLatitude="38,57.0N" dc:source="Sekret">'
        + text
        + b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def _jpegs() -> Iterator[tuple[str, bytes]]:
    plain = save("JPEG")
    start, rest = plain[:2], plain[2:]
    for maker in ("Canon", "Nikon", "Panasonic", "Unknown"):
        yield f"maker-{maker}", start + segment(0xE1, b"Exif\0\0" + exif_with_maker_note(maker)) + rest
    exif = segment(0xE1, b"Exif\0\0" + exif_with_maker_note("Canon"))
    iptc = b"\x1c\x02\x5a\0\x06Sekret\x1c\x02\x50\0\x07Kim Ito"
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)
    yield "photoshop", start + segment(0xED, b"Photoshop 3.0\0" + resource) + rest
    yield "two-exif", start + exif + segment(0xE1, b"Exif\0\0" + exif_with_maker_note("Nikon")) + rest
    yield "two-xmp", start + 2 * segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _packet()) + rest
    yield "comment", start + segment(0xFE, SECRET) + exif + rest
    yield "after-header", plain[:20] + exif + b"\0\0" + SECRET + plain[20:]  # bytes between segments
    for marker in range(0xE3, 0xED):
        yield f"app{marker - 0xE0}", start + segment(marker, SECRET) + rest
    yield "flir", start + segment(0xE1, b"FLIR\0\1\0\0" + SECRET) + rest
    yield "jumbf", start + segment(0xEB, b"JP\0\1\0\0\0\1" + box(b"jumb", SECRET)) + rest
    yield "jfxx", plain[:20] + segment(0xE0, b"JFXX\0\x10" + plain) + plain[20:]
    yield "trailer", plain + SECRET
    yield "samsung", plain + b"\0\0\x01\x08\x0e\0\0\0Image_UTC_Data" + SECRET + b"SEFHSEFT"
    yield "motion", plain + _video()
    yield "second-image", plain + start + exif + rest
    yield "between-scans", _between_scans(exif)
    mpo = save("MPO", save_all=True, append_images=[pictures.scene(32, 48).copy()], exif=pictures.exif())
    yield "mpo", mpo


def _between_scans(exif: bytes) -> bytes:
    data = save("JPEG", progressive=True)
    place = data.rindex(b"\xff\xda")
    return data[:place] + exif + segment(0xFE, SECRET) + data[place:]


def _pngs() -> Iterator[tuple[str, bytes]]:
    plain, exif = save("PNG"), exif_with_maker_note("Canon")
    before, after = plain[:33], plain[33:]
    xmp = b"XML:com.adobe.xmp\0"
    for name, added in {
        "exif": chunk(b"eXIf", exif),
        "xmp": chunk(b"iTXt", xmp + bytes(4) + _packet()),
        "packed-xmp": chunk(b"iTXt", xmp + b"\1\0\0\0" + zlib.compress(_packet())),
        "text": chunk(b"tEXt", b"Comment\0" + SECRET),
        "packed-text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)),
        "raw-exif": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_raw_profile(b"exif", exif))),
        "raw-xmp": chunk(b"tEXt", b"Raw profile type xmp\0" + _raw_profile(b"xmp", _packet())),
        "private": chunk(b"prVt", SECRET),
        "provenance": chunk(b"caBX", box(b"jumb", SECRET)),
    }.items():
        yield name, before + added + after
    yield "late-exif", plain[:-12] + chunk(b"eXIf", exif) + plain[-12:]
    yield "trailer", plain + SECRET + _video()


def _webps() -> Iterator[tuple[str, bytes]]:
    lossy = save("WEBP", save_all=True, append_images=[scene().rotate(90)])
    hidden = b"junk" + struct.pack("<I", len(SECRET)) + SECRET
    body = lossy[12:] + hidden
    yield "unknown-chunk", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    yield "trailer", lossy + SECRET
    place = lossy.index(b"ANMF")
    [length] = struct.unpack_from("<I", lossy, place + 4)
    frame = lossy[place + 8 : place + 8 + length] + hidden
    body = lossy[12:place] + b"ANMF" + struct.pack("<I", len(frame)) + frame + lossy[place + 8 + length :]
    yield "in-frame", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _tiffs() -> Iterator[tuple[str, bytes]]:
    tags = tiffs.page(8, 8, [8], 1)
    pixels = bytes(range(64))
    text = (tiffs.ASCII, list(SECRET + b"\0"))
    geo = {0x830E: (tiffs.FLOAT, [1.0] * 3), 0x8482: (tiffs.FLOAT, [38.95] * 6), 0x87B1: text}
    gdal = {42112: (tiffs.ASCII, list(b"<GDALMetadata>Sekret</GDALMetadata>\0"))}
    layers = {37724: b"Adobe Photoshop Document Data Block\0" + SECRET, 34377: b"8BIM" + SECRET}
    for name, own in {"geo": geo, "gdal": gdal, "layers": layers, "description": {270: text, 50839: SECRET}}.items():
        yield name, tiffs.tiff(({**tags, **own}, pixels), ({**tags, **own}, pixels[::-1]))
    yield "sub-directories", tiffs.tiff((tags, pixels), children=[({**tags, 270: text}, pixels[::-1])])
    inner = save("JPEG", pictures.scene(8, 8).convert("L"))
    inner = inner[:2] + segment(0xE1, b"Exif\0\0" + exif_with_maker_note("Canon")) + inner[2:]
    yield "jpeg-with-exif", tiffs.tiff(({**tags, 259: (tiffs.SHORT, [7])}, inner))
    yield "trailer", tiffs.tiff((tags, pixels)) + SECRET
    second = pictures.scene(32, 48).copy()
    yield "big", save("TIFF", big_tiff=True, exif=pictures.exif(), save_all=True, append_images=[second])


def _heics() -> Iterator[tuple[str, bytes]]:
    plain = save("HEIF", exif=b"Exif\0\0" + exif_with_maker_note("Canon"), xmp=_packet())
    yield "exif-and-xmp", plain
    yield "motion", plain + box(b"mpvd", _video())
    yield "live", plain + box(b"sefd", SECRET) + box(b"uuid", SECRET * 3)
    yield "trailer", plain + b"\0\0\0"


_MADE: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
    **{"jpg": _jpegs, "png": _pngs, "webp": _webps, "tif": _tiffs, "heic": _heics},
}


@functools.cache
def made() -> dict[str, bytes]:
    """The pictures that exiftool does not write, by their names."""
    return {f"{name}.{extension}": data for extension, builder in _MADE.items() for name, data in builder()}


def pixels(data: bytes) -> list[tuple[str, tuple[int, int], bytes]]:
    """The decoded images of a file, of an MPO only the first."""
    with Image.open(io.BytesIO(data)) as image:
        is_single = image.format in ("JPEG", "MPO")
        found = []
        for number in range(1 if is_single else getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append((image.mode, image.size, image.tobytes()))
        return found
