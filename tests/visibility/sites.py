"""Servers with VISIBILITY = "file" and files of every state: Paste, Granian, behind nginx, and on a bucket."""

import contextlib
import re
import shutil
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from assetstore.auth import viewer_cookies
from tests import nginx, pictures
from tests.object_store import BUCKETS, ObjectStore
from tests.support import KEY, Client, GranianServer, Response, RunningServer, two_free_ports

#: The lines of the table for each file; a file of the state `unknown` exists, but not in the table, and `missing` is
#: neither. Two lines of one name are two records that share a file.
STATES: dict[str, list[tuple[str, str]]] = {
    "public": [("yes", "")],
    "released": [("yes", "2020-01-01")],
    "private": [("no", "")],
    "embargoed": [("yes", "2999-12")],
    "shared": [("yes", ""), ("no", "")],
    "unknown": [],
    "missing": [],
}
#: Those that take the same paths through the server as the others.
MAIN_STATES = ("public", "private", "unknown", "missing")
PUBLIC_STATES = ("public", "released")

PERMISSIONS = (
    *("none", "valid", "expired", "of another file", "empty"),
    *("cookie", "expired cookie", "cookie of another file"),
)
VALID = ("valid", "cookie")

#: A small picture with a date.
PICTURE = pictures.encoded(pictures.scene(64, 48), "JPEG", exif=pictures.exif())

#: The headers that differ from request to request, and the age of an expired token in the sentence.
_OF_REQUEST = ("date", "x-request-id", "x-timestamp")
_AGE = re.compile(rb"issued \d+ s ago")


def name_of(state: str) -> str:
    """The store name of the file of a state; a UUID, so that it fits the fast path of nginx."""
    return f"{uuid.uuid5(uuid.NAMESPACE_URL, state)}.jpg"


def write_table(path: Path, states: dict[str, list[tuple[str, str]]]) -> None:
    lines = [f"{name_of(state)},{public},{until}" for state, rows in states.items() for public, until in rows]
    new = path.with_name(f"{path.name}.new")
    new.write_text("\n".join(["store_name,public,embargo_until", *lines, ""]), encoding="utf-8")
    new.replace(path)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@dataclass(frozen=True)
class Site:
    """A running server, and a client of it or of the proxy in front of it."""

    kind: str
    server: Client
    client: Client
    table: Path

    def permission(self, kind: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
        """The parameters and headers with a token or a cookie: none, a valid one, or one that may be invalid."""
        tokens: dict[str, Callable[[], str]] = {
            "valid": lambda: self.server.token(name),
            "expired": lambda: self.server.token(name, age=1000),
            "of another file": lambda: self.server.token(f"other {name}"),
            "empty": str,
        }
        now = time.time()
        cookies = {
            "cookie": (name, now),
            "expired cookie": (name, now - viewer_cookies.LIFETIME_SECONDS - 1),
            "cookie of another file": (f"other {name}", now),
        }
        if kind in cookies:
            header = viewer_cookies.headers(KEY, [("", cookies[kind][0])], cookies[kind][1], "/", is_secure=False)[0]
            return {}, {"Cookie": header.split(";")[0]}
        return ({"token": tokens[kind]()} if kind != "none" else {}), {}


def comparable(response: Response) -> tuple[object, ...]:
    """All that a client can see of a response, but for what differs from request to request."""
    headers = {name: text for name, text in response.headers.items() if name not in _OF_REQUEST}
    return response.status, headers, without_age(response.body)


def without_age(body: bytes) -> bytes:
    """A body without the age of an expired token."""
    return _AGE.sub(b"issued long ago", body)


@contextlib.contextmanager
def running(kind: str, folder: Path, request: pytest.FixtureRequest, **others: object) -> Iterator[Site]:
    """Starts a site: `paste`, `granian`, `nginx` or `s3`."""
    base, table = folder / "attachments", folder / "visibility.csv"
    base.mkdir()
    write_table(table, STATES)
    own: dict[str, object] = {
        "KEY": KEY,
        "BASE_DIR": str(base),
        "RESERVED_BYTES": 0,
        "THREADS": 16,
        "VISIBILITY": "file",
        "VISIBILITY_FILE": str(table),
        "VISIBILITY_SECONDS": 1,
        **others,
    }
    if kind == "s3":
        store: ObjectStore = request.getfixturevalue("object_store")
        own |= {"STORAGE_URL": f"s3://{BUCKETS[0]}/{uuid.uuid4().hex}", "STORAGE_ENDPOINT": store.endpoint}
        own |= {"STORAGE_REDIRECT_SECONDS": 600}
    if kind == "nginx":
        own |= nginx.CHECKED
    server: RunningServer | GranianServer = GranianServer(own) if kind == "granian" else RunningServer(own)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        client: Client = server
        if kind == "nginx":
            client = stack.enter_context(front(server, folder / "nginx", request.getfixturevalue("certificate")))
        for state in STATES:
            if state != "missing":
                assert server.upload(name_of(state), PICTURE).status == 200
                thumbnail = {"type": "T", "scale": 50, "token": server.token(name_of(state))}
                assert server.get("/getfileref", filename=name_of(state), **thumbnail).status == 200
        until(lambda: server.get("/fileget", filename=name_of("public")).status == 200)
        yield Site(kind, server, client, table)


@contextlib.contextmanager
def front(
    server: RunningServer | GranianServer,
    folder: Path,
    certificate: Path,
    name: str = nginx.BASIC,
    changes: Mapping[str, str] | None = None,
) -> Iterator[nginx.Front]:
    """Starts nginx in front of a server, with one of the files of deploy/ and these changes to it."""
    if nginx.NGINX is None:
        pytest.skip("nginx is not installed")
    shutil.copytree(certificate, folder)
    ports = two_free_ports()
    lines = {**(changes or {}), **nginx.own_lines(folder, server.base, server.port, ports)}
    (folder / "asset-server.conf").write_text(nginx.edited(lines, name), encoding="utf-8")
    running = nginx.Front(folder, ports, ssl.create_default_context(cafile=str(folder / "fullchain.pem")))
    try:
        yield running
    finally:
        running.stop()
