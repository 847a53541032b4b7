"""Makes the recipe of a location-safe copy of any file. Runs in a worker process."""

import functools
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast

from assetstore import formats
from assetstore.concurrency.remote_file import TooMuchToRead
from assetstore.location_safe import fields, heif, jpeg, png, tiff, webp
from assetstore.location_safe.fields import Kept
from assetstore.location_safe.recipe import CannotClean, Recipe
from assetstore.location_safe.recipe_file import RecipeFile
from assetstore.metadata import reading
from assetstore.metadata.containers.blocks import BROKEN

_CLEANERS: Mapping[formats.Format, Callable[[BinaryIO, int, Kept], Recipe]] = {
    formats.JPEG: jpeg.clean,
    formats.TIFF: tiff.clean,
    formats.HEIC: heif.clean,
    formats.AVIF: heif.clean,
    formats.PNG: png.clean,
    formats.WEBP: webp.clean,
}


def recipe(file: BinaryIO, size: int) -> Recipe:
    """Returns the recipe of a copy without any metadata that may say where or with which camera a picture was taken.

    Parameters:
        file: a seekable file.
        size: its size, in bytes.

    Raises CannotClean (also for every file that is no picture of a format that can be cleaned), StorageFault.
    """
    file.seek(0)
    format = formats.recognise(file.read(formats.HEAD_LENGTH))
    cleaner = _CLEANERS.get(format) if format is not None else None
    if cleaner is None:
        raise CannotClean("pictures of this format are not cleaned")
    try:
        found = cleaner(file, size, fields.read(file))
    except TooMuchToRead:
        raise CannotClean("it is too large to be examined") from None
    except (*BROKEN, MemoryError) as error:
        raise CannotClean(f"it is damaged: {error!r}") from error
    _check(RecipeFile(found, functools.partial(_read, file)))
    return found


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _check(copy: RecipeFile) -> None:
    """Raises CannotClean if another reader finds in the copy what should not be there: a second line of defence."""
    for group in reading.read(cast(BinaryIO, copy)).groups:
        names = [str(group["Name"]), *cast(dict[str, str], group["Fields"])]
        if any("GPS" in name or "MakerNote" in name or "serial" in name.lower() for name in names):
            raise CannotClean(f"the copy still has {group['Name']}")
