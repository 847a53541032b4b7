"""thumbnails.prune: which thumbnails are removed, and which remain."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.storage.disk.thumbnails import DiskThumbnails
from assetstore.thumbnails.prune import PruneOptions, Pruning
from tests.support import RunningServer, visible_files


def write(path: Path, size: int, modified: int) -> None:
    path.write_bytes(bytes(size))
    os.utime(path, (modified, modified))


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_oldest_thumbnails_are_removed_until_the_rest_is_small_enough(
    start: Callable[..., RunningServer], dry_run: bool
) -> None:
    server = start()
    for number, size in enumerate((1000, 1024, 500, 7), 1):
        write(server.thumbnails / f"{number}_200.jpg", size, number * 1000)
    write(server.thumbnails / "notes.txt", 5000, 1)
    store = server.context.thumbnails.store
    assert isinstance(store, DiskThumbnails)
    run = Pruning(server.context.originals, store, PruneOptions(False, False, None, None, 1531), dry_run)
    checked: list[int] = []
    assert [pruned.cached.name for pruned in run.run([""], checked.append)] == ["1_200.jpg"]
    assert sum(checked) == 5
    assert (run.files_left, run.bytes_left) == (3, 1531)
    assert len(visible_files(server.thumbnails)) == (5 if dry_run else 4)
    run = Pruning(server.context.originals, store, PruneOptions(False, False, None, None, 506), dry_run)
    assert [pruned.cached.name for pruned in run.run([""])][-2:] == ["2_200.jpg", "3_200.jpg"]
    assert (run.files_left, run.bytes_left) == (1, 7)
