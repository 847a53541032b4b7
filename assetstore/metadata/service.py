"""Reads metadata in worker processes, with a time limit.

The workers are not those for thumbnails, because a thumbnail may take a minute, and Specify 6 requests metadata with
every upload. There are two, so that a slow file does not delay all others. The server sends them the parts of the file
that they request, so they need no access to the store, and only a few parts of a large original are fetched from a
bucket.

Concurrency: any thread may call `read`. If no worker is free, it waits in a queue that serves client addresses round
robin (concurrency/fair_queue.py).
"""

import functools
import logging
from typing import BinaryIO

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.fair_queue import FairQueue, NoneFree
from assetstore.concurrency.worker_process import WorkerProcess
from assetstore.errors import AssetError, StorageFault, Unavailable, Unrenderable
from assetstore.metadata.models import Metadata

_log = logging.getLogger(__name__)

#: How long reading a file may take, and how long a request may wait for a worker before that.
TIMEOUT_SECONDS = 10

_WORKERS = 2

_MODULE = "assetstore.metadata.worker"


class MetadataService:
    """Worker processes that read metadata; they start when first needed.

    Parameters:
        waiting: how many requests may wait at the same time, including those that are served.
    """

    def __init__(self, waiting: ElasticLimit) -> None:
        self._all = [WorkerProcess(_MODULE, (str(TIMEOUT_SECONDS),)) for _ in range(_WORKERS)]
        self._waiting = waiting
        self._queue = FairQueue(self._all)

    def read(self, file: BinaryIO, size: int, client: str) -> Metadata:
        """Returns the metadata of an open original.

        Parameters:
            file: a seekable file.
            size: the size of the file, in bytes.
            client: the address of the client.

        Raises:
            Unavailable: too many requests are waiting, no worker was free in time, or the server is stopping.
            Unrenderable: reading it takes too long.
            StorageFault: the bytes cannot be read.
            AssetError: the worker failed.
        """
        if not self._waiting.acquire(client):
            raise _busy(f"{self._waiting.held} requests are waiting for metadata")
        try:
            with self._queue.lend(client, TIMEOUT_SECONDS) as worker:
                return self._read(worker, file, size)
        except NoneFree:
            raise _busy(f"no worker was free for {TIMEOUT_SECONDS} seconds") from None
        finally:
            self._waiting.release(client)

    def close(self) -> None:
        """Stops all workers; none is started again."""
        for worker in self._all:
            worker.close()

    @staticmethod
    def _read(worker: WorkerProcess, file: BinaryIO, size: int) -> Metadata:
        ask = functools.partial(worker.ask, {"size": size}, TIMEOUT_SECONDS, functools.partial(_read_part, file))
        try:
            try:
                answer = ask()
            except TimeoutError:
                raise
            except (OSError, ValueError) as accident:
                # The worker died. The first time may be an accident; the second time, the file is the cause.
                if not worker.is_closed:
                    _log.warning("a metadata worker died and is started again: %r", accident)
                answer = ask()
        except TimeoutError:
            raise Unrenderable("Reading the metadata of the file takes too long.", "the worker was killed") from None
        except (OSError, ValueError) as error:
            raise AssetError("The metadata could not be read.", f"the metadata worker died: {error!r}") from error
        if "error" in answer:
            raise AssetError("The metadata could not be read.", answer["error"])
        return Metadata(answer["groups"], answer["date"])


def _read_part(file: BinaryIO, offset: int, length: int) -> bytes:
    try:
        file.seek(offset)
        return file.read(length)
    except OSError as error:
        raise StorageFault("The file cannot be read.", str(error)) from error


def _busy(detail: str) -> Unavailable:
    sentence = "The server is reading the metadata of many files; please try again soon."
    return Unavailable(sentence, detail, retry_after=TIMEOUT_SECONDS)
