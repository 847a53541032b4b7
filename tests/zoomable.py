"""Pictures with detail for tests of zooming, and what a part of them must look like."""

import functools
import io
import math
from collections.abc import Callable

from PIL import Image, ImageChops, ImageCms, ImageOps, ImageStat

from tests import pictures, vips

#: Odd, so that no level of a pyramid has exactly half the size of the one before.
WIDTH, HEIGHT = 1303, 1001


@functools.cache
def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A picture with detail and gradients."""
    detail = Image.effect_noise((max(1, width // 12), max(1, height // 12)), 80).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, detail))


def _jpeg(orientation: int) -> bytes:
    return pictures.encoded(scene(651, 501), "JPEG", quality=95, exif=pictures.exif(orientation))


def _cmyk() -> bytes:
    return pictures.encoded(scene().convert("CMYK"), "TIFF", compression="tiff_lzw")


def _with_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return pictures.encoded(scene(), "TIFF", icc_profile=profile)


def _transparent() -> bytes:
    picture = scene().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return pictures.encoded(picture, "PNG")


def _pages() -> bytes:
    return pictures.encoded(scene(300, 200), "TIFF", save_all=True, append_images=[scene()], compression="tiff_deflate")


#: Name -> the file, and the page to look at.
KINDS: dict[str, tuple[Callable[[], bytes], int]] = {
    **{f"turned-{number}.jpg": (lambda number=number: _jpeg(number), 1) for number in range(1, 9)},  # type: ignore[misc]
    "strips.tif": (lambda: vips.saved(scene(), compression="lzw"), 1),
    "turned.tif": (lambda: pictures.encoded(scene(), "TIFF", exif=pictures.exif(6)), 1),
    "16-bits.tif": (lambda: vips.saved(scene(), colours="rgb16", compression="deflate"), 1),
    "cmyk.tif": (_cmyk, 1),
    "profile.tif": (_with_profile, 1),
    "pages.tif": (_pages, 2),
    "levels.tif": (lambda: vips.saved(scene(), tile=True, pyramid=True, compression="jpeg", Q=95), 1),
    "palette.png": (lambda: pictures.encoded(pictures.scene(WIDTH, HEIGHT).quantize(16), "PNG"), 1),
    "transparent.png": (_transparent, 1),
    "plain.webp": (lambda: pictures.encoded(scene(), "WEBP", lossless=True), 1),
    "plain.jp2": (lambda: pictures.encoded(scene(), "JPEG2000", irreversible=False), 1),
    "plain.heic": (lambda: pictures.encoded(scene(), "HEIF", quality=98), 1),
    "plain.bmp": (lambda: pictures.encoded(scene(), "BMP"), 1),
}


def reference(data: bytes, name: str, page: int) -> Image.Image:
    """The whole page, upright, on white, as Pillow reads it."""
    if name == "16-bits.tif":
        return scene()  # Pillow cannot read it
    picture = Image.open(io.BytesIO(data))
    if page > 1:
        picture.seek(page - 1)
    picture.load()
    turned = picture.getexif().get(0x0112, 1)
    if turned != 1 and not name.endswith(".heic"):
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("RGBA", "P"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def psnr(one: Image.Image, other: Image.Image) -> float:
    """The peak signal-to-noise ratio of two pictures of the same size, in dB."""
    assert one.size == other.size
    found = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    mean = sum(found.sum2) / sum(found.count)
    return 99.0 if mean == 0 else 10 * math.log10(255**2 / mean)


def part_of(whole: Image.Image, region: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """A region of a picture, reduced with a good filter."""
    left, top, width, height = region
    return whole.resize(size, Image.Resampling.BOX, (left, top, left + width, top + height))


def tiles(
    width: int, height: int, factor: int, side: int = 512
) -> list[tuple[tuple[int, int, int, int], tuple[int, int]]]:
    """The regions and sizes of all tiles of a level, as viewers request them."""
    found = []
    step = side * factor
    for top in range(0, height, step):
        for left in range(0, width, step):
            across, down = min(step, width - left), min(step, height - top)
            found.append(((left, top, across, down), (-(-across // factor), -(-down // factor))))
    return found
