"""Embargoes: which days they cover, and when a file changes its state."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.visibility import embargo, update
from assetstore.visibility.embargo import NEVER, Embargo
from assetstore.visibility.models import PRIVATE, PUBLIC
from assetstore.visibility.update import Decision

DAY = embargo.number(datetime.date(2026, 11, 28))
EMBARGOES = st.lists(st.builds(Embargo, st.integers(0, 60), st.one_of(st.integers(0, 60), st.just(NEVER))), max_size=4)


def day(text: str) -> int:
    return embargo.number(datetime.date.fromisoformat(text))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2027-03-01", "2027-03-01"),
        ("2027-03", "2027-04-01"),
        ("2027-12", "2028-01-01"),
        ("2027", "2028-01-01"),
        ("2024-02-29", "2024-02-29"),
    ],
)
def test_an_iso_date_ends_an_embargo_on_that_day_or_after_that_month_or_year(text: str, end: str) -> None:
    assert embargo.until(text) == Embargo(0, day(end))


@pytest.mark.parametrize("text", ["soon", "2027-13", "2027-02-30", "27-01-01", "2027-1-1", "0000", "2027-03-01T10:00"])
def test_anything_else_is_no_date(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence comes from Python for some
        embargo.until(text)


def test_dates_of_specify_begin_at_midnight_and_partial_ones_cover_all_of_their_month_or_year() -> None:
    start, release = datetime.datetime(2026, 5, 20, 23, 59), datetime.datetime(2026, 11, 28, 15, 0)
    assert embargo.of_specify(start, 1, release, 1) == Embargo(day("2026-05-20"), DAY)
    assert embargo.of_specify(start, 2, release, 2) == Embargo(day("2026-05-01"), day("2026-12-01"))
    assert embargo.of_specify(start, 3, release, 3) == Embargo(day("2026-01-01"), day("2027-01-01"))
    assert embargo.of_specify(None, None, release, None) == Embargo(0, DAY)
    assert embargo.of_specify(start, 1, None, None) == Embargo(day("2026-05-20"), NEVER)
    assert embargo.of_specify(None, 1, None, 1) is None
    assert embargo.of_specify("0000-00-00 00:00:00", 1, "0000-00-00", 1) is None
    assert embargo.of_specify(None, None, datetime.datetime(9999, 12, 31), 3) == Embargo(0, NEVER)


@given(EMBARGOES)
def test_embargoes_survive_the_index(embargoes: list[Embargo]) -> None:
    assert embargo.decoded(embargo.encoded(embargoes)) == sorted(set(embargoes))


@given(EMBARGOES, st.integers(0, 60))
def test_the_next_change_is_the_first_day_with_another_state(embargoes: list[Embargo], today: int) -> None:
    now = embargo.is_under(embargoes, today)
    later = [day for day in range(today + 1, 100) if embargo.is_under(embargoes, day) != now]
    assert embargo.next_change(embargoes, today) == (later[0] if later else None)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), EMBARGOES), max_size=4),
    st.one_of(st.none(), st.tuples(st.sampled_from([PRIVATE, PUBLIC]), st.one_of(st.none(), st.integers(0, 60)))),
    st.integers(0, 60),
)
def test_a_file_is_public_only_if_no_record_forbids_it(
    records: list[tuple[bool, bool, list[Embargo]]], last: tuple[int, int | None] | None, today: int
) -> None:
    rows = [(public, complete, embargo.encoded(embargoes)) for public, complete, embargoes in records]
    decision = update.decide(rows, last, today)
    forbidden = any(not public or embargo.is_under(embargoes, today) for public, _, embargoes in records)
    is_complete = bool(records) and all(complete for _, complete, _ in records)
    if forbidden:
        assert decision.state == PRIVATE
    elif is_complete:
        assert decision.state == PUBLIC
        assert decision.is_known
    else:
        was_public = last is not None and last[0] == PUBLIC and (last[1] is None or last[1] > today)
        assert decision.state == (PUBLIC if was_public else PRIVATE)
        assert not decision.is_known
    assert decision.next_change is None or decision.next_change > today


def test_nothing_known_is_private() -> None:
    assert update.decide([], None, DAY) == Decision(PRIVATE, None, False)
