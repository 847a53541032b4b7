"""Checks the port of this machine's server: which program listens there, and whether the server could."""

import errno
import socket
from collections.abc import Iterator

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.config.loading import Settings
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.doctor.unit import UNIT
from assetstore.errors import RemoteFault
from assetstore.monitoring.health import OK

_TIMEOUT_SECONDS = 10.0


def examine(settings: Settings, address: Address, key: str | None, *, should_run: bool = False) -> Iterator[Finding]:
    """Yields findings about the port.

    Parameters:
        settings: the effective ones.
        address: where this machine's server listens.
        key: of this machine's server, None if there is none.
        should_run: whether the server is expected to be running.
    """
    remote = RemoteServer(address, key, None, timeout=_TIMEOUT_SECONDS)
    try:
        remote.skew()
    except RemoteFault as fault:
        if fault.answered is None and not _listens(address):
            finding = _free(settings)
            yield _down(settings) if should_run and finding.status == OK else finding
        else:
            yield error(
                "port",
                f"Another program listens on port {settings.port}: {fault.public}",
                "Specify finds no attachments, or the server cannot start.",
                "Stop the other program, or choose another PORT.",
            )
        return
    yield ok("port", f"The server responds on port {settings.port}.")
    yield from _same_key(remote)


def _same_key(remote: RemoteServer) -> Iterator[Finding]:
    """Whether the running server uses these settings."""
    try:
        status, text = remote.test_key()
    except RemoteFault as fault:
        status, text = 0, fault.public
    if status == 200:
        yield ok("running server", "The running server uses this key.")
    else:
        yield warning(
            "running server",
            f"The running server rejects this key: {text}",
            "It uses different settings, so either it or these settings may not match the key in Specify.",
            "Restart the server. If it is another server, choose another PORT.",
        )


def _listens(address: Address) -> bool:
    try:
        with socket.create_connection((address.host, address.port), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def _down(settings: Settings) -> Finding:
    return error(
        "port",
        f"The server is not running, although its unit is enabled or started: nothing listens on port {settings.port}.",
        "Specify can neither show nor store attachments.",
        f"systemctl status {UNIT}; journalctl --unit {UNIT}; then systemctl start {UNIT}.",
    )


def _free(settings: Settings) -> Finding:
    """Whether the server, which is not running, could listen on its port."""
    family = socket.AF_INET6 if ":" in settings.bind_address else socket.AF_INET
    meaning = "The server does not start."
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.bind_address, settings.port))
    except OSError as fault:
        if fault.errno == errno.EACCES:
            remedy = "Add CAP_NET_BIND_SERVICE to the systemd unit, or use authbind (docs/install.md)."
            return error("port", f"This user has no permission to use port {settings.port}.", meaning, remedy)
        if fault.errno == errno.EADDRINUSE:
            remedy = "Stop that program, or choose another PORT."
            return error("port", f"Port {settings.port} is in use by another program.", meaning, remedy)
        remedy = "Correct BIND_ADDRESS: 0.0.0.0 for all interfaces, 127.0.0.1 behind a proxy on this machine."
        return error("port", f"This machine has no address {settings.bind_address}.", meaning, remedy)
    return ok("port", f"Port {settings.port} is free. The server is not running, but could start.")
