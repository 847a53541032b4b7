"""What a pass does with each original, between two stores on disk: changes during the pass, kills, wrong checksums."""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import OutOfSpace, StorageFault, Unavailable
from assetstore.migration import outcomes, transfer
from assetstore.migration.endpoints import End
from assetstore.migration.runner import Meter, Pass
from assetstore.migration.state import MigrationState, Result
from assetstore.migration.transfer import Rules
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.originals import DiskOriginalStorage
from assetstore.storage.disk.store import disk_store
from assetstore.storage.models import StoredFile
from assetstore.storage.protocols import Store

RULES = Rules(replaces=False, trusts_checksums=False, keeps_trash=True, collection_dirs={"": ""})


class Killed(BaseException):
    """The process ends here."""


class Originals(DiskOriginalStorage):
    """Originals on disk; a test can replace the next opening of one."""

    def __init__(self, layout: DiskLayout) -> None:
        super().__init__(layout)
        self.next: dict[str, Callable[[StoredFile], StoredFile]] = {}

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        stored = super().open_original(collection_dir, name, reads)
        return self.next.pop(name)(stored) if name in self.next else stored


class Sides:
    """Two stores on disk, and passes between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.source_store = self._open("source")
        self.target, self.target_store = self._open("target")

    def _open(self, side: str) -> tuple[Originals, Store]:
        base = self.folder / side
        base.mkdir()
        store = disk_store(base, "originals", "thumbnails", [""])
        store.space.prepare()
        originals = Originals(DiskLayout(base, "originals", "thumbnails", [""]))
        return originals, dataclasses.replace(store, originals=originals)

    def path(self, side: str, name: str) -> Path:
        return self.folder / side / "originals" / name

    def names(self, side: str) -> list[str]:
        return sorted(path.name for path in (self.folder / side / "originals").iterdir() if path.is_file())

    @contextlib.contextmanager
    def listed(self, rules: Rules = RULES, rate_limit: RateLimit | None = None) -> Iterator[Pass]:
        """A pass that has listed both sides."""
        source, target = (End(store, lambda _: True) for store in (self.source_store, self.target_store))
        with contextlib.closing(MigrationState(self.folder / "state.sqlite")) as state:
            limit = rate_limit or RateLimit(None, threading.Event())
            run = Pass(source, target, state, limit, rules, threads=2)
            run.list_both(compares_all=False)
            yield run

    def migrate(self, rules: Rules = RULES) -> dict[str, Result]:
        with self.listed(rules) as run:
            return finish(run)


def finish(run: Pass) -> dict[str, Result]:
    return {done.name: done.result for done in run.transfer_all(lambda: None)}


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    monkeypatch.setattr(transfer, "_PAUSES", (0.01, 0.01, 0.0))
    return Sides(tmp_path)


def test_a_file_that_appears_at_the_target_during_a_pass_is_left_alone_and_stays_foreign(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    with sides.listed() as run:
        sides.path("target", "a").write_bytes(b"of a client")
        result = finish(run)["a"]
    assert (result.outcome, result.detail) == (outcomes.CONFLICT, "has changed at the target during this pass")
    assert not run.summary.is_whole
    assert sides.migrate()["a"].outcome == outcomes.CONFLICT
    assert sides.path("target", "a").read_bytes() == b"of a client"


def test_a_copy_that_a_client_replaces_during_a_pass_is_left_alone(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    sides.migrate()
    sides.path("source", "a").write_bytes(b"ours, changed")
    with sides.listed() as run:
        sides.path("target", "a").write_bytes(b"of a client")
        assert finish(run)["a"].outcome == outcomes.CONFLICT
    assert sides.path("target", "a").read_bytes() == b"of a client"


def test_a_copy_that_is_deleted_at_the_target_during_a_pass_does_not_come_back(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    sides.migrate()
    sides.path("source", "a").write_bytes(b"ours, changed")
    with sides.listed() as run:
        sides.path("target", "a").unlink()
        assert finish(run)["a"].outcome == outcomes.CONFLICT
    assert sides.names("target") == []


def test_a_copy_that_was_committed_when_the_process_was_killed_is_ours(sides: Sides) -> None:
    def kill(stored: StoredFile) -> StoredFile:
        stored.file.close()
        raise Killed

    sides.path("source", "a").write_bytes(b"first")
    sides.target.next["a"] = kill
    with pytest.raises(Killed), sides.listed() as run:
        finish(run)
    assert sides.path("target", "a").read_bytes() == b"first"
    sides.path("source", "a").write_bytes(b"second")
    assert sides.migrate()["a"].outcome == outcomes.COPIED
    assert sides.path("target", "a").read_bytes() == b"second"


def damaged(stored: StoredFile) -> StoredFile:
    read = stored.file.read
    stored.file.read = lambda size: read(size)[::-1]  # type: ignore[assignment, method-assign]
    return stored


def unreachable(stored: StoredFile) -> StoredFile:
    stored.file.close()
    raise Unavailable("The storage cannot be reached.")


@pytest.mark.parametrize("fault", [damaged, unreachable], ids=["damaged", "answer lost"])
@pytest.mark.parametrize("earlier", [b"", b"ours, before"], ids=["copied", "replaced"])
def test_a_file_that_a_client_stores_between_two_attempts_is_left_alone(
    sides: Sides, fault: Callable[[StoredFile], StoredFile], earlier: bytes
) -> None:
    def store(stored: StoredFile) -> StoredFile:
        sides.path("target", "new").write_bytes(b"of a client")
        os.utime(sides.path("target", "new"), (1, 1))
        sides.path("target", "new").rename(sides.path("target", "a"))
        return fault(stored)

    if earlier:
        sides.path("source", "a").write_bytes(earlier)
        sides.migrate()
    sides.path("source", "a").write_bytes(b"ours")
    sides.target.next["a"] = store
    result = sides.migrate()["a"]
    assert (result.outcome, result.detail) == (outcomes.CONFLICT, "has changed at the target during this pass")
    assert sides.path("target", "a").read_bytes() == b"of a client"
    assert sides.migrate()["a"].outcome == outcomes.CONFLICT, "and it does not become ours"
    assert sides.path("target", "a").read_bytes() == b"of a client"


def test_a_copy_that_a_client_deletes_between_two_attempts_does_not_come_back(sides: Sides) -> None:
    def delete(stored: StoredFile) -> StoredFile:
        sides.path("target", "a").unlink()
        return damaged(stored)

    sides.path("source", "a").write_bytes(b"ours")
    sides.target.next["a"] = delete
    assert sides.migrate()["a"].outcome == outcomes.CONFLICT
    assert sides.names("target") == []


@pytest.mark.parametrize("fault", [damaged, unreachable], ids=["damaged", "answer lost"])
def test_a_copy_that_fails_after_it_was_stored_is_stored_again(
    sides: Sides, fault: Callable[[StoredFile], StoredFile]
) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    sides.target.next["a"] = fault
    assert sides.migrate()["a"].outcome == outcomes.COPIED
    assert sides.path("target", "a").read_bytes() == b"ours"


def test_an_interrupted_copy_that_a_client_replaces_during_the_next_pass_is_foreign(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    with contextlib.closing(MigrationState(sides.folder / "state.sqlite")) as state:
        state.note_source("", sides.source.originals(""))
        state.begin(next(state.tasks()))
    with sides.listed() as run:
        sides.path("target", "a").write_bytes(b"of a client")
        assert finish(run)["a"].outcome == outcomes.CONFLICT
    assert sides.migrate()["a"].outcome == outcomes.CONFLICT
    assert sides.path("target", "a").read_bytes() == b"of a client"


def test_a_copy_that_a_client_changed_is_not_removed_when_the_source_loses_the_file(sides: Sides) -> None:
    for name in ("before", "during", "same", "stays"):
        sides.path("source", name).write_bytes(b"ours")
    sides.migrate()
    for name in ("before", "during", "same"):
        sides.path("source", name).unlink()
    sides.path("target", "before").write_bytes(b"of a client")
    with sides.listed() as run:
        finish(run)
        sides.path("target", "during").write_bytes(b"of a client")
        results = {done.name: done.result.outcome for done in run.report_deleted(removes=True)}
    expected = {"before": outcomes.DELETED, "during": outcomes.DELETED, "same": outcomes.REMOVED}
    assert results == expected
    assert run.summary.outcomes[outcomes.DELETED] == 2
    assert sides.names("target") == ["before", "during", "stays"]


def test_an_unfinished_copy_is_not_removed_with_its_source(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    sides.path("source", "stays").write_bytes(b"ours")
    with contextlib.closing(MigrationState(sides.folder / "state.sqlite")) as state:
        state.note_source("", sides.source.originals(""))
        state.begin(next(state.tasks()))
    sides.path("source", "a").unlink()
    sides.path("target", "a").write_bytes(b"of a client")
    with sides.listed() as run:
        assert list(run.report_deleted(removes=True)) == []
    assert "a" in sides.names("target")


@pytest.mark.parametrize("content", [b"x" * 3, b"x" * 30, b"y" * 20], ids=["shorter", "longer", "other bytes"])
@pytest.mark.parametrize("at_target", [b"", b"x" * 20], ids=["copied", "compared"])
def test_a_source_that_is_edited_while_it_is_read_is_read_again(sides: Sides, content: bytes, at_target: bytes) -> None:
    def change(stored: StoredFile) -> StoredFile:
        read = stored.file.read

        def read_half(_size: int) -> bytes:
            data = read(10)
            time.sleep(0.02)  # a file system may not distinguish changes within some milliseconds
            sides.path("source", "a").write_bytes(content)
            return data

        stored.file.read = read_half  # type: ignore[assignment]
        return stored

    sides.path("source", "a").write_bytes(b"x" * 20)
    if at_target:
        sides.path("target", "a").write_bytes(at_target)
    sides.source.next["a"] = change
    result = sides.migrate(dataclasses.replace(RULES, replaces=True))["a"]
    assert (result.outcome, result.size) == (outcomes.REPLACED if at_target else outcomes.COPIED, len(content))
    assert sides.path("target", "a").read_bytes() == content


def test_a_source_that_does_not_match_its_own_checksum_is_not_copied(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"damaged")
    sides.source.next["a"] = lambda stored: dataclasses.replace(stored, sha256="0" * 64)
    result = sides.migrate()["a"]
    assert result.outcome == outcomes.FAILED
    assert "does not match the checksum stored with it" in str(result.detail)
    assert sides.names("target") == []


def test_a_source_that_is_deleted_during_the_pass_is_reported_as_deleted(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    with sides.listed() as run:
        sides.path("source", "a").unlink()
        assert finish(run)["a"].outcome == outcomes.DELETED
    assert run.summary.is_whole


def test_a_full_target_ends_the_pass(sides: Sides) -> None:
    sides.path("source", "a").write_bytes(b"ours")
    full = disk_store(sides.folder / "target", "originals", "thumbnails", [""], reserve=1 << 60)
    sides.target_store = dataclasses.replace(sides.target_store, originals=full.originals)
    with sides.listed() as run, pytest.raises(OutOfSpace):
        finish(run)
    assert sides.names("target") == []


def test_a_side_that_is_unreachable_for_a_short_time_is_tried_three_times(sides: Sides) -> None:
    tries = []

    def fail(stored: StoredFile) -> StoredFile:
        tries.append(stored)
        if len(tries) < 3:
            sides.source.next["a"] = fail
            unreachable(stored)
        return stored

    sides.path("source", "a").write_bytes(b"ours")
    sides.source.next["a"] = fail
    assert sides.migrate()["a"].outcome == outcomes.COPIED


def test_a_pass_ends_after_failures_in_a_row_only(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PAUSES", (0.0,))
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        sides.path("source", name).write_bytes(b"ours")
    for name in names[1::2]:
        sides.source.next[name] = unreachable
    with sides.listed() as run:
        results = finish(run)
    assert [results[name].outcome for name in names] == [outcomes.COPIED, outcomes.FAILED] * 6
    for name in names:
        sides.path("source", name).write_bytes(b"ours, changed")
        sides.source.next[name] = unreachable
    with sides.listed() as run, pytest.raises(StorageFault, match="in a row"):
        finish(run)


def test_an_interrupted_pass_copies_nothing_more(sides: Sides) -> None:
    ending = threading.Event()
    ending.set()
    sides.path("source", "a").write_bytes(b"ours")
    with sides.listed(rate_limit=RateLimit(None, ending)) as run, pytest.raises(Interrupted):
        finish(run)
    assert sides.names("target") == []


@pytest.mark.parametrize("keeps_trash", [True, False])
def test_a_replaced_copy_goes_to_the_trash_only_if_there_is_one(sides: Sides, keeps_trash: bool) -> None:
    rules = dataclasses.replace(RULES, keeps_trash=keeps_trash)
    sides.path("source", "a").write_bytes(b"first")
    sides.migrate(rules)
    sides.path("source", "a").write_bytes(b"second")
    assert sides.migrate(rules)["a"].outcome == outcomes.REPLACED
    assert len(list(sides.target_store.trash.entries(""))) == keeps_trash


def test_the_progress_reaches_the_total_and_not_more_whatever_happens_to_the_files(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = [0]
    add = Meter.add

    def note(self: Meter, number: int) -> None:
        add(self, number)
        reached.append(self.bytes)

    monkeypatch.setattr(Meter, "add", note)
    for name in ("copied", "damaged", "deleted", "equal", "grown"):
        sides.path("source", name).write_bytes(name.encode() * 100)
    sides.path("target", "equal").write_bytes(b"equal" * 100)
    sides.source.next["damaged"] = lambda stored: dataclasses.replace(stored, sha256="0" * 64)
    with sides.listed() as run:
        total = run.meter.all_bytes
        assert (run.meter.all_files, total) == (
            5,
            sum(map(len, ("copied", "damaged", "deleted", "equal", "grown"))) * 100,
        )
        sides.path("source", "deleted").unlink()
        with open(sides.path("source", "grown"), "ab") as file:
            file.write(b"more" * 100)
        finish(run)
    assert (run.meter.files, run.meter.bytes, max(reached)) == (5, total, total)


def test_copies_are_compared_with_the_disk_and_not_with_the_page_cache(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = []
    real = os.posix_fadvise

    def note(descriptor: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_DONTNEED:
            dropped.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", note)
    sides.path("source", "a").write_bytes(b"ours")
    sides.path("source", "b").write_bytes(b"equal")
    sides.path("target", "b").write_bytes(b"equal")
    sides.migrate()
    assert sorted(dropped) == [str(sides.path("target", name)) for name in ("a", "b")]
