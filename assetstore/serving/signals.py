"""Signals, heard by a thread of their own.

Python runs a handler only when the main thread runs bytecode again, and a signal that comes just before that thread
begins to wait does not wake it: a busy server that was told to stop right after its start never stopped. Handlers
that run inside the main thread may also wait forever for a lock that this thread holds.

Concurrency: handlers run one after another, in one thread, beside everything else.
"""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

Handlers = Mapping[signal.Signals, Callable[[], object]]


def listen(handlers: Handlers) -> None:
    """Has each signal handled from now on; to be called in the main thread.

    Parameters:
        handlers: what is called for each signal.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    for number in handlers:
        signal.signal(number, lambda _number, _frame: None)  # without one, nothing is written for `receiver`
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_run, args=(receiver, sender, dict(handlers)), name="signals", daemon=True).start()


def forget_parent() -> None:
    """Ends, in a process that was just forked, that its signals are told to its parent."""
    signal.set_wakeup_fd(-1)


def _run(receiver: socket.socket, _held_open: socket.socket, handlers: Handlers) -> None:
    while True:
        for number in receiver.recv(64):
            if number in handlers:
                try:
                    handlers[signal.Signals(number)]()
                except Exception:  # noqa: BLE001 - the next signal must still be heard
                    _log.exception("signal %s could not be handled", number)
