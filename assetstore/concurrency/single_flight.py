"""Single flight: if several threads need the same result at the same time, one computes it for all of them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Results that are being computed, by key.

    Concurrency: any thread may call. No thread waits while it holds the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Result]] = {}

    def do(self, key: str, work: Callable[[], Result], timeout: float) -> Result:
        """Returns the result of *work*, computed by this thread or by one that began earlier.

        Parameters:
            key: identifies the result.
            work: computes the result, unless another thread already does.
            timeout: how many seconds to wait for another thread.

        Raises:
            TimeoutError: the other thread took longer.
            Any error that *work* raises, in whichever thread it ran.
        """
        with self._lock:
            future = self._under_way.get(key)
            is_mine = future is None
            if future is None:
                future = self._under_way[key] = Future()
        if not is_mine:
            return future.result(timeout)
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in all waiting threads
            future.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[key]
        return future.result()
