"""Tokens of the status page, which require the attachment key itself.

They have the form of all tokens (`assetstore.auth.tokens`), but they are signed with a key that is derived from the
attachment key, and they sign the whole request: `GET /status/data/trash?search=fish`. Therefore

- a token that a client sends for a file is not valid here, and the other way round: the signed text contains a
  slash, and store names do not;
- Specify 7, which signs any name for any logged-in user, cannot be used to sign a request of this page: what it
  signs begins with a number, so it never computes the derived key.

A token is valid for one request and a short time. If it is replayed within that time, the request is repeated.
"""

import hmac
from collections.abc import Sequence

from assetstore.auth import tokens
from assetstore.errors import Forbidden

#: The header with the token. Pages of other origins may not send it, and it does not appear in logs.
HEADER = "X-Status-Token"

#: The text that is signed to derive the page's key. It must not begin with a number (see above).
_PURPOSE = b"status page"

#: How many seconds a token is valid if TIME_TOLERANCE is None. The page uses the server's clock.
_TOLERANCE = 150


def page_key(key: str) -> str:
    """Returns the key of the status page, derived from an attachment key."""
    return hmac.new(key.encode("utf-8"), _PURPOSE, "md5").hexdigest()


def check(keys: Sequence[str] | None, token: str | None, request: str, now: float, tolerance: int | None) -> None:
    """Checks the token of a request.

    Parameters:
        keys: the valid attachment keys; None: all requests are rejected.
        token: the value of the header.
        request: method, a space, path and query as they were sent.
        now: when the request began to arrive, seconds since 1970.
        tolerance: as for `tokens.check`; None: the default.

    Raises:
        Forbidden: the token is not valid; the sentence has the reason.
    """
    if keys is None:
        raise Forbidden("The status page is not available, because KEY is None: without a key, anyone could use it.")
    if not token:
        raise Forbidden("This address requires a token. Open the page /status, which asks for the key.")
    page_keys = [page_key(key) for key in keys]
    try:
        tokens.check(page_keys, token, request, now, None)
    except Forbidden:
        raise Forbidden("This is not the key of this server.") from None
    tokens.check(page_keys, token, request, now, _TOLERANCE if tolerance is None else tolerance)
