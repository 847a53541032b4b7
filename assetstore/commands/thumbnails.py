"""`manage.py thumbnails`: make them beforehand, and remove those that nobody needs."""

import dataclasses
import sys
from collections import Counter

import click

from assetstore.app import bootstrap
from assetstore.commands.output import progress, show
from assetstore.commands.parameters import Selection, Timestamp, as_json_option, dry_run_option
from assetstore.commands.usage import size_text
from assetstore.commands.workplace import Workplace
from assetstore.errors import BadRequest
from assetstore.storage.protocols import PrunableThumbnails
from assetstore.thumbnails.prune import MEANINGS, PruneOptions, Pruning
from assetstore.thumbnails.warm import Warming, yield_to_others

_MEGABYTE = 1_000_000

_collection_option = click.option("--collection", help="Only this collection: its name, or its folder.")


@click.group()
def thumbnails() -> None:
    """Makes thumbnails beforehand, and removes those that nobody needs."""


@thumbnails.command()
@click.option("--size", "sizes", type=click.IntRange(1, 30_000), multiple=True, required=True,
              help="In pixels, as clients ask for it. Repeatable.")  # fmt: skip
@click.option(
    "--since", type=Timestamp(), help="Only originals that came or changed since: 2026-11-24, or an age: 2h, 7d."
)
@_collection_option
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Make at most so many in a second.")
@click.option("--workers", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many at a time.")
@as_json_option
@click.pass_obj
def warm(
    workplace: Workplace,
    sizes: tuple[int, ...],
    since: int | None,
    collection: str | None,
    rate: float | None,
    workers: int,
    as_json: bool,
) -> int:
    """Makes the thumbnails of all originals that have none yet, so that galleries fill at once.

    With the least priority, beside a serving server, and kept as if somebody had asked for them: in
    KEPT_THUMBNAIL_SIZES sizes. Repeat it after an interruption, and it goes on.

    \b
        manage.py thumbnails warm --size 123 --size 200
        manage.py thumbnails warm --size 200 --since 1d --rate 2       every night

    Exit status 1 if originals cannot be shown; each is named, with the reason.
    """
    settings, originals = workplace.settings, workplace.originals
    chosen = Selection((), collection, None, None).collection_dir(settings)
    collection_dirs = list(originals.collection_dirs) if chosen is None else [chosen]
    yield_to_others()
    own = dataclasses.replace(settings, render_workers=workers, render_queue=max(workers, settings.render_queue))
    made, pool = bootstrap.open_thumbnails(own, originals)
    run = Warming(originals, made, sorted(set(sizes)), since, rate, workers)
    pool.on_render = run.on_render
    try:
        run.check(collection_dirs)
        return _make(run, collection_dirs, as_json)
    finally:
        pool.close()


def _make(run: Warming, collection_dirs: list[str], as_json: bool) -> int:
    failures, files = 0, 0
    with progress(
        "Making thumbnails", sum(1 for collection_dir in collection_dirs for _ in run.chosen(collection_dir))
    ) as bar:
        for failure in (outcome for collection_dir in collection_dirs for outcome in run.run(collection_dir)):
            files += 1
            bar.update(1)
            if failure is not None:
                failures += 1
                show(vars(failure), as_json, ("place", "name", "reason"))
    if as_json:
        show({"originals": files, "made": run.made, "failures": failures}, as_json, ())
    else:
        click.echo(f"{files} originals, {run.made} thumbnails made; {failures or 'none'} cannot be shown.")
    return 1 if failures else 0


@thumbnails.command()
@click.option("--orphans", is_flag=True, help="Those without an original.")
@click.option("--strays", is_flag=True, help="Pages that earlier servers left: NAME_200-0.png, NAME_200-1.png …")
@click.option("--keep-size", "sizes", type=click.IntRange(1), multiple=True,
              help="Those of all other sizes, to make room for new ones. Repeatable.")  # fmt: skip
@click.option("--before", type=Timestamp(), help="Those made before: 2026-11-24, or an age: 365d.")
@click.option("--most-megabytes", type=click.IntRange(0), help="The oldest, until the rest takes no more than this.")
@_collection_option
@dry_run_option
@as_json_option
@click.pass_obj
def prune(
    workplace: Workplace,
    orphans: bool,
    strays: bool,
    sizes: tuple[int, ...],
    before: int | None,
    most_megabytes: int | None,
    collection: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Removes thumbnails that nobody needs. Whoever asks for one gets it made anew; originals stay.

    What is not named as thumbnails are stays, too.

    \b
        manage.py thumbnails prune --orphans --strays --dry-run
        manage.py thumbnails prune --keep-size 123 --keep-size 200
        manage.py thumbnails prune --most-megabytes 50000
    """
    options = PruneOptions(
        orphans,
        strays,
        frozenset(sizes) or None,
        before,
        None if most_megabytes is None else most_megabytes * _MEGABYTE,
    )
    if options == PruneOptions(False, False, None, None, None):
        raise click.UsageError("Say which: --orphans, --strays, --keep-size, --before or --most-megabytes.")
    originals, store = workplace.originals, workplace.thumbnails.store
    if not isinstance(store, PrunableThumbnails):
        raise BadRequest("The thumbnails of this store cannot be pruned from here.")
    chosen = Selection((), collection, None, None).collection_dir(workplace.settings)
    collection_dirs = list(originals.collection_dirs) if chosen is None else [chosen]
    # Counting takes time, too, and only a terminal shows how far it has come.
    number = (
        sum(1 for collection_dir in collection_dirs for _ in store.cached(collection_dir)) if sys.stderr.isatty() else 0
    )
    _prune(Pruning(originals, store, options, dry_run), collection_dirs, number, as_json)


def _prune(run: Pruning, collection_dirs: list[str], number: int, as_json: bool) -> None:
    sizes, numbers = Counter[str](), Counter[str]()
    with progress("Looking at thumbnails", number) as bar:
        for pruned in run.run(collection_dirs, bar.update):
            sizes[pruned.reason] += pruned.cached.size
            numbers[pruned.reason] += 1
            if as_json or run.dry_run:
                cached = pruned.cached
                row = {
                    "reason": pruned.reason,
                    "place": pruned.collection_dir,
                    "name": cached.name,
                    "size": cached.size,
                }
                show(row, as_json, ("reason", "size", "place", "name"))
    _report(run, numbers, sizes, as_json)


def _report(run: Pruning, numbers: Counter[str], sizes: Counter[str], as_json: bool) -> None:
    if as_json:
        show({"removed": numbers, "files_left": run.files_left, "bytes_left": run.bytes_left}, as_json, ())
        return
    verb, rest = ("would be removed", "would be left") if run.dry_run else ("removed", "left")
    for reason, number in numbers.items():
        click.echo(f"{number} thumbnails, {size_text(sizes[reason])} {verb}: {MEANINGS[reason]}.")
    click.echo(f"{run.files_left} thumbnails, {size_text(run.bytes_left)} {rest}.")
