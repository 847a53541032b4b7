"""rendering.tiff_tags: the tags of TIFF and BigTIFF, in both byte orders, and what is left of forged ones."""

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.thumbnails.rendering import tiff_tags
from assetstore.thumbnails.rendering.tiff_tags import (
    HEIGHT,
    PHOTOMETRIC,
    PLANAR,
    S_MAX_SAMPLE,
    SAMPLES,
    SUB_IFDS,
    SUBFILE_TYPE,
    WIDTH,
    Page,
)
from tests import tiffs
from tests.tiffs import FLOAT, LONG, SHORT

SIGNED = 9

#: Type -> code of `struct` (TIFF 6.0, section 2; 13: TIFF Technical Note 1; 16 and 18: BigTIFF).
TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 18: "Q"}


@pytest.fixture
def pages(tmp_path: Path) -> Callable[[bytes], list[Page]]:
    def read(data: bytes) -> list[Page]:
        (tmp_path / "a.tif").write_bytes(data)
        with open(tmp_path / "a.tif", "rb") as file:
            found = tiff_tags.read_pages(file.fileno())
            assert tiff_tags.first_page(file.fileno()) == (found[0] if found else Page({}))
        return found

    return read


@pytest.mark.parametrize("is_big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_every_type_are_read(pages: Callable[[bytes], list[Page]], order: str, is_big: bool) -> None:
    for (kind, code), count in itertools.product(TYPES.items(), (1, 2, 9)):
        numbers = (*range(1, count), 7)
        data = struct.pack(f"{order}{count}{code}", *numbers)
        [page] = pages(tiffs.directory((S_MAX_SAMPLE, kind, count, data), order=order, is_big=is_big))
        assert page.tags == {S_MAX_SAMPLE: numbers}, (kind, count)
    for kind, code, numbers in ((5, "4I", (1, 2, 3, 0)), (10, "4i", (-1, -2, 3, 0))):
        data = struct.pack(f"{order}{code}", *numbers)
        [page] = pages(tiffs.directory((S_MAX_SAMPLE, kind, 2, data), order=order, is_big=is_big))
        assert page.tags == {S_MAX_SAMPLE: (0.5, 0)}, kind


@pytest.mark.parametrize(
    "entry",
    [
        (S_MAX_SAMPLE, SHORT, 0, b""),
        (S_MAX_SAMPLE, SHORT, 9, b"too few"),
        (S_MAX_SAMPLE, 99, 1, b"abcd"),
        (33723, LONG, 1, b"abcd"),
    ],
    ids=["no value", "values beyond the end", "unknown type", "tag not in use"],
)
def test_an_entry_without_usable_values_is_left_out(
    pages: Callable[[bytes], list[Page]], entry: tuple[int, int, int, bytes]
) -> None:
    width = (WIDTH, SHORT, 1, struct.pack("<H", 640))
    assert pages(tiffs.directory(entry, width)) == [Page({WIDTH: (640,)})]


def test_of_many_values_only_the_first_are_read(pages: Callable[[bytes], list[Page]]) -> None:
    most = tiff_tags._MOST_VALUES
    [page] = pages(tiffs.directory((S_MAX_SAMPLE, SHORT, most + 1, struct.pack(f"<{most + 1}H", *range(most + 1)))))
    assert page.tags == {S_MAX_SAMPLE: tuple(range(most))}


@pytest.mark.parametrize(
    ("extra", "found"), [(-tiff_tags._MOST_TAGS, 0), (-1, 1), (0, 1), (1, 0)], ids=["none", "fewer", "most", "more"]
)
def test_a_directory_without_entries_or_with_too_many_is_no_page(
    pages: Callable[[bytes], list[Page]], extra: int, found: int
) -> None:
    width = (WIDTH, SHORT, 1, struct.pack("<H", 640))
    assert pages(tiffs.directory(*[width] * (tiff_tags._MOST_TAGS + extra))) == [Page({WIDTH: (640,)})] * found


def test_pages_are_read_up_to_a_limit_and_each_of_them_once(pages: Callable[[bytes], list[Page]]) -> None:
    tags = tiffs.page(8, 8, (8,), 1)
    most = tiff_tags._MOST_PAGES
    assert len(pages(tiffs.tiff(*[(tags, bytes(64))] * (most - 1)))) == most - 1
    assert len(pages(tiffs.tiff(*[(tags, bytes(64))] * (most + 1)))) == most
    width = (WIDTH, SHORT, 1, struct.pack("<H", 640))
    for is_big, first in ((False, 8), (True, 16)):
        assert len(pages(tiffs.directory(width, is_big=is_big, following=first))) == 1


@pytest.mark.parametrize("is_big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_follow_each_other(pages: Callable[[bytes], list[Page]], order: str, is_big: bool) -> None:
    def page(tag: int, following: int = 0) -> bytes:
        entry = (tag, SHORT, 1, struct.pack(f"{order}H", 640))
        return tiffs.directory(entry, order=order, is_big=is_big, following=following)

    first = page(WIDTH, following=len(page(WIDTH)))
    second = page(HEIGHT)[16 if is_big else 8 :]
    assert pages(first + second) == [Page({WIDTH: (640,)}), Page({HEIGHT: (640,)})]


def test_a_page_that_is_cut_off_has_the_tags_that_are_there(pages: Callable[[bytes], list[Page]]) -> None:
    data = tiffs.directory(*[(tag, SHORT, 1, struct.pack("<H", 640)) for tag in (WIDTH, HEIGHT)])
    assert pages(data[:-4]) == [Page({WIDTH: (640,), HEIGHT: (640,)})]
    assert pages(data[:-5]) == [Page({WIDTH: (640,)})]
    assert pages(data[:8]) == pages(b"") == []


@pytest.mark.parametrize(
    ("kind", "code", "offset"), [(LONG, "I", 10**9), (SIGNED, "i", -1), (FLOAT, "f", 8.0), (LONG, "I", 8)]
)
def test_offsets_that_lead_to_no_other_directory_are_no_children(
    pages: Callable[[bytes], list[Page]], kind: int, code: str, offset: float
) -> None:
    [page] = pages(tiffs.directory((SUB_IFDS, kind, 1, struct.pack(f"<{code}", offset))))
    assert page.children == ()


def test_children_have_no_children_themselves(pages: Callable[[bytes], list[Page]]) -> None:
    grandchild = {**tiffs.page(8, 8, (8,), 1), SUB_IFDS: (LONG, [8])}
    [page] = pages(tiffs.tiff((tiffs.page(9, 9, (8,), 1), bytes(81)), children=[(grandchild, bytes(64))] * 2))
    assert [(child.longest, child.children) for child in page.children] == [(8, ())] * 2


@pytest.mark.parametrize(
    ("size", "is_same"), [((320, 240), True), ((320, 241), True), ((320, 242), False), ((0, 0), True)]
)
def test_a_smaller_version_may_be_rounded_by_a_pixel(size: tuple[int, int], is_same: bool) -> None:
    width, height = size
    small = Page({WIDTH: (width,), HEIGHT: (height,)})
    assert small.shows_the_same_as(Page({WIDTH: (640,), HEIGHT: (481,)})) == is_same


@pytest.mark.parametrize(("kind", "is_reduced"), [(0, False), (1, True), (2, False), (3, True), (4, False)])
def test_only_bit_0_of_the_kind_marks_a_smaller_version(kind: int, is_reduced: bool) -> None:
    assert Page({SUBFILE_TYPE: (kind,)}).is_reduced == is_reduced


@pytest.mark.parametrize(
    ("photometric", "is_unusual"), [(0, True), (1, True), (2, False), (3, True), (5, False), (6, True), (8, False)]
)
def test_separate_planes_are_usual_only_for_rgb_cmyk_and_lab(photometric: int, is_unusual: bool) -> None:
    def has_unusual_planes(planar: int, samples: int) -> bool:
        tags = {PLANAR: (planar,), SAMPLES: (samples,), PHOTOMETRIC: (photometric,)}
        return Page(tags).has_unusual_planes

    assert has_unusual_planes(2, 3) == is_unusual
    assert not has_unusual_planes(1, 3)
    assert not has_unusual_planes(2, 1), "there is only one"
