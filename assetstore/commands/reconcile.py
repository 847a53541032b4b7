"""`manage.py reconcile`: compares Specify's records with the files, and carries out repair plans."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from assetstore.commands.installation import COMMAND, Installation
from assetstore.commands.output import Listing, counted, echo, progress, show
from assetstore.commands.parameters import Timestamp, as_json_option, dry_run_option, folder_of
from assetstore.config.loading import Settings
from assetstore.errors import AssetError, BadRequest
from assetstore.specify import comparison, database, plan, table
from assetstore.specify.comparison import Comparison, Finding, Rules
from assetstore.specify.records import Record, Records

#: If a larger part of the files has no record, records are probably missing, so a plan does not suggest the trash.
_DOUBTFUL = 0.5

_DAY_NS = 86_400 * 1_000_000_000
_COLUMNS = ("finding", "place", "name", "records", "meaning")
_HELP = """Compares Specify's records with the files.

Nothing is changed without --apply.

TABLE is a CSV export of Specify's table `attachment`. ADDRESS is a database, which is only read:
mysql://USER@HOST/DATABASE, with the password in the environment variable
SPECIFY_DATABASE_PASSWORD. Without both, the setting SPECIFY_DATABASE is used. List all databases
that use this server; otherwise the files of the others are reported as files without record.

\b
    manage.py reconcile attachments.csv
    manage.py reconcile mysql://reader@dbhost/specify --plan plan.csv
    manage.py reconcile --apply plan.csv --dry-run

\b
Possible findings:
    record without file         the record's file is missing
    file without record         no record uses the file, and it is older than --grace-days
    file in another collection  the file is not in the folder of its record's collection
    other spelling              a file's name differs only in case, accents or spaces
    empty file, unreadable file
    shared file                 several records use it; deleting one deletes it for all

--apply moves files to the trash or restores them, exactly as the plan says. If TABLE or ADDRESS
is also given, files that a record uses are not moved.

Exit status 1 if there are findings, or a row of the plan could not be applied.
"""

_OUTCOMES = ("outcome", "place", "name")


@click.command(help=_HELP)
@click.argument("sources", nargs=-1, metavar="[TABLE|ADDRESS]...")
@click.option("--collection", help="Only this collection's folder. All records are assumed to belong to it.")
@click.option("--grace-days", type=click.IntRange(0), default=7, show_default=True,
              help="Ignore files without a record that are newer than this many days.")  # fmt: skip
@click.option("--exported", type=Timestamp(), help="When TABLE was exported. Default: the file's modification time.")
@click.option("--scope", "scopes", multiple=True, metavar="ID=NAME",
              help="Collection name for a ScopeID, if TABLE has no CollectionName. Repeatable.")  # fmt: skip
@click.option("--unopened", is_flag=True, help="Do not open the files. Faster, but does not find unreadable files.")
@click.option("--plan", "new_plan", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write the findings as a repair plan: a CSV file to review and edit.")  # fmt: skip
@click.option("--apply", "edited_plan", type=click.Path(path_type=Path), metavar="PLAN",
              help="Apply an edited plan: trash or restore, as its column `action` says.")  # fmt: skip
@dry_run_option
@as_json_option
@click.pass_obj
def reconcile(
    installation: Installation,
    sources: tuple[str, ...],
    collection: str | None,
    grace_days: int,
    exported: int | None,
    scopes: tuple[str, ...],
    unopened: bool,
    new_plan: Path | None,
    edited_plan: Path | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Compares, or carries out a plan; returns the exit status."""
    settings = installation.settings
    collection_dir = folder_of(collection, settings)
    configured = settings.specify_database
    if not sources and edited_plan is None and configured is None:
        raise click.UsageError("Specify's records are missing: give a CSV export, or the address of the database.")
    if edited_plan is not None and new_plan is not None:
        raise click.UsageError("--plan and --apply cannot be combined. Write a plan first, then apply it.")
    if not sources and configured is not None:
        sources = (configured,)
    read = []
    with progress("Reading records", len(sources)) as bar:
        for source in sources:
            read.append(_read(source, _scopes(scopes), exported, settings.specify_database_password_file))
            bar.update(1)
    if edited_plan is not None:
        return _apply(installation, edited_plan, read, dry_run, as_json)
    as_of_ns = min((records.as_of_ns for records in read), default=time.time_ns())
    rules = Rules(as_of_ns, grace_days * _DAY_NS, settings.collection_dirs, collection_dir, not unopened)
    run = Comparison(installation.originals, (record for records in read for record in records.records), rules)
    return _compare(run, new_plan, as_json)


