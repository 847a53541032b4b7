"""`manage.py visibility`: lists which files are public, explains it, and finds files of which nothing is known."""

import time

import click

from assetstore.commands.installation import Installation
from assetstore.commands.output import Listing, counted, echo, printable, progress, show
from assetstore.commands.parameters import as_json_option
from assetstore.errors import BadRequest
from assetstore.names import is_store_name
from assetstore.visibility.models import Status
from assetstore.visibility.service import STATES, Listed, Reason, Visibility

_COLUMNS = ("state", "name", "until", "since_ns")
_NANOSECONDS = 1_000_000_000


@click.group()
def visibility() -> None:
    """Shows which files everyone may read.

    The setting VISIBILITY decides; see docs/visibility.md.

    \b
        manage.py visibility list --state embargoed
        manage.py visibility explain sp6123.att.jpg
        manage.py visibility check
    """


@visibility.command("list")
@click.option("--state", type=click.Choice(sorted(STATES)), help="Only files of this state.")
@as_json_option
@click.pass_obj
def list_files(installation: Installation, state: str | None, as_json: bool) -> None:
    """Lists files with their state.

    Columns: state, store name, date from which the state is another one, since when it is so. An `unknown` file has no
    complete record, and keeps its last state. Files of which nothing is known are private; `check` lists them.
    """
    visible = _opened(installation)
    with Listing(_COLUMNS, as_json, "No files found.") as listing:
        for listed in visible.names(state):
            listing.show(_row(listed))


@visibility.command()
@click.argument("name")
@as_json_option
@click.pass_obj
def explain(installation: Installation, name: str, as_json: bool) -> int:
    """Explains why a file is public or not.

    Exit status 1 if nothing is known of it.
    """
    visible = _opened(installation)
    listed, reasons = visible.find(name), visible.reasons(name)
    if as_json:
        row = {"name": name, "state": "private", "until": None, "since_ns": None} if listed is None else _row(listed)
        show({**row, "records": [vars(reason) for reason in reasons]}, True, ())
    else:
        echo(f"{printable(name)}: {_sentence(listed)}")
        for reason in reasons:
            echo(f"  record {reason.identifier}: {_described(reason)}")
        echo(_age(visible.status(), visible.seconds)[1])
    return 1 if listed is None else 0


@visibility.command()
@as_json_option
@click.pass_obj
def check(installation: Installation, as_json: bool) -> int:
    """Finds files without a known state.

    Such a file is private: no record names it, or its record was not read yet. Also says whether the state of the
    others is up to date. Exit status 1 if there are such files, or if the state is out of date.
    """
    visible, originals = _opened(installation), installation.originals
    status, found = visible.status(), 0
    folders = list(originals.collection_dirs)
    with progress("Listing files", len(folders)) as bar, Listing(("finding", "place", "name"), as_json) as listing:
        for folder in folders:
            for stored in originals.storage.originals(folder):
                if not is_store_name(stored.name) or visible.find(stored.name) is None:
                    found += 1
                    listing.show({"finding": "nothing known", "place": folder, "name": stored.name})
            bar.update(1)
    is_current, age = _age(status, visible.seconds)
    if as_json:
        show({**vars(status), "nothing_known": found, "is_current": is_current}, True, (), is_file=False)
    else:
        for problem in status.problems:
            echo(printable(problem))
        counts = f"{status.public} public, {status.private} private, {status.unknown} without a complete record"
        echo(f"{counted(status.records, 'record')}: {counts}. {counted(found, 'file')} of which nothing is known.")
        echo(age)
    return 0 if is_current and not found and not status.problems else 1


def _opened(installation: Installation) -> Visibility:
    settings = installation.configured
    if settings.visibility is None:
        raise BadRequest("VISIBILITY is not set, so the same rules apply to all files (docs/visibility.md).")
    return Visibility(settings.base_dir, settings.visibility_seconds)


def _row(listed: Listed) -> dict[str, object]:
    state = ("public" if listed.is_public else "private") + ("" if listed.is_known else " (unknown)")
    return {
        "state": state,
        "name": listed.name,
        "until": listed.next_change,
        "since_ns": int(listed.since * _NANOSECONDS),
    }


def _sentence(listed: Listed | None) -> str:
    if listed is None:
        return "private, because nothing is known of it."
    state = "public" if listed.is_public else "private"
    if not listed.is_known:
        return f"{state}. It has no complete record, so its last state counts."
    return f"{state} until {listed.next_change}, as all its records say." if listed.next_change else f"{state}."


def _described(reason: Reason) -> str:
    parts = ["public" if reason.is_public else "not public"]
    if not reason.is_complete:
        parts.append("its specimen is missing")
    for start, end in reason.embargoes:
        parts.append(f"embargo{f' from {start}' if start else ''} until {end or 'further notice'}")
    return ", ".join(parts)


def _age(status: Status, seconds: int) -> tuple[bool, str]:
    """Whether the state is up to date, and a sentence about it."""
    if status.checked_at is None:
        reason = status.fault or "Is the server running?"
        return False, f"The visibility was never read from {status.source or 'its source'}. {reason}"
    now = time.time()
    is_current = status.is_current(seconds, now)
    said = f"Read from {status.source} {max(0, now - status.checked_at):.0f} seconds ago."
    return is_current, said if is_current else f"Out of date: {said} {status.fault or 'Is the server running?'}"
