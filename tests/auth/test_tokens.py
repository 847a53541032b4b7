"""auth.tokens: which tokens are valid, and for how long."""

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.auth import tokens
from assetstore.errors import Forbidden

KEY, NAME, NOW = "museum key", "sp61.att.jpg", 1_795_422_907


def refusal(token: str | None, name: str | None = NAME, now: float = NOW, tolerance: int | None = 150) -> str:
    with pytest.raises(Forbidden) as refused:
        tokens.check([KEY], token, name, now, tolerance)
    assert KEY not in refused.value.public
    return refused.value.public


def test_a_token_is_hmac_md5_of_timestamp_and_name() -> None:
    signature = hmac.new(b"museum key", b"1795422907sp61.att.jpg", hashlib.md5).hexdigest()
    assert tokens.make(KEY, NAME, NOW) == f"{signature}:1795422907"


@pytest.mark.parametrize("apart", [0, 149, -149])
def test_a_token_is_valid_within_the_time_tolerance(apart: int) -> None:
    tokens.check([KEY], tokens.make(KEY, NAME, NOW), NAME, NOW + apart, 150)


@pytest.mark.parametrize("apart", [150, -150, 151, 10**9])
def test_a_token_at_the_time_tolerance_is_rejected_with_its_age(apart: int) -> None:
    assert str(abs(apart)) in refusal(tokens.make(KEY, NAME, NOW), now=NOW + apart)


def test_a_token_that_waited_in_a_queue_is_not_blamed_on_clocks() -> None:
    found = refusal(tokens.make(KEY, NAME, NOW), now=NOW + 212)
    assert found == (
        "The token has expired: it was issued 212 s ago, and the limit is 150 s (TIME_TOLERANCE)."
        " If uploads wait in a queue, raise it."
    )


def test_without_a_tolerance_the_time_is_not_checked() -> None:
    tokens.check([KEY], tokens.make(KEY, NAME, 1_000_000_000), NAME, NOW, None)


def test_without_tolerance_no_digit_can_move_between_the_timestamp_and_the_name() -> None:
    signature = tokens.make(KEY, "5.jpg", NOW).split(":")[0]
    assert "10 digits" in refusal(f"{signature}:{NOW}5", ".jpg", tolerance=None)
    assert "10 digits" in refusal(f"{signature}:{NOW // 10}", f"{NOW % 10}5.jpg", tolerance=None)


def test_without_keys_nothing_is_checked() -> None:
    tokens.check(None, None, None, NOW, 150)
    with pytest.raises(Forbidden):
        tokens.check([], tokens.make(KEY, NAME, NOW), NAME, NOW, 150)


def test_each_of_several_keys_is_accepted() -> None:
    for key in ("old", "new"):
        tokens.check(["new", "old"], tokens.make(key, NAME, NOW), NAME, NOW, 150)


def test_a_token_for_another_key_or_name_is_rejected() -> None:
    assert "different keys" in refusal(tokens.make("other", NAME, NOW))
    assert "different keys" in refusal(tokens.make(KEY, "other.jpg", NOW))


def test_an_old_token_of_another_key_does_not_reveal_the_time() -> None:
    assert "different keys" in refusal(tokens.make("other", NAME, 1))


GOOD = tokens.make(KEY, NAME, NOW)
SIGNATURE = GOOD.partition(":")[0]


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        ":",
        SIGNATURE,
        f"{SIGNATURE}:",
        f"{GOOD}:",
        f"{GOOD}:1",
        f":{NOW}",
        f"{SIGNATURE.upper()}:{NOW}",
        f"{SIGNATURE}:+{NOW}",
        f"{SIGNATURE}:-{NOW}",
        f"{SIGNATURE}: {NOW}",
        f"{SIGNATURE}:{NOW} ",
        f"{SIGNATURE}:{NOW}\n",
        f"{SIGNATURE}:0{NOW}",
        f"{SIGNATURE}:{NOW}.0",
        f"{SIGNATURE}:1_795_422_907",
        f"{SIGNATURE}:١٧٩٥٤٢٢٩٠٧",
        f"{SIGNATURE}:{'9' * 5000}",
        f"{SIGNATURE[:-1]}:{NOW}",
        f"{SIGNATURE}0:{NOW}",
        "\udcff",
    ],
)
def test_a_malformed_token_is_rejected_with_a_reason(token: str | None) -> None:
    assert refusal(token).endswith((".", "?"))


