"""Keys that a platform gives to a machine, a container or a service account, and buckets with Object Lock."""

import http.server
import json
import re
import ssl
import subprocess
import threading
import urllib.error
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.object_store import ObjectStore
from tests.support import RunningServer

pytest.importorskip("obstore", reason="obstore is not to be had for this system")
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.errors import Rejected
from assetstore.storage.s3.library import Service

KEY = {
    "Code": "Success",
    "AccessKeyId": "KEY-OF-A-ROLE",
    "SecretAccessKey": "secret",
    "Token": "token of the role",
    "Expiration": "2999-01-01T00:00:00Z",
    "LastUpdated": "2026-01-01T00:00:00Z",
}

ASSUMED = """<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{AccessKeyId}</AccessKeyId><SecretAccessKey>{SecretAccessKey}</SecretAccessKey>
<SessionToken>{Token}</SessionToken><Expiration>{Expiration}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""

ROLE = "/latest/meta-data/iam/security-credentials/"

#: What a platform answers at each address, and the empty answer of a service that has stored an object.
ANSWERS = {
    "/latest/api/token": "token of the machine",
    ROLE: "assets",
    f"{ROLE}assets": json.dumps(KEY),
    "/container": json.dumps(KEY),
    "/sts": ASSUMED.format(**KEY),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as a platform and as a bucket, and records the requests."""

    server: "Platform"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.path, dict(self.headers), body))
        path = self.path.partition("?")[0]
        answer = ANSWERS.get(path, "").encode()
        self.send_response(404 if path.startswith("/unknown") else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT  # noqa: N815 - names of the library

    def log_message(self, *_arguments: object) -> None:
        """Logs nothing."""


class Platform(http.server.ThreadingHTTPServer):
    """A platform, and a bucket, on this machine."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []


@contextmanager
def running(certificate: Path | None = None) -> Iterator[Platform]:
    with Platform() as platform:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            platform.socket = context.wrap_socket(platform.socket, server_side=True)
        thread = threading.Thread(target=platform.serve_forever, args=(0.02,))
        thread.start()
        yield platform
        platform.shutdown()
        thread.join()


@pytest.fixture
def store_by_role(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Mapping[str, str]], dict[str, str]]]:
    """Stores an object with no key but what the environment leads to; returns the headers of the request."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with running() as service:
        address = f"http://127.0.0.1:{service.server_port}"

        def store(environ: Mapping[str, str]) -> dict[str, str]:
            for name, value in environ.items():
                monkeypatch.setenv(name, value.replace("SERVICE", address))
            Bucket("museum-files", Service(address, "us-east-1", False, 4)).put("a.txt", b"text", {})
            path, headers, body = service.requests[-1]
            assert (path, body) == ("/museum-files/a.txt", b"text")
            return headers

        yield store


def assert_signed_by_role(headers: Mapping[str, str]) -> None:
    assert "Credential=KEY-OF-A-ROLE/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token of the role"


Store = Callable[[Mapping[str, str]], dict[str, str]]


def test_without_a_key_the_role_of_the_machine_counts(store_by_role: Store) -> None:
    assert_signed_by_role(store_by_role({"AWS_METADATA_ENDPOINT": "SERVICE"}))


def test_the_role_of_a_container_counts(store_by_role: Store, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token of the container")
    names = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    assert_signed_by_role(store_by_role({names[0]: "SERVICE/container", names[1]: str(token)}))


def test_the_role_of_a_web_identity_counts(
    store_by_role: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, certificate = tmp_path / "identity", tmp_path / "certificate.pem"
    identity.write_text("identity")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=sts"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    command = [*make.split(), *names, "-keyout", str(certificate), "-out", str(tmp_path / "public.pem")]
    subprocess.run(command, check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + (tmp_path / "public.pem").read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    with running(certificate) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"https://127.0.0.1:{sts.server_port}/sts")
        role = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(identity), "AWS_ROLE_ARN": "arn:aws:iam::1:role/assets"}
        assert_signed_by_role(store_by_role(role))
        [(path, _, _)] = sts.requests
    assert "Action=AssumeRoleWithWebIdentity" in path
    assert "WebIdentityToken=identity" in path


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"},  # as on a machine without roles
        {"AWS_METADATA_ENDPOINT": "SERVICE/unknown"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/absent/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/assets"},
    ],
)
def test_without_key_and_role_the_error_says_so_instead_of_blaming_the_service(
    store_by_role: Store, environ: dict[str, str]
) -> None:
    with pytest.raises(Rejected, match=r"The server has no access key for the file storage"):
        store_by_role(environ)


def test_uploads_have_the_checksum_that_buckets_with_object_lock_require(
    store_by_role: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = store_by_role({"AWS_METADATA_ENDPOINT": "SERVICE", "AWS_CHECKSUM_ALGORITHM": "SHA256"})
    assert headers["x-amz-checksum-sha256"] == "mC2ePrmW9VnmM/TRlN7zdh2Qn1o7ZH0ahR/q1nwyydE="


def test_in_a_bucket_with_object_lock_everything_works_and_older_versions_stay(
    start: Callable[..., RunningServer], object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"locked-{uuid.uuid4().hex[:8]}"
    retention = "<DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention>"
    rule = f"<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>{retention}</Rule>"
    lock = f'<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rule}</ObjectLockConfiguration>'
    object_store.request("PUT", f"/{bucket}", headers={"x-amz-bucket-object-lock-enabled": "true"})
    object_store.request("PUT", f"/{bucket}", "object-lock=", lock.encode())
    monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "SHA256")
    server = start(STORAGE_URL=f"s3://{bucket}", STORAGE_ENDPOINT=object_store.endpoint)
    for content in (b"first", b"second"):
        assert server.upload("a.txt", content).status == 200
        assert server.get("/fileget", filename="a.txt").body == content
    assert server.delete("a.txt").status == 200
    assert server.get("/fileget", filename="a.txt").status == 404
    originals = server.context.originals
    for entry in list(originals.trash()):
        assert originals.trash_storage.purge(entry)
    assert list(originals.trash()) == []
    page = object_store.request("GET", f"/{bucket}", "versions=").decode()
    listed = re.findall("<Version>.*?</Version>", page, re.DOTALL)
    versions = [found[1] for one in listed if (found := re.search("<Key>originals/a.txt</Key><VersionId>(.*?)<", one))]
    assert len(versions) == 2
    for version in versions:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            object_store.request("DELETE", f"/{bucket}/originals/a.txt", f"versionId={version}")
