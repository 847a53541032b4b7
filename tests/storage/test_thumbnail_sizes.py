"""storage.thumbnail_sizes: which sizes are cached, and which gives way."""

import re

import pytest

from assetstore.storage.thumbnail_sizes import (
    _MOST_COUNTED,
    SPECIFY_SIZES,
    Decision,
    Demand,
    LastUses,
    SizeRules,
    size_of,
    with_ending,
)
from tests.support import PROJECT


def test_specify_s_own_sizes_are_those_in_the_recorded_requests() -> None:
    recorded = b"".join(path.read_bytes() for path in (PROJECT / "tests/wire").glob("*.http"))
    assert {int(size) for size in re.findall(rb"scale=([0-9]+)", recorded)} == SPECIFY_SIZES


def test_a_size_takes_a_free_place() -> None:
    assert SizeRules(3).decide(7, {8: 1, 9: 2}, is_any_leaving=True, replaces=False) == Decision(True)


def test_the_size_that_was_not_used_for_the_longest_time_gives_way() -> None:
    assert SizeRules(3).decide(7, {8: 5, 9: 4, 10: 6}, False, True) == Decision(True, 9)
    assert SizeRules(3).decide(7, {8: 5, 9: 4, 10: 6}, False, False) == Decision(False)


def test_sizes_of_specify_and_previews_never_give_way() -> None:
    rules = SizeRules(2, frozenset([300]))
    assert rules.decide(7, {300: 1, 123: 2}, False, True) == Decision(False)
    assert rules.decide(7, {300: 1, 8: 2}, False, True) == Decision(True, 8)


@pytest.mark.parametrize("size", [123, 300])
def test_sizes_of_specify_and_previews_have_a_place_beyond_the_limit(size: int) -> None:
    rules = SizeRules(2, frozenset([300]))
    assert rules.decide(size, {8: 1, 9: 2}, is_any_leaving=True, replaces=True) == Decision(True)
    assert rules.decide(size, {8: 1, 9: 2}, is_any_leaving=False, replaces=True) == Decision(True, 8)
    assert rules.decide(size, {100: 1, 200: 2}, is_any_leaving=False, replaces=True) == Decision(True)


def test_one_size_leaves_at_a_time() -> None:
    assert SizeRules(2).decide(7, {8: 1, 9: 2}, is_any_leaving=True, replaces=True) == Decision(False)


def test_a_tree_with_more_sizes_than_the_limit_keeps_them_but_for_one() -> None:
    assert SizeRules(2).decide(7, dict.fromkeys(range(10, 60), 1), False, True) == Decision(True, 10)


def test_three_originals_make_a_size_wanted_and_one_original_never_does() -> None:
    demand = Demand()
    assert [demand.count("fish", 7, "a.jpg") for _ in range(9)] == [False] * 9
    assert [demand.count("herps", 7, name) for name in "abc"] == [False, False, True]
    assert [demand.count("fish", 7, f"{letter}.jpg") for letter in "baca"] == [False, False, True, True]
    demand.forget("fish", 7)
    assert demand.count("fish", 7, "a.jpg") is False


def test_however_many_sizes_are_requested_only_some_are_counted() -> None:
    demand = Demand()
    for size in range(3 * _MOST_COUNTED):
        demand.count("", size, "a")
    assert len(demand._names) == _MOST_COUNTED


def test_a_use_is_recorded_once_in_a_while_for_each_size() -> None:
    rarely, always = LastUses(3600), LastUses(0)
    assert [rarely.is_due("", size) for size in (7, 7, 8, 7, 8)] == [True, False, True, False, False]
    assert rarely.is_due("fish", 7)
    assert [always.is_due("", 7) for _ in range(2)] == [True, True]


def test_the_size_is_in_the_name_of_a_thumbnail() -> None:
    sizes = {
        **{"a_100.jpg": 100, "b.att_200.PNG": 200, "c_300-0.png": 300, "d_50": 50, "h_7_9.gif": 9, "a\n_5.jpg": 5},
        **{"e.jpg": None, "f_x.jpg": None, "g_0.jpg": None, "i_100.jpg.txt": None, "100": None},
    }
    assert {name: size_of(name) for name in sizes} == sizes


def test_only_numbers_with_the_right_ending_mark_sizes() -> None:
    names = ["100", "200-leaving", "taken", "-leaving", "x-leaving", "0100", "300-preview", "٣"]
    assert [with_ending(names, ending) for ending in ("", "-leaving", "-preview")] == [{100}, {200}, {300}]
