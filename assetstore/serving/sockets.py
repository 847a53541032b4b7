"""Listening sockets and the limit of open files, for all web servers."""

import contextlib
import errno
import resource
import socket
from collections.abc import Iterator

from assetstore.config.loading import SettingsError

#: How many connections may wait to be accepted.
BACKLOG = 1024

#: Open files: one for each connection, and about two for each running request. The usual soft limit of 1024 exists
#: only for programs that use select().
_OPEN_FILES = 8192


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Returns a listening socket.

    Parameters:
        host: address or name to listen on.
        port: 0 for any free port.
        shared: whether other sockets of this program may listen on the same port; the kernel distributes connections.

    Raises:
        SettingsError: BIND_ADDRESS or PORT cannot be used; the message is one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with clear_socket_errors(host, port):
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    return listener


def listen_for(workers: int, host: str, port: int) -> list[socket.socket]:
    """Returns a listening socket for each worker, all on the same port; the kernel distributes connections.

    Raises:
        SettingsError: see `listen`; also if another program has the port and would share it.
    """
    single = listen(host, port)
    port = single.getsockname()[1]
    single.close()
    return [listen(host, port, shared=True) for _ in range(workers)]


@contextlib.contextmanager
def clear_socket_errors(host: str, port: int) -> Iterator[None]:
    """Turns the errors of listening into a SettingsError with a message of one line."""
    try:
        yield
    except socket.gaierror:
        raise SettingsError(f"BIND_ADDRESS is {host!r}, which cannot be resolved to an address.") from None
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"PORT {port} is in use by another program.",
            errno.EACCES: f"PORT {port} requires a privilege that this user does not have; see docs/install.md.",
            errno.EADDRNOTAVAIL: f"BIND_ADDRESS is {host!r}, which is not an address of this machine.",
        }
        if error.errno not in reasons:
            raise
        raise SettingsError(reasons[error.errno]) from None


def allow_many_files() -> None:
    """Raises the soft limit of open files as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
