"""Health checks, each with a deadline, so that a disk that does not respond is reported instead of waited for.

Concurrency: any thread may call. Each check runs in a thread of its own. While it runs, it is not started again, and
callers get an error with the time since it started. Results are reused for a few seconds, so that frequent calls cost
nothing.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assetstore.errors import AssetError

_log = logging.getLogger(__name__)

OK, WARNING, ERROR = "ok", "warning", "error"

#: How long a check may take before it counts as failed, in seconds.
DEADLINE_SECONDS = 2.0

#: For how many seconds a result is reused.
_FRESH_SECONDS = 3.0


@dataclass(frozen=True)
class Result:
    """The result of a check: OK, WARNING (the server still works) or ERROR, and a sentence without paths."""

    status: str
    reason: str


def is_ready(report: Mapping[str, Result]) -> bool:
    """Returns whether the server is working: no check failed."""
    return all(result.status != ERROR for result in report.values())


def page(report: Mapping[str, Result], with_reasons: bool) -> str:
    """Returns the results of all checks as JSON: `ready`, `status` (ok, degraded or error) and `checks`.

    Parameters:
        report: from `Health.report`.
        with_reasons: whether to include the sentences, whose numbers are not for strangers.
    """
    ready = is_ready(report)
    is_degraded = any(result.status != OK for result in report.values())
    status = ("degraded" if is_degraded else OK) if ready else ERROR
    checks = {name: vars(result) if with_reasons else {"status": result.status} for name, result in report.items()}
    return json.dumps({"ready": ready, "status": status, "checks": checks})


class Health:
    """All checks of a server.

    Parameters:
        checks: by name; each returns its result, or raises AssetError, whose public sentence is the reason.
        deadline: how long a check may take, in seconds.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Result]], deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        self._checks = {name: _Check(name, check) for name, check in checks.items()}

    def report(self) -> dict[str, Result]:
        """Returns the result of every check, by name, within the deadline."""
        for check in self._checks.values():
            check.begin()
        end = time.monotonic() + self._deadline
        return {name: check.wait(end - time.monotonic()) for name, check in self._checks.items()}


class _Check:
    """One check and its last result."""

    def __init__(self, name: str, check: Callable[[], Result]) -> None:
        self._name = name
        self._check = check
        self._changed = threading.Condition()
        self._is_running = False
        self._began = 0.0
        self._result: Result | None = None
        self._ended = 0.0

    def begin(self) -> None:
        """Starts the check, unless it is running or its result is fresh."""
        with self._changed:
            is_fresh = self._result is not None and time.monotonic() - self._ended < _FRESH_SECONDS
            if self._is_running or is_fresh:
                return
            self._is_running, self._began, self._result = True, time.monotonic(), None
        # A daemon thread, because a check that hangs must not prevent the program from ending.
        threading.Thread(target=self._run, name=f"check-{self._name}", daemon=True).start()

    def wait(self, seconds: float) -> Result:
        """Returns the result, or an error if there is none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._result is not None, max(0.0, seconds))
            if self._result is not None:
                return self._result
            return Result(ERROR, f"The check has not responded for {time.monotonic() - self._began:.0f} seconds.")

    def _run(self) -> None:
        try:
            result = self._check()
        except AssetError as error:
            _log.warning("health check %s: %s %s", self._name, error.public, error.detail)
            result = Result(ERROR, error.public)
        except Exception:  # noqa: BLE001 - an unexpected error is a failed check
            _log.exception("health check %s failed unexpectedly", self._name)
            result = Result(ERROR, "The check itself failed; the log has the details.")
        with self._changed:
            self._result, self._ended, self._is_running = result, time.monotonic(), False
            self._changed.notify_all()
