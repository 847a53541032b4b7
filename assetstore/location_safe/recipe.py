"""The recipe of a copy: which parts of the original, which new bytes and which zeros it consists of.

The copy itself is stored nowhere. It is put together from the original while it is sent, so a copy of a large file
takes neither disk nor memory, and no byte of the original that the recipe does not name can get into it.
"""

import base64
import itertools
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: How many pieces a recipe may have, and how many new bytes: more than any real picture requires.
_MOST_PIECES, _MOST_NEW_BYTES = 1_000_000, 64 << 20

_LENGTH_BYTES = 8

#: In place of an offset, in a stored recipe.
_NEW, _ZEROS = -1, -2


class CannotClean(Exception):
    """No copy can be made that is safe for certain; the message says why, for the log."""


class Copied(NamedTuple):
    """A part of the original."""

    offset: int
    length: int


class Zeros(NamedTuple):
    """Zeros."""

    length: int


Piece = bytes | Copied | Zeros


@dataclass(frozen=True)
class Recipe:
    """The pieces of a copy, in order."""

    pieces: Sequence[Piece]
    _ends: Sequence[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", list(itertools.accumulate(map(_length, self.pieces))))

    @property
    def size(self) -> int:
        """The size of the copy, in bytes."""
        return self._ends[-1] if self._ends else 0

    def section(self, first: int, length: int) -> Iterator[Piece]:
        """Yields the pieces of a part of the copy."""
        index = bisect_right(self._ends, first)
        while length > 0 and index < len(self.pieces):
            piece = self.pieces[index]
            skipped = first - (self._ends[index] - _length(piece))
            taken = min(length, _length(piece) - skipped)
            yield _part(piece, skipped, taken)
            first, length, index = first + taken, length - taken, index + 1

    def stored(self) -> bytes:
        """Returns the recipe as bytes, for `loaded`."""
        rows = [
            (_NEW, len(piece)) if isinstance(piece, bytes) else (_ZEROS, *piece) if isinstance(piece, Zeros) else piece
            for piece in self.pieces
        ]
        head = json.dumps(rows, separators=(",", ":")).encode()
        new = b"".join(piece for piece in self.pieces if isinstance(piece, bytes))
        return len(head).to_bytes(_LENGTH_BYTES) + head + new


def loaded(data: bytes) -> Recipe:
    """Returns the recipe that `Recipe.stored` wrote. Raises ValueError."""
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
    pieces: list[Piece] = []
    for offset, length in json.loads(data[_LENGTH_BYTES:start]):
        if offset == _NEW:
            pieces.append(data[start : start + length])
            start += length
        else:
            pieces.append(Zeros(length) if offset == _ZEROS else Copied(offset, length))
    if start != len(data):
        raise ValueError("the recipe is truncated")
    return Recipe(pieces)


def as_text(recipe: Recipe) -> str:
    """Returns a recipe as text, for JSON."""
    return base64.b85encode(recipe.stored()).decode("ascii")


def from_text(text: str) -> Recipe:
    """Returns the recipe that `as_text` wrote. Raises ValueError."""
    return loaded(base64.b85decode(text))


class Draft:
    """A recipe that is being written. Adjacent parts of the original become one piece.

    All methods raise CannotClean if it becomes too large.
    """

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._new_bytes = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        """Adds new bytes."""
        self._new_bytes += len(data)
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytes) and len(last) < 1 << 16:
            self._replace_last(last + data, len(data))
        else:
            self._add(bytes(data), len(data))

    def copy(self, offset: int, length: int) -> None:
        """Adds a part of the original."""
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, Copied) and last.offset + last.length == offset:
            self._replace_last(Copied(last.offset, last.length + length), length)
        else:
            self._add(Copied(offset, length), length)

    def fill(self, length: int) -> None:
        """Adds zeros."""
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, Zeros):
            self._replace_last(Zeros(last.length + length), length)
        else:
            self._add(Zeros(length), length)

    def lay(self, start: int, end: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Adds the bytes from *start* to *end* of the original, where all that is not in *ranges* becomes zeros.

        Parameters:
            start, end: positions in the original.
            ranges: starts and ends of the parts to copy; they may overlap.
        """
        for first, last in _merged(ranges):
            self.fill(first - start)
            self.copy(first, last - first)
            start = last
        self.fill(end - start)

    def recipe(self) -> Recipe:
        """Returns the complete recipe."""
        return Recipe(tuple(self._pieces))

    def _replace_last(self, piece: Piece, grown: int) -> None:
        self._pieces[-1] = piece
        self._count(grown)

    def _add(self, piece: Piece, length: int) -> None:
        if length < 0:
            raise CannotClean("the parts of the file overlap")
        if length:
            self._pieces.append(piece)
            self._count(length)

    def _count(self, length: int) -> None:
        self.size += length
        if length < 0 or len(self._pieces) > _MOST_PIECES or self._new_bytes > _MOST_NEW_BYTES:
            raise CannotClean("the file has too many parts")


def _merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    current: tuple[int, int] | None = None
    for first, last in sorted(span for span in ranges if span[0] < span[1]):
        if current is not None and first <= current[1]:
            current = current[0], max(current[1], last)
        else:
            if current is not None:
                yield current
            current = first, last
    if current is not None:
        yield current


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.length


def _part(piece: Piece, skipped: int, taken: int) -> Piece:
    if isinstance(piece, bytes):
        return piece[skipped : skipped + taken]
    return Zeros(taken) if isinstance(piece, Zeros) else Copied(piece.offset + skipped, taken)
