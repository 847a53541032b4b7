"""The tokens of the status page: only the attachment key makes them, each for one request and a short time."""

import hashlib
import hmac

import pytest

from assetstore.auth import status_tokens, tokens
from assetstore.auth.status_tokens import check, page_key
from assetstore.errors import Forbidden

KEY, REQUEST, NOW = "museum key", "GET /status/data/trash?search=fish", 1_795_422_907


def made(key: str = KEY, request: str = REQUEST, timestamp: int = NOW) -> str:
    return tokens.make(page_key(key), request, timestamp)


def refusal(token: str | None, request: str = REQUEST, now: float = NOW, tolerance: int | None = 150) -> str:
    with pytest.raises(Forbidden) as refused:
        check([KEY, "other key"], token, request, now, tolerance)
    return refused.value.public


def test_the_key_of_the_page_is_derived_from_the_attachment_key() -> None:
    assert page_key(KEY) == hmac.new(b"museum key", b"status page", hashlib.md5).hexdigest()


@pytest.mark.parametrize("key", [KEY, "other key"])
def test_a_token_of_any_attachment_key_is_accepted_for_its_request(key: str) -> None:
    check([KEY, "other key"], made(key), REQUEST, NOW, 150)


def test_a_token_of_another_request_or_key_is_rejected() -> None:
    for token in (made(request="GET /status/data/trash"), made("wrong"), tokens.make(KEY, REQUEST, NOW), "nonsense"):
        assert refusal(token) == "This is not the key of this server."


@pytest.mark.parametrize("token", [None, ""])
def test_a_request_without_token_says_where_to_get_one(token: str | None) -> None:
    assert "Open the page /status" in refusal(token)


def test_without_a_key_there_is_no_page() -> None:
    with pytest.raises(Forbidden, match="KEY is None"):
        check(None, made(), REQUEST, NOW, 150)


@pytest.mark.parametrize(("tolerance", "limit"), [(60, 60), (None, 150)])
def test_a_token_ends_also_where_those_of_clients_do_not(tolerance: int | None, limit: int) -> None:
    for age in (limit - 1, 1 - limit):
        check([KEY], made(), REQUEST, NOW + age, tolerance)
    for age in (limit, -limit):
        assert f"{limit} s" in refusal(made(), now=NOW + age, tolerance=tolerance)


def test_an_old_token_of_the_right_key_is_not_taken_for_one_of_a_wrong_key() -> None:
    assert "expired" in refusal(made(timestamp=NOW - 1000))
    assert status_tokens.HEADER == "X-Status-Token"
