"""fixity.unjournaled: after a crash between trash and journal, the missing entry is reported, and added on request."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.fixity import verification as fixity
from assetstore.originals import point_in_time
from assetstore.originals.service import Originals
from tests.fixity.test_verification import ORIGIN, found, put, verification
from tests.support import PROJECT, originals_in

#: Deletes or replaces the original "a", and is killed where the journal would hear of it.
KILLED_BEFORE_THE_NOTE = """
import hashlib, os, signal, sys
from pathlib import Path
from assetstore.journal.events import Origin
from assetstore.journal.journal import Journal
from assetstore.originals.service import Originals, Received
from assetstore.storage.disk.store import disk_store
base, act = sys.argv[1:]
store, journal = disk_store(Path(base), "originals", "thumbnails", [""]), Journal(Path(base))
originals = Originals(store, journal, [""], keeps_trash=True)
journal.record = lambda event: os.kill(os.getpid(), signal.SIGKILL)
if act == "delete":
    originals.delete("", "a", Origin("", "killed"))
with store.originals.receive("", None) as incoming:
    incoming.write(b"newer")
    originals.store(Received(incoming, 5, hashlib.sha256(b"newer").hexdigest()), "", "a", Origin("", "killed"))
"""


@pytest.fixture
def originals(tmp_path: Path) -> Iterator[Originals]:
    with originals_in(tmp_path, "") as store:
        yield store


def killed_in(act: str, base: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_NOTE, str(base), act], cwd=PROJECT, check=False)
    assert run.returncode == -signal.SIGKILL


@pytest.mark.parametrize("act", ["delete", "replace"])
def test_a_change_unjournaled_because_of_a_crash_is_found_in_the_trash(
    originals: Originals, tmp_path: Path, act: str
) -> None:
    put(originals, "a", b"old")
    killed_in(act, tmp_path)
    (finding,) = verification(originals).run(resume=False)
    assert (finding.name, finding.kinds) == ("a", (fixity.UNJOURNALED,))
    (entry,) = originals.trash()
    assert finding.detail.startswith("its previous version has been in the trash since 20")
    assert found(originals, adopt=True) == {}, "noted"
    assert found(originals) == {}
    known = originals.journal.latest("", "a")
    assert known is not None
    assert known.operation == ("deleted" if act == "delete" else "adopted")
    assert originals.sha256_of(entry) is not None, "the trash still knows its checksum"
    originals.restore(entry, ORIGIN)
    assert found(originals) == {}


def test_a_delete_journaled_late_has_the_original_time(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"old")
    killed_in("delete", tmp_path)
    (entry,) = originals.trash()
    assert found(originals, accept=True) == {}, "whoever accepts missing files accepts this, too"
    known = originals.journal.latest("", "a")
    assert known is not None
    assert (known.time_ns, known.client) == (entry.removed_ns, "unknown, noted by test")
    assert [past.name for past in point_in_time.existed(originals, entry.removed_ns - 1)] == ["a"]
    assert list(point_in_time.existed(originals, entry.removed_ns)) == []


def test_listings_of_a_past_time_do_not_depend_on_the_late_event(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"old")
    killed_in("delete", tmp_path)
    (entry,) = originals.trash()
    (before,) = point_in_time.existed(originals, entry.removed_ns - 1)
    assert (before.name, before.where, before.entry) == ("a", point_in_time.IN_TRASH, entry)
    assert list(point_in_time.existed(originals, entry.removed_ns)) == []


def test_a_file_removed_by_hand_is_missing_whatever_is_in_the_trash(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"old")
    put(originals, "a", b"newer")
    (tmp_path / "originals/a").unlink()
    assert found(originals, adopt=True) == {"/a": (fixity.MISSING,)}


def test_a_corrupted_file_is_changed_whatever_is_in_the_trash(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"old")
    put(originals, "a", b"newer")
    (tmp_path / "originals/a").write_bytes(b"Newer")
    assert found(originals, adopt=True) == {"/a": (fixity.CHANGED,)}


def test_an_entry_left_by_a_crash_before_a_replacement_hides_no_change(originals: Originals, tmp_path: Path) -> None:
    put(originals, "a", b"old")
    file = tmp_path / "originals/a"
    in_trash = tmp_path / "originals/.asset-server/trash/2199-11-24T10.31.07.123456789-replaced-a"
    os.link(file, in_trash)
    status = file.stat()
    file.write_bytes(b"Old")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert found(originals, adopt=True) == {"/a": (fixity.CHANGED,)}, "a second name of today's file"
    in_trash.unlink()
    in_trash.write_bytes(b"new")
    assert found(originals, adopt=True) == {"/a": (fixity.CHANGED,)}, "bytes that came, and never took the name"
