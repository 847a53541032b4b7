"""A real nginx in front of the server, with the files of deploy/; only lines that administrators edit are changed."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

from tests.support import PROJECT, Client, LowerKeys, Response, RunningServer, two_free_ports

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
BASIC, ADVANCED = "nginx.conf", "nginx-advanced.conf"
HOST = "assets.museum.org"
BEHIND_NGINX = {"TRUSTED_PROXIES": ["127.0.0.1"], "PUBLIC_URL": f"https://{HOST}"}
CHECKED = {**BEHIND_NGINX, "ACCEL_REDIRECT": "/protected-store"}

#: The http section of Debian's nginx.conf, with compression of everything, as some administrators may have it.
MAIN = """
daemon off; master_process {master}; pid {folder}/pid; error_log {folder}/error.log info; {user}
events {{ worker_connections 256; }}
http {{
    gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; gzip_vary on;
    types {{ text/html html; application/javascript js; image/x-ms-bmp bmp; }}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/asset-server.conf;
}}
"""

Start = Callable[..., RunningServer]
Changes = Mapping[str, str]
Behind = Callable[..., "Front"]


class SecureClient(Client):
    """An HTTPS client, optionally from another address of this machine."""

    def __init__(self, port: int, trust: ssl.SSLContext, source: str = "127.0.0.1") -> None:
        super().__init__(port)
        self.trust = trust
        self.source = source
        self.lines: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        address = ("127.0.0.1", self.port)
        with (
            socket.create_connection(address, timeout=60, source_address=(self.source, 0)) as plain,
            self.trust.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            yield connection

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        lines = {"Host": HOST, "Content-Length": str(len(body or b"")), **(headers or {})}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return self.raw(head.encode() + b"\r\n" + (body or b""))

    def raw(self, data: bytes, finish: bool = True) -> Response:
        with self.connected() as connection:
            connection.sendall(data)
            return self.read(connection, data.split(b" ", 1)[0].decode("latin-1"))

    def read(self, connection: ssl.SSLSocket, method: str = "POST") -> Response:
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        self.lines = response.getheaders()
        return Response(response.status, LowerKeys(self.lines), response.read())


class Front(SecureClient):
    """A running nginx in front of a server; `http` is a client of its HTTP port."""

    def __init__(self, folder: Path, ports: tuple[int, int], trust: ssl.SSLContext, user: str = "") -> None:
        super().__init__(ports[1], trust)
        self.http = Client(ports[0])
        self.folder = folder
        main = MAIN.format(folder=folder, user=user, master="on" if user else "off")
        (folder / "nginx.conf").write_text(main, encoding="utf-8")
        command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for port in ports:
            while not self._listens(port):
                time.sleep(0.02)

    def _listens(self, port: int) -> bool:
        if self.process.poll() is not None:
            assert self.process.stderr
            raise AssertionError(f"nginx did not start: {self.process.stderr.read()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        if self.process.stderr:
            self.process.stderr.close()

    def log(self) -> list[str]:
        return (self.folder / "access.log").read_text(encoding="utf-8").splitlines()

    def watched(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[Response, bool]:
        """Sends a GET; returns the response, and whether nginx gave it without asking the server."""
        response = self.request("GET", path, headers=headers)
        return response, self.line_of(response).endswith(" -")

    def line_of(self, response: Response) -> str:
        """The line of the access log about a response; it is written after the response was sent."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for line in self.log():
                if f" {response.headers['x-request-id']} " in line:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"no line about {response}")

    def temporary_files(self) -> set[str]:
        """The temporary files of bodies that nginx has open, deleted ones included."""
        found = set()
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(descriptor.readlink()))
        return {file for file in found if file.startswith((f"{self.folder}/body", f"{self.folder}/proxy"))}


def edited(changes: Changes, name: str = BASIC) -> str:
    """Returns the text of a file of deploy/ with these replacements."""
    text = (PROJECT / "deploy" / name).read_text(encoding="utf-8")
    for line, replacement in changes.items():
        assert line in text, f"deploy/{name} no longer has {line!r}"
        text = text.replace(line, replacement)
    return text


def own_lines(folder: Path, base: Path, upstream: int, ports: tuple[int, int]) -> dict[str, str]:
    """The lines that an administrator edits in both files, and those that allow an ordinary user to run nginx."""
    return {
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{upstream};",
        "/var/lib/web-asset-server": str(base),
        " listen [::]:80;": "",
        " listen [::]:443 ssl;": "",
        "listen 80;": f"listen 127.0.0.1:{ports[0]};",
        "listen 443 ssl": f"listen 127.0.0.1:{ports[1]} ssl",
        "/etc/ssl/asset-server/": f"{folder}/",
        "/var/log/nginx/access.log": f"{folder}/access.log",
    }


#: Enables the fast path of nginx-advanced.conf.
FAST = {'map "" $asset_fast_path { default off; }': 'map "" $asset_fast_path { default on; }'}


def http_2() -> dict[str, str]:
    """Enables HTTP/2, as docs/nginx.md says for this version of nginx."""
    printed = subprocess.run([str(NGINX), "-v"], capture_output=True, text=True, check=True).stderr
    version = tuple(map(int, re.findall(r"\d+", printed)[:3]))
    if version >= (1, 25, 1):
        return {"    ssl_protocols ": "    http2 on;\n    ssl_protocols "}
    return {"listen 443 ssl;": "listen 443 ssl http2;"}


def below_assets(name: str = BASIC) -> dict[str, str]:
    """The configuration on the host of Specify 7, by the lines marked SPECIFY 7. nginx plays the part of Specify 7."""
    changes = {"    location / {\n    #": '    location / { return 200 "Specify 7 at $request_uri"; }\n    '}
    for line, marked in re.findall(r"^( +[^#\n].*\n)( +#(?!location).* # SPECIFY 7.*\n)", edited({}, name), re.M):
        changes[line + marked] = marked.replace("#", "", 1) if name == BASIC else line + marked.replace("#", "", 1)
    return changes


def curl(front: Front, *arguments: str, stdin: IO[bytes] | None = None) -> str:
    """Returns the output of curl with HTTP/2: body, version and status."""
    return subprocess.run(curl_command(front, *arguments), stdin=stdin, capture_output=True, check=True).stdout.decode()


def curl_command(front: Front, *arguments: str, version: str = "2") -> list[str]:
    command = ["curl", "--silent", "--show-error", f"--http{version}", "--cacert", str(front.folder / "fullchain.pem")]
    command += ["--resolve", f"{HOST}:{front.port}:127.0.0.1", "--write-out", " %{http_version} %{http_code}"]
    *options, path = arguments
    return [*command, *options, f"https://{HOST}:{front.port}{path}"]


@pytest.fixture(name="certificate", scope="module")
def throwaway_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a temporary certificate and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(name="behind")
def started_nginx(tmp_path: Path, certificate: Path) -> Iterator[Behind]:
    """Starts nginx in front of a server, optionally with other lines of its configuration changed."""
    running: list[Front] = []

    def start_front(
        server: RunningServer, changes: Changes | None = None, name: str = BASIC, upstream: int = 0, user: str = ""
    ) -> Front:
        folder = tmp_path / f"nginx-{len(running)}"
        shutil.copytree(certificate, folder)
        ports = two_free_ports()
        lines = own_lines(folder, server.base, upstream or server.port, ports)
        (folder / "asset-server.conf").write_text(edited({**(changes or {}), **lines}, name), encoding="utf-8")
        trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        running.append(Front(folder, ports, trust, user))
        return running[-1]

    yield start_front
    for front in running:
        front.stop()
