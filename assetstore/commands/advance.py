"""What `thumbnails warm` and `pyramids make` share: options, progress, and the list of failures."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import click

from assetstore.commands.output import counted, echo, progress, show
from assetstore.commands.parameters import Timestamp
from assetstore.storage.models import Listed
from assetstore.thumbnails.warm import Failure

since_option = click.option(
    "--since", type=Timestamp(), help="Only originals added or changed since: 2026-11-24, or an age such as 2h or 7d."
)


class Run(Protocol):
    """A run that makes copies of originals; `made` counts them."""

    made: int

    def chosen(self, collection_dir: str) -> Iterator[Listed]:
        """Yields the originals of a collection folder of which copies are made."""

    def run(self, collection_dir: str) -> Iterator[Failure | None]:
        """Makes the missing copies of a collection folder; yields a failure or None for each original."""


def make_all(run: Run, folders: Sequence[str], title: str, noun: str, verb: str, as_json: bool) -> int:
    """Makes all copies with a progress bar, and prints failures and a summary; returns the exit status.

    Parameters:
        run: what makes the copies.
        folders: of the collections.
        title: of the progress bar.
        noun, verb: what a copy is called, and what was done: "thumbnail", "generated".
        as_json: whether to print JSON.
    """
    failures, files = 0, 0
    with progress(title, sum(1 for folder in folders for _ in run.chosen(folder))) as bar:
        for failure in (outcome for folder in folders for outcome in run.run(folder)):
            files += 1
            bar.update(1)
            if failure is not None:
                failures += 1
                show(vars(failure), as_json, ("place", "name", "reason"))
    if as_json:
        show({"originals": files, "made": run.made, "failures": failures}, as_json, ())
    else:
        summary = f"{counted(files, 'original')}, {counted(run.made, noun)} {verb}"
        echo(f"{summary}; {counted(failures, 'failure') if failures else 'no failures'}.")
    return 1 if failures else 0
