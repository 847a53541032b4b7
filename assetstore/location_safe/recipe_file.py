"""A copy as a file: it reads the parts of the original when they are needed."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from assetstore.files.read_only_file import ReadOnlyFile
from assetstore.location_safe.recipe import Copied, Recipe, Zeros

_ZEROS_AT_ONCE = 256 << 10


class RecipeFile(ReadOnlyFile):
    """The file.

    Parameters:
        recipe: of the copy.
        read_part: returns bytes of the original: offset and length; fewer only at its end.
        original: the file to close together with this one, if any.
    """

    def __init__(
        self, recipe: Recipe, read_part: Callable[[int, int], bytes], original: BinaryIO | None = None
    ) -> None:
        super().__init__(recipe.size)
        self._original = original
        self._recipe = recipe
        self._read_part = read_part

    def close(self) -> None:
        """Closes the copy and the original."""
        if self._original is not None:
            self._original.close()
        super().close()

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next *size* bytes, fewer at the end."""
        data = b"".join(self._read(piece) for piece in self._recipe.section(self._position, self._left(size)))
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
