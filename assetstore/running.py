"""How the server runs: by Paste in one process, in several, with a gatekeeper, or by another web server.

What cannot be listened on raises SettingsError with one clear line for the administrator.
"""

import contextlib
import errno
import functools
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from assetstore import serving, shared_figures
from assetstore.configuration import Settings, SettingsError
from assetstore.fair_share import Share, Shares
from assetstore.gatekeeper import listening as gatekeeping
from assetstore.gatekeeper.judging import Gatekeeper
from assetstore.processes import Processes
from assetstore.startup import Opened, open_collections, open_originals, open_store, open_thumbnails, with_key

_log = logging.getLogger(__name__)


def serve(
    settings: Settings,
    folder: Path,
    make_app: Callable[[Opened], serving.WsgiApplication],
    run_adapter: Callable[..., None],
) -> None:
    """Serves by the setting SERVER until the program is told to stop.

    Parameters:
        settings: the effective settings.
        folder: of the program.
        make_app: makes the WSGI application of an open store.
        run_adapter: called with `app`, `server`, `host` and `port` for any server but Paste.
    """
    if settings.processes > 1 or settings.has_gatekeeper:
        _serve_by_processes(settings, folder, make_app)
        return
    opened = open_store(settings, folder)
    try:
        app = make_app(opened)
        if settings.server == "paste":
            address = (settings.bind_address, settings.port)
            with _clear_socket_errors(*address):
                server = new_server(app, settings, address)
            _log.info("listening on %s port %s", settings.bind_address, server.server_port)
            serving.run(server)
        else:
            _serve_by_adapter(app, settings, run_adapter)
    finally:
        opened.close()


def _serve_by_processes(
    settings: Settings, folder: Path, make_app: Callable[[Opened], serving.WsgiApplication]
) -> None:
    settings = with_key(settings)
    open_originals(settings, folder).journal.close()  # what is wrong with the folders is said once, here
    address = (settings.bind_address, settings.port)
    with _clear_socket_errors(*address):
        listener = serving.listen(address)
    shares, gate = Shares(settings.processes), _listen_at_the_gate(settings)

    # Each process has only its own address open: one that hangs must not keep the other from the next start.
    def serve_listener(share: Share) -> None:
        if gate is not None:
            gate.close()
        opened = open_store(settings, folder)
        try:
            serving.run(new_server(make_app(opened), settings, address, listener, share))
        finally:
            opened.close()

    def keep_gate(gate: socket.socket) -> None:
        listener.close()
        _keep_gate(settings, folder, gate)

    tasks = [functools.partial(serve_listener, shares.of(number)) for number in range(settings.processes)]
    if gate is not None:
        tasks.append(functools.partial(keep_gate, gate))
    with shared_figures.folder(settings.metrics_address is not None):
        processes = Processes(tasks, shared_figures.forget)
        port = listener.getsockname()[1]
        by = "1 process" if settings.processes == 1 else f"{settings.processes} processes"
        _log.info("listening on %s port %s by %s", settings.bind_address, port, by)
        processes.run()


def _listen_at_the_gate(settings: Settings) -> socket.socket | None:
    address = settings.gatekeeper_address
    if address is None or not settings.has_gatekeeper:
        return None
    with _clear_socket_errors(*address, names=("GATEKEEPER_ADDRESS", "GATEKEEPER_ADDRESS")):
        gate = serving.listen(address)
    _log.info("the gatekeeper listens on %s port %s", *gate.getsockname()[:2])
    return gate


def _keep_gate(settings: Settings, folder: Path, gate: socket.socket) -> None:
    collections = open_collections(settings)
    thumbnails, _ = open_thumbnails(settings, open_originals(settings, folder, collections))
    gatekeeping.run(gatekeeping.Loop(gate, Gatekeeper(settings, collections, thumbnails).answer))


def _serve_by_adapter(app: serving.WsgiApplication, settings: Settings, run_adapter: Callable[..., None]) -> None:
    port = settings.development_port if settings.server == "wsgiref" else settings.port
    _log.info("listening on %s port %s by %s", settings.bind_address, port, settings.server)
    with _clear_socket_errors(settings.bind_address, port):
        try:
            run_adapter(app, server=settings.server, host=settings.bind_address, port=port)
        except ImportError as error:
            raise SettingsError(f"SERVER is {settings.server!r}, which is not installed: {error}") from error


def new_server(
    app: serving.WsgiApplication,
    settings: Settings,
    address: tuple[str, int],
    listener: socket.socket | None = None,
    share: Share | None = None,
) -> serving.Server:
    """Returns a server by Paste that listens on an address, or by a socket that does already. Raises OSError."""
    # Requests that wait for an object store must not wait for each other.
    takes_turns = settings.storage_url is None
    threads, timeout = settings.threads, settings.socket_timeout
    return serving.Server(app, address, threads, timeout, listener=listener, share=share, takes_turns=takes_turns)


@contextlib.contextmanager
def _clear_socket_errors(address: str, port: int, names: tuple[str, str] = ("BIND_ADDRESS", "PORT")) -> Iterator[None]:
    # What can go wrong with listening, in one clear line.
    host_name, port_name = names
    try:
        yield
    except socket.gaierror:
        raise SettingsError(f"{host_name} is {address!r}; this machine knows no such address.") from None
    except OSError as error:
        rights = "needs rights that this user has not; the README tells how to use authbind."
        reasons = {
            errno.EADDRINUSE: f"{port_name} {port} is in use by another program.",
            errno.EACCES: f"{port_name} {port} {rights}",
            errno.EADDRNOTAVAIL: f"{host_name} is {address!r}; this machine has no such address.",
        }
        if error.errno not in reasons:
            raise
        raise SettingsError(reasons[error.errno]) from None
