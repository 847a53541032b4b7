"""Shared by the tests: a running server, an HTTP client, and functions that build requests."""

import contextlib
import dataclasses
import http.client
import json
import multiprocessing
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import server as asset_server
from assetstore.app import bootstrap
from assetstore.auth import status_tokens, tokens
from assetstore.config import loading
from assetstore.config.limits import Limits
from assetstore.config.loading import Settings
from assetstore.journal.journal import Journal
from assetstore.originals.service import Originals
from assetstore.serving import paste, sockets
from assetstore.storage.disk.store import disk_store
from tests import command_server

KEY = "test_attachment_key"
PROJECT = Path(__file__).resolve().parents[1]

#: PYTHONPATH of render workers that are to have ImageMagick and Ghostscript only.
WITHOUT_LIBRARIES = str(PROJECT / "tests/without_libraries")


#: When the tests began, in whole seconds, as in responses.
_BEGAN = int(time.time())


@dataclass(frozen=True)
class Response:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


class Client:
    """A client of a server at *port* on this machine, with the key."""

    def __init__(self, port: int, key: str = KEY) -> None:
        self.port = port
        self.key = key

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Response(response.status, LowerKeys(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None, **query: object) -> Response:
        return self.request("GET", with_query(path, query), headers=headers)

    def head(self, path: str, headers: Mapping[str, str] | None = None, **query: object) -> Response:
        return self.request("HEAD", with_query(path, query), headers=headers)

    def raw(self, data: bytes, finish: bool = True) -> Response:
        """Sends raw bytes and reads the response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=data.split(b" ", 1)[0].decode("latin-1"))
            response.begin()
            return Response(response.status, LowerKeys(response.getheaders()), response.read())

    def readiness(self) -> dict[str, Any]:
        """What /readyz says to those who have the key."""
        token = tokens.make(status_tokens.page_key(self.key), "GET /readyz", int(time.time()))
        page: dict[str, Any] = json.loads(self.get("/readyz", {status_tokens.HEADER: token}).body)
        return page

    def token(self, name: str, age: int = 0) -> str:
        return tokens.make(self.key, name, int(time.time()) - age)

    def upload(self, name: str, content: bytes, headers: Mapping[str, str] | None = None, **fields: str) -> Response:
        parts: dict[str, str] = {"type": "O", "store": name, "token": self.token(name), **fields}
        return self.post_parts([*parts.items(), ("file", ("local.bin", content))], headers)

    def post_parts(
        self, parts: list[tuple[str, str | tuple[str, bytes]]], headers: Mapping[str, str] | None = None
    ) -> Response:
        body, content_type = multipart_body(parts)
        return self.request("POST", "/fileupload", body, {"Content-Type": content_type, **(headers or {})})

    def delete(self, name: str, **fields: str) -> Response:
        form = urlencode({"filename": name, "token": self.token(name), **fields})
        return self.post_form("/filedelete", form.encode())

    def post_form(self, path: str, body: bytes, content_type: str = "application/x-www-form-urlencoded") -> Response:
        return self.request("POST", path, body, {"Content-Type": content_type})

    def thumbnail(self, name: str, scale: int = 200, **query: object) -> Response:
        return self.get("/fileget", type="T", filename=name, scale=scale, **query)


def run_manage(base: Path, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs manage.py on a store, as an administrator does, with these environment variables."""
    variables = {"BASE_DIR": str(base), "KEY": KEY, "PATH": os.environ["PATH"], **environ}
    done = command_server.run([str(argument) for argument in arguments], variables)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def originals_in(base: Path, *collection_dirs: str, keeps_trash: bool = True) -> Iterator[Originals]:
    """Yields the originals of a store on disk, without a server."""
    store = disk_store(base, "originals", "thumbnails", collection_dirs)
    store.space.prepare()
    originals = Originals(store, Journal(base), collection_dirs, keeps_trash)
    yield originals
    originals.journal.close()


def newest_token(client: Client, name: str) -> str:
    """A token that is valid for a second longer, for tests of a short tolerance on a busy machine."""
    return client.token(name, age=-1)


def wait_for_upload(base: Path) -> None:
    """Waits until the server has created the file of an upload."""
    for _ in range(600):
        if any((base / "originals/.asset-server").glob("upload-*")):
            return
        time.sleep(0.1)
    raise AssertionError("no upload has begun")


class LowerKeys(dict[str, str]):
    """Headers by their names in lower case."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in headers)


def load_settings(own: Mapping[str, Any]) -> Settings:
    """The effective settings of settings.py with these names and values; `limits` has fields of `Limits` to replace."""
    settings = loading.load(own, {}, PROJECT, 2)
    return dataclasses.replace(settings, limits=dataclasses.replace(settings.limits, **own.get("limits", {})))


class OwnServer(Client):
    """A server on a store of the test."""

    base: Path

    @property
    def originals(self) -> Path:
        return self.base / "originals"

    @property
    def thumbnails(self) -> Path:
        return self.base / "thumbnails"


class RunningServer(OwnServer):
    """The real application under Paste, in threads of this process. Port 0 means any free port."""

    def __init__(self, own: Mapping[str, object], port: int = 0) -> None:
        # Starting all threads of the default takes time. These are enough for eight uploads at a time.
        settings = load_settings({"THREADS": 128, **own})
        self.base = settings.base_dir
        context = bootstrap.open_store(settings, PROJECT)
        self.settings, self.context = context.settings, context
        app = asset_server.make_app(context)
        self.http = paste.Server(app, self.settings, sockets.listen("127.0.0.1", port))
        self._thread = threading.Thread(target=self.http.serve_until_stopped)
        self._thread.start()
        keys = self.settings.key
        super().__init__(self.http.server_port, keys[0] if keys else "")

    def stop(self) -> None:
        self.http.stop()
        self._thread.join()
        for _ in range(self.http.thread_pool.nworkers):
            self.http.thread_pool.queue.put(self.http.thread_pool.SHUTDOWN)
        self.context.close()

    def restarted(self, **own: object) -> "RunningServer":
        """Starts another server on the same store, with these settings changed."""
        names = {name.upper(): getattr(self.settings, name) for name in ("base_dir", "key", "collection_dirs")}
        names["BASE_DIR"] = str(names["BASE_DIR"])
        return RunningServer({**names, **own})


_FORK_SERVER = multiprocessing.get_context("forkserver")
_FORK_SERVER.set_forkserver_preload(["tests.granian_program"])


def _serve_by_granian(*arguments: Any) -> None:
    from tests import granian_program  # which imports this module

    granian_program.serve(*arguments)


class GranianServer(OwnServer):
    """The same application under Granian, as `python server.py` runs it, in separate processes."""

    def __init__(self, own: Mapping[str, object]) -> None:
        own = {"PORT": 0, "BIND_ADDRESS": "127.0.0.1", "SERVER": "granian", **own}
        self.settings = load_settings(own)
        self.base = self.settings.base_dir
        receiver, sender = _FORK_SERVER.Pipe(duplex=False)
        self._output = os.fdopen(os.dup(receiver.fileno()))
        # A copy of a process that has imported everything: a new one would take most of a second for that.
        self.process = _FORK_SERVER.Process(target=_serve_by_granian, args=(own, dict(os.environ), sender))
        self.process.start()
        receiver.close()
        sender.close()
        self.printed: list[str] = []
        for line in self._output:
            self.printed.append(line)
            if "listening on" in line:
                break
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        keys = self.settings.key
        own_key = self.base / ".asset-server/key"
        key = keys[0] if keys else own_key.read_text().strip() if own_key.exists() else ""
        super().__init__(int(self.printed[-1].split(" port ")[1].split()[0]), key)

    def _read(self) -> None:
        self.printed += self._output

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(30)
        has_ended = not self.process.is_alive()
        self.process.kill()
        self.process.join()
        self._reader.join()
        self._output.close()
        assert has_ended, "it did not stop by itself"


def free_port() -> int:
    """Returns a port that is not in use, below those that Linux gives to programs that ask for any port."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


def two_free_ports() -> tuple[int, int]:
    """Returns two different ports that are not in use."""
    first = second = free_port()
    while second == first:
        second = free_port()
    return first, second


def is_of_this_run(timestamp: float) -> bool:
    """Whether a timestamp (seconds since 1970) is between the start of the tests and now."""
    return _BEGAN <= timestamp <= time.time()


def with_query(path: str, query: Mapping[str, object], safe: str = "") -> str:
    return f"{path}?{urlencode(query, safe=safe)}" if query else path


def multipart_body(parts: list[tuple[str, str | tuple[str, bytes]]]) -> tuple[bytes, str]:
    """Builds a form from texts and files (local name, content). Returns its body and Content-Type."""
    boundary = b"----boundary7d81a9"
    body = bytearray()  # not bytes, because some forms have thousands of parts
    for name, value in parts:
        body += b"--" + boundary + b"\r\n"
        if isinstance(value, str):
            body += f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
            body += value.encode("utf-8", "surrogateescape")
        else:
            disposition = f'Content-Disposition: form-data; name="{name}"; filename="{value[0]}"\r\n'
            body += disposition.encode() + b"Content-Type: application/octet-stream\r\n\r\n"
            body += value[1]
        body += b"\r\n"
    body += b"--" + boundary + b"--\r\n"
    return bytes(body), f"multipart/form-data; boundary={boundary.decode()}"


def use_up_sizes(base: Path, left: int) -> None:
    """Leaves room for this many more sizes of thumbnails to be cached in a store without collections."""
    sizes = base / "thumbnails/.asset-server/sizes"
    sizes.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(Limits.cached_sizes - left):
        (sizes / str(3000 + number)).touch()


def visible_files(folder: Path) -> list[str]:
    """Returns the names of the files in a folder of the store, without private ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
