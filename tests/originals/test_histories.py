"""Random histories: whatever is uploaded, deleted and restored, and whenever the process dies, nothing is lost.

Hypothesis draws the history; a model beside it says what each name must hold and what must be in
the trash. A crash takes place at a call of the operating system that changes something, or around
the event in the journal.
"""

import builtins
import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from assetstore.concurrency.rate_limit import RateLimit
from assetstore.errors import AssetError, NotFound
from assetstore.fixity.verification import Verification
from assetstore.journal import events
from assetstore.journal.events import Event, Origin
from assetstore.journal.journal import Journal
from assetstore.originals.service import Originals, Received
from assetstore.storage.disk import trash as disk_trash
from assetstore.storage.disk.store import disk_store
from assetstore.storage.disk.trash import DiskTrash
from assetstore.storage.models import TrashEntry

Key = tuple[str, str]

ORIGIN = Origin("", "test")
COLLECTION_DIRS = ["", "fish"]

#: The second is so long that its entries in the trash need a folder. The third is left alone by
#: crashes and hands, so that the journal must be right about it to the end.
KEYS = [("", "a"), ("fish", "ü" * 127 + "x"), ("", "calm")]
CALM = KEYS[-1]

#: Some of the same size, so that nothing can be told apart by that.
CONTENTS = [letter * size for size in (1, 40, 5000) for letter in (b"1", b"2", b"3", b"4")]

#: Where SQLite does not wait for a disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

#: What can be reached apart from calls of the system.
BEFORE_RECORD, AFTER_RECORD = "before the event is recorded", "after the event is recorded"

#: Most operations make between 10 and 20 calls.
POINTS = st.sampled_from([*[None] * 25, *range(1, 21), BEFORE_RECORD, AFTER_RECORD])

