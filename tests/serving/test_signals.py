"""Signals reach their handlers whatever the main thread does."""

import signal
import subprocess
import sys

from tests.support import PROJECT

_PROGRAM = """
import os, signal, sys, threading
from assetstore.serving import signals

def broken():
    raise ValueError("broken")

stopped = threading.Event()
signals.listen({signal.SIGTERM: stopped.set, signal.SIGHUP: broken})
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
child = os.fork()
if not child:
    signals.forget_parent()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os._exit(0)
os.waitpid(child, 0)
print("told" if stopped.wait(0.3) else "ready", flush=True)
stopped.wait()
"""


def test_a_signal_is_handled_while_the_main_thread_is_blocked_and_after_a_failure() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout
        assert program.stderr
        assert program.stdout.readline() == "ready\n", "a child that forgets its parent tells it nothing"
        program.send_signal(signal.SIGHUP)
        # Of two signals at once, the second may be handled first.
        assert any("ValueError: broken" in line for line in program.stderr)
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=60) == 0
