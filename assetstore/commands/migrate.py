"""`manage.py migrate`: copies all originals from one store to another, and verifies the copies."""

import contextlib
import hashlib
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from assetstore import __version__
from assetstore.app import bootstrap
from assetstore.commands.installation import Installation
from assetstore.commands.output import counted, echo, show
from assetstore.commands.parameters import as_json_option, dry_run_option
from assetstore.commands.progress import showing
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.config import values
from assetstore.config.loading import Settings, SettingsError
from assetstore.errors import StorageFault
from assetstore.files.private_folders import make_private_folder
from assetstore.migration import outcomes, receipt
from assetstore.migration.endpoints import Address
from assetstore.migration.runner import FileResult, Meter, Pass
from assetstore.migration.state import MigrationState, Result
from assetstore.migration.transfer import Rules

_MEGABYTE = 1_000_000
_FOLDER = "migrations"

#: Outcomes that are listed by file; all others are only counted.
_SHOWN = (outcomes.CONFLICT, outcomes.FAILED, outcomes.REPAIRED, outcomes.DELETED, outcomes.REMOVED)


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
    """An option that is parsed like a setting."""

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
    """Adds the connection options for the S3 services of both sides."""
    kinds = {
        "region": (values.text, "Region of the S3 service."),
        "endpoint": (values.endpoint, "Address of the S3 service."),
    }
    for name, (read, help) in kinds.items():
        for side in ("target", "source"):
            command = click.option(f"--{side}-{name}", type=Setting(name, read), help=help)(command)
    return command


@click.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Number of files to copy at a time."
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Limit reading to this many megabytes per second."
)
@click.option("--folder", "folders", multiple=True, metavar="FOLDER[=TARGET]",
              help="Only this collection folder; TARGET is its name at the target. Repeatable.")  # fmt: skip
@click.option("--compare-all", is_flag=True, help="Read and compare all files again, on both sides.")
@click.option("--trust-checksums", is_flag=True,
              help="Compare with the target's own MD5, if it has one, instead of reading files back.")  # fmt: skip
@click.option("--replace", is_flag=True, help="In a conflict, replace the target's file with the source's.")
@click.option("--remove-deleted", is_flag=True, help="Move files deleted at the source to the target's trash.")
@click.option("--receipt", type=click.Path(dir_okay=False, path_type=Path), help="Path of the receipt.")
@_of_each_side
@dry_run_option
@as_json_option
@click.pass_obj
def migrate(installation: Installation, /, source: str, target: str, folders: tuple[str, ...], **options: Any) -> int:
    """Copies originals from SOURCE to TARGET and verifies them.

    SOURCE and TARGET are folders (as in BASE_DIR) or s3://bucket/prefix (as in STORAGE_URL). The source is only read.
    Servers can run on both sides. Repeat the command to copy later changes, or to resume after an interruption. Files
    at the target that were not copied by this command are left alone.

    \b
        manage.py migrate /var/lib/web-asset-server s3://museum-files --dry-run
        manage.py migrate /var/lib/web-asset-server s3://museum-files --rate 50

    Every copy is read back, and its SHA-256 compared. The S3 service is configured by the settings (STORAGE_ENDPOINT
    …) or by the options below. The credentials are read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a side
    with other credentials, set SOURCE_AWS_ACCESS_KEY_ID … or TARGET_AWS_ACCESS_KEY_ID ….

    Exit status: 0 if the target has all files that the source had when it was listed, byte for byte; 1 if not
    (conflict, failed), or if the command had to stop; 2 for invalid arguments; 130 if interrupted.
    """
    settings = installation.settings
    addresses = [
        Address(side, text, *(options.pop(f"{side}_{name}") for name in ("endpoint", "region")))
        for side, text in (("source", source), ("target", target))
    ]
    if addresses[0].plain(settings) == addresses[1].plain(settings):
        raise click.UsageError("SOURCE and TARGET are the same.")
    collection_dirs = _collection_dirs(settings, folders)
    run_options = RunOptions(**options)
    with _explained_errors(), _open_pass(settings, addresses, collection_dirs, run_options) as (run, state, folder):
        run.list_both(run_options.compare_all)
        if run_options.dry_run:
            return _show_plan(run, run_options)
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
        raise click.UsageError("--folder: two collection folders have the same target. Give each its own.")
    for collection_dir in collection_dirs:
        if collection_dir not in known:
            shown = ", ".join(known) if known != [""] else "none; all files share one folder"
            raise click.UsageError(f"There is no collection folder {collection_dir!r}. Collection folders: {shown}.")
    return collection_dirs


