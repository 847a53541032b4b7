"""Tokens of the administrator's page: who opens it must have the key itself.

They are made as all tokens are (`assetstore.auth.tokens`), but with a key of their own that is derived from the
attachment key, and over the whole request: `GET /status/data/trash?search=fish`. So

- no token that a client sends for a file opens anything here, nor the other way round: what is signed
  here holds a slash, which no store name has;
- Specify 7, which signs any name for whoever is logged in, cannot be made to sign anything for this page: what
  it signs begins with a number, and so it never makes the derived key.

A token is good for one request and a short time; replayed in that time, it does the same once more.
"""

import hmac
from collections.abc import Sequence

from assetstore.auth import tokens
from assetstore.errors import Forbidden

#: The header that carries the token: pages of other origins may not send it, and logs do not have it.
HEADER = "X-Status-Token"

#: What is signed to get the page's key. Not a number at its beginning: see above.
_PURPOSE = b"status page"

#: For how many seconds a token is good where TIME_TOLERANCE is None: the page goes by the server's clock.
_TOLERANCE = 150


def page_key(key: str) -> str:
    """Returns the key of the page that belongs to an attachment key."""
    return hmac.new(key.encode("utf-8"), _PURPOSE, "md5").hexdigest()


def check(keys: Sequence[str] | None, token: str | None, request: str, now: float, tolerance: int | None) -> None:
    """Accepts the token of a request or says why not.

    Parameters:
        keys: the attachment keys that are valid now; None: everybody is refused.
        token: as the header has it.
        request: method, a blank, path and query as they were sent.
        now: when the request began to arrive, seconds since 1970.
        tolerance: as for `tokens.check`; None: as by default.

    Raises:
        Forbidden: with the reason.
    """
    if keys is None:
        raise Forbidden("This server has no key (its setting KEY is None), so this page would be open to everybody.")
    if not token:
        raise Forbidden("This address is for the page at /status, which asks for the key.")
    page_keys = [page_key(key) for key in keys]
    try:
        tokens.check(page_keys, token, request, now, None)
    except Forbidden:
        raise Forbidden("This is not the key of this server.") from None
    tokens.check(page_keys, token, request, now, _TOLERANCE if tolerance is None else tolerance)
