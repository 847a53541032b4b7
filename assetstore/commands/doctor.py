"""`manage.py doctor`: checks a server, and explains each problem and its remedy."""

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import click

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.commands.installation import DOCTOR, Installation
from assetstore.commands.output import counted, echo, printable, show
from assetstore.commands.parameters import as_json_option
from assetstore.commands.remote_options import key_file_option, own_address, own_key, read_key
from assetstore.config.loading import Settings, SettingsError
from assetstore.doctor import address, clock, network, proxy, settings_check, specify, store, tools, unit, visibility
from assetstore.doctor.client_simulation import SimulatedClient
from assetstore.doctor.findings import Finding, error, ok
from assetstore.errors import AssetError, RemoteFault
from assetstore.monitoring.health import ERROR, OK, WARNING
from assetstore.names import PRIVATE_FOLDER
from assetstore.programs import DOCTOR_AGENT, admin_name

_LOCAL = ("settings", "folders", "time", "tools", "network", "visibility")
_THEMES = (*_LOCAL, "public")
_COLOURS = {OK: "green", WARNING: "yellow", ERROR: "red"}
_TIMEOUT_SECONDS = 60.0

#: The default of TIME_TOLERANCE, for servers whose settings are not known.
_DEFAULT_TOLERANCE = 150

_Report = Generator[tuple[str, Finding], None, None]


@dataclass(frozen=True)
class _Target:
    """The public address to check, the key of that server, the collection, and how many MB to upload."""

    address: Address
    key: str | None
    collection: str | None
    megabytes: int


@click.command()
@click.option("--url", envvar="ASSET_SERVER_URL", show_envvar=True, help="Also check the server at this address.")
@key_file_option
@click.option("--collection", help="With --url: the collection to test with, as named in Specify.")
@click.option("--only", "themes", multiple=True, type=click.Choice(_THEMES), help="Only these checks. Repeatable.")
@click.option(
    "--large",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="MEGABYTES",
    help="With --url: size of the large test upload.",
)
@as_json_option
@click.pass_obj
def doctor(
    installation: Installation,
    url: str | None,
    key_file: Path | None,
    collection: str | None,
    themes: tuple[str, ...],
    large: int,
    as_json: bool,
) -> int:
    """Checks this server. Reports problems, their effect, and what to do.

    Checks the settings, folders, time, tools, network and visibility of this machine. With --url, it then acts as
    Specify 6 and Specify 7 at that address, and checks the certificate, XML, clock, key, uploads, thumbnails of each
    format, metadata, deletes, and the proxy. Test uploads are deleted. Nothing else is changed, and no problem is
    repaired.

    \b
        manage.py doctor --url https://assets.museum.org
        manage.py doctor --only tools

    \b
    Exit status: 0  no errors; there may be warnings
                 1  errors found
    """
    wanted = themes or _THEMES
    if "public" in themes and url is None:
        raise click.UsageError("--only public requires --url.")
    counts: Counter[str] = Counter()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that uploads are deleted
    # Always closed, because that deletes the uploads.
    try:
        with contextlib.closing(_everything(installation, url, key_file, collection, wanted, large)) as report:
            for theme, finding in report:
                counts[finding.status] += 1
                _show(theme, finding, as_json)
    finally:
        signal.signal(signal.SIGTERM, before)
    if not as_json:
        echo(f"{counted(counts[ERROR], 'error')}, {counted(counts[WARNING], 'warning')}, {counts[OK]} ok.")
    return 1 if counts[ERROR] else 0


def _everything(
    installation: Installation,
    url: str | None,
    key_file: Path | None,
    collection: str | None,
    themes: tuple[str, ...],
    megabytes: int,
) -> _Report:
    """Yields all findings with their themes."""
    settings, key = None, read_key(key_file)
    try:
        settings = installation.configured
        click.echo(installation.described, err=True)
    except SettingsError as fault:
        meaning, remedy = "The server cannot start. A running server keeps its old settings.", "Correct the setting."
        yield "settings", error("settings", str(fault), meaning, remedy)
    if settings is not None:
        for theme, check in _local(installation, settings).items():
            if theme in themes:
                yield from ((theme, finding) for finding in check())
        if key is None:
            key = _own_key(settings)
    if "public" in themes and url is not None:
        if collection is None and settings is not None:
            collection = _some_collection(installation)
        target = _Target(Address.parse(url), key, collection, megabytes)
        client = SimulatedClient(
            RemoteServer(target.address, key, collection, timeout=_TIMEOUT_SECONDS, agent=DOCTOR_AGENT)
        )
        try:
            yield from (("public", finding) for finding in _public(client, target, settings))
        finally:
            if settings is not None:
                _empty_trash(installation, settings, set(client.uploaded))


