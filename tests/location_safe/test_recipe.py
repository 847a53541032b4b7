"""location_safe: a copy reads like any file, whichever part is requested."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.location_safe import recipe_file
from assetstore.location_safe.recipe import CannotClean, Copied, Draft, Recipe, Zeros, as_text, from_text, loaded
from assetstore.location_safe.recipe_file import RecipeFile

ORIGINAL = bytes(range(200))

PIECES = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=20),
        st.builds(Zeros, st.integers(1, 20)),
        st.tuples(st.integers(0, 150), st.integers(1, 50)).map(lambda span: Copied(*span)),
    ),
    max_size=8,
)


def read_part(offset: int, length: int) -> bytes:
    return ORIGINAL[offset : offset + length]


def whole(recipe: Recipe) -> bytes:
    return RecipeFile(recipe, read_part).read()


@given(PIECES, st.integers(0, 300), st.integers(0, 300))
def test_every_section_is_that_part_of_the_whole(pieces: list[bytes | Copied | Zeros], first: int, length: int) -> None:
    recipe = loaded(Recipe(pieces).stored())
    assert from_text(as_text(recipe)) == recipe
    expected = b"".join(
        piece if isinstance(piece, bytes) else read_part(*piece) if isinstance(piece, Copied) else bytes(piece.length)
        for piece in pieces
    )
    file = RecipeFile(recipe, read_part)
    assert (recipe.size, file.read()) == (len(expected), expected)
    assert file.seek(first) == first
    assert file.read(length) == expected[first : first + length]
    sent = recipe_file.pieces(recipe, first, length, lambda offset, size: iter([read_part(offset, size)]))
    assert b"".join(sent) == expected[first : first + length]


def test_adjacent_parts_become_one_piece_and_gaps_become_zeros() -> None:
    draft = Draft()
    draft.write(b"a")
    draft.write(b"b")
    draft.lay(10, 40, [(30, 35), (12, 14), (14, 20), (13, 16)])
    recipe = draft.recipe()
    assert recipe.pieces == (b"ab", Zeros(2), Copied(12, 8), Zeros(10), Copied(30, 5), Zeros(5))
    assert whole(recipe)[2:] == bytes(2) + ORIGINAL[12:20] + bytes(10) + ORIGINAL[30:35] + bytes(5)


def test_parts_before_the_beginning_are_refused() -> None:
    with pytest.raises(CannotClean):
        Draft().lay(10, 20, [(5, 12)])


def test_a_truncated_recipe_is_not_loaded() -> None:
    with pytest.raises(ValueError, match="truncated"):
        loaded(Recipe([b"abc"]).stored()[:-1])


def test_closing_a_copy_closes_its_original() -> None:
    original = io.BytesIO(ORIGINAL)
    RecipeFile(Recipe([b"a"]), read_part, original).close()
    assert original.closed
