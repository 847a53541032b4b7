"""The requests that a worker process reads from its standard input.

Bytes of a file may be before a request: a child of the worker had requested them, and was killed before it read them.
So each request is a line that begins with a random mark, which is the first line of the input.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO


def line(mark: bytes, request: dict[str, Any]) -> bytes:
    """Returns a request for the standard input of a worker: an object for JSON, on a line of its own."""
    return b"\n" + mark + json.dumps(request).encode() + b"\n"


def read(source: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yields the requests in the standard input of a worker, until it ends."""
    mark = source.readline().rstrip(b"\n")
    for received in source:
        if received.startswith(mark):
            yield json.loads(received.removeprefix(mark))