def _local(installation: Installation, settings: Settings) -> Mapping[str, Callable[[], Iterator[Finding]]]:
    return {
        "settings": lambda: settings_check.examine(settings, installation.own),
        "folders": lambda: store.examine(settings, installation.folder),
        "time": lambda: clock.examine(settings),
        "tools": lambda: tools.examine(settings),
        "network": lambda: network.examine(
            settings, own_address(settings), _own_key(settings), should_run=unit.should_run(installation.folder)
        ),
        "visibility": lambda: visibility.examine(settings),
    }


def _own_key(settings: Settings) -> str | None:
    try:
        return own_key(settings)
    except (SettingsError, AssetError):
        return None  # it does not exist yet or cannot be read; other checks report that


def _some_collection(installation: Installation) -> str | None:
    try:
        folders = installation.collections.folders()
    except SettingsError:
        return None  # already reported
    return min(folders) if folders else None


def _empty_trash(installation: Installation, settings: Settings, names: Set[str]) -> None:
    """Removes the test uploads from the trash, if the checked server runs on this machine."""
    base = settings.base_dir
    if not names or not (base / PRIVATE_FOLDER).is_dir() or base.stat().st_uid != os.geteuid():
        return
    with contextlib.suppress(AssetError, SettingsError, OSError):  # the server purges it later
        for entry in list(installation.originals.trash()):
            if entry.name in names:
                installation.originals.purge(entry, DOCTOR)


def _public(client: SimulatedClient, target: _Target, settings: Settings | None) -> Iterator[Finding]:
    """Acts as Specify at a public address. Stops early if further checks cannot succeed."""
    with client:
        try:
            yield from address.examine(client)
            yield from specify.key(client, target.key)
        except RemoteFault:
            return
        for check in _public_checks(client, target, settings):
            try:
                yield from check()
            except AssetError as fault:
                meaning = "The same requests from Specify fail, too."
                remedy = "Check the logs of the server and the proxy."
                yield error("connection", f"{fault.public} {fault.detail}".strip(), meaning, remedy)
                if isinstance(fault, RemoteFault) and fault.answered is None:
                    break  # each further request would wait for the same timeout
    yield _leftovers(client)


def _public_checks(
    client: SimulatedClient, target: _Target, settings: Settings | None
) -> tuple[Callable[[], Iterator[Finding]], ...]:
    tolerance = settings.time_tolerance if settings is not None else _DEFAULT_TOLERANCE

    def is_expected(media_type: str) -> bool:
        return settings is None or media_type in settings.can_thumbnail

    return (
        lambda: specify.cors(client),
        lambda: specify.uploads(client),
        lambda: specify.thumbnails(client, is_expected),
        lambda: visibility.through_proxies(client, settings),
        lambda: proxy.body_limit(client, target.megabytes),
        lambda: proxy.buffering(client, tolerance),
    )


def _leftovers(client: SimulatedClient) -> Finding:
    if client.not_deleted:
        names = ", ".join(client.not_deleted)
        remedy = f"{admin_name()} delete --url {client.remote.address} {' '.join(client.not_deleted)}"
        meaning = "These test files remain on the server."
        return error("left behind", f"These uploads could not be deleted: {names}", meaning, remedy)
    return ok("left behind", "All test uploads are deleted.")


def _show(theme: str, finding: Finding, as_json: bool) -> None:
    if as_json:
        show({"theme": theme, **vars(finding)}, True, ())
        return
    status = click.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
    click.echo(f"{status}{theme:<9} {finding.check}: {printable(finding.found)}")
    if finding.status != OK:
        click.echo(f"{'':<18}Effect: {printable(finding.meaning)}")
        first, *more = finding.remedy.splitlines()
        click.echo(f"{'':<18}What to do: {printable(first)}")
        for line in more:  # to be copied
            click.echo(f"{'':<18}{printable(line)}")
