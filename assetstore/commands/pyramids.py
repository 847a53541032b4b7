"""`manage.py pyramids`: prepares large images for zooming in advance, and removes what was prepared."""

import dataclasses

import click

from assetstore.app import bootstrap
from assetstore.commands.advance import make_all, since_option
from assetstore.commands.installation import Installation
from assetstore.commands.output import counted, echo, show
from assetstore.commands.parameters import Timestamp, as_json_option, collection_option, dry_run_option
from assetstore.commands.usage import size_text
from assetstore.iiif.advance import Making, Pruning
from assetstore.thumbnails.warm import yield_to_others

_MEGABYTE = 1_000_000


@click.group()
def pyramids() -> None:
    """Prepares large images for zooming, and removes pyramids."""


@pyramids.command()
@since_option
@click.option("--larger-than", type=click.FloatRange(min=0), default=0, show_default=True,
              help="Only originals of at least this many megabytes.")  # fmt: skip
@collection_option
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Make at most this many per hour.")
@as_json_option
@click.pass_obj
def make(
    installation: Installation,
    since: int | None,
    larger_than: float,
    collection: str | None,
    rate: float | None,
    as_json: bool,
) -> int:
    """Makes missing pyramids.

    A pyramid is a copy of a large image in several sizes, with which viewers zoom quickly.

    Runs with low priority while the server is running. If the pyramids need more space than PYRAMID_BYTES, the least
    recently used ones are removed. Repeat the command to resume after an interruption.

    \b
        manage.py pyramids make --larger-than 50
        manage.py pyramids make --since 1d --rate 600          every night

    Exit status 1 if pyramids cannot be made; each original is listed with the reason.
    """
    originals = installation.originals
    limits = dataclasses.replace(installation.settings.limits, render_workers=1)
    settings = dataclasses.replace(installation.settings, limits=limits)
    yield_to_others()
    _, pool = bootstrap.open_thumbnails(settings, originals)
    images = bootstrap.open_images(settings, originals, pool)
    run = Making(originals, images, since, int(larger_than * _MEGABYTE), rate)
    try:
        folders = installation.collection_dirs(collection)
        return make_all(run, folders, "Making pyramids", "pyramid", "made", as_json)
    finally:
        pool.close()


@pyramids.command()
@click.option("--orphans", is_flag=True, help="Remove pyramids without an original.")
@click.option("--before", type=Timestamp(),
              help="Remove pyramids that were last used before: 2026-11-24, or an age: 365d.")  # fmt: skip
@click.option("--most-megabytes", type=click.IntRange(0),
              help="Remove the least recently used pyramids until the rest takes at most this space.")  # fmt: skip
@collection_option
@dry_run_option
@as_json_option
@click.pass_obj
def prune(
    installation: Installation,
    orphans: bool,
    before: int | None,
    most_megabytes: int | None,
    collection: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Removes pyramids. The server makes them again when someone zooms.

    \b
        manage.py pyramids prune --orphans --dry-run
        manage.py pyramids prune --most-megabytes 5000
    """
    if not orphans and before is None and most_megabytes is None:
        raise click.UsageError("Select pyramids: --orphans, --before or --most-megabytes.")
    pruning = Pruning(
        installation.originals, orphans, before, None if most_megabytes is None else most_megabytes * _MEGABYTE
    )
    store = installation.originals.storage.pyramids(installation.settings.pyramid_bytes)
    removed, size = 0, 0
    for pyramid in pruning.chosen(store, installation.collection_dirs(collection)):
        removed, size = removed + 1, size + pyramid.size
        if not dry_run:
            store.remove(pyramid)
    if as_json:
        show({"removed": removed, "bytes_removed": size, "bytes_left": pruning.bytes_left}, as_json, ())
        return
    verb, rest = ("would be removed", "would be left") if dry_run else ("removed", "left")
    echo(f"{counted(removed, 'pyramid')}, {size_text(size)} {verb}; {size_text(pruning.bytes_left)} {rest}.")
