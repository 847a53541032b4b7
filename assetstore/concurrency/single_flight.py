"""Single flight: of all that want the same result at the same time, one works and the others get its result."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Work that is under way, by key.

    Concurrency: callable by any thread. Nobody waits while holding the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Result]] = {}

    def do(self, key: str, work: Callable[[], Result], timeout: float) -> Result:
        """Returns the result of *work*, done by this thread or by one that began before.

        Parameters:
            key: says which results are the same.
            work: what to do if nobody does it.
            timeout: how many seconds to wait for somebody else.

        Raises:
            TimeoutError: somebody else took longer.
            Whatever the work raised, also when somebody else did it.
        """
        with self._lock:
            future = self._under_way.get(key)
            is_mine = future is None
            if future is None:
                future = self._under_way[key] = Future()
        if not is_mine:
            try:
                return future.result(timeout)
            except FutureTimeoutError:
                raise TimeoutError from None
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, for all that wait
            future.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[key]
        return future.result()
