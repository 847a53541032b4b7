"""Faults, with the real program: killed at any time, stopped under load, a disk that is full, read-only or lost.

What must hold through all of them: a name stands for one whole version or for none, what was
answered with 200 is true on disk, and who is refused reads a sentence.
"""

import contextlib
import errno
import http.client
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from assetstore.errors import ReadOnly, StorageFault
from assetstore.fixity.schedule import Verifier
from assetstore.journal.events import Event, Origin
from assetstore.journal.journal import Journal
from assetstore.originals.trash_retention import TrashKeeper
from assetstore.serving import signals
from assetstore.storage.disk import trash as disk_trash
from assetstore.storage.disk.store import disk_store
from tests import pictures
from tests.support import (
    KEY,
    PROJECT,
    Client,
    Response,
    multipart_body,
    originals_in,
    run_manage,
    two_free_ports,
    visible_files,
)
from tests.test_live import MEGABYTE, Program, children, counters

SEED = 20261124
PRIVATE = ".asset-server"

Mount = Callable[[Path, str], None]


@contextlib.contextmanager
def started(base: Path, *command: str, **environ: str) -> Iterator[tuple[Program, Client]]:
    """The program, started by a command of Python, and a client of it; nothing that happens may be new to it."""
    base.mkdir(exist_ok=True)
    defaults = {"BASE_DIR": str(base), "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY}
    program = Program({**defaults, **environ}, command)
    try:
        yield program, Client(program.port())
    finally:
        program.process.kill()
        program.ended()
    assert "Traceback" not in "".join(program.lines)


def serving(base: Path, **environ: str) -> AbstractContextManager[tuple[Program, Client]]:
    """The program as people start it, on a disk that may be filled to the last byte."""
    return started(base, "server.py", **{"RESERVED_BYTES": "0", **environ})


def upload_request(client: Client, name: str, content: bytes) -> bytes:
    """An upload as it goes over the wire."""
    body, content_type = multipart_body([("store", name), ("token", client.token(name)), ("f", ("f", content))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def delete_request(client: Client, name: str) -> bytes:
    """A delete as it goes over the wire."""
    body = urlencode({"filename": name, "token": client.token(name)}).encode()
    content_type = "application/x-www-form-urlencoded"
    head = f"POST /filedelete HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answered(connection: socket.socket) -> int:
    """The status of the answer; 0 if the connection breaks before there is one."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        answer.read()
    except (ConnectionError, http.client.HTTPException):
        return 0
    return answer.status


def read(client: Client, name: str) -> bytes | None:
    """What a client gets of an original; None if there is none."""
    answer = client.get("/fileget", type="O", filename=name)
    assert answer.status in (200, 404), answer
    return answer.body if answer.status == 200 else None


def on_disk(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def trash(base: Path, ending: str = "") -> list[Path]:
    """What is in the trash, oldest first."""
    folder = base / "originals" / PRIVATE / "trash"
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending)) if folder.exists() else []


def temporary_files(base: Path) -> list[Path]:
    """What unfinished requests have left in the private folders."""
    kept = {"trash", "sizes", "ballast"}
    folders = [base / "originals" / PRIVATE, base / "thumbnails" / PRIVATE]
    return [path for folder in folders if folder.exists() for path in folder.iterdir() if path.name not in kept]


def journal(base: Path) -> list[tuple[str, str]]:
    """Operation and name of all events in the journal."""
    with contextlib.closing(sqlite3.connect(base / PRIVATE / "journal/journal.sqlite")) as connection:
        return connection.execute("SELECT operation, name FROM events ORDER BY id").fetchall()


def assert_refused(answer: Response, status: int, base: Path) -> None:
    """The refusal is a sentence with a request id, for pages on other origins too, and says nothing of the inside."""
    assert answer.status == status, answer
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-timestamp"]
    assert answer.text.endswith(f". (Request {answer.headers['x-request-id']})")
    for secret in (str(base), "/", "Errno", "Traceback", "Error"):
        assert secret not in answer.text


# --- Killed at any moment ------------------------------------------------------------------------

#: 8 MB of which no part is like another.
BLOCK = random.Random(SEED).randbytes(8 * MEGABYTE)

#: The program, which kills itself just before its so manieth change of a file since a request began.
KILLED_BEFORE_A_STEP = f"""
import os, signal, sys
sys.path.insert(0, {str(PROJECT)!r})
import server
left, begun = int(os.environ.pop("STEP")), False
def watch(event, arguments):
    global left, begun
    creates = event == "open" and (arguments[2] or 0) & os.O_CREAT
    if creates and any(part in str(arguments[0]) for part in ("/originals/.asset-server/upload-", "/lock-")):
        begun = True
    if begun and (creates or event in ("os.rename", "os.link", "os.remove", "sqlite3.connect")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
sys.exit(server.main())
"""


def version(number: int) -> bytes:
    """Contents that differ from each other in every part."""
    shift = number * 10_007 % len(BLOCK)
    return BLOCK[shift:] + BLOCK[:shift]


@dataclass(frozen=True)
class Change:
    """What a request does to a name, from one content to another; None: there is no such file."""

    name: str
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)

    def prepare(self, base: Path) -> None:
        """Puts in place by hand what was before, with nothing else but a bystander."""
        for path in [*(base / "originals").glob("*"), *trash(base)]:
            if path.is_file():
                path.unlink()
        (base / "originals" / "bystander").write_bytes(b"untouched")
        if self.before is not None:
            (base / "originals" / self.name).write_bytes(self.before)

    def request(self, client: Client) -> bytes:
        if self.after is None:
            return delete_request(client, self.name)
        return upload_request(client, self.name, self.after)


def change(kind: str, number: int) -> Change:
    old, new = version(2 * number)[:MEGABYTE], version(2 * number + 1)
    return {
        "new": Change(f"{number}.tif", None, new),
        "replaced": Change("a.tif", old, new),
        "deleted": Change("a.tif", old, None),
    }[kind]


@dataclass(frozen=True)
class Moment:
    """When the server is killed.

    Fields:
        sent: after this share of the request was sent …
        pause: … and after this share of the time that it usually takes from there to the answer; None: after that.
        step: or just before the so manieth change of a file; 0: at no such step.
    """

    sent: float = 1
    pause: float | None = None
    step: int = 0


@dataclass(frozen=True)
class Story:
    """What happened; to be printed when it went wrong."""

    change: Change
    moment: Moment
    status: int
    seed: int = SEED


def random_moments(number: int) -> Iterator[Moment]:
    """Points of time in a request: before it, between its parts, in its file, at its end, and after it."""
    chance = random.Random(SEED)
    yield Moment(sent=0, pause=0)
    for turn in range(number - 2):
        if turn % 2:
            yield Moment(sent=chance.random(), pause=chance.choice([0, chance.random()]))
        else:
            yield Moment(pause=1.3 * chance.random())
    yield Moment()


def mortal(base: Path, moment: Moment | None, server: str) -> AbstractContextManager[tuple[Program, Client]]:
    """The program, which kills itself at a point that is one of its own steps."""
    if moment is None or not moment.step:
        return serving(base, SERVER=server)
    return started(base, "-c", KILLED_BEFORE_A_STEP, STEP=str(moment.step))


def usual_pause(base: Path, kind: str, server: str) -> float:
    """How long it takes from the last byte of such a request to its answer."""
    pauses = []
    with serving(base, SERVER=server) as (_, client):
        for number in range(3):
            changed = change(kind, number)
            changed.prepare(base)
            request = changed.request(client)
            with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
                connection.sendall(request)
                began = time.monotonic()
                assert answered(connection) == 200
            pauses.append(time.monotonic() - began)
    return sorted(pauses)[1]


def killed(program: Program, client: Client, request: bytes, moment: Moment, usual: float) -> int:
    """Sends a request, and kills the server at that time; returns the status of the answer, if there was one."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request[: int(len(request) * moment.sent)])
        if moment.pause is not None:
            time.sleep(moment.pause * usual)
            workers = children(program.process.pid)  # of Granian; Paste has one process only
            for process in (program.process.pid, *workers):
                os.kill(process, signal.SIGKILL)
            program.process.wait()
        return answered(connection)


def crash(base: Path, kind: str, moments: Iterable[Moment], usual: float = 0, server: str = "paste") -> list[Story]:
    """Kills one server after the other; each next one shows what the one before has left.

    Ends early when the program had no such step any more.
    """
    stories: list[Story] = []
    for number, moment in enumerate(itertools.chain(moments, [None])):
        with mortal(base, moment, server) as (program, client):
            if stories:
                assert_nothing_is_half_done(base, client, stories[-1])
                if moment is None or (stories[-1].moment.step and stories[-1].status):
                    break
            assert moment is not None
            changed = change(kind, number)
            changed.prepare(base)
            status = killed(program, client, changed.request(client), moment, usual)
            stories.append(Story(changed, moment, status))
    return stories


def assert_nothing_is_half_done(base: Path, client: Client, story: Story) -> None:
    changed, originals = story.change, base / "originals"
    now = on_disk(originals / changed.name)
    is_done = now == changed.after
    assert is_done or now == changed.before, story
    assert is_done or story.status == 0, f"answered, and not done: {story}"
    assert read(client, changed.name) == now, story
    assert visible_files(originals) == sorted(["bystander", *([] if now is None else [changed.name])]), story
    assert read(client, "bystander") == b"untouched"
    assert not visible_files(base / "thumbnails")
    assert visible_files(base) == []
    reason = "deleted" if changed.after is None else "replaced"
    in_trash = trash(base, f"-{reason}-{changed.name}")
    assert in_trash == trash(base), story
    assert all(path.read_bytes() == changed.before for path in in_trash), story
    assert len(in_trash) == 1 if is_done and changed.before is not None else len(in_trash) <= 1, story


@pytest.mark.parametrize(
    ("kind", "server", "kills"),
    [
        ("new", "paste", 4),
        ("replaced", "granian", 4),
        ("deleted", "paste", 4),
        *(
            pytest.param(kind, server, 50, marks=pytest.mark.acceptance)
            for kind in ("new", "replaced", "deleted")
            for server in ("paste", "granian")
        ),
    ],
)
def test_a_kill_at_any_time_leaves_each_name_with_one_complete_version_or_none(
    tmp_path: Path, kind: str, kills: int, server: str
) -> None:
    usual = usual_pause(tmp_path / "undisturbed", kind, server)
    stories = crash(tmp_path / "a", kind, random_moments(kills), usual, server)
    assert len(stories) == kills
    assert [stories[0].status, stories[-1].status] == [0, 200]
    shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize(
    "kind", ["replaced", *(pytest.param(kind, marks=pytest.mark.acceptance) for kind in ("new", "deleted"))]
)
def test_a_kill_before_any_step_of_a_change_leaves_one_complete_version_or_none(tmp_path: Path, kind: str) -> None:
    stories = crash(tmp_path / "a", kind, (Moment(step=step) for step in range(1, 100)))
    assert len(stories) > 4, "so many steps each change has"
    assert [story.status for story in stories] == [0] * (len(stories) - 1) + [200]
    shutil.rmtree(tmp_path / "a")


# --- Told to stop --------------------------------------------------------------------------------


@dataclass
class Truth:
    """What must be true of a name by the answers that its only user got."""

    name: str
    now: bytes | None = None
    in_trash: list[bytes] = field(default_factory=list)
    changes: int = 0

    def becomes(self, content: bytes | None) -> None:
        if self.now is not None:
            self.in_trash.append(self.now)
        self.now = content
        self.changes += 1


def use(client: Client, truth: Truth) -> None:
    """Uploads, reads, replaces, reads and deletes until the server is gone."""
    with contextlib.suppress(ConnectionError):  # anything else, such as half an answer, is a fault
        for turn in itertools.count():
            content = None if turn % 3 == 2 else f"{truth.name} {turn} ".encode() * 2000
            answer = client.delete(truth.name) if content is None else client.upload(truth.name, content)
            assert answer.status == 200, answer
            truth.becomes(content)
            assert read(client, truth.name) == content


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("changes", [1, 5, 12])
def test_after_a_stop_under_load_every_response_is_true(tmp_path: Path, changes: int) -> None:
    base, truths = tmp_path / "a", [Truth(f"{number}.tif") for number in range(8)]
    with serving(base) as (program, client), ThreadPoolExecutor(len(truths)) as users:
        request = upload_request(client, "slow.tif", version(1))
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
            connection.sendall(request[:MEGABYTE])
            wait_until(lambda: temporary_files(base) != [])
            uses = [users.submit(use, client, truth) for truth in truths]
            wait_until(lambda: all(truth.changes >= changes for truth in truths) or any(ended.done() for ended in uses))
            program.process.send_signal(signal.SIGTERM)
            for ended in uses:
                ended.result()
            connection.sendall(request[MEGABYTE:])
            assert answered(connection) == 200, "the request was running"
        assert program.ended()[0] == 0
    assert (base / "originals/slow.tif").read_bytes() == version(1)
    for truth in truths:
        assert on_disk(base / "originals" / truth.name) == truth.now, "what got no answer did not happen"
        assert [path.read_bytes() for path in trash(base, truth.name)] == truth.in_trash
        assert [event[1] for event in journal(base)].count(truth.name) == truth.changes
    assert temporary_files(base) == []


def test_stopping_with_stalled_clients_ends_by_itself_and_stores_nothing(tmp_path: Path) -> None:
    base = tmp_path / "a"
    with serving(base) as (program, client), contextlib.ExitStack() as connections:
        client.upload("old.tif", b"old")
        stalled = [
            connections.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=60))
            for _ in range(2)
        ]
        for connection, name in zip(stalled, ["new.tif", "old.tif"], strict=True):
            connection.sendall(upload_request(client, name, version(1))[: 2 * MEGABYTE])
        wait_until(lambda: len(temporary_files(base)) == 2)
        program.process.send_signal(signal.SIGTERM)
        assert program.ended()[0] == 0
        assert [answered(connection) for connection in stalled] == [0, 0]
    assert visible_files(base / "originals") == ["old.tif"]
    assert (base / "originals/old.tif").read_bytes() == b"old"
    assert trash(base) == []
    assert journal(base) == [("stored", "old.tif")]


@pytest.mark.parametrize("server", ["paste", "granian"])
def test_stopped_while_clients_do_not_read_the_program_ends_by_itself(tmp_path: Path, server: str) -> None:
    base = tmp_path / "a"
    with serving(base, SERVER=server) as (program, client), contextlib.ExitStack() as connections:
        with open(base / "originals/large.tif", "wb") as file:
            file.truncate(500 * MEGABYTE)
        for _ in range(3):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=60))
            connection.sendall(b"GET /fileget?type=O&filename=large.tif HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1) == b"H"
        program.process.send_signal(signal.SIGTERM)
        status, printed = program.ended()
    assert status == 0
    assert "ends now" not in printed


#: The program, which waits for something that never comes when it closes its store.
NEVER_CLOSES = f"""
import sys, time
sys.path.insert(0, {str(PROJECT)!r})
import server
from assetstore.app import bootstrap
bootstrap.AppContext.close = lambda _context: time.sleep(1000)
sys.exit(server.main())
"""


@pytest.mark.parametrize("server", ["paste", "granian"])
def test_stopped_while_something_never_ends_the_program_ends_in_time(tmp_path: Path, server: str) -> None:
    with started(tmp_path / "a", "-c", NEVER_CLOSES, SERVER=server) as (program, client):
        client.upload("a.tif", b"1")
        workers = children(program.process.pid)
        program.process.send_signal(signal.SIGTERM)
        status, printed = program.ended()
    assert (status, "ends now" in printed) == ((1, True) if server == "paste" else (0, False))
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert signals.STOP_SECONDS < signals.FORCED_SECONDS < 10, "when Docker kills it"


# --- Full disks ----------------------------------------------------------------------------------


@pytest.fixture
def mounted_ext4(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Mounts 24 MB of ext4 and returns the name of its device; needs root and loop devices."""
    points: list[Path] = []

    def mount(point: Path, block: int = 1024) -> str:
        point.mkdir(parents=True, exist_ok=True)
        image = tmp_path / f"ext4-{len(points)}"
        with open(image, "wb") as file:
            file.truncate(24 << 20)
        make = ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(block), str(image)]
        if not shutil.which("mkfs.ext4") or subprocess.run(make, capture_output=True, check=False).returncode:
            pytest.skip("requires mkfs.ext4 (package e2fsprogs)")
        command = ["mount", "-o", "loop,errors=remount-ro", str(image), str(point)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("loop devices cannot be mounted here")
        points.append(point)
        shutil.rmtree(point / "lost+found")
        found = subprocess.run(["findmnt", "-no", "SOURCE", str(point)], capture_output=True, text=True, check=True)
        return Path(found.stdout.strip()).name

    yield mount
    for point in points:
        subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.fixture(params=["tmpfs", pytest.param(4096, marks=pytest.mark.acceptance), 1024])
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, mounted: Mount, mounted_ext4: Callable[[Path, int], str]
) -> Path:
    """A disk of 24 MB: in memory, and with blocks as large disks have them and as small ones do."""
    if request.param == "tmpfs":
        mounted(tmp_path / "disk", "24m")
    else:
        mounted_ext4(tmp_path / "disk", request.param)
    return tmp_path / "disk"


def fill(disk: Path) -> None:
    """Fills a disk to the byte; deleting the file `filler` makes room again."""
    is_full = False
    while not is_full:
        is_full, size = True, 1 << 20
        with open(disk / "filler", "ab", buffering=0) as filler:
            while size:
                try:
                    filler.write(bytes(size))
                    is_full = False
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    size //= 2
            os.fsync(filler.fileno())


#: Notes an event in a process of its own, which the kernel may end.
NOTE = """
import pathlib, sys
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
print(Journal(pathlib.Path(sys.argv[1])).record(Event("deleted", "", "a")))
"""

#: Opens the journal and waits before it notes anything.
NOTE_LATER = """
import pathlib, sys
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
journal.probe()
print("open", flush=True)
sys.stdin.readline()
print(journal.record(Event("deleted", "", "a")))
"""


def test_opening_the_journal_on_a_full_disk_of_small_blocks_is_only_an_error(
    tmp_path: Path, mounted_ext4: Callable[..., str]
) -> None:
    disk = tmp_path / "disk"
    mounted_ext4(disk)
    (disk / ".asset-server").mkdir()
    note = [sys.executable, "-c", NOTE, str(disk)]
    for left in (None, *range(15)):
        if left is not None:
            (disk / "filler").unlink(missing_ok=True)
            fill(disk)
            os.truncate(disk / "filler", (disk / "filler").stat().st_size - left * 1024)
        noted = subprocess.run(note, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
        assert noted.stdout == ("True\n" if left is None else "False\n")


def test_a_disk_that_fills_while_the_journal_is_open_is_only_an_error(
    tmp_path: Path, mounted_ext4: Callable[..., str]
) -> None:
    disk = tmp_path / "disk"
    mounted_ext4(disk)
    (disk / ".asset-server").mkdir()
    with contextlib.closing(Journal(disk)) as large:
        for number in range(2000):
            large.record(Event("stored", "", f"{number}.jpg", sha256="0" * 64))
    command, said = [sys.executable, "-c", NOTE_LATER, str(disk)], []
    for left in range(4, 24):
        with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            fill(disk)
            os.truncate(disk / "filler", (disk / "filler").stat().st_size - left * 1024)
            said.append(child.communicate("\n", timeout=60)[0])
        (disk / "filler").unlink()
        assert child.returncode == 0
    assert set(said) == {"True\n", "False\n"}


def assert_takes_no_uploads(client: Client, base: Path, sentence: str) -> None:
    """New names and replacements, large and small, are refused, and nothing of them stays."""
    before = {path: path.read_bytes() for path in (base / "originals").glob("*.jpg")}
    for name, size in (("new.jpg", 3 * MEGABYTE), ("old.jpg", 3 * MEGABYTE), ("new.jpg", 5000), ("old.jpg", 1)):
        answer = client.upload(name, bytes(size))
        assert_refused(answer, 507, base)
        assert sentence in answer.text
    assert {path: path.read_bytes() for path in (base / "originals").glob("*.jpg")} == before
    assert temporary_files(base) == []


def assert_all_else_goes_on(client: Client, base: Path, doomed: str) -> None:
    """Reading, deleting and cached thumbnails."""
    assert read(client, "old.jpg") == pictures.jpeg()
    assert client.get("/fileget", {"Range": "bytes=0-9"}, filename="old.jpg").status == 206
    assert client.thumbnail("old.jpg").status == 200
    assert client.get("/getmetadata", filename="old.jpg").status == 200
    content = on_disk(base / "originals" / doomed)
    answer = client.delete(doomed)
    assert (answer.status, answer.text) == (200, "Ok.")
    assert read(client, doomed) is None
    assert [path.read_bytes() for path in trash(base, f"-deleted-{doomed}")] == [content]
    assert temporary_files(base) == []
    assert client.get("/testkey", random="1", token=client.token("1")).text == "Ok."


def assert_works(client: Client, base: Path) -> None:
    """Everything works, the journal and the trash included."""
    kept = len(trash(base, "-replaced-old.jpg"))
    before = read(client, "old.jpg")
    picture = pictures.jpeg(orientation=3)
    for name in ("works.jpg", "old.jpg"):
        assert client.upload(name, picture).status == 200
        assert read(client, name) == picture
        assert client.thumbnail(name, 90).status == 200
    assert len(trash(base, "-replaced-old.jpg")) == kept + 1
    assert trash(base, "-replaced-old.jpg")[-1].read_bytes() == before
    assert client.delete("works.jpg").status == 200
    assert read(client, "works.jpg") is None
    assert journal(base)[-3:] == [("stored", "works.jpg"), ("replaced", "old.jpg"), ("deleted", "works.jpg")]
    assert temporary_files(base) == []


def test_a_full_disk_rejects_uploads_loses_nothing_and_recovers(disk: Path) -> None:
    base = disk / "a"
    with serving(base) as (_, client):
        for name in ("old.jpg", "doomed.jpg"):
            client.upload(name, pictures.jpeg())
        client.thumbnail("old.jpg")
        fill(disk)
        assert_takes_no_uploads(client, base, "disk is full")
        assert_refused(client.thumbnail("old.jpg", 123), 507, base)
        assert_all_else_goes_on(client, base, "doomed.jpg")
        (disk / "filler").unlink()
        assert_works(client, base)


def test_concurrent_uploads_that_fill_the_disk_are_complete_or_rejected(disk: Path) -> None:
    base = disk / "a"
    with serving(base) as (_, client), ThreadPoolExecutor(8) as users:
        contents = {f"{number}.jpg": version(number)[: 6 * MEGABYTE] for number in range(8)}
        answers = list(users.map(client.upload, contents, contents.values()))
        for answer in answers:
            if answer.status != 200:
                assert_refused(answer, 507, base)
        stored = [name for name, answer in zip(contents, answers, strict=True) if answer.status == 200]
        assert len(stored) <= 4
        assert visible_files(base / "originals") == stored
        assert all(read(client, name) == contents[name] for name in stored)
        assert temporary_files(base) == []
        assert_refused(client.upload("larger.jpg", bytes(30 * MEGABYTE)), 507, base)
        for name in stored:
            (base / "originals" / name).unlink()
        (base / "originals/old.jpg").write_bytes(pictures.jpeg())
        assert_works(client, base)


def test_thumbnails_are_rejected_only_while_the_disk_is_full(disk: Path) -> None:
    base = disk / "a"
    contents = {"a.jpg": pictures.encoded(pictures.scene(1600, 1200), "JPEG"), "a.pdf": pictures.pdf()}
    with serving(base) as (_, client):
        for name, content in contents.items():
            client.upload(name, content)
            assert client.thumbnail(name, 500).status == 200
        fill(disk)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - 4096)
        for name in contents:
            assert_refused(client.thumbnail(name, 2000), 507, base)
        (disk / "filler").unlink()
        for name in contents:
            assert client.thumbnail(name, 2000).status == 200
    assert temporary_files(base) == []


def test_a_server_started_on_a_full_disk_serves_existing_files(disk: Path) -> None:
    base = disk / "a"
    with serving(base) as (_, client):
        for name in ("old.jpg", "doomed.jpg"):
            client.upload(name, pictures.jpeg())
        client.thumbnail("old.jpg")
    fill(disk)
    with serving(base) as (_, client):
        assert_takes_no_uploads(client, base, "disk is full")
        assert_all_else_goes_on(client, base, "doomed.jpg")
        (disk / "filler").unlink()
        assert_works(client, base)


@pytest.mark.parametrize("key", ["", KEY])
def test_a_new_store_on_a_full_disk_rejects_uploads_or_stops_with_one_line(disk: Path, key: str) -> None:
    base = disk / "a"
    base.mkdir()
    fill(disk)
    with contextlib.ExitStack() as stack:
        try:
            _, client = stack.enter_context(serving(base, ATTACHMENT_KEY=key))
        except AssertionError as ended:  # before it listened
            assert "Traceback" not in str(ended)
            assert "The asset server cannot start. BASE_DIR: the server cannot write there: " in str(ended)
            assert "No space left on device" in str(ended)
        else:
            assert key, "without one, the server has to keep its own"
            assert_takes_no_uploads(client, base, "disk is full")
    assert not (base / PRIVATE / "key").exists(), "half a key would be worse than none"
    (disk / "filler").unlink()
    with serving(base) as (_, client):
        (base / "originals/old.jpg").write_bytes(pictures.jpeg())
        assert_works(client, base)


def test_the_reserve_remains_available_to_reads_deletes_and_thumbnails(tmp_path: Path, mounted: Mount) -> None:
    disk, base = tmp_path / "disk", tmp_path / "disk/a"
    mounted(disk, "24m")
    with serving(base, RESERVED_BYTES=str(12 * MEGABYTE)) as (program, client):
        for name in ("old.jpg", "doomed.jpg"):
            assert client.upload(name, pictures.jpeg()).status == 200
        written, _ = counters(program.process.pid)
        answer = client.upload("new.jpg", bytes(18 * MEGABYTE))
        assert_refused(answer, 507, base)
        assert "nearly full" in answer.text
        assert counters(program.process.pid)[0] - written < MEGABYTE, "its bytes were not written"
        (disk / "filler").write_bytes(bytes(14 * MEGABYTE))
        assert_takes_no_uploads(client, base, "nearly full")
        assert client.thumbnail("old.jpg", 123).status == 200
        assert_all_else_goes_on(client, base, "doomed.jpg")
        (disk / "filler").unlink()
        assert_works(client, base)


# --- Disks that cannot be written ----------------------------------------------------------------


def remount(point: Path, options: str) -> None:
    """Changes how a file system is mounted, as soon as no program is writing."""
    command = ["mount", "-o", f"remount,{options}", str(point)]
    for _ in range(100):
        if not subprocess.run(command, capture_output=True, check=False).returncode:
            return
        time.sleep(0.1)
    pytest.fail(f"{point} cannot be remounted {options}")


def assert_only_reads(client: Client, base: Path, in_trash: int = 0) -> None:
    """Requests for changes get a sentence, and change nothing."""
    for answer in (client.upload("new.jpg", version(1)), client.upload("old.jpg", b"new"), client.delete("old.jpg")):
        assert_refused(answer, 503, base)
        assert "disk is read-only" in answer.text
        assert answer.headers["retry-after"]
    assert client.delete("never.jpg").status == 503
    assert client.thumbnail("old.jpg", 123).status == client.thumbnail("old.jpg", 123).status == 200
    assert client.get("/getfileref", type="T", scale=123, filename="old.jpg").status == 404
    linked = client.get("/getfileref", type="T", scale=200, filename="old.jpg")
    assert linked.status == 200
    assert client.get("/readyz").status == 200
    ready = client.readiness()
    assert ready["status"] == "degraded"
    assert "disk is read-only" in ready["checks"]["store"]["reason"]
    assert ready["checks"]["journal"]["status"] != "error"
    assert read(client, "new.jpg") is None
    assert read(client, "old.jpg") == pictures.jpeg()
    assert client.thumbnail("old.jpg").status == 200
    assert client.get("/getmetadata", filename="old.jpg").status == 200
    assert client.get("/testkey", random="1", token=client.token("1")).text == "Ok."
    assert len(trash(base)) == in_trash


def test_a_disk_that_becomes_read_only_is_still_read_and_recovers_without_a_restart(
    tmp_path: Path, mounted: Mount
) -> None:
    disk, base = tmp_path / "disk", tmp_path / "disk/a"
    mounted(disk, "24m")
    # Nobody can take a disk from under an open file: the journal gets one of its own.
    mounted(base / ".asset-server/journal", "8m")
    with serving(base) as (_, client):
        (base / "originals/old.jpg").write_bytes(pictures.jpeg())
        assert client.thumbnail("old.jpg").status == 200
        remount(disk, "ro")
        assert_only_reads(client, base)
        remount(disk, "rw")
        assert_works(client, base)


@pytest.mark.parametrize("server", ["paste", "granian"])
def test_a_server_that_is_started_on_a_read_only_disk_reads_and_later_writes_without_a_restart(
    tmp_path: Path, mounted: Mount, server: str
) -> None:
    disk, base = tmp_path / "disk", tmp_path / "disk/a"
    metrics, address = two_free_ports()[0], {"SERVER": server}
    mounted(disk, "24m")
    with serving(base, ATTACHMENT_KEY="", **address) as (_, client):  # its own key is needed later, too
        client.key = (base / PRIVATE / "key").read_text().strip()
        assert client.upload("old.jpg", pictures.jpeg()).status == 200
        assert client.thumbnail("old.jpg").status == 200
        assert client.upload("gone.jpg", b"x").status == client.delete("gone.jpg").status == 200
    (base / "originals" / PRIVATE / "upload-left").write_bytes(b"by a crash")
    remount(disk, "ro")
    settings = {"ATTACHMENT_KEY": "", "METRICS_ADDRESS": f"127.0.0.1:{metrics}", **address}
    with serving(base, **settings) as (_, client):
        client.key = (base / PRIVATE / "key").read_text().strip()
        assert_only_reads(client, base, in_trash=1)
        assert b"asset_server_requests_total" in Client(metrics).get("/metrics").body
        remount(disk, "rw")
        (base / "originals" / PRIVATE / "upload-left").unlink()
        assert client.upload("new.jpg", b"x").status == client.delete("new.jpg").status == 200
        assert client.thumbnail("old.jpg", 150).status == 200
        assert (base / "thumbnails/old_150.jpg").exists()
        wait_until(lambda: client.readiness()["checks"]["store"]["status"] == "ok")


@pytest.mark.parametrize("has_folders", [True, False])
def test_the_tree_of_another_server_is_served_from_a_read_only_snapshot(
    tmp_path: Path, mounted: Mount, has_folders: bool
) -> None:
    disk, base = tmp_path / "disk", tmp_path / "disk/a"
    mounted(disk, "24m")
    (base / "originals").mkdir(parents=True)
    (base / "originals/old.jpg").write_bytes(pictures.jpeg())
    if has_folders:
        (base / "thumbnails").mkdir()
    remount(disk, "ro")
    with serving(base) as (_, client):
        assert read(client, "old.jpg") == pictures.jpeg()
        assert read(client, "never.jpg") is None
        assert client.thumbnail("old.jpg").status == 200
        assert client.get("/getfileref", type="T", scale=200, filename="old.jpg").status == 404
        assert_refused(client.upload("new.jpg", b"x"), 503, base)
        assert_refused(client.delete("old.jpg"), 503, base)
        remount(disk, "rw")
        assert_works(client, base)


def test_the_journal_of_a_read_only_disk_can_be_read(tmp_path: Path, mounted: Mount) -> None:
    mounted(tmp_path / "disk", "24m")
    base = tmp_path / "disk/a"
    with serving(base) as (program, client):
        client.upload("a.jpg", b"1")
        program.process.send_signal(signal.SIGTERM)
        program.ended()
    remount(tmp_path / "disk", "ro")
    with contextlib.closing(Journal(base)) as log:
        assert [event.name for event in log.search()] == ["a.jpg"]
        latest = log.latest("", "a.jpg")
        assert latest is not None
        assert latest.size == 1
        with pytest.raises(ReadOnly):
            log.probe()
        assert not log.record(Event("deleted", "", "a"))
    for command in (["journal"], ["usage"], ["trash", "list"]):
        done = run_manage(base, *command)
        assert done.returncode == 0, done.stderr
    assert "a.jpg" in run_manage(base, "journal").stdout


def test_retention_and_verification_on_a_read_only_disk_end_with_one_sentence(tmp_path: Path, mounted: Mount) -> None:
    mounted(tmp_path / "disk", "24m")
    base = tmp_path / "disk/a"
    with originals_in(base, "") as originals:
        for name in ("a", "b"):
            (base / "originals" / name).write_bytes(b"x")
            os.utime(base / "originals" / name, (1, 1))
            originals.delete("", name, Origin("", ""))
    for entry in trash(base):
        entry.rename(entry.with_name("2001" + entry.name[4:]))
    remount(tmp_path / "disk", "ro")
    with originals_in(base, "") as originals:
        with pytest.raises(ReadOnly):
            TrashKeeper(originals, base, 90, None).round()
        with pytest.raises(ReadOnly):
            Verifier(originals, 30).round(threading.Event())
    assert len(trash(base)) == 2


def test_a_disk_with_write_errors_is_still_read(tmp_path: Path, mounted_ext4: Callable[[Path], str]) -> None:
    base = tmp_path / "disk/a"
    device = mounted_ext4(tmp_path / "disk")
    trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    if not trigger.exists():
        pytest.skip("this system cannot pretend that a disk fails")
    with serving(base) as (_, client):
        assert client.upload("old.jpg", pictures.jpeg()).status == 200
        assert client.thumbnail("old.jpg").status == 200
        trigger.write_text("1")
        assert_only_reads(client, base)


# --- Files and folders of other users ------------------------------------------------------------

#: Runs Python as the user nobody. Where he cannot reach it or the program, because they lie in root's home for example,
#: they are mounted for him in between, which nobody else sees.
AS_NOBODY = """
import ctypes, os, pwd, subprocess, sys, tempfile
from pathlib import Path
def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)
def closed(folder):
    return [parent for parent in reversed(folder.parents) if not parent.stat().st_mode & 0o001]
needed = [Path(sys.base_prefix), Path(sys.prefix), Path.cwd()]
hidden = {folder: closed(folder)[0] for folder in needed if closed(folder) and not set(folder.parents) & set(needed)}
if hidden:
    is_refused = ctypes.CDLL(None).unshare(0x00020000)  # CLONE_NEWNS
    if is_refused or subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True).returncode:
        sys.exit("no mounts of its own")
    asides = {folder: tempfile.mkdtemp() for folder in hidden}
    for folder, aside in asides.items():
        mount("--bind", folder, aside)
    for folder in set(hidden.values()):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    for folder, aside in asides.items():
        folder.mkdir(parents=True)
        mount("--move", aside, folder)
        os.rmdir(aside)
    os.chdir(needed[-1])
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def _nobody_can_run_the_program() -> None:
    if os.geteuid():
        pytest.skip("only root can be somebody else")
    command = [sys.executable, "-c", AS_NOBODY, "-c", "import server"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip(f"other users cannot run the program here: {run.stderr.strip().splitlines()[-1]}")


@pytest.fixture
def base_of_nobody(_nobody_can_run_the_program: None) -> Iterator[Path]:
    """An attachment folder of a user without rights, at a path that this user can reach; requires root."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="assetserver-") as folder:
        os.chmod(folder, 0o755)
        base = Path(folder) / "a"
        for path in (base, base / "originals"):
            path.mkdir()
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        yield base


@contextlib.contextmanager
def serving_as_nobody(base: Path) -> Iterator[tuple[Program, Client]]:
    """The program, run by a user without other rights."""
    with started(base, "-c", AS_NOBODY, "server.py") as served:
        yield served


def test_an_unreadable_original_is_an_error_and_not_missing(base_of_nobody: Path) -> None:
    base = base_of_nobody
    with serving_as_nobody(base) as (_, client):
        (base / "originals/a.jpg").write_bytes(pictures.jpeg())
        (base / "originals/a.jpg").chmod(0o600)
        assert_refused(client.get("/fileget", type="O", filename="a.jpg"), 500, base)
        assert client.head("/fileget", type="O", filename="a.jpg").status == 500
        assert_refused(client.thumbnail("a.jpg"), 500, base)
        assert_refused(client.get("/getmetadata", filename="a.jpg"), 500, base)
        assert_refused(client.get("/getfileref", filename="a.jpg"), 500, base)
        assert_refused(client.get("/static/originals/a.jpg"), 500, base)
        (base / "originals/a.jpg").chmod(0o644)
        assert read(client, "a.jpg") == pictures.jpeg()


@pytest.mark.parametrize("name", ["a.tif", "a" * 251 + ".tif"])
def test_an_unwritable_folder_of_originals_loses_nothing(base_of_nobody: Path, name: str) -> None:
    base, originals = base_of_nobody, base_of_nobody / "originals"
    with serving_as_nobody(base) as (_, client):
        assert client.upload(name, b"old").status == 200
        originals.chmod(0o555)
        assert_refused(client.upload("new.tif", b"new"), 500, base)
        assert_refused(client.upload(name, b"new"), 500, base)
        assert_refused(client.delete(name), 500, base)
        assert read(client, name) == b"old"
        assert visible_files(originals) == [name]
        assert [path for entry in trash(base) for path in files_of(entry)] == []
        assert temporary_files(base) == []
        originals.chmod(0o755)
        assert client.upload(name, b"new").status == 200
        assert client.delete(name).status == 200
    assert [path.read_bytes() for entry in trash(base) for path in files_of(entry)] == [b"old", b"new"]


def files_of(entry: Path) -> list[Path]:
    """The file of an entry of the trash, which is in a folder of its own if its name is long."""
    return sorted(entry.iterdir()) if entry.is_dir() else [entry]


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_files_of_another_user_can_be_replaced_and_deleted(base_of_nobody: Path, mode: int) -> None:
    base = base_of_nobody
    with serving_as_nobody(base) as (_, client):
        for name in ("replaced.tif", "deleted.tif"):
            path = base / "originals" / name
            path.write_bytes(version(1))
            path.chmod(mode)
        assert client.upload("replaced.tif", version(2)).status == 200
        assert read(client, "replaced.tif") == version(2)
        assert client.delete("deleted.tif").status == 200
        assert read(client, "deleted.tif") is None
        for name in ("-replaced-replaced.tif", "-deleted-deleted.tif"):
            [entry] = trash(base, name)
            assert entry.read_bytes() == version(1)
            assert (entry.stat().st_uid, entry.stat().st_nlink) == (0, 1)
        assert len(trash(base)) == 2
        assert temporary_files(base) == []
    assert journal(base) == [("replaced", "replaced.tif"), ("deleted", "deleted.tif")]


def test_thumbnails_are_rendered_although_their_folder_cannot_be_written(base_of_nobody: Path) -> None:
    base, thumbnails = base_of_nobody, base_of_nobody / "thumbnails"
    with serving_as_nobody(base) as (program, client):
        client.upload("a.jpg", pictures.jpeg())
        for folder in (thumbnails / PRIVATE, thumbnails):
            folder.chmod(0o555)
        assert client.thumbnail("a.jpg").status == client.thumbnail("a.jpg", 100).status == 200
        assert visible_files(thumbnails) == []
        for folder in (thumbnails, thumbnails / PRIVATE):
            folder.chmod(0o755)
        assert client.thumbnail("a.jpg").status == 200
        assert visible_files(thumbnails) == ["a_200.jpg"]
        program.wait_for("thumbnails are rendered, but not cached: ")


def test_a_journal_of_another_user_does_not_stop_changes(base_of_nobody: Path) -> None:
    base = base_of_nobody
    with serving(base) as (_, client):  # as root
        assert client.upload("a.tif", b"old").status == 200
    for path in (base / "originals", base / "thumbnails"):
        subprocess.run(["chown", "-R", "nobody", str(path)], check=True)
    subprocess.run(["chown", "nobody", str(base / ".asset-server")], check=True)
    with serving_as_nobody(base) as (_, client):
        assert client.upload("a.tif", b"new").status == 200
        assert client.delete("a.tif").status == 200
    assert [path.read_bytes() for path in trash(base)] == [b"old", b"new"]
    assert journal(base) == [("stored", "a.tif")]


def test_an_inaccessible_folder_of_added_collections_stops_the_start(
    base_of_nobody: Path,
) -> None:
    # Without them, files of these collections would go into the common folder.
    with serving(base_of_nobody) as (_, client):  # as root
        assert client.upload("a.tif", b"old").status == 200
    for path in (base_of_nobody / "originals", base_of_nobody / "thumbnails"):
        subprocess.run(["chown", "-R", "nobody", str(path)], check=True)
    with pytest.raises(AssertionError, match="COLLECTION_DIRS: The added collections cannot be read"):
        serving_as_nobody(base_of_nobody).__enter__()


# --- Limits --------------------------------------------------------------------------------------


def test_an_upload_one_byte_over_the_limit_is_rejected_with_the_limit(tmp_path: Path) -> None:
    base = tmp_path / "a"
    with serving(base, MAX_UPLOAD_BYTES="1000000") as (_, client):
        assert client.upload("a.tif", version(1)[:1_000_000]).status == 200
        for name, size in (("a.tif", 1_000_001), ("b.tif", 1_000_001), ("b.tif", 8_000_000)):
            answer = client.upload(name, version(2)[:size])
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (413, "*")
            assert answer.text == "The file is too large: this server accepts at most 1000000 bytes."
        assert read(client, "a.tif") == version(1)[:1_000_000]
        assert visible_files(base / "originals") == ["a.tif"]
        assert temporary_files(base) == []
        assert trash(base) == []


@pytest.mark.parametrize("length", [10_000_000, 10**15])
def test_a_huge_content_length_is_rejected_before_the_body_is_sent(tmp_path: Path, length: int) -> None:
    base = tmp_path / "a"
    with serving(base, MAX_UPLOAD_BYTES="1000000") as (_, client):
        head = (
            "POST /fileupload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        for beginning in (b"", b"--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nthe file"):
            answer = client.raw(head.encode() + beginning, finish=False)
            assert answer.status == 413
            assert "at most 1000000 bytes" in answer.text
            assert answer.headers["access-control-allow-origin"] == "*"
        assert visible_files(base / "originals") == []
        assert temporary_files(base) == []


# --- The journal under fire ----------------------------------------------------------------------


def test_a_journal_deleted_under_a_running_server_is_created_again(tmp_path: Path) -> None:
    base = tmp_path / "a"
    with serving(base) as (_, client):
        client.upload("before.tif", b"1")
        for turn in range(3):
            shutil.rmtree(base / PRIVATE / "journal")
            for name in ("a.tif", f"{turn}.tif"):
                answer = client.upload(name, b"2")
                assert (answer.status, answer.text) == (200, "Ok.")
            assert [event[1] for event in journal(base)] == ["a.tif", f"{turn}.tif"]
        shutil.rmtree(base / PRIVATE)
        assert client.delete("a.tif").status == 200
        assert journal(base) == [("deleted", "a.tif")]
    assert visible_files(base / "originals") == ["0.tif", "1.tif", "2.tif", "before.tif"]


def test_a_journal_without_space_does_not_fail_requests(tmp_path: Path, mounted: Mount) -> None:
    base, folder = tmp_path / "a", tmp_path / "a" / PRIVATE / "journal"
    mounted(folder, "1m")
    with serving(base) as (program, client):
        for _ in range(2):  # before the journal is made, and when it is there
            fill(folder)
            for answer in (client.upload("a.tif", b"1"), client.upload("a.tif", b"2"), client.delete("a.tif")):
                assert (answer.status, answer.text) == (200, "Ok.")
            (folder / "filler").unlink()
            client.upload("old.jpg", pictures.jpeg())
            assert_works(client, base)
    assert sum("event not recorded in the journal: " in line for line in program.lines) >= 3
    assert [path.read_bytes() for path in trash(base, "a.tif")] == [b"1", b"2", b"1", b"2"]


@pytest.mark.parametrize("content", [b"", b"This is no database.\n" * 1000])
def test_a_journal_overwritten_under_a_running_server_does_not_stop_it(tmp_path: Path, content: bytes) -> None:
    base, path = tmp_path / "a", tmp_path / "a" / PRIVATE / "journal/journal.sqlite"
    with serving(base) as (_, client):
        client.upload("old.jpg", pictures.jpeg())
        path.write_bytes(content)
        for answer in (client.upload("a.tif", b"1"), client.upload("a.tif", b"2"), client.delete("a.tif")):
            assert (answer.status, answer.text) == (200, "Ok.")
    with serving(base) as (_, client):
        assert_works(client, base)


@pytest.mark.parametrize("server", ["paste", "granian"])
def test_a_locked_journal_delays_nothing_and_gets_all_events_later_even_after_a_kill(
    tmp_path: Path, server: str
) -> None:
    base = tmp_path / "a"
    with serving(base, SERVER=server) as (program, client), ThreadPoolExecutor(8) as users:
        client.upload("a.tif", b"1")
        path = base / PRIVATE / "journal/journal.sqlite"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN EXCLUSIVE")
            names = [f"{number}.tif" for number in range(16)]
            assert {answer.status for answer in users.map(lambda name: client.upload(name, b"2"), names)} == {200}
            assert client.upload("a.tif", b"3").status == 200
            assert client.delete("a.tif").status == 200
            assert client.get("/readyz").status == 200
            ready = client.readiness()
            checks = ready["checks"]
            assert ready["status"] == "degraded"
            assert "wait to be recorded in it: 18." in checks["journal"]["reason"]
            assert checks["verification"]["status"] != "error"
            for process in (program.process.pid, *children(program.process.pid)):
                os.kill(process, signal.SIGKILL)
    with serving(base, SERVER=server) as (_, client):
        wait_until(lambda: client.readiness()["checks"]["journal"]["status"] == "ok")
        assert client.upload("b.tif", b"1").status == 200
    found = journal(base)
    assert sorted(found[1:-3]) == sorted(("stored", name) for name in names)
    assert [*found[:1], *found[-3:]] == [
        *[("stored", "a.tif"), ("replaced", "a.tif"), ("deleted", "a.tif"), ("stored", "b.tif")]
    ]
    with contextlib.closing(sqlite3.connect(path)) as shell:
        query = "SELECT size, sha256 IS NULL FROM events WHERE operation = 'deleted'"
        assert shell.execute(query).fetchall() == [(1, 0)]


def garbled(sound: bytes) -> dict[str, bytes]:
    """Ways in which a database can be broken."""
    noise = random.Random(SEED).randbytes(len(sound))
    return {
        "noise": noise,
        "only its head is left": sound[:100] + noise[100:],
        "its events are noise": sound[:4096] + noise[4096:],
        "cut off": sound[: len(sound) // 2],
        "text": b"This is no database.\n" * 1000,
    }


@pytest.mark.parametrize("way", garbled(b""))
def test_a_damaged_journal_is_set_aside_and_the_server_continues(tmp_path: Path, way: str) -> None:
    base, path = tmp_path / "a", tmp_path / "a" / PRIVATE / "journal/journal.sqlite"
    with serving(base) as (program, client):
        for number in range(30):
            client.upload(f"{number}.tif", b"1")
        program.process.send_signal(signal.SIGTERM)
        assert program.ended()[0] == 0
    damaged = garbled(path.read_bytes())[way]
    path.write_bytes(damaged)
    with serving(base) as (program, client):
        (base / "originals/old.jpg").write_bytes(pictures.jpeg())
        assert_works(client, base)
        assert len(journal(base)) == 3
        assert read(client, "7.tif") == b"1"
    assert "the journal is damaged; it was renamed to " in "".join(program.lines)
    [aside] = path.parent.glob("damaged-*.sqlite")
    assert aside.read_bytes() == damaged


# --- what earlier attempts at this did wrong -------------------------------------------------------------------------


def test_a_kill_while_replacing_a_file_of_another_user_leaves_one_complete_version(base_of_nobody: Path) -> None:
    path = base_of_nobody / "originals/a.tif"
    for step in range(1, 14):
        path.unlink(missing_ok=True)
        path.write_bytes(b"old")
        script = ("-c", AS_NOBODY, "-c", KILLED_BEFORE_A_STEP)
        with (
            started(base_of_nobody, *script, STEP=str(step)) as (_, client),
            socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection,
        ):
            connection.sendall(upload_request(client, "a.tif", b"new"))
            answered(connection)
        assert on_disk(path) in (b"old", b"new"), step


def test_a_disconnected_disk_is_an_error_and_nothing_is_written_to_its_mount_point(
    tmp_path: Path, mounted: Mount
) -> None:
    point = tmp_path / "disk"
    mounted(point, "24m")
    with serving(point) as (_, client):
        client.upload("old.jpg", b"old")
        subprocess.run(["umount", "-l", str(point)], check=True)
        answers = [
            client.get("/fileget", filename="old.jpg"),
            client.delete("old.jpg"),
            client.upload("new.jpg", b"x"),
            client.get("/readyz"),
        ]
        left = [path for path in point.rglob("*") if path.is_file() and "originals" in path.parts]
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=True)  # for the fixture
    assert [answer.status for answer in answers] == [500, 500, 500, 503]
    assert left == []


@pytest.mark.parametrize("links", [True, False])
def test_the_old_version_is_preserved_if_the_trash_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError(errno.EPERM, "not possible")

    store = disk_store(tmp_path, "originals", "thumbnails", [""])
    store.space.prepare()
    (tmp_path / "originals/a").write_bytes(b"old")
    monkeypatch.setattr(disk_trash, "sync_folder", fail)
    if not links:
        monkeypatch.setattr(os, "link", fail)
    with store.originals.receive("", 3) as incoming:
        incoming.write(b"new")
        with pytest.raises(StorageFault):
            incoming.commit("", "a", keep_old=True)
    assert (on_disk(tmp_path / "originals/a"), trash(tmp_path)) == (b"old", [])


def test_files_left_by_a_killed_server_are_removed_at_the_next_start(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as (program, client),
        socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection,
    ):
        connection.sendall(upload_request(client, "a", version(1))[: 2 * MEGABYTE])
        wait_until(lambda: temporary_files(tmp_path) != [])
        program.process.kill()
        program.process.wait()
    assert temporary_files(tmp_path) != []
    with serving(tmp_path):
        assert temporary_files(tmp_path) == []


def test_an_upload_in_progress_is_not_removed_by_another_start(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, client):
        request = upload_request(client, "a", version(1))
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
            connection.sendall(request[: 2 * MEGABYTE])
            wait_until(lambda: temporary_files(tmp_path) != [])
            with serving(tmp_path):
                assert temporary_files(tmp_path) != []
            connection.sendall(request[2 * MEGABYTE :])
            assert answered(connection) == 200
    assert on_disk(tmp_path / "originals/a") == version(1)


def test_deletes_work_on_a_full_disk(disk: Path) -> None:
    names = [f"7ab24b22-0000-0000-0000-{number:012}.jpg" for number in range(150)]
    with serving(disk / "a") as (_, client):
        for name in names:
            client.upload(name, b"x")
        fill(disk)
        assert {client.delete(name).status for name in names} == {200}


def test_deletes_go_on_in_every_episode_of_a_full_disk(tmp_path: Path, mounted_ext4: Callable[..., str]) -> None:
    disk = tmp_path / "disk"
    mounted_ext4(disk)
    names = [f"{number:03}-{'a' * 246}.jpg" for number in range(150)]
    with originals_in(disk, "") as originals:
        reserve = disk / "originals" / PRIVATE / "ballast"
        pieces = visible_files(reserve)
        keeper = TrashKeeper(originals, disk, 90, None)
        for _ in range(3):
            for name in names:
                (disk / "originals" / name).write_bytes(b"x")
            fill(disk)
            for number, name in enumerate(names):
                if number % 5 == 0:
                    fill(disk)  # by another program, which uses what is released
                assert originals.delete("", name, Origin("", ""))
            assert visible_files(reserve) != pieces
            (disk / "filler").unlink()
            keeper.round()
            assert visible_files(reserve) == pieces


def test_a_round_refills_the_reserve_of_every_collection(tmp_path: Path) -> None:
    reserves = [tmp_path / folder / "originals" / PRIVATE / "ballast" for folder in ("", "fish")]
    with originals_in(tmp_path, "", "fish") as originals:
        shutil.rmtree(reserves[0])
        (reserves[1] / "7").unlink()
        TrashKeeper(originals, tmp_path, 90, None).round()
    assert [len(visible_files(reserve)) for reserve in reserves] == [32, 32]


def test_a_failed_change_of_a_long_name_leaves_no_empty_folder_in_the_trash(base_of_nobody: Path) -> None:
    name = "a" * 251 + ".tif"
    with serving_as_nobody(base_of_nobody) as (_, client):
        client.upload(name, b"old")
        (base_of_nobody / "originals").chmod(0o555)
        client.upload(name, b"new")
        client.delete(name)
        assert trash(base_of_nobody) == []
