"""A worker process that reads metadata (`concurrency.file_worker_loop`).

Its results are `groups` and `date` (`models.Metadata`), or `error` with a traceback for the log.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import BinaryIO

from assetstore.concurrency import file_worker_loop
from assetstore.concurrency.remote_file import RemoteFile
from assetstore.metadata import reading

_MEMORY_BYTES = 512 << 20

#: How much of a file is read at most, whatever its size.
_MOST_BYTES = 64 << 20


def main(arguments: Sequence[str]) -> None:
    """Processes requests until the input ends. Parameters: the time limit in seconds."""
    file_worker_loop.run(arguments, _MEMORY_BYTES, _examine)


def _examine(size: int, source: BinaryIO, sink: BinaryIO) -> dict[str, object]:
    return asdict(reading.read(RemoteFile(size, source, sink, _MOST_BYTES)))
