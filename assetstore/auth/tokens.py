"""Tokens: how a client proves that it has the key (protocol.md, "Tokens").

A token is `hex(HMAC-MD5(key, timestamp + name)) + ':' + timestamp`. MD5 is what every Specify
client computes; inside HMAC its known weaknesses do not help a forger (RFC 6151, 2.3).
"""

import hmac
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence

from assetstore.errors import Forbidden

# The timestamp is bounded so that nobody makes us parse a number of a million digits.
_TOKEN = re.compile(r"([0-9a-f]{32}):(0|[1-9][0-9]{0,15})", re.ASCII)


def make(key: str, name: str, timestamp: int) -> str:
    """Returns the token of *name* at *timestamp*.

    Parameters:
        key: the shared key.
        name: the store name, or the random text for /testkey.
        timestamp: whole seconds since 1970 by the server's clock.
    """
    return f"{_signature(key, name, str(timestamp))}:{timestamp}"


def check(keys: Sequence[str] | None, token: str | None, name: str | None, now: float, tolerance: int | None) -> None:
    """Accepts a token or says why not.

    Parameters:
        keys: the keys that are valid now; None means that nothing is checked.
        token: as the client sent it.
        name: the name that the token must sign.
        now: when the request began to arrive, seconds since 1970.
        tolerance: how far the timestamp may be away, in seconds; exactly this far is too far.
            None: the time is not checked.

    Raises:
        Forbidden: with the reason.
    """
    if keys is None:
        return
    if not token:
        raise Forbidden("The request has no token. Is the attachment key set in Specify?")
    if name is None:
        raise Forbidden("The request does not say which file its token is for.")
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Forbidden("The token is malformed.")
    signature, timestamp = match.groups()
    matches = [hmac.compare_digest(_signature(key, name, timestamp), signature) for key in keys]
    if not any(matches):
        raise Forbidden("The token does not fit: Specify and the asset server have different keys.")
    # Only a holder of the key gets as far as hearing about the time.
    seconds_apart = abs(int(now) - int(timestamp))
    if tolerance is not None and seconds_apart >= tolerance:
        raise Forbidden(
            f"The token is out of time: its clock and the server's are {seconds_apart} seconds apart,"
            f" fewer than {tolerance} are allowed."
        )


class Refusals:
    """How many tokens were refused, by client, so that the log shows who guesses.

    Parameters:
        most_clients: of how many clients the number is remembered, the latest ones.

    Concurrency: callable by any thread; counts those of this process.
    """

    def __init__(self, most_clients: int = 10_000) -> None:
        self._most_clients = most_clients
        self._lock = threading.Lock()
        self._by_client: OrderedDict[str, int] = OrderedDict()

    def count(self, client: str) -> int:
        """Counts one more of this client (an address) and returns how many there are now."""
        with self._lock:
            number = self._by_client.pop(client, 0) + 1
            self._by_client[client] = number
            if len(self._by_client) > self._most_clients:
                self._by_client.popitem(last=False)
        return number


def _signature(key: str, name: str, timestamp: str) -> str:
    # surrogateescape: a name that is not UTF-8 gets a signature, too, and then fails to match.
    message = (timestamp + name).encode("utf-8", "surrogateescape")
    return hmac.new(key.encode("utf-8"), message, "md5").hexdigest()
