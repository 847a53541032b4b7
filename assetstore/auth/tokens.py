"""Tokens, by which a client proves that it has the key (docs/protocol.md).

A token is `hex(HMAC-MD5(key, timestamp + name)) + ':' + timestamp`. All Specify clients use
MD5. Its known weaknesses do not help to forge an HMAC (RFC 6151, 2.3).
"""

import hmac
import re
import threading
from collections.abc import Sequence

import cachetools

from assetstore.errors import Forbidden

# The length of the timestamp is limited, so that no client can make the server parse a million digits.
_TOKEN = re.compile(r"([0-9a-f]{32}):(0|[1-9][0-9]{0,15})", re.ASCII)

#: Of a timestamp in the years 2001 to 2286.
_DIGITS = 10


def make(key: str, name: str, timestamp: int) -> str:
    """Returns the token of *name* at *timestamp*.

    Parameters:
        key: the shared key.
        name: the store name, or the random text for /testkey.
        timestamp: whole seconds since 1970 by the server's clock.
    """
    return f"{_signature(key, name, str(timestamp))}:{timestamp}"


def check(keys: Sequence[str] | None, token: str | None, name: str | None, now: float, tolerance: int | None) -> None:
    """Checks a token.

    Parameters:
        keys: the valid keys; None: nothing is checked.
        token: as the client sent it.
        name: the name that the token must sign.
        now: when the request began to arrive, seconds since 1970.
        tolerance: the difference from *now*, in seconds, from which on the timestamp is rejected (exclusive limit).
            None: the time is not checked, only its number of digits.

    Raises:
        Forbidden: the token is not valid; the sentence has the reason.
    """
    if keys is None:
        return
    if not token:
        raise Forbidden("The request has no token. Set the attachment key in Specify.")
    if name is None:
        raise Forbidden("The request has a token, but not the name that the token signs.")
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Forbidden("The token is malformed. Expected: a signature, a colon and a timestamp.")
    signature, timestamp = match.groups()
    if tolerance is None and len(timestamp) != _DIGITS:
        # What is signed is the timestamp and the name in one text, so digits could move from one to the other.
        raise Forbidden(f"The token is malformed. Its timestamp must have {_DIGITS} digits.")
    matches = [hmac.compare_digest(_signature(key, name, timestamp), signature) for key in keys]
    if not any(matches):
        raise Forbidden("The token has the wrong signature: Specify and the asset server have different keys.")
    # Only a client with the key gets an error about the time.
    age = int(now) - int(timestamp)
    if tolerance is not None and abs(age) >= tolerance:
        raise Forbidden(_time_error(age, tolerance))


def _time_error(age: int, tolerance: int) -> str:
    limit = f"the limit is {tolerance} s (TIME_TOLERANCE)"
    if age > 0:
        remedy = "If uploads wait in a queue, raise the limit; otherwise check the clocks."
        return f"The token has expired: it was issued {age} s ago, and {limit}. {remedy}"
    remedy = "Synchronise the clocks of the client and the server."
    return f"The token was issued {-age} s in the future, and {limit}. {remedy}"


class Refusals:
    """Counts rejected tokens by client, so that the log shows guessing attempts.

    Parameters:
        most_clients: for how many clients to store the number; the least recent ones are forgotten.

    Concurrency: any thread may call; counts the tokens of this process.
    """

    def __init__(self, most_clients: int = 10_000) -> None:
        self._lock = threading.Lock()
        self._by_client: cachetools.LRUCache[str, int] = cachetools.LRUCache(most_clients)

    def count(self, client: str) -> int:
        """Counts another rejected token of a client address, and returns their number."""
        with self._lock:
            number = self._by_client[client] = self._by_client.get(client, 0) + 1
        return number


def _signature(key: str, name: str, timestamp: str) -> str:
    # surrogateescape: a name that is not valid UTF-8 also gets a signature, which then does not match.
    message = (timestamp + name).encode("utf-8", "surrogateescape")
    return hmac.new(key.encode("utf-8"), message, "md5").hexdigest()
