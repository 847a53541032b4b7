"""`manage.py doctor`: what is wrong with a server, what it means, and what to do."""

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
from assetstore.commands.output import printable, show
from assetstore.commands.parameters import as_json_option
from assetstore.commands.remote_options import key_file_option, own_address, own_key, read_key
from assetstore.commands.workplace import COMMAND, Workplace
from assetstore.config.loading import Settings, SettingsError
from assetstore.doctor import address, clock, network, proxy, settings_check, specify, store, tools
from assetstore.doctor.client_simulation import Visit
from assetstore.doctor.findings import Finding, error, ok
from assetstore.errors import AssetError, RemoteFault
from assetstore.monitoring.health import ERROR, OK, WARNING
from assetstore.names import PRIVATE_FOLDER

_LOCAL = ("settings", "folders", "time", "tools", "network")
_THEMES = (*_LOCAL, "public")
_COLOURS = {OK: "green", WARNING: "yellow", ERROR: "red"}
_TIMEOUT_SECONDS = 60.0

#: TIME_TOLERANCE where nobody has set another one.
_USUAL_TOLERANCE = 150

_Report = Generator[tuple[str, Finding], None, None]


@dataclass(frozen=True)
class _Target:
    """The public address to visit, the key that holds there, the collection, and how many MB to upload."""

    address: Address
    key: str | None
    collection: str | None
    megabytes: int


@click.command()
@click.option("--url", envvar="ASSET_SERVER_URL", show_envvar=True, help="Also visit the server at its public address.")
@key_file_option
@click.option("--collection", help="With --url: a collection, as Specify has it, if each has its own folder.")
@click.option("--only", "themes", multiple=True, type=click.Choice(_THEMES), help="Only this theme; may be repeated.")
@click.option(
    "--large",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="MEGABYTES",
    help="With --url: the size of an upload that must go through.",
)
@as_json_option
@click.pass_obj
def doctor(
    workplace: Workplace,
    url: str | None,
    key_file: Path | None,
    collection: str | None,
    themes: tuple[str, ...],
    large: int,
    as_json: bool,
) -> int:
    """Examines this server and says what is wrong, what that means for people, and what to do.

    Looks at settings, folders, time, tools and network of this machine. With --url it then plays Specify 6 and
    Specify 7 at that address: certificate, XML, clock, key, uploads, thumbnails of each format, metadata, delete, and
    the proxy in between. What it uploads it deletes again. Nothing is repaired or left behind.

    \b
        manage.py doctor --url https://assets.museum.org
        manage.py doctor --only tools

    \b
    Exit status: 0  nothing is wrong; there may be warnings
                 1  something is wrong
    """
    wanted = themes or _THEMES
    if "public" in themes and url is None:
        raise click.UsageError("The theme public needs --url.")
    counts: Counter[str] = Counter()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the uploads are deleted then, too
    # Closed in any case, because that deletes the uploads.
    try:
        with contextlib.closing(_everything(workplace, url, key_file, collection, wanted, large)) as report:
            for theme, finding in report:
                counts[finding.status] += 1
                _show(theme, finding, as_json)
    finally:
        signal.signal(signal.SIGTERM, before)
    if not as_json:
        click.echo(f"{counts[ERROR]} errors, {counts[WARNING]} warnings, {counts[OK]} ok.")
    return 1 if counts[ERROR] else 0


def _everything(
    workplace: Workplace,
    url: str | None,
    key_file: Path | None,
    collection: str | None,
    themes: tuple[str, ...],
    megabytes: int,
) -> _Report:
    """Yields all findings with their themes."""
    settings, key = None, read_key(key_file)
    try:
        settings = workplace.configured
    except SettingsError as fault:
        meaning, remedy = "The server does not start, or with its old settings only.", "Correct what is named."
        yield "settings", error("settings", str(fault), meaning, remedy)
    if settings is not None:
        for theme, check in _local(workplace, settings).items():
            if theme in themes:
                yield from ((theme, finding) for finding in check())
        if key is None:
            key = _own_key(settings)
    if "public" in themes and url is not None:
        if collection is None and settings is not None:
            collection = _some_collection(workplace)
        target = _Target(Address.parse(url), key, collection, megabytes)
        remote = RemoteServer(target.address, target.key, target.collection, timeout=_TIMEOUT_SECONDS)
        visit = Visit(remote)
        try:
            yield from (("public", finding) for finding in _visit(visit, target, settings))
        finally:
            if settings is not None:
                _empty_trash(workplace, settings, set(visit.uploaded))


