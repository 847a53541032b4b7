"""A progress bar, shown on a terminal when a command takes longer than two seconds."""

import contextlib
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import click

_QUICK_SECONDS = 2.0

#: Erases the line of the cursor (ECMA-48, EL).
_ERASE = "\r\x1b[2K"

#: The bars on the terminal; a command has at most one at a time.
_shown: list[Any] = []


@contextlib.contextmanager
def showing(bar: Any) -> Iterator[None]:
    """Registers a bar of click, so that lines are printed above it."""
    _shown.append(bar)
    try:
        yield
    finally:
        _shown.remove(bar)


@contextlib.contextmanager
def above_progress() -> Iterator[None]:
    """Erases the progress bar while lines are printed, and then shows it again below them."""
    if not _shown or not sys.stderr.isatty():
        yield
        return
    click.echo(_ERASE, err=True, nl=False)
    yield
    bar = _shown[-1]
    bar._last_line = None  # otherwise click does not draw a bar that has not changed
    bar.render_progress()


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
        self._registration = contextlib.ExitStack()

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
            self._registration.enter_context(showing(self._bar))
            self._bar.update(self._done)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._registration.close()
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
