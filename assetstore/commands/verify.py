"""`manage.py verify`: reads all originals and compares their checksums."""

import threading
from typing import Any

import click

from assetstore.commands.installation import COMMAND, Installation
from assetstore.commands.output import Listing, counted, echo, printable, progress
from assetstore.commands.parameters import as_json_option
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.fixity import verification

_MEGABYTE = 1_000_000


@click.command()
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Limit reading to this many megabytes per second."
)
@click.option("--adopt", is_flag=True, help="Add unknown files and unjournaled changes to the journal.")
@click.option("--accept-changes", is_flag=True, help="Record the current state of changed and missing files.")
@click.option("--resume", is_flag=True, help="Resume the last verification, if it was interrupted.")
@as_json_option
@click.pass_obj
def verify(
    installation: Installation, rate: float | None, adopt: bool, accept_changes: bool, resume: bool, as_json: bool
) -> int:
    """Compares all originals with the checksums in the journal.

    Reads every file. Reports files that are changed, missing, unknown to the journal, unnoted (deleted or replaced
    without a journal entry, as after a crash; the previous version is in the trash), empty, unreadable, or misnamed (of
    another type than the extension says). Exit status 1 if there are any.

    \b
        manage.py verify --adopt          after copying files by hand
        manage.py verify --rate 50        while the server is busy
    """
    originals = installation.originals
    rate_limit = RateLimit(rate * _MEGABYTE if rate else None, threading.Event())
    run = verification.Verification(originals, rate_limit, adopt=adopt, accept=accept_changes, client=COMMAND.client)
    listing = Listing(("finding", "place", "name", "meaning"), as_json)
    with progress("Verifying", originals.total_size()) as bar, listing:
        for finding in run.run(resume, bar.update):
            listing.show(_row(finding))
    summary = run.summary
    if as_json:
        echo(summary.as_json())
    else:
        found = (
            ", ".join(f"{number} {kind}" for kind, number in sorted(summary.findings.items())) or "no problems found"
        )
        checked = f"{counted(summary.files, 'file')}, {counted(summary.bytes, 'byte')}"
        echo(f"{checked}: {found}; {summary.adopted} added to the journal.")
    return 1 if summary.findings else 0


def _row(finding: verification.Finding) -> dict[str, Any]:
    row: dict[str, Any] = {"finding": ",".join(finding.kinds), "place": finding.collection_dir, "name": finding.name}
    meaning = "; ".join(verification.MEANINGS[kind] for kind in finding.kinds)
    row["meaning"] = f"{meaning} ({printable(finding.detail)})" if finding.detail else meaning
    return row
