"""Signal handling in a separate thread.

Python runs a signal handler only when the main thread executes bytecode again. A signal that arrives just before that
thread starts to wait does not wake it, so a server that was told to stop right after its start did not stop. A handler
in the main thread could also wait forever for a lock that this thread holds.

Concurrency: handlers run one after another in one thread, concurrently with all other threads.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

#: How long running requests may take when the server stops, in seconds.
STOP_SECONDS = 8

#: When the process ends in any case, in seconds after it was told to stop. Docker kills it after 10.
FORCED_SECONDS = 9.5

Handlers = Mapping[signal.Signals, Callable[[], object]]


def listen(handlers: Handlers) -> None:
    """Handles each signal from now on. Must be called in the main thread.

    Parameters:
        handlers: the function to call for each signal.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    for number in handlers:
        signal.signal(number, lambda _number, _frame: None)  # without a handler, nothing is written to `sender`
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_run, args=(receiver, sender, dict(handlers)), name="signals", daemon=True).start()


def end_by_force() -> None:
    """Ends the process FORCED_SECONDS from now, if it has not ended by itself.

    At the end, it may have to wait for a disk that does not respond, for example. Nothing is lost: as after a crash,
    every change that was confirmed is complete.
    """
    timer = threading.Timer(FORCED_SECONDS, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    _log.error("the server did not stop within %s seconds and ends now", FORCED_SECONDS)
    os._exit(1)


def forget_parent() -> None:
    """Stops a process that was just forked from reporting its signals to the parent process."""
    signal.set_wakeup_fd(-1)


def _run(receiver: socket.socket, _held_open: socket.socket, handlers: Handlers) -> None:
    while True:
        for number in receiver.recv(64):
            if number in handlers:
                try:
                    handlers[signal.Signals(number)]()
                except Exception:  # noqa: BLE001 - the next signal must still be handled
                    _log.exception("the handler of signal %s failed", number)