def _local(workplace: Workplace, settings: Settings) -> Mapping[str, Callable[[], Iterator[Finding]]]:
    return {
        "settings": lambda: settings_check.examine(settings, workplace.own),
        "folders": lambda: store.examine(settings, workplace.folder),
        "time": lambda: clock.examine(settings),
        "tools": lambda: tools.examine(settings),
        "network": lambda: network.examine(settings, own_address(settings), _own_key(settings)),
    }


def _own_key(settings: Settings) -> str | None:
    try:
        return own_key(settings)
    except (SettingsError, AssetError):
        return None  # it is not made yet, or cannot be read: the other checks say so


def _some_collection(workplace: Workplace) -> str | None:
    try:
        folders = workplace.collections.folders()
    except SettingsError:
        return None  # said already
    return min(folders) if folders else None


def _empty_trash(workplace: Workplace, settings: Settings, names: Set[str]) -> None:
    """Removes what the visit left in the trash, if the server visited is the one of this machine."""
    base = settings.base_dir
    if not names or not (base / PRIVATE_FOLDER).is_dir() or base.stat().st_uid != os.geteuid():
        return
    with contextlib.suppress(AssetError, SettingsError, OSError):  # it goes by itself later
        for entry in list(workplace.originals.trash()):
            if entry.name in names:
                workplace.originals.purge(entry, COMMAND)


def _visit(visit: Visit, target: _Target, settings: Settings | None) -> Iterator[Finding]:
    """Plays Specify at a public address; ends early where going on makes no sense."""
    with visit:
        try:
            yield from address.examine(visit)
            yield from specify.key(visit, target.key)
        except RemoteFault:
            return
        for check in _public_checks(visit, target, settings):
            try:
                yield from check()
            except AssetError as fault:
                meaning = "Specify gets no answer here, either."
                yield error("connection", f"{fault.public} {fault.detail}".strip(), meaning, "Look into both logs.")
                if isinstance(fault, RemoteFault) and fault.answered is None:
                    break  # each further question would wait as long for nothing
    yield _farewell(visit)


def _public_checks(
    visit: Visit, target: _Target, settings: Settings | None
) -> tuple[Callable[[], Iterator[Finding]], ...]:
    tolerance = settings.time_tolerance if settings is not None else _USUAL_TOLERANCE

    def is_expected(media_type: str) -> bool:
        return settings is None or media_type in settings.can_thumbnail

    return (
        lambda: specify.cors(visit),
        lambda: specify.uploads(visit),
        lambda: specify.thumbnails(visit, is_expected),
        lambda: proxy.body_limit(visit, target.megabytes),
        lambda: proxy.buffering(visit, tolerance),
    )


def _farewell(visit: Visit) -> Finding:
    if visit.left:
        names = ", ".join(visit.left)
        remedy = f"manage.py delete --url {visit.remote.address} {' '.join(visit.left)}"
        return error("left behind", f"These uploads could not be deleted: {names}", "They are of no use.", remedy)
    return ok("left behind", "All uploads of this visit are deleted.")


def _show(theme: str, finding: Finding, as_json: bool) -> None:
    if as_json:
        show({"theme": theme, **vars(finding)}, True, ())
        return
    status = click.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
    click.echo(f"{status}{theme:<9} {finding.check}: {printable(finding.found)}")
    if finding.status != OK:
        click.echo(f"{'':<18}For Specify: {printable(finding.meaning)}")
        click.echo(f"{'':<18}What to do: {printable(finding.remedy)}")
