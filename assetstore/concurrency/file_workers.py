"""Worker processes that examine files which the server has open.

They open no files: the server sends them the parts that they request, so they need no access to the store, and only a
few parts of a large original are fetched from a bucket.

Concurrency: any thread may call `ask`. If no worker is free, it waits in a queue that serves client addresses round
robin (concurrency/fair_queue.py).
"""

import functools
import logging
from dataclasses import dataclass
from typing import Any, BinaryIO

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.fair_queue import FairQueue, NoneFree
from assetstore.concurrency.worker_process import WorkerProcess
from assetstore.errors import AssetError, StorageFault, Unavailable, Unrenderable

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sentences:
    """What clients are told.

    Fields:
        busy: too many requests are waiting.
        too_long: a file takes too long.
        failed: a worker failed.
    """

    busy: str
    too_long: str
    failed: str


class FileWorkers:
    """Worker processes; they start when first needed.

    Parameters:
        module: the module that they run (`WorkerProcess`); its argument is the limit of time, in seconds.
        seconds: that limit.
        workers: how many processes.
        waiting: how many requests may wait at the same time, including those that are served.
        sentences: for errors.
    """

    def __init__(self, module: str, seconds: int, workers: int, waiting: ElasticLimit, sentences: Sentences) -> None:
        self._all = [WorkerProcess(module, (str(seconds),)) for _ in range(workers)]
        self._waiting = waiting
        self._queue = FairQueue(self._all)
        self._sentences = sentences

    def ask(self, file: BinaryIO, size: int, client: str, seconds: float) -> dict[str, Any]:
        """Returns the answer of a worker about an open file.

        Parameters:
            file: a seekable file.
            size: the size of the file, in bytes.
            client: the address of the client.
            seconds: the limit of time for the file, and for waiting before that.

        Raises:
            Unavailable: too many requests are waiting, no worker was free in time, or the server is stopping.
            Unrenderable: it takes too long.
            StorageFault: the bytes cannot be read.
            AssetError: the worker failed.
        """
        if not self._waiting.acquire(client):
            raise self._busy(f"{self._waiting.held} requests are waiting", seconds)
        try:
            with self._queue.lend(client, seconds) as worker:
                return self._ask(worker, file, size, seconds)
        except NoneFree:
            raise self._busy(f"no worker was free for {seconds} seconds", seconds) from None
        finally:
            self._waiting.release(client)

    def waiting(self) -> int:
        """Returns how many requests are waiting, including those that are served."""
        return self._waiting.held

    def close(self) -> None:
        """Stops all workers; none is started again."""
        for worker in self._all:
            worker.close()

    def _ask(self, worker: WorkerProcess, file: BinaryIO, size: int, seconds: float) -> dict[str, Any]:
        ask = functools.partial(worker.ask, {"size": size}, seconds, functools.partial(_read_part, file))
        try:
            try:
                answer = ask()
            except TimeoutError:
                raise
            except (OSError, ValueError) as accident:
                # The worker died. The first time may be an accident; the second time, the file is the cause.
                if not worker.is_closed:
                    _log.warning("a worker died and is started again: %r", accident)
                answer = ask()
        except TimeoutError:
            raise Unrenderable(self._sentences.too_long, "the worker was killed") from None
        except (OSError, ValueError) as error:
            raise AssetError(self._sentences.failed, f"the worker died: {error!r}") from error
        if "error" in answer:
            raise AssetError(self._sentences.failed, answer["error"])
        return answer

    def _busy(self, detail: str, seconds: float) -> Unavailable:
        return Unavailable(self._sentences.busy, detail, retry_after=int(seconds))


def _read_part(file: BinaryIO, offset: int, length: int) -> bytes:
    try:
        file.seek(offset)
        return file.read(length)
    except OSError as error:
        raise StorageFault("The file cannot be read.", str(error)) from error
