"""`manage.py thumbnails`: generates thumbnails in advance, and removes unneeded ones."""

import dataclasses
import sys
from collections import Counter

import click

from assetstore.app import bootstrap
from assetstore.commands.advance import make_all, since_option
from assetstore.commands.installation import Installation
from assetstore.commands.output import counted, echo, progress, show
from assetstore.commands.parameters import Timestamp, as_json_option, collection_option, dry_run_option
from assetstore.commands.usage import size_text
from assetstore.errors import BadRequest
from assetstore.storage.protocols import PrunableThumbnails
from assetstore.thumbnails.prune import MEANINGS, PruneOptions, Pruning
from assetstore.thumbnails.warm import Warming, yield_to_others

_MEGABYTE = 1_000_000


@click.group()
def thumbnails() -> None:
    """Generates thumbnails in advance, and removes unneeded ones."""


@thumbnails.command()
@click.option("--size", "sizes", type=click.IntRange(1, 30_000), multiple=True,
              help="Size in pixels, as requested by clients. Repeatable. Default: PREVIEW_SIZES.")  # fmt: skip
@since_option
@collection_option
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Generate at most this many per second.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Number of thumbnails to generate at a time.",
)
@as_json_option
@click.pass_obj
def warm(
    installation: Installation,
    sizes: tuple[int, ...],
    since: int | None,
    collection: str | None,
    rate: float | None,
    workers: int,
    as_json: bool,
) -> int:
    """Generates missing thumbnails in advance.

    Galleries then load quickly. Runs with low priority while the server is running. Thumbnails are cached as if
    clients had requested them, in at most 32 sizes. Repeat the command to resume after an interruption.

    \b
        manage.py thumbnails warm --size 123 --size 200
        manage.py thumbnails warm --size 200 --since 1d --rate 2       every night
        manage.py thumbnails warm                                      the sizes in PREVIEW_SIZES

    Exit status 1 if thumbnails cannot be generated; each original is listed with the reason.
    """
    settings, originals = installation.settings, installation.originals
    all_sizes = sizes or settings.preview_sizes
    if not all_sizes:
        raise click.UsageError("Select at least one --size: PREVIEW_SIZES is empty.")
    folders = installation.collection_dirs(collection)
    yield_to_others()
    waiters = max(2 * workers, settings.limits.thumbnail_waiters)  # a client gets a part of them
    limits = dataclasses.replace(settings.limits, render_workers=workers, thumbnail_waiters=waiters)
    own = dataclasses.replace(settings, limits=limits)
    made, pool = bootstrap.open_thumbnails(own, originals)
    run = Warming(originals, made, sorted(set(all_sizes)), since, rate, workers)
    pool.on_render = run.on_render
    try:
        run.check(folders)
        return make_all(run, folders, "Generating thumbnails", "thumbnail", "generated", as_json)
    finally:
        pool.close()


@thumbnails.command()
@click.option("--orphans", is_flag=True, help="Remove thumbnails without an original.")
@click.option("--strays", is_flag=True,
              help="Remove page thumbnails left by earlier servers: NAME_200-0.png, NAME_200-1.png …")  # fmt: skip
@click.option("--keep-size", "sizes", type=click.IntRange(1), multiple=True,
              help="Remove thumbnails of all other sizes, to make room for new sizes. Repeatable.")  # fmt: skip
@click.option("--before", type=Timestamp(), help="Remove thumbnails generated before: 2026-11-24, or an age: 365d.")
@click.option("--most-megabytes", type=click.IntRange(0),
              help="Remove the oldest thumbnails until the rest takes at most this space.")  # fmt: skip
@collection_option
@dry_run_option
@as_json_option
@click.pass_obj
def prune(
    installation: Installation,
    orphans: bool,
    strays: bool,
    sizes: tuple[int, ...],
    before: int | None,
    most_megabytes: int | None,
    collection: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Removes unneeded thumbnails. The server regenerates them on request.

    Originals, and files that are not named like thumbnails, are left alone.

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
        raise click.UsageError("Select thumbnails: --orphans, --strays, --keep-size, --before or --most-megabytes.")
    originals, store = installation.originals, installation.thumbnails.store
    if not isinstance(store, PrunableThumbnails):
        raise BadRequest("Pruning is not supported for this store.")
    folders = installation.collection_dirs(collection)
    # Counting takes time, and only a terminal shows the progress.
    number = sum(1 for folder in folders for _ in store.cached(folder)) if sys.stderr.isatty() else 0
    _prune(Pruning(originals, store, options, dry_run), folders, number, as_json)


def _prune(run: Pruning, folders: list[str], number: int, as_json: bool) -> None:
    sizes, numbers = Counter[str](), Counter[str]()
    with progress("Looking at thumbnails", number) as bar:
        for pruned in run.run(folders, bar.update):
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
        echo(f"{counted(number, 'thumbnail')}, {size_text(sizes[reason])} {verb}: {MEANINGS[reason]}.")
    echo(f"{counted(run.files_left, 'thumbnail')}, {size_text(run.bytes_left)} {rest}.")
