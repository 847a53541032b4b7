"""Test pictures, made when needed: every format that cameras and scanners give to museums."""

import functools
import io

import pillow_heif
from PIL import Image, ImageDraw

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 160, 60), (30, 60, 190), (230, 200, 40)


@functools.cache
def scene(width: int = 640, height: int = 480) -> Image.Image:
    """A picture whose four corners tell how it is turned: red, green, blue, yellow, clockwise."""
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    x, y = width // 3, height // 3
    draw.rectangle((0, 0, x, y), fill=RED)
    draw.rectangle((width - x, 0, width, y), fill=GREEN)
    draw.rectangle((width - x, height - y, width, height), fill=BLUE)
    draw.rectangle((0, height - y, x, height), fill=YELLOW)
    return picture


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    if kind == "HEIF":
        options = {"enc_params": {"preset": "ultrafast"}, **options}  # the default takes seconds
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int = 1, date: str = "2009:05:30 12:34:56", camera: str = "Canon") -> Image.Exif:
    tags = Image.Exif()
    tags[0x010F] = camera
    tags[0x0112] = orientation
    tags.get_ifd(0x8769)[0x9003] = date
    gps = tags.get_ifd(0x8825)
    gps[1], gps[2] = "N", (38.0, 57.0, 30.0)
    return tags


@functools.cache
def jpeg(orientation: int = 1) -> bytes:
    return encoded(scene(), "JPEG", quality=90, exif=exif(orientation))


@functools.cache
def png() -> bytes:
    return encoded(scene(), "PNG", exif=exif())


@functools.cache
def gif() -> bytes:
    return encoded(scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (640, 480), BLUE)])


@functools.cache
def tiff(pages: int = 3) -> bytes:
    others = [Image.new("RGB", (300, 200), BLUE)] * (pages - 1)
    return encoded(scene(), "TIFF", save_all=True, append_images=others, compression="tiff_deflate", exif=exif())


@functools.cache
def heic() -> bytes:
    return encoded(scene(), "HEIF", exif=exif().tobytes())


@functools.cache
def webp() -> bytes:
    return encoded(scene(), "WEBP", exif=exif())


@functools.cache
def bmp() -> bytes:
    return encoded(scene(), "BMP")


@functools.cache
def avif() -> bytes:
    return encoded(scene(), "AVIF")


@functools.cache
def pdf(pages: int = 2) -> bytes:
    return encoded(scene(), "PDF", save_all=True, append_images=[Image.new("RGB", (300, 200), BLUE)] * (pages - 1))


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours well inside the four corners, clockwise from the top left."""
    picture = picture.convert("RGB")
    width, height = picture.size
    x, y = width // 8, height // 8
    spots = ((x, y), (width - 1 - x, y), (width - 1 - x, height - 1 - y), (x, height - 1 - y))
    return [picture.getpixel(spot) for spot in spots]  # type: ignore[misc]


def alike(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 40 for one, other in zip(first, second, strict=True))


def shows_scene(picture: Image.Image) -> bool:
    return all(map(alike, corners(picture), (RED, GREEN, BLUE, YELLOW)))
