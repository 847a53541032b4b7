"""How gunicorn serves the Web Asset Server: several processes, for machines with several cores.

    .venv/bin/pip install --requirement requirements-gunicorn.txt
    .venv/bin/gunicorn --config deploy/gunicorn.conf.py 'server:make_application()'

The settings of the asset server hold here, too (settings.py or environment): BIND_ADDRESS, PORT, THREADS
and SOCKET_TIMEOUT are read below, and a wrong one stops the start with one line. Let nginx stand in front,
as in deploy/nginx.conf: gunicorn on its own gives each half-sent request a thread. More: docs/operations.md.
"""

import contextlib
import os
import resource
import socket
import struct
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(FOLDER))

from gunicorn.glogging import Logger  # noqa: E402 - the others are found by the line before

from assetstore import logs, shared_figures, startup  # noqa: E402
from assetstore.configuration import SettingsError  # noqa: E402

try:
    settings, own_settings = startup.load_settings(FOLDER)
except SettingsError as error:
    sys.exit(f"The asset server does not start. {error}")

# --- What you may want to change -----------------------------------------------------------------

# How many processes. One for each core is right; more only cost memory, some 40 MB each. WEB_CONCURRENCY is
# gunicorn's own variable for it: for containers that may use only a part of the machine's cores.
workers = int(os.environ.get("WEB_CONCURRENCY") or len(os.sched_getaffinity(0)))

# How many requests each process serves at the same time. Slow clients hold a thread each, so have many.
threads = settings.threads

# When the server is told to stop, running requests have so many seconds to finish; then they are cut off.
# A cut-off upload leaves nothing behind. Whoever stops gunicorn must wait longer (TimeoutStopSec=20 in the
# systemd unit, `docker stop --time 20`).
graceful_timeout = 10

# --- What is meant to stay -----------------------------------------------------------------------

bind = f"[{settings.bind_address}]:{settings.port}"  # gunicorn takes the brackets off names and IPv4, too
worker_class = "gthread"

# Not how long a request may take! With gthread, the main thread of each process says every second that it
# lives, whatever the other threads do: an upload may last for hours. Only a process that says nothing for
# so many seconds, because it hangs as a whole, is killed and replaced.
timeout = 120

# What that sign of life is written to. In memory, so that a stalled disk does not look like a hung process.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only names made by tempfile in it
worker_tmp_dir = MEMORY

# For how many seconds a connection waits for another request; it holds no thread meanwhile. Short, because
# Specify 6 opens one for each request and never closes it.
keepalive = 5

# The longest request line that gunicorn allows. The default would refuse some long names.
limit_request_line = 8190

# Each process makes the application for itself, after it was forked: threads, render workers and SQLite
# connections do not survive a fork.
preload_app = False

# gunicorn believes no proxy what it says of the client. The application does, those in TRUSTED_PROXIES.
forwarded_allow_ips = ""


class _Words(Logger):
    """gunicorn's own words, in the form that LOG_FORMAT gives the application's."""

    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.JsonLines() if settings.log_format == logs.JSON else logs.PlainLines())

    def exception(self, msg, *args, **kwargs):
        if isinstance(sys.exc_info()[1], TimeoutError | BlockingIOError):
            self.info("a client fell silent and was hung up on")  # no error of ours, hence without a story
        else:
            super().exception(msg, *args, **kwargs)


# The application writes a line for each request to standard output; what gunicorn has to say goes to
# standard error. Its socket for remote control is of no use here.
logger_class = _Words
accesslog = None
errorlog = "-"
control_socket_disable = True

# RENDER_WORKERS counts for each process. Where nobody has set it, all processes together make as many
# pictures at the same time as there are cores.
if own_settings.get("RENDER_WORKERS") is None and not os.environ.get("RENDER_WORKERS"):
    raw_env = [f"RENDER_WORKERS={max(1, settings.render_workers // workers)}"]

#: Files and connections that a process may have open; the usual 1024 are few for so many threads.
_OPEN_FILES = 8192

#: For how long a client that is told no in the middle of its upload may go on sending, in seconds, and
#: how long it may be silent meanwhile. Hung up on at once, it would not get to read why.
_LINGER_SECONDS, _LINGER_SILENCE_SECONDS = 20, 3

#: Holds the folder in which the processes add up their figures for Prometheus.
_figures = contextlib.ExitStack()


def on_starting(server):
    """Before the first process is started: tries whether the attachments can be used at all."""
    try:
        startup.open_originals(settings, FOLDER)
    except SettingsError as error:
        sys.exit(f"The asset server does not start. {error}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def when_ready(server):
    """When the server listens, before the first process is started."""
    # Clients that fall silent in the middle of the head of their request are hung up on. gunicorn itself would
    # wait for ever; on Linux, a connection inherits this from the socket that accepts it.
    for listener in server.LISTENERS:
        silence = struct.pack("ll", settings.socket_timeout, 0)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
    _figures.enter_context(shared_figures.folder(settings.metrics_address is not None))


def pre_request(worker, request):
    """When the head of a request is there."""
    # From here on, too, clients that send nothing, or take nothing of their answer, are hung up on.
    request.unreader.sock.settimeout(settings.socket_timeout)
    # Uploads end their connection, so that `post_request` may read what is left of it.
    if request.method == "POST":
        request.force_close()


def post_request(worker, request, environ, response):
    """After each answer: throws away what a refused upload still sends, so that its client gets to read why."""
    if request.method != "POST" or response is None or response.status_code < 400:
        return
    connection = environ["gunicorn.socket"]
    end = time.monotonic() + _LINGER_SECONDS
    with contextlib.suppress(OSError):
        connection.settimeout(_LINGER_SILENCE_SECONDS)
        while time.monotonic() < end and connection.recv(65536):
            pass


def child_exit(server, worker):
    """When a process has ended: Prometheus's library forgets what is only true of a living one."""
    shared_figures.forget(worker.pid)


def on_exit(server):
    """When the server has ended."""
    _figures.close()