def test_a_missing_name_is_rejected_but_an_empty_one_can_be_signed() -> None:
    assert "the name that the token signs" in refusal(GOOD, name=None)
    tokens.check([KEY], tokens.make(KEY, "", NOW), "", NOW, 150)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 10**15), st.text(min_size=1))
def test_every_generated_token_is_valid_for_its_name_only(name: str, timestamp: int, other: str) -> None:
    token = tokens.make(KEY, name, timestamp)
    tokens.check([KEY], token, name, timestamp, 150)
    if other != name:
        with pytest.raises(Forbidden):
            tokens.check([KEY], token, other, timestamp, 150)


def signed(name: bytes, key: str = KEY) -> str:
    """The token of a client that signs these bytes."""
    return hmac.new(key.encode(), str(NOW).encode() + name, hashlib.md5).hexdigest() + f":{NOW}"


@pytest.mark.parametrize("name", ["sp61.att.jpgä", "Käfer.JPG", "Œuvre €.pdf", "ñ"])
def test_windows_signs_names_in_its_own_charset(name: str) -> None:
    tokens.check([KEY], signed(name.encode("cp1252")), name, NOW, 150)
    tokens.check([KEY], signed(name.encode("utf-8")), name, NOW, 150)
    assert "issued 150 s ago" in refusal(signed(name.encode("cp1252")), name, NOW + 150)
    assert "different keys" in refusal(signed(name.encode("cp1252"), "other"), name)


def test_bytes_of_windows_that_are_another_name_in_utf_8_do_not_count() -> None:
    assert "Ã¤.jpg".encode("cp1252") == "ä.jpg".encode()
    refusal(signed("ä.jpg".encode()), "Ã¤.jpg")


@pytest.mark.parametrize("charset", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("name", ["sp61.att.植物", "植ä.jpg"])
def test_a_name_that_was_signed_with_question_marks_is_refused_and_named(name: str, charset: str) -> None:
    found = refusal(signed(name.encode(charset, "replace")), name)
    assert "question marks" in found
    assert "different keys" not in found
    assert "different keys" in refusal(signed(name.encode(charset, "replace"), "other"), name)


def test_a_name_that_arrives_with_question_marks_may_be_the_reason() -> None:
    found = refusal(signed("sp61.att.ñö".encode()), "sp61.att.??")
    assert "question marks" in found
    assert "different keys" in found
    tokens.check([KEY], signed(b"sp61.att.??"), "sp61.att.??", NOW, 150)


NAMES = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.text("aÄäÃ¤€ñ植?", max_size=4))


@given(NAMES, NAMES)
def test_the_same_bytes_are_never_signed_for_two_names(one: str, other: str) -> None:
    if one != other:
        assert not set(tokens.signed_forms(one)) & set(tokens.signed_forms(other))


@given(NAMES)
def test_windows_is_understood_whenever_its_bytes_can_be_no_other_name(name: str) -> None:
    try:
        form = name.encode("cp1252")
    except UnicodeEncodeError:
        return
    try:
        is_other = form.decode("utf-8") != name
    except UnicodeDecodeError:
        is_other = False
    if is_other:
        refusal(signed(form), name)
    else:
        tokens.check([KEY], signed(form), name, NOW, 150)


@given(st.text())
def test_no_arbitrary_text_is_accepted_as_a_token(token: str) -> None:
    with pytest.raises(Forbidden):
        tokens.check([KEY], token, NAME, NOW, None)


def test_rejected_tokens_are_counted_for_each_client() -> None:
    refusals = tokens.Refusals()
    assert [refusals.count(client) for client in ("a", "a", "b", "a", "b")] == [1, 2, 1, 3, 2]


def test_the_clients_that_were_rejected_least_recently_are_forgotten() -> None:
    refusals = tokens.Refusals(most_clients=2)
    assert [refusals.count(client) for client in ("a", "b", "a", "c", "a", "b")] == [1, 1, 2, 1, 3, 1]


def test_rejected_tokens_of_many_threads_are_all_counted() -> None:
    refusals = tokens.Refusals()
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda _: refusals.count("a"), range(800)))
    assert sorted(numbers) == list(range(1, 801))


def test_a_part_of_a_second_does_not_count() -> None:
    tokens.check([KEY], tokens.make(KEY, NAME, NOW), NAME, NOW + 149.9, 150)


def test_the_error_says_in_which_direction_the_time_differs() -> None:
    assert "has expired: it was issued 200 s ago" in refusal(tokens.make(KEY, NAME, NOW), now=NOW + 200)
    assert "issued 200 s in the future" in refusal(tokens.make(KEY, NAME, NOW), now=NOW - 200)
