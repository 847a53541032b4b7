"""fixity.verification: problems of originals that are found, also while the originals change."""

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import Unavailable
from assetstore.fixity import schedule
from assetstore.fixity import verification as fixity
from assetstore.fixity.schedule import Verifier
from assetstore.fixity.verification import Verification
from assetstore.journal.events import Event, Origin
from assetstore.originals.service import Originals, Received
from assetstore.storage.models import StoredFile
from tests import pictures
from tests.support import originals_in

ORIGIN = Origin("", "test")


@pytest.fixture
def originals(tmp_path: Path) -> Iterator[Originals]:
    with originals_in(tmp_path, "", "fish") as store:
        yield store


def put(originals: Originals, name: str, content: bytes, collection_dir: str = "") -> None:
    with originals.storage.receive(collection_dir, None) as incoming:
        incoming.write(content)
        checksum = hashlib.sha256(content).hexdigest()
        originals.store(Received(incoming, len(content), checksum), collection_dir, name, ORIGIN)


def verification(originals: Originals, ending: threading.Event | None = None, **options: bool) -> Verification:
    choices = {"adopt": False, "accept": False, **options}
    return Verification(originals, RateLimit(None, ending or threading.Event()), client="test", **choices)


def found(originals: Originals, resume: bool = False, **options: bool) -> dict[str, tuple[str, ...]]:
    run = verification(originals, **options)
    return {f"{finding.collection_dir}/{finding.name}": finding.kinds for finding in run.run(resume)}


def test_untouched_files_pass_verification(originals: Originals) -> None:
    put(originals, "a.jpg", pictures.jpeg())
    put(originals, "b.pdf", pictures.pdf())
    put(originals, "c", b"anything", "fish")
    assert found(originals) == {}


def test_each_kind_of_problem_is_reported_by_name(originals: Originals, tmp_path: Path) -> None:
    folder = tmp_path / "originals"
    for name in ("changed", "same size", "missing", "fine"):
        put(originals, name, b"stored")
    (folder / "changed").write_bytes(b"other bytes")
    status = (folder / "same size").stat()
    (folder / "same size").write_bytes(b"Stored")
    os.utime(folder / "same size", ns=(status.st_atime_ns, status.st_mtime_ns))
    (folder / "missing").unlink()
    (folder / "unknown").write_bytes(b"by hand")
    put(originals, "empty", b"")
    put(originals, "misnamed.jpg", pictures.encoded(pictures.scene(8, 8), "PNG"))
    assert found(originals) == {
        "/changed": (fixity.CHANGED,),
        "/same size": (fixity.CHANGED,),
        "/missing": (fixity.MISSING,),
        "/unknown": (fixity.UNKNOWN,),
        "/empty": (fixity.EMPTY,),
        "/misnamed.jpg": (fixity.MISNAMED,),
    }


