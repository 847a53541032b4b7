"""concurrency.concurrency_limit: no client address gets all places."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from assetstore.concurrency.concurrency_limit import ConcurrencyLimit, ElasticLimit


def most(limit: ElasticLimit, client: str) -> int:
    """How many more requests of a client are admitted."""
    count = 0
    while limit.acquire(client):
        count += 1
    return count


def test_a_client_gets_a_third_of_the_limit_and_all_clients_together_no_more_than_the_limit() -> None:
    limit = ConcurrencyLimit(9)
    assert [limit.acquire("a") for _ in range(4)] == [True, True, True, False]
    assert [limit.acquire(client) for client in "bbbccccd"] == [True] * 6 + [False, False]
    limit.release("a")
    assert limit.acquire("d")


def test_of_an_elastic_limit_a_single_client_gets_seven_eighths() -> None:
    assert most(ElasticLimit(128), "a") == 112


def test_when_another_client_appears_the_busy_one_gets_no_more_until_they_share_about_equally() -> None:
    limit = ElasticLimit(128)
    most(limit, "a")
    assert most(limit, "b") == 14
    held = {"a": 112, "b": 14}
    for _ in range(200):  # the first client's requests end one after the other, and both ask again at once
        limit.release("a")
        held["a"] -= 1
        for client in ("a", "b"):
            if limit.acquire(client):
                held[client] += 1
    assert abs(held["a"] - held["b"]) <= 7, held
    assert limit.held == held["a"] + held["b"] <= 120
    assert limit.acquire("newcomer")


def test_a_small_elastic_limit_may_be_used_up_by_one_client() -> None:
    assert [most(ElasticLimit(number), "a") for number in (1, 2, 7, 8)] == [1, 2, 7, 7]


def test_a_part_of_a_limit_leaves_the_rest_to_the_other_parts() -> None:
    whole = ElasticLimit(160)
    one, other = ElasticLimit(128, whole), ElasticLimit(128, whole)
    assert most(one, "a") == 112
    assert most(other, "a") == 28, "together seven eighths"
    assert most(other, "b") > 0
    assert one.held + other.held == whole.held <= 160


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcd"))), st.integers(1, 12))
def test_slots_are_never_lost_and_never_more_than_the_limit(steps: list[tuple[bool, str]], number: int) -> None:
    whole = ElasticLimit(number)
    limit, held = ElasticLimit(8, whole), Counter[str]()
    for acquires, client in steps:
        if acquires:
            held[client] += limit.acquire(client)
        elif held[client]:
            limit.release(client)
            held[client] -= 1
        assert limit.held == whole.held == held.total() <= min(8, number)
