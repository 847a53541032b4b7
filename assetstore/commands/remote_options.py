"""Which attachment server a command uses: from options, environment variables, or this program's settings."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from assetstore.auth import server_key
from assetstore.client.asset_client import KEY_VARIABLE, RemoteServer
from assetstore.client.http_client import Address
from assetstore.commands.installation import Installation
from assetstore.commands.output import counted, echo
from assetstore.commands.parameters import Command
from assetstore.config.loading import Settings, SettingsError
from assetstore.errors import AssetError, NotFound, RemoteFault, StorageFault

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server listens, not where we do

#: Seconds before each attempt. A restarting server is available again before the last one.
_PAUSES = (0, 1, 5)

_T = TypeVar("_T")


def connecting(command: Command) -> Command:
    """Adds the options that select the server; the command receives it as `remote`."""

    def connect(url: str | None, key_file: Path | None, collection: str | None, **others: Any) -> Any:
        installation = click.get_current_context().find_object(Installation)
        assert installation is not None  # noqa: S101 - commands.main made it
        return command(remote=_remote(installation, url, key_file, collection), **others)

    connect.__doc__, connect.__name__ = command.__doc__, command.__name__
    connect.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # click's
    for decorate in (
        click.option("--collection", help="The collection, as named in Specify."),
        key_file_option,
        click.option(
            "--url",
            envvar="ASSET_SERVER_URL",
            show_envvar=True,
            help="Address of another attachment server, or of its web_asset_store.xml.",
        ),
    ):
        connect = decorate(connect)
    return connect  # type: ignore[return-value]  # click calls it


key_file_option = click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File with the key of the server at --url. Alternative: the environment variable {KEY_VARIABLE}.",
)


def read_key(key_file: Path | None) -> str | None:
    """Returns the key from --key-file or from the environment, None if neither is set."""
    if key_file is not None:
        return key_file.read_text(encoding="utf-8").strip() or None
    return os.environ.get(KEY_VARIABLE) or None


def own_address(settings: Settings) -> Address:
    """Returns where this program's own server listens. Its certificate is for another name than this address."""
    host = _EVERY_ADDRESS.get(settings.bind_address, settings.bind_address)
    return Address(settings.scheme, host, settings.port, is_verified=False)


def own_key(settings: Settings) -> str | None:
    """Returns the key of this program's own server, None if KEY is None.

    Raises SettingsError if the server has no key yet, StorageFault if the key cannot be read.
    """
    if settings.key is None:
        return None
    if settings.key:
        return settings.key[0]
    path = server_key.key_path(settings.base_dir)
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        if not settings.base_dir.is_dir():
            missing = f"BASE_DIR: there is no folder {settings.base_dir}. Correct BASE_DIR, or mount its disk."
            raise SettingsError(missing) from None
        raise SettingsError(
            "KEY is empty, and no key has been generated yet. Start the server once, or set KEY."
        ) from None
    except OSError as error:
        raise StorageFault("The server's key cannot be read.", f"{path}: {error.strerror}") from error


def with_retries(act: Callable[[], _T]) -> _T:
    """Calls *act*, and retries after a pause if the server is busy or cannot be reached.

    Raises the error of the last attempt.
    """
    for pause in _PAUSES[1:]:
        try:
            return act()
        except RemoteFault as error:
            if not error.may_pass:
                raise
            time.sleep(pause)
    return act()


def stops_everything(error: AssetError) -> bool:
    """Whether all other files would fail for the same reason: no response, a wrong key, a full disk."""
    return isinstance(error, RemoteFault) and error.answered in (None, 403, 502, 503, 504, 507)


def announce_stop(untried: int) -> int:
    """Says that a command stops, and how many files it did not try, if any; returns its exit status."""
    if untried:
        would = "it would" if untried == 1 else "they would"
        files = counted(untried, "other file was", "other files were")
        echo(f"Stopped: {files} not tried, because {would} fail for the same reason.", err=True)
    return 1


def reason(error: AssetError | OSError) -> str:
    """Returns the text of an error for the user."""
    if isinstance(error, OSError):
        return f"{error.filename or 'The file'}: {error.strerror or error}"
    detail = error.detail if isinstance(error, RemoteFault | NotFound) else ""
    return f"{error.public} {f'({detail})' if detail else ''}".strip()


def _remote(installation: Installation, url: str | None, key_file: Path | None, collection: str | None) -> RemoteServer:
    key = read_key(key_file)
    if url is not None:
        # Never our own key: the operator of the other server could use the tokens here.
        return RemoteServer(Address.parse(url), key, collection)
    settings = installation.settings
    return RemoteServer(own_address(settings), key or own_key(settings), collection)
