"""Runs manage.py in tests without starting Python each time.

A process that has imported the commands forks for each run, so that a run is a process of its own, with its own
environment, output and exit status, as `python manage.py` is. Starting Python and importing takes 15 times as long.

Requests come by a Unix socket: the arguments, variables and folder as JSON, with four descriptors: standard input,
output and error, and one to which the exit status is written when the command has ended.
"""

import atexit
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

_REQUEST_BYTES = 1 << 20
_DESCRIPTORS = 4
_lock = threading.Lock()


def run(
    arguments: Sequence[str], environ: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `python manage.py ARGUMENTS` with exactly these environment variables; threads may do so in parallel.

    The working directory is *folder*, by default that of the tests.

    Variables that Python reads when it starts (PYTHONPATH, LC_ALL) have no effect.
    """
    command = [sys.executable, str(PROJECT / "manage.py"), *arguments]
    request = json.dumps([list(arguments), dict(environ), str(folder or Path.cwd())]).encode()
    with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        reading, writing = os.pipe()
        try:
            with _lock:
                files = [nothing.fileno(), out.fileno(), err.fileno(), writing]
                socket.send_fds(_server(), [request], files)
        finally:
            os.close(writing)
        with open(reading, "rb") as status:
            code = int(status.read())
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read().decode(), err.read().decode())


@functools.cache
def _server() -> socket.socket:
    """The connection to the process that forks, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.command_server", str(theirs.fileno())]
    process = subprocess.Popen(
        command, cwd=PROJECT, env={"PATH": os.environ["PATH"]}, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def _serve(connection: socket.socket) -> int:
    """Forks for each request until the other end is closed; in the fork, returns the exit status of the command."""
    from assetstore import commands

    for module in set(commands.MODULES.values()):
        importlib.import_module(f"assetstore.commands.{module}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, _DESCRIPTORS)
        if not request:
            return 0
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = os.fork()
    if command:
        _, wait_status = os.waitpid(command, 0)
        os.write(descriptors[3], str(os.waitstatus_to_exitcode(wait_status)).encode())
        os._exit(0)
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    arguments, environ, folder = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = [str(PROJECT / "manage.py"), *arguments]
    return commands.main(arguments, PROJECT)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        sys.exit(_serve(channel))
