"""The port of this machine's own server: who listens there, or could."""

import errno
import socket
from collections.abc import Iterator

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.config.loading import Settings
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import RemoteFault

_TIMEOUT_SECONDS = 10.0


def examine(settings: Settings, address: Address, key: str | None) -> Iterator[Finding]:
    """Yields what there is to say of the port.

    Parameters:
        settings: the effective ones.
        address: where the own server listens.
        key: of the own server, None if there is none.
    """
    remote = RemoteServer(address, key, None, timeout=_TIMEOUT_SECONDS)
    try:
        remote.skew()
    except RemoteFault as fault:
        if fault.answered is None and not _listens(address):
            yield _free(settings)
        else:
            yield error(
                "port",
                f"On port {settings.port} something listens that is not this server: {fault.public}",
                "Specify finds no attachments, or the server cannot start.",
                "Stop the other program, or choose another PORT.",
            )
        return
    yield ok("port", f"The server answers on port {settings.port}.")
    yield from _same_key(remote)


def _same_key(remote: RemoteServer) -> Iterator[Finding]:
    """Whether the server that runs has these settings."""
    try:
        status, text = remote.test_key()
    except RemoteFault as fault:
        status, text = 0, fault.public
    if status == 200:
        yield ok("running server", "The server that runs has this key.")
    else:
        yield warning(
            "running server",
            f"The server that runs does not take this key: {text}",
            "It has other settings than the ones here; Specify may have the key of either.",
            "Restart the server. If it is another one, choose another PORT.",
        )


def _listens(address: Address) -> bool:
    try:
        with socket.create_connection((address.host, address.port), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def _free(settings: Settings) -> Finding:
    """The server does not run; can it?"""
    family = socket.AF_INET6 if ":" in settings.bind_address else socket.AF_INET
    meaning = "The server does not start."
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.bind_address, settings.port))
    except OSError as fault:
        if fault.errno == errno.EACCES:
            remedy = "CAP_NET_BIND_SERVICE in the systemd unit, or authbind: docs/install.md."
            return error("port", f"Port {settings.port} needs rights that this user has not.", meaning, remedy)
        if fault.errno == errno.EADDRINUSE:
            remedy = "Stop that program, or choose another PORT."
            return error("port", f"Port {settings.port} is in use by another program.", meaning, remedy)
        remedy = "Correct BIND_ADDRESS: 0.0.0.0 for all, 127.0.0.1 behind a proxy on this machine."
        return error("port", f"This machine has no address {settings.bind_address}.", meaning, remedy)
    return ok("port", f"Nothing listens on port {settings.port}; the server does not run, but could.")
