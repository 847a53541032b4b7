"""originals.growth: months, the average of the last 90 days, and when the disk will be full."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.journal.events import DELETED, PURGED, REPLACED, RESTORED, STORED, Event
from assetstore.journal.journal import Journal
from assetstore.originals import growth

DAY = 86_400

#: 2026-11-24, noon, UTC.
NOW = 1_795_521_600


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path)
    yield opened
    opened.close()


def note(journal: Journal, operation: str, days_ago: float, size: int | None) -> None:
    timestamp = int((NOW - days_ago * DAY) * 10**9)
    assert journal.record(Event(operation, "", "a", size=size, time_ns=timestamp))


def left_for_good(journal: Journal, keeps_trash: bool) -> list[tuple[str, int, int, int]]:
    months = growth.measure(journal, keeps_trash, NOW).months
    return [(month.month, month.uploads, month.stored, month.freed) for month in months]


def test_months_show_uploads_and_permanent_removals(journal: Journal) -> None:
    note(journal, STORED, 60, 1000)
    note(journal, REPLACED, 1, 300)
    note(journal, DELETED, 1, 300)
    note(journal, RESTORED, 1, 300)
    note(journal, PURGED, 0, 1000)
    note(journal, STORED, 0, None)
    assert left_for_good(journal, keeps_trash=True) == [("2026-09", 1, 1000, 0), ("2026-11", 2, 300, 1000)]
    assert left_for_good(journal, keeps_trash=False)[1] == ("2026-11", 2, 300, 1300)


def test_growth_is_the_average_of_the_last_ninety_days(journal: Journal) -> None:
    note(journal, STORED, 300, 10**12)
    note(journal, STORED, 89, 60_000)
    note(journal, STORED, 10, 40_000)
    note(journal, PURGED, 5, 10_000)
    assert growth.measure(journal, True, NOW).daily == pytest.approx(1000)


def test_a_younger_journal_averages_over_its_own_days(journal: Journal) -> None:
    note(journal, STORED, 10, 60_000)
    assert growth.measure(journal, True, NOW).daily == pytest.approx(6000)


def test_a_journal_younger_than_a_week_or_empty_gives_no_growth(journal: Journal) -> None:
    assert growth.measure(journal, True, NOW).daily is None
    note(journal, STORED, 6, 60_000)
    assert growth.measure(journal, True, NOW).daily is None


def test_events_dated_in_the_future_are_ignored(journal: Journal) -> None:
    note(journal, STORED, 10, 10_000)
    note(journal, STORED, -4000, 10**12)
    assert growth.measure(journal, True, NOW).daily == pytest.approx(1000)


@pytest.mark.parametrize(
    ("room", "daily", "days"),
    [
        (1000, 10.0, 100.0),
        (0, 10.0, 0.0),
        (-5, 10.0, 0.0),
        (1000, 0.0, None),
        (1000, -3.0, None),
        (None, 10.0, None),
        (1000, None, None),
    ],
)
def test_the_time_until_the_disk_is_full_follows_from_growth(
    room: int | None, daily: float | None, days: float | None
) -> None:
    assert growth.days_until_full(room, daily) == days