@contextlib.contextmanager
def _open_pass(
    settings: Settings, addresses: list[Address], collection_dirs: dict[str, str], run_options: RunOptions
) -> Iterator[tuple[Pass, MigrationState, Path]]:
    """Opens both stores and the state of the migration."""
    source = addresses[0].open(settings, list(collection_dirs), os.environ)
    target = addresses[1].open(settings, list(collection_dirs.values()), os.environ)
    folder = _state_folder(settings)
    if not run_options.dry_run:
        target.store.space.prepare()
    identity = "\n".join(address.plain(settings) for address in addresses)
    with contextlib.closing(
        MigrationState(folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sqlite")
    ) as state:
        rate_limit = RateLimit(run_options.rate * _MEGABYTE if run_options.rate else None, threading.Event())
        rules = Rules(run_options.replace, run_options.trust_checksums, settings.trash_days > 0, collection_dirs)
        yield Pass(source, target, state, rate_limit, rules, run_options.parallel), state, folder


def _state_folder(settings: Settings) -> Path:
    if not settings.base_dir.is_dir():
        raise SettingsError(f"BASE_DIR: there is no folder {settings.base_dir}, where the migration state is stored.")
    try:
        return make_private_folder(settings.base_dir, _FOLDER)
    except OSError as error:
        raise SettingsError(f"BASE_DIR: the migration state cannot be written there: {error}") from error


def _head(settings: Settings, addresses: list[Address]) -> dict[str, object]:
    plain = {address.side: address.plain(settings) for address in addresses}
    return {**plain, "begun": datetime.now(UTC).isoformat(" ", "seconds"), "version": __version__}


def _run(run: Pass, state: MigrationState, run_options: RunOptions, head: dict[str, object], folder: Path) -> int:
    deleted = []
    try:
        with _bar(run.meter) as on_progress:
            for done in run.transfer_all(on_progress):
                _show_result(done, run_options)
        for done in run.report_deleted(run_options.remove_deleted):
            deleted.append((done.collection_dir, done.name, done.result))
            _show_result(done, run_options)
    finally:
        path = run_options.receipt or receipt.new_path(folder)
        receipt.write(path, head, _all(state, deleted), run.summary)
    if run_options.as_json:
        show({**receipt.summary_row(run.summary), "receipt": str(path)}, True, ())
    else:
        _sum_up(run)
        echo(f"Receipt: {path}")
    return 0 if run.summary.is_whole else 1


@contextlib.contextmanager
def _explained_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageFault("The state or the receipt of the migration cannot be written:", str(error)) from error


def _all(state: MigrationState, deleted: list[tuple[str, str, Result]]) -> Iterator[tuple[str, str, Result]]:
    yield from state.results()
    yield from deleted


def _show_plan(run: Pass, run_options: RunOptions) -> int:
    for task in run.tasks():
        row = {"would": task.intention, "place": task.collection_dir, "name": task.name, "size": task.size}
        show(row, run_options.as_json, tuple(row))
    for done in run.report_deleted(removes=False):
        _show_result(done, run_options)
    if not run_options.as_json:
        files = f"{run.meter.all_files} of {counted(run.summary.files, 'file')}"
        echo(f"{files}, {counted(run.meter.all_bytes, 'byte')} to copy.")
    return 0


def _show_result(done: FileResult, run_options: RunOptions) -> None:
    if done.result.outcome in _SHOWN:
        row = receipt.row(done.collection_dir, done.name, done.result)
        row["detail"] = done.result.detail or outcomes.MEANINGS[done.result.outcome]
        show(row, run_options.as_json, ("outcome", "place", "name", "detail"))


def _sum_up(run: Pass) -> None:
    summary = run.summary
    found = ", ".join(f"{number} {outcome}" for outcome, number in sorted(summary.outcomes.items()) if number)
    seen = f"{counted(summary.files, 'file')}, {counted(summary.bytes, 'byte')}"
    echo(f"{seen}: {found or 'nothing to do'}.")
    if summary.only_at_target:
        echo(f"Only at the target, and left alone: {counted(summary.only_at_target, 'file')}.")


@contextlib.contextmanager
def _bar(meter: Meter) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, if that is a terminal; gives the function that updates it."""
    hidden = not sys.stderr.isatty()
    all_text = _amount(meter.all_bytes)
    shown = 0

    def state(_: object) -> str:
        return f"{_amount(meter.bytes)} of {all_text}, {meter.files} of {meter.all_files} files"

    with click.progressbar(
        length=max(1, meter.all_bytes), label="Migrating", file=sys.stderr, hidden=hidden, item_show_func=state,
        width=20, show_eta=True,
    ) as bar:  # fmt: skip

        def on_progress() -> None:
            nonlocal shown
            reached = meter.bytes
            bar.update(reached - shown, reached)
            shown = reached

        with showing(bar) if not hidden else contextlib.nullcontext():
            yield on_progress
        on_progress()
        bar.render_progress()  # `update` renders only if there are new bytes, and the last file may have none


def _amount(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
