"""A limit on the bytes of uploads whose token has not arrived yet.

Specify 7 and old versions of Specify 6 send the token after the file. So a client without the key can make the server
write bytes before its token is rejected. They are removed then, but until then they take space.

Concurrency: any number of threads; counts the uploads of this process.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assetstore.errors import TooLarge, Unavailable

_RETRY_SECONDS = 30


class UnverifiedUploads:
    """Counts the bytes of all such uploads.

    Parameters:
        most_bytes: the limit for all of them (`Limits.unverified_bytes`); that for one client address is half of it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def of(self, client: str) -> Iterator[Callable[[int], None]]:
        """Yields a function that counts bytes of one upload, until the upload ends.

        The function raises:
            TooLarge: this upload exceeds the limit for one client.
            Unavailable: all such uploads together exceed a limit.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            most = self._most_bytes
            detail = f"the limit is {most} bytes, half of it for one client"
            with self._lock:
                if counted + size > most // 2:
                    sentence = "The file is too large to be sent before its token; send the token first."
                    raise TooLarge(sentence, detail)
                if self._by_client[client] + size > most // 2 or self._by_client.total() + size > most:
                    sentence = "Too many uploads are in progress whose token comes last; please try again later."
                    raise Unavailable(sentence, detail, retry_after=_RETRY_SECONDS)
                self._by_client[client] += size
                counted += size

        try:
            yield count
        finally:
            with self._lock:
                self._by_client[client] -= counted
                if not self._by_client[client]:
                    del self._by_client[client]