def _compare(run: Comparison, new_plan: Path | None, as_json: bool) -> int:
    if not run.number_of_records:
        raise BadRequest(
            "The source contains no records, so nothing was compared. Check that it is the right table or database."
        )
    findings = []
    listing = Listing(_COLUMNS, as_json)
    with progress("Comparing", run.number_of_records + run.number_of_files) as bar, listing:
        for finding in run.run(bar.update):
            findings.append(finding)
            listing.show(_row(finding, as_json), is_file=finding.file is not None)
    is_doubtful = run.counted[comparison.NO_RECORD] > run.number_of_files * _DOUBTFUL
    if is_doubtful:
        click.echo("Most files have no record. Check that all databases that use this server are listed.", err=True)
    if new_plan is not None:
        plan.write(new_plan, findings, suggests_trash=not is_doubtful)
    if as_json:
        counts = {"records": run.number_of_records, "files": run.number_of_files, "findings": dict(run.counted)}
        show(counts, as_json, ())
    else:
        found = ", ".join(f"{run.counted[kind]} × {kind}" for kind in comparison.KINDS if run.counted[kind])
        compared = f"{counted(run.number_of_records, 'record')}, {counted(run.number_of_files, 'file')}"
        echo(f"{compared}: {found or 'no problems found'}.")
    return 1 if findings else 0


def _row(finding: Finding, as_json: bool) -> dict[str, object]:
    return {
        "finding": finding.kind,
        "place": finding.collection_dir,
        "name": finding.name,
        "records": list(finding.records) if as_json else " ".join(finding.records),
        "original": finding.original,
        "size": finding.file.size if finding.file else None,
        "trash": finding.entry.identifier if finding.entry else None,
        "meaning": finding.meaning,
    }


def _read(source: str, scopes: dict[str, str], exported: int | None, password_file: Path | None) -> Records:
    if source.startswith(database.SCHEMES):
        return database.read(database.configured(source, os.environ, password_file))
    return table.read(Path(source), scopes, exported)


def _scopes(pairs: Sequence[str]) -> dict[str, str]:
    scopes = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(key.isdigit() and name for key, name in scopes.items()):
        raise click.UsageError("--scope requires a number and a name, such as '4=KU Fish'.")
    return scopes


def _apply(installation: Installation, edited_plan: Path, read: Sequence[Records], dry_run: bool, as_json: bool) -> int:
    steps = plan.read(edited_plan, installation.originals.collection_dirs)
    if any(step.action == plan.TRASH for step in steps):
        _refuse_without_trash(installation.settings)
    shown = {comparison.loose(record.location) for record in _all(read)}
    repair, undone = plan.Repair(installation.originals, installation.thumbnails, COMMAND, dry_run), 0
    with progress("Repairing", len(steps)) as bar:
        for step in steps:
            if step.action == plan.TRASH and comparison.loose(step.name) in shown:
                outcome, is_done = "not moved, a record uses it now", False
            else:
                outcome, is_done = _done(repair, step)
            undone += not is_done
            show({"outcome": outcome, **vars(step)}, as_json, _OUTCOMES)
            bar.update(1)
    if not as_json:
        echo(f"{len(steps) - undone} of {counted(len(steps), 'file')}.")
    return 1 if undone else 0


def _done(repair: plan.Repair, step: plan.Step) -> tuple[str, bool]:
    try:
        return repair.do(step)
    except AssetError as error:
        return f"{error.public} {error.detail}".strip(), False


def _all(read: Sequence[Records]) -> Iterator[Record]:
    return (record for records in read for record in records.records)


def _refuse_without_trash(settings: Settings) -> None:
    if not settings.trash_days:
        raise click.UsageError("With TRASH_DAYS = 0, the plan would delete files permanently. Nothing was changed.")
