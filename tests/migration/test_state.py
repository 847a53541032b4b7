"""The state of a migration: lists that are longer than what is read at a time, and one process at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.errors import StorageFault
from assetstore.migration.state import MigrationState, Result
from assetstore.storage.models import Listed

#: More than twice as many files as are read at a time, in each of two collection folders.
NUMBER = 1_100
FOLDERS = ("birds", "fish")
KEYS = [(folder, f"{number:05}") for folder in FOLDERS for number in range(NUMBER)]


def listing(prefix: str = "") -> Iterator[Listed]:
    return (Listed(f"{number:05}", number, 0, f"{prefix}{number}") for number in range(NUMBER))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[MigrationState]:
    with contextlib.closing(MigrationState(tmp_path / "state.sqlite")) as state:
        yield state


def test_all_files_of_long_lists_become_tasks_with_results(state: MigrationState) -> None:
    for folder in FOLDERS:
        state.note_source(folder, listing())
    assert [(task.collection_dir, task.name) for task in state.tasks()] == KEYS
    assert state.count() == state.count(is_open=True) == (len(KEYS), 2 * sum(range(NUMBER)))
    for task in state.tasks():
        state.settle(task, Result("copied", task.size, "sum", "read-back", "detail"))
    assert [result[:2] for result in state.results()] == KEYS
    assert next(state.results())[2] == Result("copied", 0, "sum", "read-back", "detail")
    assert list(state.tasks()) == []
    assert state.count(is_open=True) == (0, 0)


def test_all_files_that_long_lists_no_longer_have_are_found(state: MigrationState) -> None:
    for folder in FOLDERS:
        state.note_source(folder, listing())
        state.note_target(folder, listing("target-"))
    for task in state.tasks():
        state.finish(task, Result("copied", task.size, "sum"), (task.source_tag, str(task.target_tag)))
    state.settle_unchanged()
    assert state.count(is_open=True) == (0, 0)
    assert list(state.deleted(FOLDERS)) == []
    state._database.execute("delete from source")
    deleted = list(state.deleted(FOLDERS))
    assert [row[:2] for row in deleted] == KEYS
    assert deleted[1][2:] == (1, "target-1")
    assert list(state.deleted(["fish"])) == deleted[NUMBER:]
    assert state.count_only_at_target() == 0


@pytest.mark.parametrize("changed", ["source", "target"])
def test_a_file_that_changed_on_one_side_is_not_unchanged(state: MigrationState, changed: str) -> None:
    state.note_source("", [Listed("a", 1, 0, "source-1"), Listed("b", 1, 0, "source-1")])
    state.note_target("", [Listed("a", 1, 0, "target-1"), Listed("b", 1, 0, "target-1")])
    for task in state.tasks():
        state.finish(task, Result("copied", 1, "sum", "read-back"), ("source-1", "target-1"))
    note = state.note_source if changed == "source" else state.note_target
    note("", [Listed("b", 1, 0, "another")])
    state.settle_unchanged()
    assert [(row[1], row[2].outcome, row[2].sha256, row[2].checked) for row in state.results()] == [
        ("a", "unchanged", "sum", "read-back")
    ]
    [task] = state.tasks()
    assert (task.name, task.is_ours, task.is_changed) == ("b", changed == "source", changed == "source")
    assert task.intention == ("replace" if changed == "source" else "compare")


def test_a_target_of_another_size_is_not_unchanged(state: MigrationState) -> None:
    state.note_source("", [Listed("a", 1, 0, "s")])
    state.note_target("", [Listed("a", 0, 0, "t")])
    for task in state.tasks():
        state.finish(task, Result("copied", 1, "sum"), ("s", "t"))
    state.settle_unchanged()
    assert state.count(is_open=True) == (1, 1)


def test_a_file_of_the_same_name_in_another_folder_is_another_file(state: MigrationState) -> None:
    for folder in FOLDERS:
        state.note_source(folder, [Listed("a", 1, 0, "s")])
    state.note_target("birds", [Listed("a", 1, 0, "t")])
    birds, fish = state.tasks()
    assert (birds.target_tag, fish.target_tag) == ("t", None)
    state.finish(birds, Result("copied", 1, "sum"), ("s", "t"))
    state.settle_unchanged()
    assert [(task.collection_dir, task.note) for task in state.tasks()] == [("fish", None)]
    state.forget("birds", "a")
    state.finish(fish, Result("copied", 1, "sum"), ("s", "t"))
    state.note_source("birds", [Listed("a", 1, 0, "s")])
    state.settle_unchanged()
    assert [task.collection_dir for task in state.tasks()] == ["birds", "fish"]


def test_records_stay_from_pass_to_pass_and_lists_do_not(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with contextlib.closing(MigrationState(path)) as state:
        assert not state.has_notes()
        state.note_source("", [Listed("a", 1, 0, "s")])
        state.note_target("", [Listed("z", 1, 0, "t")])
        state.finish(next(state.tasks()), Result("copied", 1, "sum"), ("s", "t"))
    with contextlib.closing(MigrationState(path)) as state:
        assert state.has_notes()
        assert (state.count(), state.count_only_at_target()) == ((0, 0), 0)
        state.forget("", "a")
        assert not state.has_notes()


def test_a_second_process_is_rejected_until_the_first_has_closed(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with contextlib.closing(MigrationState(path)), pytest.raises(StorageFault, match="Another process"):
        MigrationState(path)
    MigrationState(path).close()
