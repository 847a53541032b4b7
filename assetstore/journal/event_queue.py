"""Events that wait to be written to the database of the journal while another program has it locked.

The queue is an append-only file beside the database. Its first line identifies it, and each other line is an event as
JSON. `append` returns when the event is synced, so a crash or power failure does not lose it. The database records how
many events of which queue it has, in the transaction that adds them. So each event is added exactly once, even if the
process is killed before it removes the file.

Concurrency: any thread and any process may use it. `append` and `taken` hold a lock on the file.
"""

import contextlib
import fcntl
import json
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from assetstore.files.durable import sync_folder
from assetstore.journal.events import Event

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The content of a queue: its identifier, and its events in order; None for a line that cannot be read."""

    identifier: str
    events: list[Event | None]


class EventQueue:
    """The queue of one journal.

    Parameters:
        folder: of the database.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "pending.jsonl"

    def is_empty(self) -> bool:
        """Returns whether no events are waiting; requires no lock."""
        return not os.path.exists(self._path)

    def append(self, event: Event) -> None:
        """Adds an event durably. Raises OSError; then it was not added."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        with self._locked(os.O_CREAT) as descriptor:
            is_new = not _cut_to_lines(descriptor)
            lines = [{"queue": str(uuid.uuid4())}] if is_new else []
            data = "".join(json.dumps(line) + "\n" for line in [*lines, asdict(event)]).encode()
            length = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, data) < len(data):
                    raise OSError("the disk is full")
                os.fsync(descriptor)
                if is_new:
                    sync_folder(self._path.parent)
            except OSError:
                os.ftruncate(descriptor, length)
                if is_new:
                    self._path.unlink()
                raise

    def events(self) -> list[Event]:
        """Returns the events that are waiting. Raises OSError."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        return [event for event in _batch(data).events if event is not None]

    @contextlib.contextmanager
    def taken(self) -> Iterator[Batch | None]:
        """Yields the content of the queue, None if it is empty, and removes it unless an error is raised.

        Raises OSError.
        """
        with contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(self._locked(0))
            except FileNotFoundError:
                yield None
                return
            length = _cut_to_lines(descriptor)
            yield _batch(os.pread(descriptor, length, 0)) if length else None
            self._path.unlink()

    @contextlib.contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:
                    yield descriptor
                    return
            finally:
                os.close(descriptor)


def _cut_to_lines(descriptor: int) -> int:
    """Removes an incomplete last line, which a crash left; returns the length of the rest."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    length = data.rfind(b"\n") + 1
    if length < len(data):
        os.ftruncate(descriptor, length)
    return length


def _batch(data: bytes) -> Batch:
    first, *lines = data[: data.rfind(b"\n")].split(b"\n")
    return Batch(first.decode("utf-8", "replace"), [_event(line) for line in lines])


def _event(line: bytes) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError):
        _log.error("an event that waited for the journal cannot be read: %r", line)
        return None
