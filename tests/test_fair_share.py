"""fair_share: processes that accept connections of one socket have about as many of them each."""

from assetstore.fair_share import COURTESY_SECONDS, Share, Shares


class Process:
    """One of those who share."""

    def __init__(self, share: Share) -> None:
        self.share = share

    def pause(self, connections: int) -> float:
        self.share.note(connections)
        return self.share.pause()


def two_processes() -> tuple[Process, Process]:
    shares = Shares(2)
    return Process(shares.of(0)), Process(shares.of(1))


def test_a_process_alone_takes_every_connection() -> None:
    alone = Process(Shares(1).of(0))
    assert [alone.pause(connections) for connections in (0, 1, 100)] == [0, 0, 0]


def test_who_has_no_more_than_the_others_takes_the_next_connection() -> None:
    one, other = two_processes()
    assert one.pause(0) == 0
    assert other.pause(3) > 0
    assert one.pause(3) == 0


def test_who_has_more_leaves_it_to_the_others_and_takes_it_if_they_do_not() -> None:
    one, _ = two_processes()
    assert one.pause(1) == COURTESY_SECONDS
    assert one.pause(1) == 0
    assert one.pause(2) == COURTESY_SECONDS


def test_others_that_take_connections_are_left_the_next_ones_too() -> None:
    one, other = two_processes()
    for taken in range(5):
        assert one.pause(6) == COURTESY_SECONDS
        assert other.pause(taken) == 0
        other.pause(taken + 1)
    other.pause(6)
    assert one.pause(6) == 0


def test_a_process_that_does_nothing_is_waited_for_ever_more_rarely() -> None:
    one, other = two_processes()

    def pauses(connections: int) -> int:
        count = 0
        for number in range(connections):
            while one.pause(1 + number):
                count += 1
        return count

    assert pauses(1000) <= 11
    assert pauses(1000) <= 4
    while not one.pause(500):
        pass
    other.pause(3)  # it takes some again
    assert one.pause(500) == COURTESY_SECONDS
    assert pauses(1000) >= 8


def test_a_connection_that_others_took_does_not_count_for_the_next_one() -> None:
    one, _ = two_processes()
    assert one.pause(1) == COURTESY_SECONDS
    one.share.nobody_waits()
    assert one.pause(1) == COURTESY_SECONDS


def test_shares_are_of_one_memory() -> None:
    shares = Shares(3)
    processes = [Process(shares.of(process)) for process in range(3)]
    for process, connections in zip(processes, (4, 5, 6), strict=True):
        process.share.note(connections)
    assert [process.share.pause() > 0 for process in processes] == [False, True, True]
