"""`manage.py migrate`: takes all originals from one store to another, and proves that they arrived."""

import contextlib
import hashlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from assetstore import __version__
from assetstore.app import bootstrap
from assetstore.commands.output import show
from assetstore.commands.parameters import as_json_option, dry_run_option
from assetstore.commands.workplace import Workplace
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.config import values
from assetstore.config.loading import Settings, SettingsError
from assetstore.errors import StorageFault
from assetstore.migration import outcomes, receipt
from assetstore.migration.endpoints import Address
from assetstore.migration.runner import Meter, Pass, Told
from assetstore.migration.state import MigrationState, Result
from assetstore.migration.transfer import Rules
from assetstore.storage.disk import files

_MEGABYTE = 1_000_000
_FOLDER = "migrations"

#: Outcomes that are shown, not only counted.
_WORTH_A_LINE = (outcomes.CONFLICT, outcomes.FAILED, outcomes.REPAIRED, outcomes.DELETED, outcomes.REMOVED)


@dataclass(frozen=True)
class RunOptions:
    """The options of a pass."""

    rate: float | None
    parallel: int
    dry_run: bool
    replace: bool
    compare_all: bool
    trust_checksums: bool
    remove_deleted: bool
    receipt: Path | None
    as_json: bool


class Setting(click.ParamType[Any]):
    """An option that is read as a setting is."""

    def __init__(self, name: str, read: Callable[[object], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns the value. Raises click.BadParameter."""
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"{'*****' if '@' in str(value) else repr(value)}; expected {error}")


def _of_each_side(command: Callable[..., int]) -> Callable[..., int]:
    """Adds the options that say how the services of both sides are reached."""
    kinds = {
        "addressing": (values.one_of("path", "virtual"), "How the bucket's name is said: path or virtual."),
        "region": (values.text, "Region of the bucket."),
        "endpoint": (values.base_url, "Address of the S3 service."),
    }
    for name, (read, help) in kinds.items():
        for side in ("target", "source"):
            command = click.option(f"--{side}-{name}", type=Setting(name, read), help=help)(command)
    return command


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at the same time.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Read at most so many megabytes a second.")
@click.option("--folder", "folders", multiple=True, metavar="FOLDER[=TARGET]", help="Only this collection folder.")
@click.option("--compare-all", is_flag=True, help="Read everything again, on both sides.")
@click.option("--trust-checksums", is_flag=True, help="Take the target's own MD5 for reading back, where it has one.")
@click.option("--replace", is_flag=True, help="In conflicts, take the source's file.")
@click.option("--remove-deleted", is_flag=True, help="Move what is gone from the source to the target's trash.")
@click.option("--receipt", type=click.Path(dir_okay=False, path_type=Path), help="Where the receipt goes.")
@_of_each_side
@dry_run_option
@as_json_option
@click.pass_obj
def migrate(workplace: Workplace, /, source: str, target: str, folders: tuple[str, ...], **options: Any) -> int:
    """Copies all originals from SOURCE to TARGET, and compares what arrived.

    Each is a folder (as BASE_DIR) or s3://bucket/prefix (as STORAGE_URL). The source is only read. A server may
    run on either side; call it again to take what has changed since, or to go on after an interruption.
    What another hand put at the target is left alone.

    \b
        manage.py migrate /var/lib/web-asset-server s3://museum-files --dry-run
        manage.py migrate /var/lib/web-asset-server s3://museum-files --rate 50

    Every file is read back and its SHA-256 compared. Services are reached by the settings (STORAGE_ENDPOINT …)
    or the options here, with the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a side with another key has
    it in SOURCE_AWS_ACCESS_KEY_ID … or TARGET_AWS_ACCESS_KEY_ID ….

    Exit status: 0 if the target has all that the source had when it was listed, byte for byte; 1 if not (conflict,
    failed), or if it had to stop; 2 if called wrongly; 130 if interrupted.
    """
    settings = workplace.settings
    addresses = [
        Address(side, text, *(options.pop(f"{side}_{name}") for name in ("endpoint", "region", "addressing")))
        for side, text in (("source", source), ("target", target))
    ]
    if addresses[0].plain(settings) == addresses[1].plain(settings):
        raise click.UsageError("SOURCE and TARGET are the same.")
    collection_dirs = _collection_dirs(settings, folders)
    run_options = RunOptions(**options)
    with _clear_errors(), _begun(settings, addresses, collection_dirs, run_options) as (run, state, folder):
        run.list_both(run_options.compare_all)
        if run_options.dry_run:
            return _say_what_would_be_done(run, run_options)
        return _run(run, state, run_options, _head(settings, addresses), folder)


def _collection_dirs(settings: Settings, folders: tuple[str, ...]) -> dict[str, str]:
    """The collection folders to be migrated, with their names at the target. Raises click.UsageError."""
    known = bootstrap.open_collections(settings).collection_dirs()
    if not folders:
        return {collection_dir: collection_dir for collection_dir in known}
    pairs = [folder.partition("=") for folder in folders]
    collection_dirs = {
        collection_dir: target if is_renamed else collection_dir for collection_dir, is_renamed, target in pairs
    }
    if len(set(collection_dirs.values())) < len(folders):
        raise click.UsageError("--folder: two of them are the same.")
    for collection_dir in collection_dirs:
        if collection_dir not in known:
            shown = ", ".join(known) if known != [""] else "none, all share one folder"
            raise click.UsageError(f"There is no collection folder {collection_dir!r}. Collection folders: {shown}.")
    return collection_dirs


@contextlib.contextmanager
def _begun(
    settings: Settings, addresses: list[Address], collection_dirs: dict[str, str], run_options: RunOptions
) -> Iterator[tuple[Pass, MigrationState, Path]]:
    """Opens both ends and the notebook."""
    source = addresses[0].open(settings, list(collection_dirs), os.environ)
    target = addresses[1].open(settings, list(collection_dirs.values()), os.environ)
    folder = _notes_folder(settings)
    if not run_options.dry_run:
        target.storage.prepare()
    identity = "\n".join(address.plain(settings) for address in addresses)
    with contextlib.closing(
        MigrationState(folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sqlite")
    ) as state:
        rate_limit = RateLimit(run_options.rate * _MEGABYTE if run_options.rate else None, threading.Event())
        rules = Rules(run_options.replace, run_options.trust_checksums, settings.trash_days > 0, collection_dirs)
        yield Pass(source, target, state, rate_limit, rules, run_options.parallel), state, folder


def _notes_folder(settings: Settings) -> Path:
    if not settings.base_dir.is_dir():
        raise SettingsError(f"BASE_DIR: there is no folder {settings.base_dir}; the notes of a migration go there.")
    try:
        return files.make_private_folder(settings.base_dir, _FOLDER)
    except OSError as error:
        raise SettingsError(f"BASE_DIR: the notes of a migration cannot be written there: {error}") from error


def _head(settings: Settings, addresses: list[Address]) -> dict[str, object]:
    plain = {address.side: address.plain(settings) for address in addresses}
    return {**plain, "begun": datetime.now(UTC).isoformat(" ", "seconds"), "version": __version__}


def _run(run: Pass, state: MigrationState, run_options: RunOptions, head: dict[str, object], folder: Path) -> int:
    vanished = []
    try:
        with _bar(run.meter) as look:
            for told in run.take_over(look):
                _tell(told, run_options)
        for told in run.tell_vanished(run_options.remove_deleted):
            vanished.append((told.collection_dir, told.name, told.result))
            _tell(told, run_options)
    finally:
        path = run_options.receipt or folder / time.strftime("receipt-%Y-%m-%dT%H.%M.%S.jsonl")
        receipt.write(path, head, _all(state, vanished), run.summary)
    if run_options.as_json:
        show({**receipt.summary_row(run.summary), "receipt": str(path)}, True, ())
    else:
        _sum_up(run)
        click.echo(f"Receipt: {path}")
    return 0 if run.summary.is_whole else 1


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageFault("The notes or the receipt of the migration cannot be written:", str(error)) from error


def _all(state: MigrationState, vanished: list[tuple[str, str, Result]]) -> Iterator[tuple[str, str, Result]]:
    yield from state.results()
    yield from vanished


def _say_what_would_be_done(run: Pass, run_options: RunOptions) -> int:
    for task in run.tasks():
        row = {"would": task.intention, "place": task.collection_dir, "name": task.name, "size": task.size}
        show(row, run_options.as_json, tuple(row))
    for told in run.tell_vanished(removes=False):
        _tell(told, run_options)
    if not run_options.as_json:
        click.echo(f"{run.meter.all_files} of {run.summary.files} files, {run.meter.all_bytes} bytes.")
    return 0


def _tell(told: Told, run_options: RunOptions) -> None:
    if told.result.outcome in _WORTH_A_LINE:
        row = receipt.row(told.collection_dir, told.name, told.result)
        row["detail"] = told.result.detail or outcomes.MEANINGS[told.result.outcome]
        show(row, run_options.as_json, ("outcome", "place", "name", "detail"))


def _sum_up(run: Pass) -> None:
    summary = run.summary
    found = ", ".join(f"{number} {outcome}" for outcome, number in sorted(summary.outcomes.items()) if number)
    click.echo(f"{summary.files} files, {summary.bytes} bytes: {found or 'nothing to do'}.")
    if summary.only_at_target:
        click.echo(f"{summary.only_at_target} more files were only at the target, and are left alone.")


@contextlib.contextmanager
def _bar(meter: Meter) -> Iterator[Callable[[], None]]:
    """A bar with bytes and the time left on standard error, if that is a terminal; gives what moves it."""
    hidden = not sys.stderr.isatty()
    all_text = _amount(meter.all_bytes)
    shown = 0

    def state(_: object) -> str:
        return f"{_amount(meter.bytes)} of {all_text}, {meter.files} of {meter.all_files} files"

    with click.progressbar(
        length=max(1, meter.all_bytes), label="Migrating", file=sys.stderr, hidden=hidden, item_show_func=state,
        width=20, show_eta=True,
    ) as bar:  # fmt: skip

        def look() -> None:
            nonlocal shown
            reached = meter.bytes
            bar.update(reached - shown, reached)
            shown = reached

        yield look
        look()


def _amount(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
