"""`manage.py reconcile`: do Specify's records and the files fit together?"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from assetstore.commands.output import progress, show
from assetstore.commands.parameters import Selection, Timestamp, as_json_option, dry_run_option
from assetstore.commands.workplace import COMMAND, Workplace
from assetstore.config.loading import Settings
from assetstore.errors import AssetError, BadRequest
from assetstore.specify import comparison, database, plan, table
from assetstore.specify.comparison import Comparison, Finding, Rules
from assetstore.specify.records import Record, Records

#: If so many of all files have no record, these are probably not all records: then no plan suggests the trash.
_DOUBTFUL = 0.5

_DAY_NS = 86_400 * 1_000_000_000
_COLUMNS = ("finding", "place", "name", "records", "meaning")
_HELP = """Compares Specify's attachment records with the files, and changes nothing.

TABLE is a CSV export of Specify's table attachment, ADDRESS a database that is only read:
mysql://USER@HOST/DATABASE, with the password in the variable SPECIFY_DATABASE_PASSWORD. Give
all databases that use this server, or their files seem to belong to nobody.

\b
    manage.py reconcile attachments.csv
    manage.py reconcile mysql://reader@dbhost/specify --plan plan.csv
    manage.py reconcile --apply plan.csv --dry-run

\b
What can be found:
    record without file         the record's file is not there
    file without record         no record shows it, and it is older than --grace-days
    file in another collection  it lies in a folder where its record's collection does not look
    other spelling              there is one whose name differs in case, accents or blanks only
    empty file, unreadable file
    shared file                 several records show it; deleting one deletes it for all

With --apply only what the plan says goes to the trash or comes back from it; with TABLE or
ADDRESS, too, files that a record shows by now stay.

Exit status 1 if something is found, or a row of the plan could not be done.
"""

_OUTCOMES = ("outcome", "place", "name")


@click.command(help=_HELP)
@click.argument("sources", nargs=-1, metavar="[TABLE|ADDRESS]...")
@click.option("--collection", help="Only this collection's folder; all records are taken to belong to it.")
@click.option("--grace-days", type=click.IntRange(0), default=7, show_default=True,
              help="So old a file must be to be missed by Specify: forms are saved later.")  # fmt: skip
@click.option("--exported", type=Timestamp(), help="When TABLE was exported, if not when the file was last changed.")
@click.option("--scope", "scopes", multiple=True, metavar="ID=NAME",
              help="The collection of a ScopeID, for a TABLE without CollectionName. Repeatable.")  # fmt: skip
@click.option("--unopened", is_flag=True, help="Do not try to open every file: quicker, finds none unreadable.")
@click.option("--plan", "new_plan", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write the findings there, as CSV: a repair plan to read and edit.")  # fmt: skip
@click.option("--apply", "edited_plan", type=click.Path(path_type=Path), metavar="PLAN",
              help="Do what the column action of an edited plan says: trash or restore.")  # fmt: skip
@dry_run_option
@as_json_option
@click.pass_obj
def reconcile(
    workplace: Workplace,
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
    settings = workplace.settings
    collection_dir = Selection((), collection, None, None).collection_dir(settings)
    if not sources and edited_plan is None:
        raise click.UsageError("Say where Specify's records are: a CSV export, or the address of the database.")
    if edited_plan is not None and new_plan is not None:
        raise click.UsageError("--plan makes a plan and --apply carries one out; do one after the other.")
    read = []
    with progress("Reading records", len(sources)) as bar:
        for source in sources:
            read.append(_read(source, _scopes(scopes), exported))
            bar.update(1)
    if edited_plan is not None:
        return _apply(workplace, edited_plan, read, dry_run, as_json)
    as_of_ns = min((records.as_of_ns for records in read), default=time.time_ns())
    rules = Rules(as_of_ns, grace_days * _DAY_NS, settings.collection_dirs, collection_dir, not unopened)
    run = Comparison(workplace.originals, (record for records in read for record in records.records), rules)
    return _compare(run, new_plan, as_json)


def _compare(run: Comparison, new_plan: Path | None, as_json: bool) -> int:
    if not run.number_of_records:
        raise BadRequest(
            "There is no record at all, so every file would seem to belong to nobody; nothing was compared."
        )
    findings = []
    with progress("Comparing", run.number_of_records + run.number_of_files) as bar:
        for finding in run.run(bar.update):
            findings.append(finding)
            show(_row(finding, as_json), as_json, _COLUMNS)
    is_doubtful = run.counted[comparison.NO_RECORD] > run.number_of_files * _DOUBTFUL
    if is_doubtful:
        click.echo("Most files have no record. Are these all databases that use this server?", err=True)
    if new_plan is not None:
        plan.write(new_plan, findings, suggests_trash=not is_doubtful)
    if as_json:
        counts = {"records": run.number_of_records, "files": run.number_of_files, "findings": dict(run.counted)}
        show(counts, as_json, ())
    else:
        found = ", ".join(f"{run.counted[kind]} × {kind}" for kind in comparison.KINDS if run.counted[kind])
        click.echo(f"{run.number_of_records} records, {run.number_of_files} files: {found or 'all fits together'}.")
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


def _read(source: str, scopes: dict[str, str], exported: int | None) -> Records:
    if source.startswith(database.SCHEMES):
        return database.read(database.address(source, os.environ))
    return table.read(Path(source), scopes, exported)


def _scopes(pairs: Sequence[str]) -> dict[str, str]:
    scopes = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(key.isdigit() and name for key, name in scopes.items()):
        raise click.UsageError("--scope is a number and a name: --scope '4=KU Fish'.")
    return scopes


def _apply(workplace: Workplace, edited_plan: Path, read: Sequence[Records], dry_run: bool, as_json: bool) -> int:
    steps = plan.read(edited_plan, workplace.originals.collection_dirs)
    if any(step.action == plan.TRASH for step in steps):
        _refuse_without_trash(workplace.settings)
    shown = {comparison.loose(record.location) for record in _all(read)}
    repair, undone = plan.Repair(workplace.originals, workplace.thumbnails, COMMAND, dry_run), 0
    with progress("Repairing", len(steps)) as bar:
        for step in steps:
            if step.action == plan.TRASH and comparison.loose(step.name) in shown:
                outcome, is_done = "not touched, a record shows it now", False
            else:
                outcome, is_done = _done(repair, step)
            undone += not is_done
            show({"outcome": outcome, **vars(step)}, as_json, _OUTCOMES)
            bar.update(1)
    if not as_json:
        click.echo(f"{len(steps) - undone} of {len(steps)} files.")
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
        raise click.UsageError("TRASH_DAYS is 0, so nothing would be kept in the trash; nothing was done.")
