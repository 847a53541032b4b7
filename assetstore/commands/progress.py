"""A progress bar, shown on a terminal when a command takes longer than two seconds."""

import sys
import time
from types import TracebackType
from typing import Any

import click

_QUICK_SECONDS = 2.0


class Progress:
    """A progress bar on standard error. It appears after two seconds and advances with `update`.

    Parameters:
        label: text in front of the bar.
        length: the total, 0 if it is not known yet.
    """

    def __init__(self, label: str, length: int) -> None:
        self._label = label
        self._length = length
        self._done = 0
        self._began = time.monotonic()
        self._bar: Any = None

    def grow(self, more: int) -> None:
        """Adds to the total."""
        self._length += more
        if self._bar is not None:
            self._bar.length = self._length

    def update(self, more: int) -> None:
        """Advances the bar."""
        self._done += more
        if self._bar is not None:
            self._bar.update(more)
        elif time.monotonic() - self._began > _QUICK_SECONDS and sys.stderr.isatty():
            self._bar = click.progressbar(length=self._length, label=self._label, file=sys.stderr, width=30)
            self._bar.__enter__()
            self._bar.update(self._done)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