_CHANGING = ("rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "mkdir", "fsync", "utime", "chmod")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Disk:
    """What a file system cannot do: the names of calls, and with which error they fail."""

    name: str
    errors: Mapping[str, int]

    @property
    def leaves_gaps(self) -> bool:
        """Whether a name may be absent for an instant while it is replaced."""
        return {"link", "exchange"} <= set(self.errors)


MODERN = Disk("links", {})
WITHOUT_LINKS = Disk("no links", {"link": errno.EPERM})
OLD = Disk("neither links nor exchanges", {"link": errno.EOPNOTSUPP, "exchange": errno.EINVAL})
DISKS = [MODERN, WITHOUT_LINKS, OLD]


class Crash(BaseException):
    """The process is gone."""


class System:
    """The calls that change something; lets the process die at one of them, or the call fail.

    Once the process is dead, each further call raises, too: the dead clean nothing up.
    """

    def __init__(self) -> None:
        self.disk = MODERN
        self.fails_with = 0
        self._end: int | str | None = None
        self.calls = 0
        self._is_dead = False
        self._descriptors: list[tuple[int, os.stat_result]] = []

    @contextlib.contextmanager
    def running(self, end: int | str | None) -> Iterator[None]:
        """Runs a process that dies, or whose call fails, at this point."""
        self._end, self.calls, self._is_dead = end, 0, False
        with contextlib.ExitStack() as patches:
            for name in _CHANGING:
                call = self._changing(name, getattr(os, name))
                patches.enter_context(mock.patch.object(os, name, staticmethod(call)))
            call = self._changing("exchange", disk_trash.exchange)
            patches.enter_context(mock.patch.object(disk_trash, "exchange", call))
            patches.enter_context(mock.patch.object(os, "open", self._opening(os.open)))
            patches.enter_context(mock.patch.object(os, "write", self._writing(os.write)))
            for module in (builtins, io):
                patches.enter_context(mock.patch.object(module, "open", self._opening_by_mode(io.open)))
            yield
        self._end = None

    def reach(self, point: str) -> None:
        """Passes a point that is no call of the system."""
        if self._is_dead or point == self._end:
            self._is_dead = True
            raise Crash

    def bury(self) -> None:
        """Gives back what the dead process had open, and with it its locks."""
        self._end, self._is_dead = None, False
        for descriptor, status in self._descriptors:
            if _is_open(descriptor, status):
                os.close(descriptor)
        self._descriptors.clear()

    def _count(self) -> None:
        self.calls += 1
        if self._is_dead or self.calls == self._end:
            if self.fails_with:
                raise OSError(self.fails_with, os.strerror(self.fails_with))
            self._is_dead = True
            raise Crash

    def _changing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._count()
            if name in self.disk.errors:
                raise OSError(self.disk.errors[name], os.strerror(self.disk.errors[name]))
            # Syncing is what the test can do without: the machine does not lose power here.
            return None if name == "fsync" else real(*arguments, **options)

        return call

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if not flags & _WRITING:
                return real(path, flags, *arguments, **options)
            self._count()
            descriptor = real(path, flags, *arguments, **options)
            self._descriptors.append((descriptor, os.fstat(descriptor)))
            return descriptor

        return call

    def _opening_by_mode(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if set(mode) & set("wax+"):
                self._count()
            return real(file, mode, *arguments, **options)

        return call

    def _writing(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(descriptor: int, data: Any) -> int:
            half = bytes(data)[: (len(data) + 1) // 2]
            try:
                self._count()
            except Crash:
                real(descriptor, half)
                raise
            return real(descriptor, half)

        return call


def _is_open(descriptor: int, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), status)
    except OSError:
        return False


class Histories(RuleBasedStateMachine):
    """A store, what is done to it, and what it must hold therefore.

    Fields:
        content: what each name must hold; a name that must be absent is not in it.
        owed: how many times each content must be in the trash at least.
        touched: names that a crash or a person has changed; the journal may be wrong about these.
    """

    keeps_trash = True

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="histories-", dir=MEMORY))
        self.system = System()
        self.content: dict[Key, bytes] = {}
        self.owed: dict[Key, Counter[bytes]] = {key: Counter() for key in KEYS}
        self.touched: set[Key] = set()
        self.gone: list[TrashEntry] = []
        self.originals = self.opened(keeps_trash=True)

    def teardown(self) -> None:
        self.originals.journal.close()
        shutil.rmtree(self.base)

    def opened(self, keeps_trash: bool) -> Originals:
        store = disk_store(self.base, "originals", "thumbnails", COLLECTION_DIRS)
        store.space.prepare()
        return Originals(store, WatchedJournal(self.base, self.system), COLLECTION_DIRS, keeps_trash)

    # What is done.

    @initialize(disk=st.sampled_from(DISKS))
    def begin(self, disk: Disk) -> None:
        """Begins on a file system that can do more or less, and with something in the trash."""
        self.system.disk = disk
        for key, content in zip(KEYS, CONTENTS, strict=False):
            self.send(key, content)
            self.originals.delete(*key, ORIGIN)
            self.owed[key][content] += 1
        self.restart(None)

    @rule(key=st.sampled_from(KEYS), content=st.sampled_from(CONTENTS), end=POINTS)
    def upload(self, key: Key, content: bytes, end: int | str | None) -> None:
        old = self.content.get(key)
        replaced = self.run(key, end, lambda: self.send(key, content))
        if replaced is None:
            self.settle(key, content)
            return
        assert replaced is (old is not None)
        self.change(key, content)

    @rule(key=st.sampled_from(KEYS), end=POINTS)
    def delete(self, key: Key, end: int | str | None) -> None:
        existed = self.run(key, end, lambda: self.originals.delete(*key, ORIGIN))
        if existed is None:
            self.settle(key, None)
            return
        assert existed is (key in self.content)
        self.change(key, None)

    @precondition(lambda self: any(self.originals.trash()))
    @rule(number=st.integers(0, 15), end=POINTS)
    def restore(self, number: int, end: int | str | None) -> None:
        entry, key, content = self.chosen(number)
        old = self.content.get(key)
        replaced = self.run(key, end, lambda: self.originals.restore(entry, ORIGIN))
        if replaced is None:
            self.settle(key, content)
            if old != self.content.get(key) == content:
                self.owed[key][content] -= 1
            return
        assert replaced is (old is not None)
        self.change(key, content)
        self.owed[key][content] -= 1
        self.gone.append(entry)
        assert entry not in self.originals.trash()

    @precondition(lambda self: any(self.originals.trash()))
    @rule(number=st.integers(0, 15), end=POINTS)
    def purge(self, number: int, end: int | str | None) -> None:
        entry, key, content = self.chosen(number)
        existed = self.run(key, end, lambda: self.originals.purge(entry, ORIGIN))
        assert existed in (True, None)
        if existed is None:
            self.settle(key, self.content.get(key))
        if entry not in self.originals.trash():
            self.owed[key][content] -= 1
            self.gone.append(entry)
        else:
            assert existed is None

    @precondition(lambda self: self.gone)
    @rule(number=st.integers(0, 15))
    def restore_and_purge_what_is_gone(self, number: int) -> None:
        entry = self.gone[number % len(self.gone)]
        with self.system.running(None):
            with pytest.raises(NotFound):
                self.originals.restore(entry, ORIGIN)
            assert self.originals.purge(entry, ORIGIN) is False

    @rule(key=st.sampled_from(KEYS[:-1]), content=st.sampled_from(CONTENTS), in_place=st.booleans())
    def copy_in_by_hand(self, key: Key, content: bytes, in_place: bool) -> None:
        path = self.path(key)
        written = path if in_place else self.base / "from elsewhere"
        written.write_bytes(content)
        os.rename(written, path)
        self.content[key] = content
        self.touched.add(key)

    @rule(key=st.sampled_from(KEYS[:-1]))
    def remove_by_hand(self, key: Key) -> None:
        self.path(key).unlink(missing_ok=True)
        self.content.pop(key, None)
        self.touched.add(key)

    @rule(end=POINTS)
    def restart(self, end: int | str | None) -> None:
        self.originals.journal.close()
        self.age_leftovers()
        opened = self.run(None, end, lambda: self.opened(self.keeps_trash))
        self.originals = opened or self.originals

    @rule()
    def accept_what_is_there(self) -> None:
        list(self.verification(accept=True).run(resume=False))
        assert list(self.verification(accept=False).run(resume=False)) == []
        for key in KEYS:
            self.agree(key)

    # How the model follows.

    def run(self, key: Key | None, end: int | str | None, act: Callable[[], Any]) -> Any:
        """Does something up to a crash; returns None after that, with everything up again."""
        try:
            with self.system.running(None if key == CALM else end):
                return act()
        except Crash:
            self.system.bury()
            self.restart(None)
            return None

    def send(self, key: Key, content: bytes) -> bool:
        with self.originals.storage.receive(key[0], len(content)) as incoming:
            incoming.write(content)
            received = Received(incoming, len(content), hashlib.sha256(content).hexdigest())
            return self.originals.store(received, *key, ORIGIN)

    def change(self, key: Key, new: bytes | None) -> None:
        """Notes that a name stands for something else now."""
        if key in self.content and self.keeps_trash:
            self.owed[key][self.content[key]] += 1
        self.content.pop(key, None)
        if new is not None:
            self.content[key] = new

    def settle(self, key: Key, new: bytes | None) -> None:
        """Notes whether the disk has the old or the new content after a crash; nothing else is right."""
        old, found = self.content.get(key), self.found(key)
        is_between = self.system.disk.leaves_gaps and self.keeps_trash and found is None
        assert found in (old, new) or is_between
        if found != old:
            self.change(key, found)
        self.touched.add(key)

    def chosen(self, number: int) -> tuple[TrashEntry, Key, bytes]:
        entries = list(self.originals.trash())
        entry = entries[number % len(entries)]
        return entry, (entry.collection_dir, entry.name), self.path_in_trash(entry).read_bytes()

    def path_in_trash(self, entry: TrashEntry) -> Path:
        return DiskTrash(entry.collection_dir, self.base / entry.collection_dir / "originals").path(entry)

    def path(self, key: Key) -> Path:
        return self.base / key[0] / "originals" / key[1]

    def found(self, key: Key) -> bytes | None:
        try:
            with self.originals.storage.open_original(*key) as stored:
                return stored.file.read()
        except NotFound:
            return None

    def age_leftovers(self) -> None:
        """Lets two days go by for what lies in the private folders, so that it is swept."""
        for collection_dir in COLLECTION_DIRS:
            for path in (self.base / collection_dir).glob("*/.asset-server/*"):
                os.utime(path, (0, 0))

    def verification(self, accept: bool) -> Verification:
        rate_limit = RateLimit(None, threading.Event())
        return Verification(self.originals, rate_limit, adopt=accept, accept=accept, client="test")

    # What must hold.

    @invariant()
    def names_hold_what_they_must(self) -> None:
        assert {key: self.found(key) for key in KEYS} == {key: self.content.get(key) for key in KEYS}
        for collection_dir in COLLECTION_DIRS:
            there = set(os.listdir(self.base / collection_dir / "originals"))
            assert there == {".asset-server", *(name for other, name in self.content if other == collection_dir)}

    @invariant()
    def what_went_is_in_the_trash(self) -> None:
        kept: dict[Key, Counter[bytes]] = {key: Counter() for key in KEYS}
        for entry in self.originals.trash():
            content = self.path_in_trash(entry).read_bytes()
            assert entry.size == len(content)
            kept[entry.collection_dir, entry.name][content] += 1
        for key in KEYS:
            assert +self.owed[key] <= kept[key], key
            assert key in self.touched or +self.owed[key] == kept[key], "once, not twice"

    @invariant()
    def the_journal_is_right(self) -> None:
        for key in set(KEYS) - self.touched:
            self.agree(key)
        wrong = {
            (finding.collection_dir, finding.name) for finding in self.verification(accept=False).run(resume=False)
        }
        assert wrong <= self.touched

    def agree(self, key: Key) -> None:
        """The journal says of this name what the disk says."""
        latest, content = self.originals.journal.latest(*key), self.content.get(key)
        if content is None:
            assert latest is None or latest.operation not in events.PRESENT
            return
        assert latest is not None
        assert latest.operation in events.PRESENT
        assert (latest.size, latest.sha256) == (len(content), hashlib.sha256(content).hexdigest())


class WatchedJournal(Journal):
    """A journal before and after whose events the process can die."""

    def __init__(self, base: Path, system: System) -> None:
        super().__init__(base)
        self._system = system

    def record(self, event: Event) -> bool:
        self._system.reach(BEFORE_RECORD)
        is_done = super().record(event)
        self._system.reach(AFTER_RECORD)
        assert is_done
        return is_done


class HistoriesWithoutTrash(Histories):
    """The same with TRASH_DAYS = 0; what was in the trash before stays there."""

    keeps_trash = False


MACHINES = settings(
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("examples", [15, pytest.param(200, marks=pytest.mark.acceptance)])
def test_no_acknowledged_version_is_ever_lost(examples: int) -> None:
    run_state_machine_as_test(Histories, settings=settings(MACHINES, max_examples=examples))


@pytest.mark.parametrize("examples", [10, pytest.param(200, marks=pytest.mark.acceptance)])
def test_without_a_trash_a_name_still_has_the_old_or_the_new_version(examples: int) -> None:
    few_steps = settings(MACHINES, max_examples=examples, stateful_step_count=25)
    run_state_machine_as_test(HistoriesWithoutTrash, settings=few_steps)


# Every point of every operation, one after the other.

#: What the name holds and what is in the trash, before an operation and when it has gone well.
State = tuple[bytes | None, list[bytes]]
OPERATIONS: dict[str, tuple[State, State]] = {
    "store": ((None, [b"trashed"]), (b"new", [b"trashed"])),
    "replace": ((b"old", [b"trashed"]), (b"new", [b"old", b"trashed"])),
    "delete": ((b"old", [b"trashed"]), (None, [b"old", b"trashed"])),
    "restore": ((None, [b"trashed"]), (b"trashed", [])),
    "restore over": ((b"old", [b"trashed"]), (b"trashed", [b"old"])),
    "purge": ((b"old", [b"trashed"]), (b"old", [])),
}
NAMES = pytest.mark.parametrize("key", KEYS[:2], ids=["short name", "long name"])
ON_ALL_DISKS = pytest.mark.parametrize(
    "disk",
    [MODERN, pytest.param(WITHOUT_LINKS, marks=pytest.mark.acceptance), OLD],
    ids=lambda disk: disk.name,
)


class Victim(Histories):
    """A store for one operation on one name."""

    def __init__(self, operation: str, key: Key) -> None:
        super().__init__()
        self.operation = operation
        self.key = key
        self.send(key, b"trashed")
        self.originals.delete(*key, ORIGIN)
        if OPERATIONS[operation][0][0]:
            self.send(key, b"old")
        assert self.state() == OPERATIONS[operation][0]

    def state(self) -> State:
        return self.found(self.key), sorted(self.path_in_trash(entry).read_bytes() for entry in self.originals.trash())

    def act(self) -> None:
        if self.operation in ("store", "replace"):
            self.send(self.key, b"new")
        elif self.operation == "delete":
            self.originals.delete(*self.key, ORIGIN)
        elif self.operation == "purge":
            self.originals.purge(next(self.originals.trash()), ORIGIN)
        else:
            self.originals.restore(next(self.originals.trash()), ORIGIN)


@dataclass(frozen=True)
class Outcome:
    """What came of an operation in which something went wrong at *end*; *error* None if it went well all the same."""

    end: int | str
    error: BaseException | None
    state: State
    is_journaled: bool

    def has_all(self, operation: str) -> bool:
        """Whether each version that was there before is still somewhere."""
        (name, trash), _ = OPERATIONS[operation]
        must_be_kept = {name, *trash} - ({b"trashed"} if operation == "purge" else set())
        return must_be_kept <= {self.state[0], *self.state[1], None}


def outcomes(operation: str, key: Key, disk: Disk, fails_with: int) -> Iterator[tuple[Victim, Outcome]]:
    """Lets the process die at each point, or each call fail with this number."""
    ends: list[int | str] = [] if fails_with else [BEFORE_RECORD, AFTER_RECORD]
    for end in (*ends, *range(1, 100)):
        victim = Victim(operation, key)
        victim.system.disk, victim.system.fails_with = disk, fails_with
        events_before = len(list(victim.originals.journal.search()))
        error: BaseException | None = None
        try:
            with victim.system.running(end):
                victim.act()
        except (Crash, Exception) as raised:
            error = raised
        victim.system.bury()
        is_journaled = len(list(victim.originals.journal.search())) > events_before
        try:
            yield victim, Outcome(end, error, victim.state(), is_journaled)
        finally:
            victim.teardown()
        if error is None and victim.system.calls < int(end):
            return  # there are no more calls


@ON_ALL_DISKS
@NAMES
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_crash_at_any_step_loses_no_version(operation: str, key: Key, disk: Disk) -> None:
    before, after = OPERATIONS[operation]
    is_gone_between = disk.leaves_gaps and operation in ("replace", "restore over")
    right = {before[0], after[0], *([None] if is_gone_between else [])}
    deaths = 0
    for victim, outcome in outcomes(operation, key, disk, fails_with=0):
        deaths += outcome.error is not None
        victim.restart(None)
        assert victim.state() == outcome.state
        assert outcome.state[0] in right, outcome
        assert outcome.has_all(operation), outcome
        assert outcome.error or (outcome.state, outcome.is_journaled) == (after, True)
        # And life goes on.
        victim.send(key, b"next")
        assert victim.found(key) == b"next"
        assert Outcome(outcome.end, None, victim.state(), True).has_all(operation), outcome
    assert deaths >= 5


@ON_ALL_DISKS
@NAMES
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failure_of_any_system_call_loses_no_version(operation: str, key: Key, disk: Disk) -> None:
    after = OPERATIONS[operation][1]
    for _, outcome in outcomes(operation, key, disk, fails_with=errno.EIO):
        assert outcome.has_all(operation), outcome
        assert outcome.error or (outcome.state, outcome.is_journaled) == (after, True)


@ON_ALL_DISKS
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failed_change_is_undone_or_complete_and_journaled(operation: str, disk: Disk) -> None:
    before, after = OPERATIONS[operation]
    for _, outcome in outcomes(operation, KEYS[0], disk, errno.EIO):
        if outcome.is_journaled:
            assert outcome.state == after, outcome
            continue
        assert outcome.state[0] == before[0], outcome
        # Where names cannot be exchanged, the failure may be that the new one does not come back from the trash.
        assert outcome.state[1] == before[1] or disk.leaves_gaps, outcome


@ON_ALL_DISKS
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_failure_has_a_public_message(operation: str, disk: Disk) -> None:
    for _, outcome in outcomes(operation, KEYS[0], disk, errno.EIO):
        assert outcome.error is None or isinstance(outcome.error, AssetError), outcome
