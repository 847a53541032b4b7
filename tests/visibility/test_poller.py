"""When polls begin, and how late a change takes effect, with a clock under control."""

import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assetstore.journal.journal import Journal
from assetstore.visibility import poller as polling
from assetstore.visibility.models import KnownPart, Part, Record
from assetstore.visibility.poller import Poller
from assetstore.visibility.service import Visibility

SECONDS = 10
NAME = "a.jpg"


class Clock:
    """The clocks of a machine; reading the time takes none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.offset = 1000.0, 1.8e9
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: self.now + self.offset)


class Slow:
    """A source of one record whose flag others change, and which takes its time to be read."""

    name = "slow"

    def __init__(self, clock: Clock) -> None:
        self.clock, self.took, self.began = clock, 0.0, 0.0
        self.is_public = True

    def changed(self, known: Mapping[int, KnownPart], problems: list[str]) -> Iterator[Part]:
        seen, self.began = self.is_public, self.clock.now
        self.clock.now += self.took
        yield Part(0, str(seen), [Record(1, NAME, seen)])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def slow(clock: Clock) -> Slow:
    return Slow(clock)


@pytest.fixture
def visible(tmp_path: Path) -> Iterator[Visibility]:
    visible = Visibility(tmp_path, SECONDS)
    yield visible
    visible.close()


@pytest.fixture
def poller(tmp_path: Path, visible: Visibility, slow: Slow) -> Iterator[Poller]:
    journal = Journal(tmp_path)
    yield Poller(visible.index, slow, journal, [""], SECONDS)
    journal.close()


def latest(poller: Poller, slow: Slow, visible: Visibility, took: list[float]) -> float:
    """How long a change that comes just after a poll has begun to read takes to be seen, at most."""
    most = 0.0
    poller.round()
    for seconds in took:
        changed_at, slow.is_public = slow.began, not slow.is_public
        slow.took = seconds
        while visible.is_public(NAME) is not slow.is_public:
            slow.clock.now += poller.round_seconds
            poller.round()
        most = max(most, slow.clock.now - changed_at)
    return most


def test_a_change_takes_effect_in_time_if_no_poll_takes_longer_than_its_share(
    poller: Poller, slow: Slow, visible: Visibility
) -> None:
    chance = random.Random(18)
    longest = polling.SHARE_OF_POLL * SECONDS
    took = [chance.choice((0, longest, chance.uniform(0, longest))) for _ in range(100)]
    assert latest(poller, slow, visible, took) <= polling.SHARE_OF_CHANGE * SECONDS + 1e-6
    assert latest(poller, slow, visible, [longest] * 9) <= (polling.SHARE_OF_CHANGE + 0.05) * SECONDS + 1e-6
    assert polling.SHARE_OF_POLL > 1 / 3


def test_polls_that_take_longer_follow_each_other_but_leave_the_source_a_rest(
    poller: Poller, slow: Slow, visible: Visibility
) -> None:
    slow.took = 2.0 * SECONDS
    poller.round()
    ended = slow.clock.now
    while slow.began < ended:
        poller.round()
        slow.clock.now += poller.round_seconds
    assert 0 < slow.began - ended <= 0.1 * SECONDS + 1e-6
    assert not visible.status().is_current(SECONDS, time.time())


@pytest.mark.parametrize("step", [-3600, 3600, -2], ids=["back", "forward", "back a little"])
def test_a_clock_that_is_set_delays_no_poll(poller: Poller, slow: Slow, step: int) -> None:
    poller.round()
    began = slow.began
    slow.clock.offset += step
    slow.clock.now += 0.4 * SECONDS
    poller.round()
    assert slow.began > began


def test_a_restart_of_the_machine_delays_no_poll(poller: Poller, slow: Slow) -> None:
    poller.round()
    slow.clock.offset += slow.clock.now - 1.0 + SECONDS
    slow.clock.now = 1.0
    poller.round()
    assert slow.began == 1.0


def test_changes_that_wait_for_the_journal_delay_no_poll(
    poller: Poller, slow: Slow, visible: Visibility, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "_CHANGES", 1)
    poller.round()
    with visible.index.writing() as connection:
        connection.executemany("INSERT INTO changes (name, state) VALUES (?, 1)", [("b.jpg",)] * 5)
    record = poller._journal.record

    def slowly(*events: object) -> None:
        slow.clock.now += 0.3 * SECONDS
        record(*events)  # type: ignore[arg-type]

    monkeypatch.setattr(poller._journal, "record", slowly)
    began = slow.began
    for left in (3, 1, 0):
        poller.round()
        assert len(visible.index.rows("SELECT id FROM changes")) == left
    assert slow.began > began