def test_an_unreadable_file_is_reported_and_the_others_are_verified(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(originals, "bad sector", b"x")
    put(originals, "fine", b"x")
    read = Verification._read

    def fail(self: Verification, stored: object) -> object:
        if os.readlink(f"/proc/self/fd/{stored.file.fileno()}").endswith("bad sector"):  # type: ignore[attr-defined]
            raise OSError(5, "Input/output error")
        return read(self, stored)  # type: ignore[arg-type]

    monkeypatch.setattr(Verification, "_read", fail)
    assert found(originals) == {"/bad sector": (fixity.UNREADABLE,)}


def test_a_deleted_file_is_not_missing_and_one_copied_back_by_hand_is_unknown(
    originals: Originals, tmp_path: Path
) -> None:
    put(originals, "a", b"x")
    originals.delete("", "a", ORIGIN)
    assert found(originals) == {}
    (tmp_path / "originals/a").write_bytes(b"x")
    assert found(originals) == {"/a": (fixity.UNKNOWN,)}


def test_without_a_journal_every_file_is_unknown_until_it_is_adopted(originals: Originals, tmp_path: Path) -> None:
    import shutil

    put(originals, "a", b"a")
    put(originals, "b", b"b", "fish")
    shutil.rmtree(tmp_path / ".asset-server/journal")
    assert found(originals) == {"/a": (fixity.UNKNOWN,), "fish/b": (fixity.UNKNOWN,)}
    assert found(originals, adopt=True) == {}
    assert found(originals) == {}
    (tmp_path / "originals/a").write_bytes(b"A")
    assert found(originals, adopt=True) == {"/a": (fixity.CHANGED,)}, "a change is not adopted"


def test_an_interrupted_run_resumes(originals: Originals, tmp_path: Path) -> None:
    for number in range(10):
        put(originals, f"{number}", b"x")
    for number in range(10):
        (tmp_path / f"originals/{number}").write_bytes(b"y")
    ending, run = threading.Event(), None
    run = verification(originals, ending)
    seen = set()
    with pytest.raises(Interrupted):
        for finding in run.run(resume=False):
            seen.add(finding.name)
            if len(seen) == 4:
                ending.set()
    assert run.summary.files == 4
    rest = verification(originals)
    assert {finding.name for finding in rest.run(resume=True)} == {str(number) for number in range(10)}
    assert rest.summary.bytes == 6, "what was read before is not read again"
    assert rest.summary.findings == {fixity.CHANGED: 10}, "but reported"
    last = schedule.last_run(originals)
    assert last is not None
    assert last["ended"] is not None


def test_files_that_change_during_the_run_are_not_reported(originals: Originals) -> None:
    for number in range(5):
        put(originals, f"{number}", bytes(200_000))
    done = threading.Event()

    def change() -> None:
        turn = 0
        while not done.is_set():
            name, turn = f"{turn % 5}", turn + 1
            if turn % 3:
                put(originals, name, bytes([turn % 250]) * 200_000)
            else:
                originals.delete("", name, ORIGIN)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(30):
            assert found(originals) == {}
    finally:
        done.set()
        changer.join()


def test_the_server_verifies_when_the_interval_has_passed(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(originals, "a", b"a")
    (tmp_path / "originals/hand").write_bytes(b"copied in")
    caplog.set_level("INFO")
    verifier = Verifier(originals, days=30)
    verifier.round(threading.Event())
    assert "verification finished" in caplog.text
    known = originals.journal.latest("", "hand")
    assert known is not None
    assert known.operation == "adopted"
    caplog.clear()
    (tmp_path / "originals/a").write_bytes(b"A")
    verifier.round(threading.Event())
    assert caplog.text == "", "half of the thirty days have not gone by"
    long_ago = ("UPDATE runs SET began_ns = began_ns - ?", (16 * 86_400 * 10**9,))
    originals.journal.write(*long_ago)
    verifier.round(threading.Event())
    assert "the content does not match the stored checksum" in caplog.text


def test_a_file_whose_event_has_no_checksum_is_unknown(originals: Originals, tmp_path: Path) -> None:
    (tmp_path / "originals/a").write_bytes(b"x")
    originals.journal.record(Event("restored", "", "a"))
    assert found(originals, adopt=True) == {}
    known = originals.journal.latest("", "a")
    assert known is not None
    assert known.sha256 is not None


def unavailable(times: int, real: Callable[..., StoredFile]) -> Callable[..., StoredFile]:
    """A store that cannot be reached for this many calls."""
    left = [times]

    def open_original(collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        left[0] -= 1
        if left[0] >= 0:
            raise Unavailable("The file storage cannot be reached.")
        return real(collection_dir, name, reads)

    return open_original


def test_a_store_that_cannot_be_reached_is_an_error_and_not_a_good_result(
    originals: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(originals, "a", b"a")
    monkeypatch.setattr(originals.storage, "open_original", unavailable(3, originals.storage.open_original))
    with pytest.raises(Unavailable):
        found(originals)
    last = schedule.last_run(originals)
    assert last is not None
    assert last["ended"] is None


def test_a_store_that_cannot_be_reached_twice_is_tried_again(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(originals, "a", b"a")
    (tmp_path / "originals/a").write_bytes(b"A")
    monkeypatch.setattr(originals.storage, "open_original", unavailable(2, originals.storage.open_original))
    assert found(originals) == {"/a": (fixity.CHANGED,)}


def test_findings_of_earlier_runs_do_not_stay(originals: Originals, tmp_path: Path) -> None:
    for name in ("deleted", "mended", "changed"):
        put(originals, name, b"right")
        (tmp_path / "originals" / name).write_bytes(b"wrong")
    assert len(found(originals)) == 3
    put(originals, "mended", b"right")
    originals.delete("", "deleted", ORIGIN)
    assert found(originals) == {"/changed": (fixity.CHANGED,)}
    with originals.journal.reading("SELECT name, finding FROM checks ORDER BY name") as rows:
        assert list(rows) == [("changed", "changed"), ("mended", "")]


@pytest.mark.parametrize("change", ["upload", "delete"])
def test_a_change_in_progress_is_awaited_and_not_reported(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    waits, flock, results = threading.Event(), fcntl.flock, []

    def note(descriptor: int, operation: int) -> None:
        waits.set()
        flock(descriptor, operation)

    put(originals, "a", b"old")
    path = tmp_path / "originals/a"
    verifying = threading.Thread(target=lambda: results.append(found(originals)))
    with originals.storage.locked_original("", "a"):
        if change == "upload":
            path.write_bytes(b"newer")
            event = Event("replaced", "", "a", "", 5, hashlib.sha256(b"newer").hexdigest())
        else:
            path.unlink()
            event = Event("deleted", "", "a")
        monkeypatch.setattr(fcntl, "flock", note)
        verifying.start()
        while verifying.is_alive() and not waits.wait(0.05):
            pass
        assert originals.journal.record(event)
    verifying.join()
    assert waits.is_set()
    assert results == [{}]


def test_a_new_run_reads_everything_again_and_a_resumed_one_only_if_the_last_was_interrupted(
    originals: Originals,
) -> None:
    put(originals, "a", b"aaa")
    for resume in (False, True, False):
        run = verification(originals)
        assert list(run.run(resume)) == []
        assert (run.summary.files, run.summary.bytes) == (1, 3)
    with originals.journal.reading("SELECT COUNT(*), COUNT(ended_ns) FROM runs") as rows:
        assert list(rows) == [(3, 3)]


def test_an_interrupted_run_is_resumed_only_if_asked(originals: Originals) -> None:
    put(originals, "a", b"aaa")
    ending = threading.Event()
    ending.set()
    with pytest.raises(Interrupted):
        list(verification(originals, ending).run(resume=False))
    for resume in (False, True):
        assert list(verification(originals).run(resume)) == []
    with originals.journal.reading("SELECT COUNT(*) FROM runs") as rows:
        assert list(rows) == [(3,)]


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    originals: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(originals, "a", b"right")
    (tmp_path / "originals/a").write_bytes(b"wrong")
    read, contents = Verification._read, []

    def mend(self: Verification, stored: StoredFile) -> tuple[str, bytes]:
        result = read(self, stored)
        contents.append(result[1])
        (tmp_path / "originals/a").write_bytes(b"right")
        return result

    monkeypatch.setattr(Verification, "_read", mend)
    assert found(originals) == {}
    assert contents == [b"wrong", b"right"]


def test_the_progress_has_the_size_of_each_file(originals: Originals) -> None:
    put(originals, "a", b"aaa")
    put(originals, "b", b"bbbbb", "fish")
    sizes: list[int] = []
    assert list(verification(originals).run(False, sizes.append)) == []
    assert sorted(sizes) == [3, 5]


def test_a_missing_file_is_accepted_as_gone_and_a_changed_one_as_it_is(originals: Originals, tmp_path: Path) -> None:
    for name in ("missing", "changed"):
        put(originals, name, b"stored")
    (tmp_path / "originals/missing").unlink()
    (tmp_path / "originals/changed").write_bytes(b"other")
    assert len(found(originals, adopt=True)) == 2
    run = verification(originals, accept=True)
    assert list(run.run(resume=False)) == []
    assert run.summary.adopted == 2
    assert found(originals) == {}
    missing, changed = (originals.journal.latest("", name) for name in ("missing", "changed"))
    assert missing is not None
    assert changed is not None
    assert (missing.operation, missing.client) == ("gone", "test")
    assert (changed.operation, changed.sha256) == ("adopted", hashlib.sha256(b"other").hexdigest())


def test_an_interrupted_run_resumes_without_regard_to_the_time_of_the_next(
    originals: Originals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    put(originals, "a", b"a")
    verifier, ending = Verifier(originals, days=30), threading.Event()
    ending.set()
    verifier.round(ending)
    assert "verification finished" not in caplog.text
    verifier.round(threading.Event())
    assert "resumed" in caplog.text
    assert "verification finished" in caplog.text
    caplog.clear()
    originals.journal.write("UPDATE runs SET began_ns = began_ns + ?", (3600 * 10**9,))
    verifier.round(threading.Event())
    assert "started" in caplog.text, "the clock was set back"
