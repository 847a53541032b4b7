"""Reads metadata in worker processes, with a time limit.

The workers are not those for thumbnails, because a thumbnail may take a minute, and Specify 6 requests metadata with
every upload. There are two, so that a slow file does not delay all others. The server sends them the parts of the file
that they request, so they need no access to the store, and only a few parts of a large original are fetched from a
bucket.

Concurrency: any thread may call `read`. It takes a worker from a queue of idle ones and returns it afterwards.
"""

import functools
import logging
import queue
import threading
from typing import BinaryIO

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
        waiting: the largest number of requests at a time, including those that wait.
    """

    def __init__(self, waiting: int) -> None:
        self._all = [WorkerProcess(_MODULE, (str(TIMEOUT_SECONDS),)) for _ in range(_WORKERS)]
        self._slots = threading.BoundedSemaphore(waiting)
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        for worker in self._all:
            self._idle.put(worker)

    def read(self, file: BinaryIO, size: int) -> Metadata:
        """Returns the metadata of an open original.

        Parameters:
            file: a seekable file.
            size: the size of the file, in bytes.

        Raises:
            Unavailable: no worker was idle in time, or the server is stopping.
            Unrenderable: reading it takes too long.
            StorageFault: the bytes cannot be read.
            AssetError: the worker failed.
        """
        if not self._slots.acquire(blocking=False):
            raise _busy()
        try:
            worker = self._borrowed()
            try:
                return self._read(worker, file, size)
            finally:
                self._idle.put(worker)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Stops all workers; none is started again."""
        for worker in self._all:
            worker.close()

    def _borrowed(self) -> WorkerProcess:
        try:
            return self._idle.get(timeout=TIMEOUT_SECONDS)
        except queue.Empty:
            raise _busy() from None

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


def _busy() -> Unavailable:
    return Unavailable(
        "The server is reading the metadata of many files; please try again soon.",
        "no metadata worker was free",
        retry_after=TIMEOUT_SECONDS,
    )
