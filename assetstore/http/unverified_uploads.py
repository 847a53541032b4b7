"""How much strangers may have written to the disk: bytes of uploads whose token comes after the file.

Specify 7 and old versions of Specify 6 send the file first. So anybody can send bytes that are written before it is
known that they have no key; they are removed then, but meanwhile they take space.

Concurrency: for any number of threads; counts the uploads of this process.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assetstore.errors import TooLarge, Unavailable

_RETRY_SECONDS = 30


class UnverifiedUploads:
    """The bytes of all such uploads.

    Parameters:
        most_bytes: of all together (UNVERIFIED_UPLOAD_BYTES); one client address may have half of that.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def of(self, client: str) -> Iterator[Callable[[int], None]]:
        """Gives a function that counts bytes of one upload, which are forgotten in the end.

        The function raises:
            TooLarge: this upload alone is more than one client may have.
            Unavailable: there are too many such uploads now.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            most = self._most_bytes
            with self._lock:
                if counted + size > most // 2:
                    raise TooLarge("The file is too large to be sent before its token.", "UNVERIFIED_UPLOAD_BYTES")
                if self._by_client[client] + size > most // 2 or self._by_client.total() + size > most:
                    sentence = "Too many uploads whose token is not known yet; please try again later."
                    raise Unavailable(sentence, "UNVERIFIED_UPLOAD_BYTES", retry_after=_RETRY_SECONDS)
                self._by_client[client] += size
                counted += size

        try:
            yield count
        finally:
            with self._lock:
                self._by_client[client] -= counted
                if not self._by_client[client]:
                    del self._by_client[client]
