"""A worker process that makes recipes of copies (`concurrency.file_worker_loop`).

Its results are `recipe`, `refusal` (why there is no safe copy), or `error` with a traceback for the log.
"""

from collections.abc import Sequence
from typing import BinaryIO

from assetstore.concurrency import file_worker_loop
from assetstore.concurrency.remote_file import RemoteFile
from assetstore.location_safe import cleaning
from assetstore.location_safe.recipe import CannotClean, as_text

_MEMORY_BYTES = 1 << 30


def main(arguments: Sequence[str]) -> None:
    """Processes requests until the input ends. Parameters: the time limit in seconds."""
    file_worker_loop.run(arguments, _MEMORY_BYTES, _examine)


def _examine(size: int, source: BinaryIO, sink: BinaryIO) -> dict[str, object]:
    try:
        # Only the time is limited, because all of a JPEG must be read to find its end.
        return {"recipe": as_text(cleaning.recipe(RemoteFile(size, source, sink), size))}
    except CannotClean as refusal:
        return {"refusal": str(refusal)}
