"""The comparison of records with files, and the repair plan: rules that decide what a curator is offered."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from assetstore.errors import BadRequest
from assetstore.journal.events import Event, Origin
from assetstore.originals.service import Originals, Received
from assetstore.specify import comparison, plan
from assetstore.specify.comparison import Comparison, Finding, Rules, loose
from assetstore.specify.plan import Repair, Step
from assetstore.specify.records import Record
from assetstore.thumbnails.service import Thumbnails
from tests.support import originals_in

ORIGIN = Origin("", "test")
FOLDERS = {"KU Birds": "birds", "KU Eggs": "birds", "KU Fish": "fish"}
SECOND, HOUR, DAY = 10**9, 3600 * 10**9, 86_400 * 10**9


@pytest.fixture
def originals(tmp_path: Path) -> Iterator[Originals]:
    with originals_in(tmp_path, "birds", "fish") as store:
        yield store


def put(originals: Originals, name: str, content: bytes = b"x", collection_dir: str = "fish", days: float = 60) -> None:
    """Stores an original that was last changed this many days ago."""
    with originals.storage.receive(collection_dir, None) as incoming:
        incoming.write(content)
        received = Received(incoming, len(content), hashlib.sha256(content).hexdigest())
        originals.store(received, collection_dir, name, ORIGIN)
    changed = time.time_ns() - int(days * DAY)
    os.utime(originals.storage._layout.originals(collection_dir) / name, ns=(changed, changed))  # type: ignore[attr-defined]


def record(location: str, *collections: str, number: int = 1) -> Record:
    return Record(str(number), location, f"DSC_{number}.JPG", collections or None)


def compared(originals: Originals, records: Sequence[Record], **rules: object) -> list[Finding]:
    default = {"as_of_ns": time.time_ns(), "grace_ns": DAY, "folders": FOLDERS, "collection_dir": None, "opens": True}
    return list(Comparison(originals, records, Rules(**{**default, **rules})).run())  # type: ignore[arg-type]


def kinds(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    return sorted((finding.kind, finding.collection_dir, finding.name) for finding in findings)


def test_of_several_entries_in_the_trash_the_newest_is_offered(originals: Originals) -> None:
    for collection_dir in ("fish", "birds"):
        for content in (b"1", b"22", b"333"):
            put(originals, "a", content, collection_dir)
    originals.delete("fish", "a", ORIGIN)
    originals.delete("birds", "a", ORIGIN)
    [finding] = compared(originals, [record("a")])
    newest = max(originals.trash(), key=lambda entry: entry.removed_ns)
    assert (finding.kind, finding.collection_dir, finding.entry) == (comparison.NO_FILE, "birds", newest)
    [finding] = compared(originals, [record("a", "KU Fish")])
    assert finding.entry is not None
    assert (finding.collection_dir, finding.entry.collection_dir, finding.entry.size) == ("fish", "fish", 3)


def test_a_file_that_was_removed_after_the_records_were_read_is_no_finding(originals: Originals) -> None:
    put(originals, "deleted")
    put(originals, "purged")
    as_of_ns = time.time_ns()
    for name in ("deleted", "purged"):
        originals.delete("fish", name, ORIGIN)
    [entry] = [entry for entry in originals.trash() if entry.name == "purged"]
    originals.purge(entry, ORIGIN)
    records = [record("deleted", "KU Fish"), record("purged", "KU Fish", number=2)]
    assert compared(originals, records, as_of_ns=as_of_ns) == []
    assert [finding.name for finding in compared(originals, records)] == ["deleted", "purged"]


def test_a_file_that_was_restored_and_then_lost_is_a_finding_with_its_last_event(originals: Originals) -> None:
    put(originals, "a")
    originals.journal.record(Event("restored", "fish", "a", time_ns=time.time_ns() + HOUR))
    originals.storage.delete_original("fish", "a", keep_old=False)
    [finding] = compared(originals, [record("a", "KU Fish")])
    assert finding.kind == comparison.NO_FILE
    assert "last entry in the journal is “restored”" in finding.meaning
    [unknown] = compared(originals, [record("b", "KU Fish")])
    assert "unknown to the journal" in unknown.meaning


def test_the_last_event_of_all_possible_folders_counts(originals: Originals) -> None:
    originals.journal.record(Event("stored", "fish", "a", time_ns=time.time_ns() - HOUR))
    originals.journal.record(Event("deleted", "birds", "a", time_ns=time.time_ns() - 2 * HOUR))
    [finding] = compared(originals, [record("a")])
    assert "“stored”" in finding.meaning


@pytest.mark.parametrize(("days", "is_found"), [(1.5, True), (0.5, False)])
def test_a_file_without_record_is_found_after_the_grace_period(
    originals: Originals, days: float, is_found: bool
) -> None:
    put(originals, "a", days=days)
    expected = [(comparison.NO_RECORD, "fish", "a")] if is_found else []
    assert kinds(compared(originals, [])) == expected


def test_the_grace_period_ends_exactly_at_its_limit(originals: Originals) -> None:
    put(originals, "a")
    modified_ns = originals.storage.version("fish", "a").modified_ns
    assert compared(originals, [], as_of_ns=modified_ns + DAY - 1) == []
    assert len(compared(originals, [], as_of_ns=modified_ns + DAY)) == 1


def test_a_young_empty_file_and_an_empty_file_in_use_are_empty(originals: Originals) -> None:
    put(originals, "young", b"", days=0)
    put(originals, "used", b"")
    put(originals, "unused", b"")
    assert kinds(compared(originals, [record("used", "KU Fish")])) == [
        (comparison.EMPTY, "fish", "used"), (comparison.EMPTY, "fish", "young"),
        (comparison.NO_RECORD, "fish", "unused"),
    ]  # fmt: skip


def test_a_record_uses_the_file_of_its_own_collection_and_no_other(originals: Originals) -> None:
    put(originals, "a", collection_dir="fish")
    put(originals, "a", collection_dir="birds")
    assert kinds(compared(originals, [record("a", "KU Fish")])) == [(comparison.NO_RECORD, "birds", "a")]
    assert kinds(compared(originals, [record("a")])) == [], "a record of any collection may use both"


def test_a_record_whose_file_is_elsewhere_uses_that_one(originals: Originals) -> None:
    put(originals, "a", collection_dir="birds")
    [finding] = compared(originals, [record("a", "KU Fish")])
    assert (finding.kind, finding.collection_dir) == (comparison.ELSEWHERE, "birds")
    assert "“birds”, but KU Fish uses the folder “fish”" in finding.meaning
    assert compared(originals, [record("a", "Unknown")]) == [], "a collection without folder may use any"


def test_collections_that_share_a_folder_share_its_files(originals: Originals) -> None:
    put(originals, "a", collection_dir="birds")
    records = [record("a", "KU Birds"), record("a", "KU Eggs", number=2)]
    [finding] = compared(originals, records)
    assert (finding.kind, finding.records, finding.original) == (comparison.SHARED, ("1", "2"), "DSC_1.JPG")


def test_a_finding_names_twenty_records_at_most(originals: Originals) -> None:
    put(originals, "a")
    [finding] = compared(originals, [record("a", "KU Fish", number=number) for number in range(25)])
    assert finding.records == tuple(map(str, range(20)))
    assert "25 records" in finding.meaning


@pytest.mark.parametrize("spelling", ["É.JPG", " é.jpg ", "e\u0301.jpg"])
def test_another_spelling_is_a_finding_of_its_own_and_the_file_is_in_use(originals: Originals, spelling: str) -> None:
    put(originals, "é.jpg")
    [finding] = compared(originals, [record(spelling, "KU Fish")])
    assert (finding.kind, finding.name, finding.collection_dir) == (comparison.SPELLING, spelling, "fish")
    assert "“é.jpg”" in finding.meaning
    assert loose(spelling) == loose("é.jpg") != loose("e.jpg")


@pytest.mark.parametrize(("location", "meaning"), [("", "no store name"), ("../a", "invalid store name")])
def test_a_record_without_a_usable_name_says_so(originals: Originals, location: str, meaning: str) -> None:
    [finding] = compared(originals, [record(location, "KU Fish")])
    assert finding.kind == comparison.NO_FILE
    assert meaning in finding.meaning


def test_only_one_folder_is_compared_if_asked(originals: Originals) -> None:
    put(originals, "a", collection_dir="birds")
    put(originals, "b", collection_dir="fish")
    findings = compared(originals, [record("b", "KU Birds")], collection_dir="fish")
    assert findings == [], "all records belong to this folder"


def test_an_unreadable_file_is_found_only_if_files_are_opened_and_still_there(
    originals: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = originals.storage.open_original

    def fail(collection_dir: str, name: str, reads: bool = True) -> object:
        if name == "deleted":
            originals.storage.delete_original(collection_dir, name, keep_old=False)
        if name in ("bad", "deleted"):
            raise OSError(5, "Input/output error")
        return real(collection_dir, name, reads)

    names = ("bad", "deleted", "good")
    for name in names:
        put(originals, name)
    records = [record(name, "KU Fish") for name in names]
    monkeypatch.setattr(originals.storage, "open_original", fail)
    assert compared(originals, records, opens=False) == []
    assert kinds(compared(originals, records)) == [(comparison.UNREADABLE, "fish", "bad")]


def test_totals_count_records_files_and_findings(originals: Originals) -> None:
    for name in ("a", "b", "c"):
        put(originals, name)
    rules = Rules(time.time_ns(), DAY, FOLDERS, None, opens=True)
    run, steps = Comparison(originals, [record("a"), record("missing", number=2)], rules), []
    list(run.run(steps.append))
    assert (run.number_of_records, run.number_of_files, sum(steps)) == (2, 3, 5)
    assert run.counted == {comparison.NO_FILE: 1, comparison.NO_RECORD: 2}


# The plan.


def repair(originals: Originals, dry_run: bool = False) -> tuple[Repair, list[str]]:
    """A repair, and the names whose thumbnails it discards."""
    discarded: list[str] = []

    class Discarding(Thumbnails):
        def __init__(self) -> None:
            pass

        def discard(self, collection_dir: str, name: str) -> None:
            discarded.append(name)

    return Repair(originals, Discarding(), ORIGIN, dry_run), discarded


def steps(originals: Originals, path: Path, records: Sequence[Record], suggests_trash: bool = True) -> list[Step]:
    plan.write(path, compared(originals, records), suggests_trash=suggests_trash)
    return plan.read(path, originals.collection_dirs)


def test_a_plan_moves_and_restores_once_and_says_when_it_is_already_done(originals: Originals, tmp_path: Path) -> None:
    put(originals, "unused")
    put(originals, "wanted")
    originals.delete("fish", "wanted", ORIGIN)
    todo = steps(originals, tmp_path / "plan.csv", [record("wanted", "KU Fish")])
    assert sorted((step.action, step.name) for step in todo) == [("restore", "wanted"), ("trash", "unused")]
    trial, discarded = repair(originals, dry_run=True)
    assert {trial.do(step) for step in todo} == {("would be restored", True), ("would be moved to the trash", True)}
    assert discarded == []
    run, discarded = repair(originals)
    assert {run.do(step) for step in todo} == {("restored", True), ("moved to the trash", True)}
    assert sorted(discarded) == ["unused", "wanted"]
    again, _ = repair(originals)
    assert {again.do(step) for step in todo} == {("already restored", True), ("already deleted", True)}
    assert [listed.name for listed in originals.storage.originals("fish")] == ["wanted"]
    assert [entry.name for entry in originals.trash()] == ["unused"]


def test_a_plan_leaves_alone_what_has_changed_or_come_back(originals: Originals, tmp_path: Path) -> None:
    for name in ("unused", "wanted", "purged"):
        put(originals, name)
    for name in ("wanted", "purged"):
        originals.delete("fish", name, ORIGIN)
    todo = steps(originals, tmp_path / "plan.csv", [record("wanted", "KU Fish"), record("purged", "KU Fish")])
    put(originals, "unused", b"changed")
    put(originals, "wanted", b"a newer one")
    for entry in list(originals.trash()):
        if entry.name == "purged":
            originals.purge(entry, ORIGIN)
    run, discarded = repair(originals)
    assert {step.name: run.do(step) for step in todo} == {
        "unused": ("not moved, the file has changed since the plan was written", False),
        "wanted": ("not restored, a file with this name exists now", False),
        "purged": ("not restored, no longer in the trash", False),
    }
    assert discarded == []


@pytest.mark.parametrize(("size", "seconds"), [(2, 0), (1, 1)])
def test_a_file_of_another_size_or_second_is_another_file(
    originals: Originals, tmp_path: Path, size: int, seconds: int
) -> None:
    put(originals, "a")
    [step] = steps(originals, tmp_path / "plan.csv", [])
    path = tmp_path / "fish/originals/a"
    changed = path.stat().st_mtime_ns + seconds * SECOND
    path.write_bytes(b"x" * size)
    os.utime(path, ns=(changed, changed))
    assert repair(originals)[0].do(step)[1] is False


def test_an_entry_of_the_trash_restores_its_own_name_only(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a")
    originals.delete("fish", "a", ORIGIN)
    [step] = steps(originals, tmp_path / "plan.csv", [record("a", "KU Fish")])
    other = Step(step.action, step.collection_dir, "b", step.file, step.entry)
    assert repair(originals)[0].do(other) == ("not restored, no longer in the trash", False)


def test_the_trash_is_suggested_only_if_asked_and_for_files_without_record_only(
    originals: Originals, tmp_path: Path
) -> None:
    put(originals, "unused")
    put(originals, "empty", b"")
    records = [record("empty", "KU Fish")]
    assert steps(originals, tmp_path / "one.csv", records, suggests_trash=False) == []
    assert [step.name for step in steps(originals, tmp_path / "other.csv", records)] == ["unused"]


HEAD = "action,finding,place,name,file,trash entry"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("delete,file without record,fish,a,file-1,", "not an action"),
        ("trash,record without file,fish,a,file-1,", "trash is not possible for 'record without file'"),
        ("restore,file without record,fish,a,file-1,entry", "restore is not possible"),
        ("trash,file without record,fish,a,,entry", "trash is not possible"),
        ("restore,record without file,fish,a,file-1,", "restore is not possible"),
        ("trash,file without record,cats,a,file-1,", "folder or name is invalid"),
        ("trash,file without record,fish,../a,file-1,", "folder or name is invalid"),
    ],
)
def test_a_row_that_a_plan_cannot_have_is_rejected_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(f"{HEAD}\n,file without record,fish,x,file-1,\n{row}\n")
    with pytest.raises(BadRequest, match="line 3") as error:
        plan.read(path, ["fish"])
    assert reason in error.value.public


def test_actions_may_be_written_in_capitals_and_empty_files_may_go_to_the_trash(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(f"{HEAD}\n TRASH ,empty file,fish,a,file-1,\nRestore,record without file,fish,b,,entry\n")
    assert plan.read(path, ["fish"]) == [
        Step("trash", "fish", "a", "file-1", ""),
        Step("restore", "fish", "b", "", "entry"),
    ]


def test_an_unjournaled_removal_after_the_records_were_read_is_no_finding_either(originals: Originals) -> None:
    put(originals, "a")
    originals.storage.delete_original("fish", "a", keep_old=True)
    [entry] = originals.trash()
    records = [record("a", "KU Fish")]
    assert compared(originals, records, as_of_ns=entry.removed_ns - 1) == []
    assert len(compared(originals, records, as_of_ns=entry.removed_ns)) == 1
