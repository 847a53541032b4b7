"""serving.tls and Granian: HTTPS and HTTP/2 without a proxy, by certificates of a throw-away authority."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetstore.serving import tls
from tests import pictures
from tests.browser import chromium, needs_chromium
from tests.support import KEY, Client, GranianServer, LowerKeys, Response, run_manage
from tests.test_clients import WIRE, recordings, signed_anew
from tests.test_live import Program

YEAR = "365"


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A certificate authority in a folder, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root.pem"
        subject = ["-subj", "/CN=Throw-away CA", "-addext", "basicConstraints=critical,CA:TRUE"]
        subject += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "root.key", "-out", self.root, *subject
        )

    def sign(self, name: str, *, days: str = YEAR, before: str | None = None) -> tuple[Path, Path]:
        """Makes a key and a certificate for localhost; returns their paths."""
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions = self.folder / "extensions"
        names = "subjectAltName=DNS:localhost,DNS:*.museum.org,IP:127.0.0.1\n"
        extensions.write_text(names + "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
        signing = ["x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.folder / "root.key"]
        openssl(*signing, "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def sign_expired(self, name: str) -> tuple[Path, Path]:
        """As `sign`, for a certificate of which the time is over."""
        certificate, key = self.sign(name)
        database = self.folder / "index.txt"
        database.touch()
        (self.folder / "serial").write_text("01\n")
        configuration = self.folder / "ca.cnf"
        configuration.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={database}\nserial={self.folder}/serial\nnew_certs_dir={self.folder}\n"
            "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        )
        when = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
        signer = ["-cert", self.root, "-keyfile", self.folder / "root.key", "-extfile", self.folder / "extensions"]
        csr = self.folder / f"{name}.csr"
        openssl("ca", "-batch", "-notext", "-config", configuration, *signer, *when, "-in", csr, "-out", certificate)
        return certificate, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def signed(authority: Authority) -> tuple[Path, Path]:
    return authority.sign("good")


class HttpsServer(GranianServer):
    """A server with a certificate, and a client that trusts its authority."""

    def __init__(self, base: Path, authority: Authority, files: tuple[Path, Path], **own: object) -> None:
        base.mkdir(exist_ok=True)
        self.trust = ssl.create_default_context(cafile=authority.root)
        names = {"TLS_CERTIFICATE": str(files[0]), "TLS_KEY": str(files[1])}
        super().__init__({"BASE_DIR": str(base), "KEY": KEY, **names, **own})

    def request(self, method: str, path: str, body: bytes | None = None, headers: object = None) -> Response:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.trust)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))  # type: ignore[call-overload]
            response = connection.getresponse()
            return Response(response.status, LowerKeys(response.getheaders()), response.read())

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return self.trust.wrap_socket(plain, server_hostname="localhost")

    def raw(self, data: bytes, finish: bool = True) -> Response:
        with self.connect() as connection:
            connection.sendall(data)
            response = http.client.HTTPResponse(connection, method=data.split(b" ", 1)[0].decode("latin-1"))
            response.begin()
            return Response(response.status, LowerKeys(response.getheaders()), response.read())

    def serial(self) -> int:
        with self.connect() as connection:
            return int(str((connection.getpeercert() or {})["serialNumber"]), 16)

    def curl(self, authority: Authority, path: str, *arguments: object) -> str:
        url = f"https://localhost:{self.port}{path}"
        command = ["curl", "-sS", "--cacert", authority.root, *arguments, url]
        return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@pytest.fixture
def serve(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., HttpsServer]]:
    servers: list[HttpsServer] = []

    def start(files: tuple[Path, Path], **own: object) -> HttpsServer:
        servers.append(HttpsServer(tmp_path / "attachments", authority, files, **own))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_expiry_and_host_names_of_a_certificate_are_read(signed: tuple[Path, Path]) -> None:
    certificate = tls.check(*signed)
    assert certificate.names == ("localhost", "*.museum.org", "127.0.0.1")
    assert certificate.days_left in (364, 365)
    assert [
        certificate.is_for(name) for name in ("localhost", "Assets.Museum.org", "museum.org", "a.b.museum.org")
    ] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "certificate has expired"),
        ("mismatched", "key values mismatch"),
        ("encrypted", "expected one without a password"),
        ("missing", "cannot be read: No such file"),
        ("garbage", "cannot be used together"),
    ],
)
def test_an_unusable_certificate_stops_the_start_with_one_line(
    tmp_path: Path, authority: Authority, signed: tuple[Path, Path], kind: str, words: str
) -> None:
    certificate, key = signed
    if kind == "expired":
        certificate, key = authority.sign_expired("old")
    elif kind == "mismatched":
        _, key = authority.sign("other")
    elif kind == "encrypted":
        key = tmp_path / "encrypted.key"
        openssl("rsa", "-aes256", "-passout", "pass:x", "-in", signed[1], "-out", key)
    elif kind == "missing":
        key = tmp_path / "absent.key"
    else:
        certificate = tmp_path / "garbage.pem"
        certificate.write_text("no certificate")
    own = {"BASE_DIR": str(tmp_path), "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "KEY": KEY, "SERVER": "granian"}
    status, printed = Program({**own, "TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key)}).ended()
    assert status == 1
    assert printed.splitlines()[-1].startswith("The asset server cannot start. TLS_")
    assert words in printed.splitlines()[-1]
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SERVER": "paste", "TLS_CERTIFICATE": "a", "TLS_KEY": "b"}, "expected SERVER = 'granian'"),
        ({"SERVER": "granian", "TLS_CERTIFICATE": "a"}, "expected both or neither"),
    ],
)
def test_incompatible_tls_settings_are_rejected_with_a_remedy(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    status, printed = Program({"BASE_DIR": str(tmp_path), "KEY": KEY, **environ}).ended()
    assert status == 1
    assert words in printed.splitlines()[-1]


@pytest.mark.parametrize("client", ["sp6-", "sp7fe-"])
def test_recorded_client_requests_work_over_https(
    serve: Callable[..., HttpsServer], signed: tuple[Path, Path], client: str
) -> None:
    server = serve(signed)
    for row in recordings(client):
        recording = (WIRE / row["file"]).read_bytes()
        if row["token"] == "valid":
            recording = signed_anew(recording)
        assert server.raw(recording).status == int(row["status"]), row["file"]


def test_advertised_addresses_are_https(serve: Callable[..., HttpsServer], signed: tuple[Path, Path]) -> None:
    server = serve(signed, SERVER_NAME="assets.museum.org", SERVER_PORT=8443)
    assert "https://assets.museum.org:8443/fileget" in server.get("/web_asset_store.xml").text


def test_uploads_thumbnails_and_ranges_work_over_http_2(
    serve: Callable[..., HttpsServer], authority: Authority, signed: tuple[Path, Path], tmp_path: Path
) -> None:
    server = serve(signed)
    picture = tmp_path / "a.jpg"
    picture.write_bytes(pictures.jpeg())
    form = ["-F", "store=a.jpg", "-F", f"token={server.token('a.jpg')}", "-F", f"file=@{picture}"]
    assert server.curl(authority, "/fileupload", "--http2", "-w", " %{http_version}", *form) == "Ok. 2"
    wanted = ["--http2", "-o", tmp_path / "b", "-w", "%{http_version} %{http_code}"]
    assert server.curl(authority, "/fileget?filename=a.jpg", *wanted) == "2 200"
    assert (tmp_path / "b").read_bytes() == picture.read_bytes()
    assert server.curl(authority, "/fileget?filename=a.jpg", *wanted, "-r", "0-9") == "2 206"
    assert server.curl(authority, "/fileget?filename=a.jpg&type=T&scale=50", *wanted) == "2 200"


@needs_chromium
def test_chromium_loads_the_page_over_http_2(
    serve: Callable[..., HttpsServer], signed: tuple[Path, Path], tmp_path: Path
) -> None:
    server = serve(signed)
    with chromium(tmp_path, "--ignore-certificate-errors") as browser:
        browser.driver.get(f"https://localhost:{server.port}/status")
        browser.sign_in(KEY)
        loaded = "return [...performance.getEntries()].map((entry) => entry.nextHopProtocol).filter(Boolean)"
        assert set(browser.script(loaded)) == {"h2"}


def test_a_body_of_unknown_length_is_rejected_over_http_2(
    serve: Callable[..., HttpsServer], authority: Authority, signed: tuple[Path, Path]
) -> None:
    server = serve(signed)
    command = [
        "curl",
        "-sS",
        "--http2",
        "--cacert",
        str(authority.root),
        "-X",
        "POST",
        "-T",
        "-",
        "-w",
        " %{http_code}",
    ]
    run = subprocess.run(
        [*command, f"https://localhost:{server.port}/fileupload"], input=b"x" * 1000, capture_output=True, check=True
    )
    assert run.stdout.endswith(b" 411")
    assert server.get("/healthz").status == 200


def test_old_java_clients_get_tls_1_2_but_nothing_older(
    serve: Callable[..., HttpsServer], signed: tuple[Path, Path]
) -> None:
    server = serve(signed)
    server.trust.maximum_version = ssl.TLSVersion.TLSv1_2
    assert server.get("/healthz").status == 200
    older = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_1", "-cipher", "ALL@SECLEVEL=0"]
    assert subprocess.run(older, input=b"", capture_output=True, check=False).returncode == 1


def test_readyz_shows_the_expiry_date_of_the_certificate(
    serve: Callable[..., HttpsServer], authority: Authority
) -> None:
    files = authority.sign("short", days="5")
    check = serve(files).readiness()["checks"]["certificate"]
    assert check["status"] == "warning"
    assert tls.check(*files).expiry_date in check["reason"]


def test_commands_use_the_https_server_of_this_machine_whatever_its_certificate(
    serve: Callable[..., HttpsServer], signed: tuple[Path, Path], tmp_path: Path
) -> None:
    server = serve(signed)
    variables = {"PORT": str(server.port), "SERVER": "granian"}
    variables |= {"TLS_CERTIFICATE": str(signed[0]), "TLS_KEY": str(signed[1])}
    (tmp_path / "a.txt").write_bytes(b"text")
    put = run_manage(tmp_path / "attachments", "put", "--local-names", tmp_path / "a.txt", **variables)
    assert (put.returncode, put.stdout) == (0, "a.txt\n"), put.stderr
    doctor = run_manage(tmp_path / "attachments", "doctor", "--only", "network", **variables)
    assert doctor.returncode == 0
    assert "The running server uses this key." in doctor.stdout


def test_a_certificate_file_that_became_unusable_is_a_warning(
    serve: Callable[..., HttpsServer], authority: Authority, tmp_path: Path
) -> None:
    files = tuple(shutil.copy(path, tmp_path) for path in authority.sign("first"))
    server = serve(files)
    Path(files[0]).write_text("half a certif")
    response = server.get("/readyz")
    assert response.status == 200
    assert json.loads(response.text)["checks"]["certificate"]["status"] == "warning"


def test_sighup_loads_a_new_certificate_without_losing_a_request(
    serve: Callable[..., HttpsServer], authority: Authority, tmp_path: Path
) -> None:
    files = tuple(shutil.copy(path, tmp_path) for path in authority.sign("first"))
    server = serve((Path(files[0]), Path(files[1])), PROCESSES=2)
    first = server.serial()
    statuses: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                statuses.append(server.get("/healthz").status)
            except OSError as error:
                statuses.append(error)

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    for source, target in zip(authority.sign("second"), files, strict=True):
        shutil.copy(source, target)
    os.kill(server.process.pid, signal.SIGHUP)
    serials = set()
    for _ in range(300):
        serials = {server.serial() for _ in range(8)}
        if first not in serials:
            break
        time.sleep(0.1)
    done.set()
    for client in clients:
        client.join()
    assert first not in serials
    assert set(statuses) == {200}
    assert len(statuses) > 100


def test_sighup_with_an_unusable_certificate_changes_nothing_and_logs_why(
    serve: Callable[..., HttpsServer], authority: Authority, tmp_path: Path
) -> None:
    files = tuple(shutil.copy(path, tmp_path) for path in authority.sign("kept"))
    server = serve((Path(files[0]), Path(files[1])))
    first = server.serial()
    shutil.copy(authority.sign("stranger")[0], files[0])
    os.kill(server.process.pid, signal.SIGHUP)
    for _ in range(100):
        if any("the old one stays in use" in line for line in server.printed):
            break
        time.sleep(0.1)
    assert any("the old one stays in use: TLS_CERTIFICATE and TLS_KEY" in line for line in server.printed)
    # A worker that dies now is replaced by one with the old certificate.
    [worker] = [int(path) for path in _children(server.process.pid)]
    os.kill(worker, signal.SIGKILL)
    for _ in range(100):
        with contextlib.suppress(OSError):
            assert server.serial() == first
            return
        time.sleep(0.1)
    raise AssertionError("no worker took the place of the one that was killed")


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def test_a_client_without_our_ca_does_not_trust_the_server(
    serve: Callable[..., HttpsServer], signed: tuple[Path, Path]
) -> None:
    server = serve(signed)
    server.trust = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        server.get("/healthz")


def test_plain_http_on_the_https_port_is_harmless(serve: Callable[..., HttpsServer], signed: tuple[Path, Path]) -> None:
    server = serve(signed)
    with pytest.raises((http.client.HTTPException, OSError)):
        Client(server.port).get("/healthz")
    assert server.get("/healthz").status == 200


def test_clients_that_fall_silent_are_disconnected_over_http_2(
    serve: Callable[..., HttpsServer], signed: tuple[Path, Path]
) -> None:
    server = serve(signed, limits={"silence_seconds": 1})
    server.trust.set_alpn_protocols(["h2"])
    with server.connect() as connection:
        assert connection.selected_alpn_protocol() == "h2"
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        connection.settimeout(15)
        while connection.recv(1000):
            pass
