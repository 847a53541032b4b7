"""A copy as a file: it reads the parts of the original when they are needed."""

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from assetstore.location_safe.recipe import Copied, Recipe, Zeros

_ZEROS_AT_ONCE = 256 << 10


class RecipeFile(io.RawIOBase):
    """A read-only, seekable file.

    Parameters:
        recipe: of the copy.
        read_part: returns bytes of the original: offset and length; fewer only at its end.
        original: the file to close together with this one, if any.
    """

    def __init__(
        self, recipe: Recipe, read_part: Callable[[int, int], bytes], original: BinaryIO | None = None
    ) -> None:
        super().__init__()
        self._original = original
        self._recipe = recipe
        self._read_part = read_part
        self._position = 0

    def close(self) -> None:
        """Closes the copy and the original."""
        if self._original is not None:
            self._original.close()
        super().close()

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Changes the position, without reading."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._recipe.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next *size* bytes, fewer at the end."""
        left = max(0, self._recipe.size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        data = b"".join(self._read(piece) for piece in self._recipe.section(self._position, size))
        self._position += len(data)
        return data

    def _read(self, piece: bytes | Copied | Zeros) -> bytes:
        if isinstance(piece, bytes):
            return piece
        return bytes(piece.length) if isinstance(piece, Zeros) else self._read_part(*piece)


def pieces(recipe: Recipe, first: int, length: int, copied: Callable[[int, int], Iterator[bytes]]) -> Iterator[bytes]:
    """Yields the bytes of a part of a copy.

    Parameters:
        recipe: of the copy.
        first, length: the part.
        copied: yields bytes of the original: offset and length.
    """
    for piece in recipe.section(first, length):
        if isinstance(piece, bytes):
            yield piece
        elif isinstance(piece, Copied):
            yield from copied(*piece)
        else:
            for start in range(0, piece.length, _ZEROS_AT_ONCE):
                yield bytes(min(_ZEROS_AT_ONCE, piece.length - start))
