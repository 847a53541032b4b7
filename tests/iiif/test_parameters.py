"""assetstore.iiif.parameters: which part of a page an address requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.errors import BadRequest
from assetstore.iiif import levels, parameters
from assetstore.iiif.parameters import Part

PAGE = (1000, 600)


def parse(
    version: int, region: str = "full", size: str = "max", rotation: str = "0", file: str = "default.jpg"
) -> Part:
    return parameters.parse(version, (region, size, rotation, file), PAGE)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("full", (0, 0, 1000, 600)),
        ("square", (200, 0, 600, 600)),
        ("10,20,30,40", (10, 20, 30, 40)),
        ("900,500,512,512", (900, 500, 100, 100)),
        ("pct:10,20,30,40.5", (100, 120, 300, 243)),
    ],
)
def test_regions(text: str, region: tuple[int, ...]) -> None:
    assert parse(3, text).region == region


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1,0,1,1", "0,0,0,5", "1000,0,1,1", "1,2,3", "NaN,0,1,1", "pct:0,0,0,1", "pct:nan,0,1,1", "1e9,0,1,1"),
        *("0,0,1,1,1", "٣,0,1,1", "pct:100,0,1,1", "9999999999,0,1,1"),
    ],
)
def test_malformed_or_empty_regions_are_rejected(text: str) -> None:
    with pytest.raises(BadRequest, match="region"):
        parse(3, text)


@pytest.mark.parametrize(
    ("version", "text", "size"),
    [
        (3, "max", (1000, 600)),
        (2, "full", (1000, 600)),
        (2, "max", (1000, 600)),
        (3, "500,", (500, 300)),
        (3, ",300", (500, 300)),
        (3, "1,", (1, 1)),
        (3, "pct:25", (250, 150)),
        (3, "300,20", (300, 20)),
        (3, "!200,200", (200, 120)),
        (3, "!2000,2000", (1000, 600)),
    ],
)
def test_sizes(version: int, text: str, size: tuple[int, int]) -> None:
    assert parse(version, size=text).size == size


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (3, "full"),
        (3, "^max"),
        (3, "1001,"),
        (3, ",601"),
        (3, "pct:101"),
        (3, "0,"),
        (3, ","),
        (3, "!5,"),
        (2, "2000,"),
        (3, "pct:0"),
        (3, "-5,"),
        (3, "nan,"),
        (3, "999999999,1"),
        (2, "^5,"),
        (3, "5,5,5"),
    ],
)
def test_malformed_and_larger_sizes_are_rejected(version: int, text: str) -> None:
    with pytest.raises(BadRequest, match="size"):
        parse(version, size=text)


def test_a_size_above_the_limit_is_rejected_and_max_is_the_largest_allowed() -> None:
    page = (100_000, 50_000)
    with pytest.raises(BadRequest, match="allows"):
        parameters.parse(3, ("full", "20000,10000", "0", "default.jpg"), page)
    width, height = parameters.parse(3, ("full", "max", "0", "default.jpg"), page).size
    assert levels.is_allowed(width, height)
    assert abs(width - 2 * height) <= 2


@pytest.mark.parametrize(
    ("text", "turned"),
    [("0", (False, 0)), ("90", (False, 90)), ("!270", (True, 270)), ("360", (False, 0)), ("180.0", (False, 180))],
)
def test_rotations(text: str, turned: tuple[bool, int]) -> None:
    part = parse(3, rotation=text)
    assert (part.is_mirrored, part.rotation) == turned


@pytest.mark.parametrize("text", ["", "45", "-90", "450", "!!0", "nan", "0.5", "٩٠"])
def test_other_rotations_are_rejected(text: str) -> None:
    with pytest.raises(BadRequest, match="rotation"):
        parse(3, rotation=text)


@pytest.mark.parametrize("file", ["default.gif", "grey.jpg", "default", ".jpg", "default.jpg.exe", "native.jpg"])
def test_unknown_qualities_and_formats_are_rejected(file: str) -> None:
    with pytest.raises(BadRequest, match=r"quality|format"):
        parse(3, file=file)


@pytest.mark.parametrize(
    ("version", "segments", "canonical"),
    [
        (3, ("0,0,1000,600", "1000,600", "360", "color.jpg"), "full/max/0/default.jpg"),
        (3, ("square", "300,", "!90", "gray.png"), "200,0,600,600/300,300/!90/gray.png"),
        (2, ("pct:0,0,50,50", "250,", "0", "default.jpg"), "0,0,500,300/250,/0/default.jpg"),
        (2, ("full", "100,100", "0", "default.jpg"), "full/100,100/0/default.jpg"),
        (2, ("full", "1000,", "0", "default.jpg"), "full/full/0/default.jpg"),
    ],
)
def test_each_part_has_one_canonical_form(version: int, segments: tuple[str, str, str, str], canonical: str) -> None:
    part = parameters.parse(version, segments, PAGE)
    assert parameters.canonical(version, part, PAGE) == canonical
    assert parameters.parse(version, (*canonical.split("/"),), PAGE) == part  # type: ignore[arg-type]  # four


texts = st.text(alphabet="0123456789,.!^:pctfulmaxsqenN-", max_size=20)


regions = st.one_of(texts, st.lists(st.integers(-1, 2000), min_size=4, max_size=4).map(lambda x: ",".join(map(str, x))))
sizes = st.one_of(texts, st.from_regex(r"!?[0-9]{1,4},[0-9]{1,4}", fullmatch=True))


@given(st.sampled_from((2, 3)), regions, sizes, st.sampled_from(("0", "!90", "180")))
def test_every_accepted_part_is_inside_the_page_and_not_enlarged(
    version: int, region: str, size: str, rotation: str
) -> None:
    try:
        part = parameters.parse(version, (region, size, rotation, "default.jpg"), PAGE)
    except BadRequest:
        return
    left, top, width, height = part.region
    assert left >= 0 <= top
    assert left + width <= PAGE[0]
    assert top + height <= PAGE[1]
    assert 1 <= part.size[0] <= width
    assert 1 <= part.size[1] <= height


@given(st.integers(1, 300_000), st.integers(1, 300_000))
def test_the_offered_sizes_are_allowed_and_tiles_end_with_the_whole_page(width: int, height: int) -> None:
    sizes = levels.sizes(width, height)
    assert sizes
    assert all(levels.is_allowed(*size) for size in sizes)
    assert levels.is_allowed(*levels.largest(width, height))
    factor = levels.scale_factors(width, height)[-1]
    assert max(width, height) <= factor * levels.TILE
