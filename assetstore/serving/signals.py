"""Signal handling in a separate thread.

Python runs a signal handler only when the main thread executes bytecode again. A signal that arrives just before that
thread starts to wait does not wake it, so a server that was told to stop right after its start did not stop. A handler
in the main thread could also wait forever for a lock that this thread holds.

Concurrency: handlers run one after another in one thread, concurrently with all other threads.
"""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

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
