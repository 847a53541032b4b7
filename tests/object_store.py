"""A real S3 server for the tests: one process of SeaweedFS on this machine, with its files in a temporary folder.

To use another service, set TEST_S3_ENDPOINT, TEST_S3_ACCESS_KEY and TEST_S3_SECRET_KEY. The tests create two buckets.
"""

import contextlib
import datetime
import hashlib
import hmac
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

BUCKETS = ("museum-files", "herps-files")

#: For each port, SeaweedFS also uses the one that is higher by this number.
_SECOND_PORT = 10_000
_PORTS = 5


@dataclass(frozen=True)
class ObjectStore:
    """The address and the key of a running service.

    Fields:
        guest: the two keys of a user who may do only what policies of buckets allow; None if there is none.
    """

    endpoint: str
    access_key: str
    secret_key: str
    guest: tuple[str, str] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The key as environment variables for other programs."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def request(
        self, method: str, path: str, query: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Sends a request as another program would, without the library of the server (AWS Signature Version 4)."""
        return self._request(method, path, query, body, headers)[0]

    def headers(self, path: str) -> dict[str, str]:
        """Returns the metadata of an object, by names in lower case."""
        return self._request("HEAD", path, "", b"", None)[1]

    def _request(
        self, method: str, path: str, query: str, body: bytes, headers: Mapping[str, str] | None
    ) -> tuple[bytes, dict[str, str]]:
        host, path = urlsplit(self.endpoint).netloc, quote(path)
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": host, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "x-amz-date": stamp}
        signed |= {name.lower(): value for name, value in (headers or {}).items()}
        names = ";".join(sorted(signed))
        lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
        request = "\n".join([method, path, query, *lines, "", names, signed["x-amz-content-sha256"]])
        scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in (stamp[:8], "us-east-1", "s3", "aws4_request", text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        credential = f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}"
        signed["authorization"] = f"{credential},SignedHeaders={names},Signature={key.hex()}"
        address = f"{self.endpoint}{path}" + (f"?{query}" if query else "")
        asked = urllib.request.Request(address, body if method == "PUT" else None, signed, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(asked, timeout=10) as response:
                return response.read(), {name.lower(): value for name, value in response.headers.items()}
        except urllib.error.HTTPError as error:
            error.close()
            raise

    def unfinished_uploads(self, bucket: str = BUCKETS[0]) -> int:
        """Returns how many multipart uploads were neither completed nor aborted."""
        return self.request("GET", f"/{bucket}", "uploads=").count(b"<Upload>")


def program() -> str | None:
    """Returns the path of SeaweedFS, None if it is not installed and no other service is configured."""
    if "TEST_S3_ENDPOINT" in os.environ:
        return os.environ["TEST_S3_ENDPOINT"]
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ObjectStore]:
    """Starts a service with empty buckets; its files are in *folder*."""
    if "TEST_S3_ENDPOINT" in os.environ:
        given = (os.environ[f"TEST_S3_{part}"] for part in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY"))
        store = ObjectStore(*given)
        for bucket in BUCKETS:
            with contextlib.suppress(urllib.error.HTTPError):  # it exists already
                store.request("PUT", f"/{bucket}")
        yield store
        return
    binary = program()
    assert binary
    port = _free_ports()
    key, guest = ((f"AK{secrets.token_hex(8)}", secrets.token_hex(20)) for _ in range(2))
    store = ObjectStore(f"http://127.0.0.1:{port}", *key, guest)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": store.access_key, "secretKey": store.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    limited = {"name": "guest", "credentials": [{"accessKey": guest[0], "secretKey": guest[1]}], "actions": []}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity, limited]}))
    (folder / "data").mkdir()
    options = {
        "dir": "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "webdav": "false", "admin.ui": "false",
        "master.port": port + 1, "master.telemetry": "false", "volume.port": port + 2, "volume.preStopSeconds": 0,
        "filer.port": port + 3, "filer.localSocket": "f.sock", "admin.port": port + 4, "s3.port": port,
        "s3.localSocket": "s.sock", "s3.config": "s3.json", "s3.port.iceberg": 0, "s3.port.lance": 0,
        "s3.autoCreateBucket": "false",
    }  # fmt: skip
    command = [binary, "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for bucket in BUCKETS:
            _make_bucket(store, bucket, process)
        yield store
    finally:
        process.kill()
        process.wait()
        for number in range(_PORTS):
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port + _SECOND_PORT + number}.sock"):
                socket_file.unlink()


def _make_bucket(store: ObjectStore, bucket: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "SeaweedFS has ended"
        with contextlib.suppress(urllib.error.URLError, OSError):
            store.request("PUT", f"/{bucket}")
            store.request("PUT", f"/{bucket}/ready", body=b"yes")
            assert store.request("GET", f"/{bucket}/ready") == b"yes"
            store.request("DELETE", f"/{bucket}/ready")
            return
        time.sleep(0.1)
    raise AssertionError("SeaweedFS does not respond")


def _free_ports() -> int:
    """Returns the first of some free ports; the higher ports that belong to them are free, too."""
    # Parallel test processes search at the same time, so each has its own range of ports.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    for _ in range(200):
        first = random.randrange(15_000, 21_000, 50) + number * (_PORTS + 1)
        if all(_is_free(first + number + other) for number in range(_PORTS) for other in (0, _SECOND_PORT)):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
