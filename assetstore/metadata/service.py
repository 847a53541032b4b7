"""The server's side of reading metadata: never in the web process, and never for long.

Worker processes of their own read it, not those that make thumbnails: a picture may take a minute, and Specify 6 asks
for metadata with every upload. There are two, so that one file that takes all its time stops nobody else. They get
the parts of the file that they ask for: so they need no rights to the store, and of a large original in a bucket only
the few parts are fetched that metadata is in.

Concurrency: any thread may call `read`. It borrows a worker from a queue of idle ones and gives it back.
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

#: How long reading one file may take, and how long a request may wait for a worker before that.
TIMEOUT_SECONDS = 10

_WORKERS = 2

_MODULE = "assetstore.metadata.worker"


class MetadataService:
    """Worker processes that read metadata; they start when first needed.

    Parameters:
        waiting: how many requests may wait or be read at the same time.
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
            file: seekable.
            size: of the file, in bytes.

        Raises:
            Unavailable: no worker was free in time, or the server stops.
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
        """Ends all workers; none starts again."""
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
                # Somebody killed the worker. Once is an accident; twice in a row it is the file.
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
