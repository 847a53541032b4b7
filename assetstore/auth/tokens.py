"""Tokens, by which a client proves that it has the key (docs/protocol.md).

A token is `hex(HMAC-MD5(key, timestamp + name)) + ':' + timestamp`. All Specify clients use
MD5. Its known weaknesses do not help to forge an HMAC (RFC 6151, 2.3).
"""

import contextlib
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
    return f"{_signature(key, str(timestamp), signed_forms(name)[0])}:{timestamp}"


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
    if not _fits(keys, timestamp, signed_forms(name), signature):
        raise Forbidden(_signature_error(name, _fits(keys, timestamp, _squeezed_forms(name), signature)))
    # Only a client with the key gets an error about the time.
    age = int(now) - int(timestamp)
    if tolerance is not None and abs(age) >= tolerance:
        raise Forbidden(_time_error(age, tolerance))


def signed_forms(name: str) -> list[bytes]:
    """Returns the bytes that a client may have signed for a name; no other name has any of them.

    UTF-8, and the bytes of Specify 6 on Windows (windows-1252) if they are not UTF-8: otherwise, they could be those of
    another name.
    """
    # surrogateescape: a name that is not valid UTF-8 also gets a signature, which then does not match.
    forms = [name.encode("utf-8", "surrogateescape")]
    if not name.isascii():
        with contextlib.suppress(UnicodeEncodeError):
            form = name.encode("cp1252")
            if not _is_utf_8(form):
                forms.append(form)
    return forms


def _squeezed_forms(name: str) -> list[bytes]:
    """The bytes of a client whose charset lacks letters of the name. They are also those of other names."""
    return [] if name.isascii() else [name.encode(charset, "replace") for charset in ("cp1252", "latin-1", "ascii")]


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _fits(keys: Sequence[str], timestamp: str, forms: Sequence[bytes], signature: str) -> bool:
    """Whether one of the keys gives this signature for one of the forms. Compares all of them, in constant time."""
    matches = [hmac.compare_digest(_signature(key, timestamp, form), signature) for key in keys for form in forms]
    return any(matches)


def _signature_error(name: str, is_squeezed: bool) -> str:
    ascii_only = "Use a file name with an extension of unaccented letters and digits."
    if is_squeezed:
        return f"Specify signed this file name with question marks or other letters than it sent. {ascii_only}"
    different = "The token has the wrong signature: Specify and the asset server have different keys"
    if "?" in name:
        return f"{different}, or Specify sent question marks instead of letters of the file name. {ascii_only}"
    return f"{different}."


def _time_error(age: int, tolerance: int) -> str:
    limit = f"the limit is {tolerance} s (TIME_TOLERANCE)"
    if age > 0:
        return f"The token has expired: it was issued {age} s ago, and {limit}. If uploads wait in a queue, raise it."
    remedy = "Synchronize the clocks of the client and the server."
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


def _signature(key: str, timestamp: str, name: bytes) -> str:
    return hmac.new(key.encode("utf-8"), timestamp.encode() + name, "md5").hexdigest()
