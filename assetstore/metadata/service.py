"""Reads metadata in worker processes, with a time limit (concurrency/file_workers.py).

The workers are not those for thumbnails, because a thumbnail may take a minute, and Specify 6 requests metadata with
every upload. There are two, so that a slow file does not delay all others.
"""

from typing import BinaryIO

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.file_workers import FileWorkers, Sentences
from assetstore.metadata.models import Metadata

#: How long reading a file may take, and how long a request may wait for a worker before that.
TIMEOUT_SECONDS = 10

_WORKERS = 2

_SENTENCES = Sentences(
    busy="The server is reading the metadata of many files; please try again soon.",
    too_long="Reading the metadata of the file takes too long.",
    failed="The metadata could not be read.",
)


class MetadataService(FileWorkers):
    """Worker processes that read metadata.

    Parameters:
        waiting: how many requests may wait at the same time, including those that are served.
    """

    def __init__(self, waiting: ElasticLimit) -> None:
        super().__init__("assetstore.metadata.worker", TIMEOUT_SECONDS, _WORKERS, waiting, _SENTENCES)

    def read(self, file: BinaryIO, size: int, client: str) -> Metadata:
        """Returns the metadata of an open original. The parameters and errors are those of `ask`."""
        answer = self.ask(file, size, client, TIMEOUT_SECONDS)
        return Metadata(answer["groups"], answer["date"])
