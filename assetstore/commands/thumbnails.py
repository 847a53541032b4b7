"""`manage.py thumbnails`: generates thumbnails in advance, and removes unneeded ones."""

import dataclasses
import sys
from collections import Counter

import click

from assetstore.app import bootstrap
from assetstore.commands.installation import Installation
from assetstore.commands.output import counted, echo, progress, show
from assetstore.commands.parameters import Selection, Timestamp, as_json_option, dry_run_option
from assetstore.commands.usage import size_text
from assetstore.errors import BadRequest
from assetstore.storage.protocols import PrunableThumbnails
from assetstore.thumbnails.prune import MEANINGS, PruneOptions, Pruning
from assetstore.thumbnails.warm import Warming, yield_to_others

_MEGABYTE = 1_000_000

_collection_option = click.option("--collection", help="Only this collection, by name or folder.")


@click.group()
def thumbnails() -> None:
    """Generates thumbnails in advance, and removes unneeded ones."""


@thumbnails.command()
@click.option("--size", "sizes", type=click.IntRange(1, 30_000), multiple=True,
              help="Size in pixels, as requested by clients. Repeatable. Default: PREVIEW_SIZES.")  # fmt: skip
@click.option(
    "--since", type=Timestamp(), help="Only originals added or changed since: 2026-11-24, or an age such as 2h or 7d."
)
@_collection_option
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
    chosen = Selection((), collection, None, None).collection_dir(settings)
    collection_dirs = list(originals.collection_dirs) if chosen is None else [chosen]
    yield_to_others()
    waiters = max(2 * workers, settings.limits.thumbnail_waiters)  # a client gets a part of them
    limits = dataclasses.replace(settings.limits, render_workers=workers, thumbnail_waiters=waiters)
    own = dataclasses.replace(settings, limits=limits)
    made, pool = bootstrap.open_thumbnails(own, originals)
    run = Warming(originals, made, sorted(set(all_sizes)), since, rate, workers)
    pool.on_render = run.on_render
    try:
        run.check(collection_dirs)
        return _make(run, collection_dirs, as_json)
    finally:
        pool.close()


def _make(run: Warming, collection_dirs: list[str], as_json: bool) -> int:
    failures, files = 0, 0
    with progress(
        "Generating thumbnails", sum(1 for collection_dir in collection_dirs for _ in run.chosen(collection_dir))
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
        generated = f"{counted(files, 'original')}, {counted(run.made, 'thumbnail')} generated"
        echo(f"{generated}; {counted(failures, 'failure') if failures else 'no failures'}.")
    return 1 if failures else 0


@thumbnails.command()
@click.option("--orphans", is_flag=True, help="Remove thumbnails without an original.")
@click.option("--strays", is_flag=True,
              help="Remove page thumbnails left by earlier servers: NAME_200-0.png, NAME_200-1.png …")  # fmt: skip
@click.option("--keep-size", "sizes", type=click.IntRange(1), multiple=True,
              help="Remove thumbnails of all other sizes, to make room for new sizes. Repeatable.")  # fmt: skip
@click.option("--before", type=Timestamp(), help="Remove thumbnails generated before: 2026-11-24, or an age: 365d.")
@click.option("--most-megabytes", type=click.IntRange(0),
              help="Remove the oldest thumbnails until the rest takes at most this space.")  # fmt: skip
@_collection_option
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
    chosen = Selection((), collection, None, None).collection_dir(installation.settings)
    collection_dirs = list(originals.collection_dirs) if chosen is None else [chosen]
    # Counting takes time, and only a terminal shows the progress.
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
        echo(f"{counted(number, 'thumbnail')}, {size_text(sizes[reason])} {verb}: {MEANINGS[reason]}.")
    echo(f"{counted(run.files_left, 'thumbnail')}, {size_text(run.bytes_left)} {rest}.")
