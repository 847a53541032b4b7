"""A mixed load for a while: 100 connections that read, upload, replace and delete; nothing may fail, grow or stay.

script/bench soak [--seconds 60] [--server granian]

A third of the files never change; a third belong to one connection each, which knows what it must get; and over a
third all connections quarrel, so that a file may be gone or another at any time, but is always whole. 429 and 503
(the server is busy) would be no errors, but they are counted.
"""

import argparse
import collections
import contextlib
import http.client
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from assetstore.journal import events
from assetstore.journal.journal import Journal
from benchmarks.chaos import descendants, descriptors
from benchmarks.thumbnails import TOOLS
from tests.pictures import jpeg
from tests.support import Client, multipart_body, with_query
from tests.test_live import children, running

SERVERS = ("paste", "granian")
CONNECTIONS, FIXED, CONTESTED = 100, 10, 10

#: How many requests there must be at least, and how many bytes the server may grow after its first seconds.
LEAST_REQUESTS, MOST_GROWTH = 2000, 32 << 20
SETTLED_SECONDS = 10

BUSY = (429, 503)

#: What the quarrel is about: each upload is one of these, so each download must be one of these.
VERSIONS = [jpeg(orientation) + bytes(2000 * orientation) for orientation in (1, 3, 6)]


class Tally:
    """What happened, counted by all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.done: collections.Counter[tuple[str, int]] = collections.Counter()
        self.wrong: list[str] = []
        self.changes = 0
        self.reopened = 0

    def count(self, action: str, status: int, expected: tuple[int, ...], is_right: bool = True) -> None:
        """Counts an answer."""
        with self._lock:
            self.done[action, status] += 1
            if status not in BUSY and (status not in expected or not is_right):
                self.wrong.append(f"{action}: {status}{'' if is_right else ', wrong content'}")
            self.changes += status == 200 and action in ("upload", "replace", "delete")

    def fail(self, action: str, error: Exception) -> None:
        """Counts a request without an answer."""
        with self._lock:
            self.done[action, 0] += 1
            self.wrong.append(f"{action}: {error!r}")

    def reopen(self) -> None:
        """Counts a connection that the server had closed while nothing was asked."""
        with self._lock:
            self.reopened += 1


class Visitor:
    """One connection, and the files that belong to it.

    Parameters:
        number: of the connection.
        client: makes tokens.
        tally: counts.
    """

    def __init__(self, number: int, client: Client, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self._random = random.Random(number)
        self._own: dict[str, bytes] = {}
        self._number = number
        self._made = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)

    def visit(self, until: float) -> None:
        """Asks for one thing after the other."""
        # Reads by far the most, as in life.
        read: list[Callable[[], None]] = [self.original, self.range, self.warm, self.unchanged, self.metadata]
        actions = [*read * 4, self.cold, self.upload, self.replace, self.read_own, self.read_own, self.delete]
        actions += [self.quarrel, self.quarrel, self.read_contested, self.read_contested]
        while time.monotonic() < until:
            self._random.choice(actions)()
        self._connection.close()

    def original(self) -> None:
        """A whole original that never changes."""
        self._ask("original", (200,), self._fixed(), is_right=lambda body: body == VERSIONS[0])

    def range(self) -> None:
        """A part of it."""
        first = self._random.randrange(len(VERSIONS[0]) - 10)
        headers = {"Range": f"bytes={first}-{first + 9}"}
        expected = VERSIONS[0][first : first + 10]
        self._ask("range", (206,), self._fixed(), headers=headers, is_right=lambda body: body == expected)

    def warm(self) -> None:
        """A cached thumbnail."""
        query = {**self._fixed(), "type": "T", "scale": 50}
        self._ask("thumbnail, warm", (200,), query, is_right=lambda body: body.startswith(b"\xff\xd8"))

    def cold(self) -> None:
        """A thumbnail of whatever size, which mostly has to be made."""
        query = {**self._fixed(), "type": "T", "scale": self._random.randint(20, 2000)}
        self._ask("thumbnail, cold", (200,), query, is_right=lambda body: body.startswith(b"\xff\xd8"))

    def unchanged(self) -> None:
        """A file that the client has already."""
        self._ask("304", (304,), self._fixed(), headers={"If-None-Match": "*"}, is_right=lambda body: not body)

    def metadata(self) -> None:
        """What is written in a picture."""
        self._ask("metadata", (200,), self._fixed(), path="/getmetadata")

    def upload(self) -> None:
        """A new file."""
        name = f"own-{self._number}-{self._made}.jpg"
        self._made += 1
        self._store("upload", name)

    def replace(self) -> None:
        """A new version of an own file."""
        if self._own:
            self._store("replace", self._random.choice(list(self._own)))

    def read_own(self) -> None:
        """An own file, as it was uploaded last, or its thumbnail."""
        if self._own:
            name = self._random.choice(list(self._own))
            expected = self._own[name]
            self._ask("own original", (200,), {"filename": name}, is_right=lambda body: body == expected)
            self._ask("own thumbnail", (200,), {"filename": name, "type": "T", "scale": 50})

    def delete(self) -> None:
        """An own file goes, and is gone."""
        if self._own:
            name = self._random.choice(list(self._own))
            if self._post("delete", (200,), "/filedelete", *self._form(name)) == 200:
                del self._own[name]
                self._ask("original, deleted", (404,), {"filename": name})

    def quarrel(self) -> None:
        """Stores or deletes a file that others store and delete."""
        name = f"contested-{self._random.randrange(CONTESTED)}.jpg"
        if self._random.random() < 0.6:
            self._post("upload", (200,), "/fileupload", *self._upload(name, self._random.choice(VERSIONS)))
        else:
            self._post("delete", (200, 404), "/filedelete", *self._form(name))

    def read_contested(self) -> None:
        """One of those, or its thumbnail."""
        query: dict[str, object] = {"filename": f"contested-{self._random.randrange(CONTESTED)}.jpg"}
        self._ask("contested original", (200, 404), query, is_right=lambda body: body in VERSIONS or len(body) < 100)
        self._ask("contested thumbnail", (200, 404), {**query, "type": "T", "scale": 50})

    def _fixed(self) -> dict[str, object]:
        return {"filename": f"fixed-{self._random.randrange(FIXED)}.jpg"}

    def _store(self, action: str, name: str) -> None:
        content = self._random.choice(VERSIONS)
        if self._post(action, (200,), "/fileupload", *self._upload(name, content)) == 200:
            self._own[name] = content

    def _upload(self, name: str, content: bytes) -> tuple[bytes, str]:
        token = self._client.token(name)
        return multipart_body([("type", "O"), ("store", name), ("token", token), ("f", ("f", content))])

    def _form(self, name: str) -> tuple[bytes, str]:
        form = urlencode({"filename": name, "token": self._client.token(name)})
        return form.encode(), "application/x-www-form-urlencoded"

    def _ask(
        self,
        action: str,
        expected: tuple[int, ...],
        query: dict[str, object],
        *,
        headers: dict[str, str] | None = None,
        path: str = "/fileget",
        is_right: Callable[[bytes], bool] = bool,
    ) -> None:
        self._exchange(action, expected, is_right, ("GET", with_query(path, query), None, headers or {}))

    def _post(self, action: str, expected: tuple[int, ...], path: str, body: bytes, content_type: str) -> int:
        return self._exchange(action, expected, bool, ("POST", path, body, {"Content-Type": content_type}))

    def _exchange(
        self,
        action: str,
        expected: tuple[int, ...],
        is_right: Callable[[bytes], bool],
        request: tuple[str, str, bytes | None, dict[str, str]],
    ) -> int:
        is_reused = self._connection.sock is not None
        try:
            try:
                answer, body = self._send(request)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self._connection.close()
                if not is_reused or request[0] != "GET":
                    raise
                self._tally.reopen()  # as every client does: the server may end a connection between two requests
                answer, body = self._send(request)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._tally.fail(action, error)
            return 0
        self._tally.count(action, answer.status, expected, answer.status not in expected[:1] or is_right(body))
        return answer.status

    def _send(self, request: tuple[str, str, bytes | None, dict[str, str]]) -> tuple[http.client.HTTPResponse, bytes]:
        method, path, body, headers = request
        if method == "POST" and self._connection.sock is not None:
            self._connection.close()  # Specify 6 has a connection for each request
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer, answer.read()


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def journal_rows(base: Path) -> int:
    """How many changes by clients the journal knows."""
    with contextlib.closing(Journal(base)) as opened:
        operations = (events.STORED, events.REPLACED, events.DELETED)
        statement = "SELECT count(*) FROM events WHERE operation IN (?, ?, ?)"
        with opened.reading(statement, operations) as rows:
            return int(next(iter(rows))[0])


def settled(look: Callable[[], int], wanted: int) -> int:
    """Waits for up to five seconds until a number is small enough, and returns it."""
    for _ in range(50):
        if look() <= wanted:
            break
        time.sleep(0.1)
    return look()


def leftovers(base: Path) -> int:
    """How many temporary files and locks there are."""
    return sum(1 for pattern in ("upload-*", "thumbnail-*", "lock-*") for _ in base.rglob(pattern))


def report(failures: dict[str, bool]) -> int:
    """Prints what is not as it must be; returns the exit status."""
    for sentence, failed in failures.items():
        if failed:
            print(f"NOT AS IT MUST BE: {sentence}")
    return int(any(failures.values()))


def soak(server: str, seconds: int) -> int:
    """Prints what happened with one server, what it used, and what was left over; returns the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "attachments"
        with running(base, PATH=TOOLS, SERVER=server) as program:
            client, tally = Client(program.port()), Tally()
            for number in range(FIXED):
                tally.count("upload", client.upload(f"fixed-{number}.jpg", VERSIONS[0]).status, (200,))
                tally.count("thumbnail, cold", client.thumbnail(f"fixed-{number}.jpg", 50).status, (200,))
            pid = children(program.process.pid)[0] if server == "granian" else program.process.pid
            before, until = descriptors(pid), time.monotonic() + seconds
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                visits = [pool.submit(Visitor(number, client, tally).visit, until) for number in range(CONNECTIONS)]
                time.sleep(SETTLED_SECONDS)
                early = resident(pid)
                for visit in visits:
                    visit.result()
            late, workers = resident(pid), len(descendants(pid))
            after = settled(lambda: descriptors(pid), before)
            left = settled(lambda: leftovers(base), 0)
            rows = journal_rows(base)
            program.process.terminate()
            status, _ = program.ended()
    total = sum(tally.done.values())
    busy = sum(number for (_, one), number in tally.done.items() if one in BUSY)
    print(f"{server}: {total} requests over {CONNECTIONS} connections in {seconds} s, {len(tally.wrong)} with errors")
    for action in sorted({action for action, _ in tally.done}):
        statuses = {one: number for (kind, one), number in sorted(tally.done.items()) if kind == action}
        shown = ", ".join(f"{number} with {one or 'no answer'}" for one, number in statuses.items())
        print(f"  {action}: {shown}")
    for line, number in collections.Counter(tally.wrong).most_common(10):
        print(f"  error, {number} times: {line}")
    print(f"told to come again later (429, 503): {busy}")
    print(f"connections that the server had ended between two requests: {tally.reopened}")
    print(f"memory after {SETTLED_SECONDS} s and at the end: {early / (1 << 20):.1f} MiB, {late / (1 << 20):.1f} MiB")
    print(f"open files before and after: {before}, {after}; processes below the server: {workers}")
    print(f"temporary files and locks: {left}")
    print(f"changes that were answered 200: {tally.changes}, in the journal: {rows}")
    print(f"exit status {status}")
    return report(
        {
            "there were errors": bool(tally.wrong),
            f"fewer than {LEAST_REQUESTS} requests": total < LEAST_REQUESTS,
            f"memory grew by more than {MOST_GROWTH >> 20} MiB": late - early > MOST_GROWTH,
            # The server has two pipes for each of the two render and the two metadata workers, which start when needed.
            "open files were left": after > before + 8,
            "temporary files were left": left > 0,
            "the journal differs": rows != tally.changes,
            "the server did not end with 0": status != 0,
        }
    )


def main() -> int:
    """Soaks both servers, or one."""
    parser = argparse.ArgumentParser(prog="script/bench soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--server", choices=SERVERS, help="only this one")
    arguments = parser.parse_args()
    servers = [arguments.server] if arguments.server else SERVERS
    return max([soak(server, max(arguments.seconds, SETTLED_SECONDS + 1)) for server in servers])


if __name__ == "__main__":
    sys.exit(main())
