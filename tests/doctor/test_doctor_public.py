"""doctor at the public address, through a real nginx: each broken set-up is found, and no test file is left behind."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assetstore import commands
from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.doctor import address, proxy, specify
from assetstore.doctor.client_simulation import SimulatedClient
from assetstore.doctor.findings import Finding
from assetstore.errors import RemoteFault
from assetstore.monitoring.health import OK
from assetstore.originals import growth
from tests.doctor.test_doctor import KEY, Alarms, resolve_museum
from tests.support import (
    PROJECT,
    WITHOUT_LIBRARIES,
    RunningServer,
    free_port,
    run_manage,
    two_free_ports,
    visible_files,
)
from tests.test_nginx import NGINX, Front, edited, own_lines

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; script/bootstrap --dev does that")

HOST = "assets.museum.org"
Start = Callable[..., RunningServer]

SITE = """
proxy_cache_path {folder}/cache keys_zone=store:1m;
server {{
    listen 127.0.0.1:{http};
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {folder}/fullchain.pem;
    ssl_certificate_key {folder}/privkey.pem;
    {server_lines}
    location / {{
        proxy_pass http://127.0.0.1:{upstream};
        proxy_set_header X-Receiving-Seconds $request_time;
        {lines}
    }}
}}
"""
#: What a good proxy says of uploads.
GOOD = "client_max_body_size 0; proxy_request_buffering off; "


@dataclass(frozen=True)
class Site:
    """A running nginx and where it is."""

    http: str
    https: str
    folder: Path


@pytest.fixture(scope="module")
def museum_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    make_certificate(folder)
    return folder


def make_certificate(folder: Path, host: str = HOST, days: int = 60) -> None:
    """A certificate and its key, valid for this many days."""
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    new += ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    new += ["-keyout", "privkey.pem", "-out", "request.pem"]
    sign = ["openssl", "x509", "-req", "-in", "request.pem", "-signkey", "privkey.pem"]
    sign += ["-copy_extensions", "copy", "-out", "fullchain.pem"]
    subprocess.run(new, cwd=folder, check=True, capture_output=True)
    if subprocess.run([*sign, "-days", str(days)], cwd=folder, check=False, capture_output=True).returncode:
        # From OpenSSL 3.5 on, days are never negative, and dates can be given instead.
        dates = [f"{(datetime.now(UTC) + timedelta(days=day)):%Y%m%d%H%M%SZ}" for day in (days - 1, days)]
        sign += ["-not_before", dates[0], "-not_after", dates[1]]
        subprocess.run(sign, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def behind(tmp_path: Path, museum_certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Starts nginx in front of a port, with these further lines; its certificate is trusted."""
    running: list[Front] = []
    resolve_museum(monkeypatch)

    def start_site(upstream: int, lines: str = GOOD, server_lines: str = "", certificate: Path | None = None) -> Site:
        folder = tmp_path / f"nginx-{len(running)}"
        shutil.copytree(certificate or museum_certificate, folder)
        ports = two_free_ports()
        text = SITE.format(
            folder=folder, http=ports[0], https=ports[1], upstream=upstream, lines=lines, server_lines=server_lines
        )
        (folder / "asset-server.conf").write_text(text)
        running.append(Front(folder, ports, ssl.create_default_context()))
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "fullchain.pem"))
        return Site(f"http://{HOST}:{ports[0]}", f"https://{HOST}:{ports[1]}", folder)

    yield start_site
    for front in running:
        front.stop()


def advertising(base: str) -> str:
    """The lines of a proxy that writes this base, with nginx's variables, into the XML."""
    lines = "proxy_set_header Accept-Encoding ''; sub_filter_types text/xml; sub_filter_once off; "
    return f"{lines} sub_filter 'http://localhost:8080' '{base}';"


def client_of(url: str, key: str | None = KEY, collection: str | None = None) -> SimulatedClient:
    return SimulatedClient(RemoteServer(Address.parse(url), key, collection, timeout=20))


def alarms(found: Iterator[Finding]) -> Alarms:
    """The findings that are not ok, until the check gives up."""
    result = []
    try:
        for finding in found:
            if finding.status != OK:
                assert finding.meaning
                assert finding.remedy
                result.append((finding.status, finding.check))
    except RemoteFault:
        pass
    return result


@pytest.fixture
def tidy(start: Start) -> Iterator[Start]:
    """Starts servers and looks that nothing stays in them."""
    running: list[RunningServer] = []

    def start_server(**own: object) -> RunningServer:
        running.append(start(**{"KEY": KEY, "TRUSTED_PROXIES": ["127.0.0.1"], **own}))
        return running[-1]

    yield start_server
    for server in running:
        for collection_dir in server.context.originals.collection_dirs:
            assert visible_files(server.base / collection_dir / "originals") == []


# --- good ones -------------------------------------------------------------------------------------------------------


def test_the_shipped_nginx_conf_passes_all_checks_and_no_file_remains(
    tidy: Start,
    tmp_path: Path,
    museum_certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, ports = tmp_path / "nginx", two_free_ports()
    url = f"https://{HOST}:{ports[1]}"
    server = tidy(PUBLIC_URL=url, ACCEL_REDIRECT="/protected-store", TIME_TOLERANCE=4)
    shutil.copytree(museum_certificate, folder)
    (folder / "asset-server.conf").write_text(edited(own_lines(folder, server.base, server.port, ports)))
    front = Front(folder, ports, ssl.create_default_context())
    resolve_museum(monkeypatch)
    for name, value in {
        "SSL_CERT_FILE": str(folder / "fullchain.pem"),
        "BASE_DIR": str(server.base),
        "PORT": str(server.port),
        "PUBLIC_URL": url,
        "KEY": KEY,
        "TIME_TOLERANCE": "4",
        "TRUSTED_PROXIES": "127.0.0.1",
        "BIND_ADDRESS": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        status = commands.main(["doctor", "--url", f"{url}/web_asset_store.xml", "--json"], PROJECT)
    finally:
        front.stop()
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [finding for finding in found if finding["status"] != OK] == []
    assert status == 0
    assert {"certificate", "CORS", "upload", "thumbnails", "metadata", "body limit", "buffering", "left behind"} <= {
        finding["check"] for finding in found
    }
    assert [entry for entry in server.context.originals.trash() if entry.size] == [], "not even in the trash"


def test_a_server_without_a_proxy_passes_all_checks(tidy: Start) -> None:
    server = tidy(COLLECTION_DIRS={"KU Fish": "fish"}, REQUIRE_KEY_FOR_GET=True)
    with client_of(f"http://127.0.0.1:{server.port}", collection="KU Fish") as client:
        assert alarms(specify.key(client, KEY)) == []
        assert alarms(specify.cors(client)) == []
        assert alarms(specify.uploads(client)) == []
        assert alarms(proxy.body_limit(client, 2)) == []


def test_a_server_under_a_path_prefix_passes_all_checks(tidy: Start, behind: Callable[..., Site]) -> None:
    server = tidy()
    prefix = f"location /assets/ {{ proxy_pass http://127.0.0.1:{server.port}/; {GOOD} }}"
    site = behind(server.port, "return 404;", prefix)
    with client_of(f"{site.http}/assets/web_asset_store.xml") as client:
        assert alarms(specify.key(client, KEY)) == []
        assert alarms(specify.uploads(client)) == []


# --- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "server_lines", "alarm"),
    [
        ("if ($scheme = http) { return 301 https://$host$request_uri; }", "", "redirect"),
        ("return 502;", "", "address"),
        ("return 200 '<html><body>Welcome to nginx!</body></html>';", "", "xml"),
        ("return 200 '<urls><url type=\"read\">http://a/fileget</url></urls>';", "", "xml"),
        ("proxy_hide_header X-Timestamp;", "", "X-Timestamp"),
    ],
    ids=["http sends to https", "the server is down", "a welcome page", "half an XML", "X-Timestamp is lost"],
)
def test_an_address_of_another_kind_of_server_is_reported(
    tidy: Start, behind: Callable[..., Site], lines: str, server_lines: str, alarm: str
) -> None:
    site = behind(tidy().port, lines, server_lines)
    with client_of(site.http) as client:
        assert alarms(address.examine(client)) == [("error", alarm)]


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-machine.invalid"])
def test_an_address_that_refuses_connections_is_reported(host: str) -> None:
    with client_of(f"http://{host}:{free_port()}") as client:
        assert alarms(address.examine(client)) == [("error", "address")]


def test_a_server_that_stops_responding_is_reported_once(
    start: Start, behind: Callable[..., Site], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = behind(start(KEY=KEY).port, GOOD, "location /fileupload { return 444; }")
    monkeypatch.setenv("ASSET_SERVER_KEY", KEY)
    assert commands.main(["doctor", "--only", "public", "--url", site.http, "--json"], PROJECT) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [finding["check"] for finding in found if "closed the connection" in finding["found"]] == ["connection"]


def test_a_cached_xml_is_reported(tidy: Start, behind: Callable[..., Site]) -> None:
    lines = "proxy_cache store; proxy_cache_valid 200 1h; proxy_ignore_headers Cache-Control Expires;"
    server = tidy()
    site = behind(server.port, lines)
    with client_of(site.http) as client:
        assert ("error", "cache") in alarms(address.examine(client))


@pytest.mark.parametrize(
    ("host", "days", "is_trusted", "alarm"),
    [
        (HOST, 60, True, None),
        (HOST, 60, False, ("error", "certificate")),
        (HOST, -1, True, ("error", "certificate")),
        (HOST, 5, True, ("warning", "certificate")),
        ("www.museum.org", 60, True, ("error", "certificate")),
    ],
    ids=["good", "nobody trusts it", "expired", "ends soon", "another name"],
)
def test_an_untrusted_certificate_is_reported(
    tidy: Start, behind: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int,
    is_trusted: bool, alarm: tuple[str, str] | None,
) -> None:  # fmt: skip
    (tmp_path / "certificate").mkdir()
    make_certificate(tmp_path / "certificate", host, days)
    site = behind(tidy().port, certificate=tmp_path / "certificate")
    if not is_trusted:
        monkeypatch.delenv("SSL_CERT_FILE")
    finding = address._certificate(Address.parse(site.https))
    assert (None if finding.status == OK else (finding.status, finding.check)) == alarm, finding.found


def test_https_on_a_port_for_http_is_reported(tidy: Start) -> None:
    with client_of(f"https://127.0.0.1:{tidy().port}") as client:
        assert ("error", "certificate") in alarms(address.examine(client))


@pytest.mark.parametrize(
    ("told", "alarm"),
    [
        ("http://" + HOST, ("error", "mixed content")),
        ("https://localhost:8080", ("error", "advertised address")),
        ("https://no-such-machine.invalid", ("error", "advertised address")),
        ("https://assets.museum.org:1", ("error", "advertised address")),
    ],
    ids=["http behind https", "localhost", "an unknown name", "a port where nobody listens"],
)
def test_wrong_addresses_in_the_xml_are_reported(
    tidy: Start, behind: Callable[..., Site], told: str, alarm: tuple[str, str]
) -> None:
    site = behind(tidy(PUBLIC_URL=told).port)
    with client_of(site.https) as client:
        assert alarms(address.examine(client)) == [alarm]


def test_a_working_address_that_differs_is_a_warning(tidy: Start, behind: Callable[..., Site]) -> None:
    site = behind(tidy(PUBLIC_URL=behind(tidy().port).http).port)
    with client_of(site.http) as client:
        assert alarms(address.examine(client)) == [("warning", "advertised address")]


@pytest.mark.parametrize(
    ("server_lines", "missing"),
    [
        ("location /filedelete { return 404; }", "/filedelete"),
        ("location /fileget { return 301 https://elsewhere.museum.org$request_uri; }", "/fileget"),
        ("location /getmetadata { root /nowhere; }", "/getmetadata"),
    ],
    ids=["not passed on", "redirected", "answered by the proxy itself"],
)
def test_an_address_of_the_xml_that_the_proxy_does_not_pass_on_is_named(
    tidy: Start, behind: Callable[..., Site], server_lines: str, missing: str
) -> None:
    site = behind(tidy().port, GOOD + advertising("$scheme://$host:$server_port"), server_lines)
    with client_of(site.http) as client:
        [found] = [finding for finding in address.examine(client) if finding.status == "error"]
    assert found.found.startswith(f"The XML advertises {site.http}{missing}, which returns ")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("$scheme://$host:$server_port", []),
        ("$scheme://$host:$server_port/web_asset_store.xml", [("error", "advertised address")]),
        ("$scheme://$host:$server_port/assets", [("error", "advertised address")]),
    ],
    ids=["right", "below the XML", "below a folder"],
)
def test_addresses_that_the_server_does_not_answer_are_named(
    tidy: Start, behind: Callable[..., Site], base: str, expected: Alarms
) -> None:
    site = behind(tidy().port, GOOD + advertising(base))
    with client_of(f"{site.http}/web_asset_store.xml") as client:
        assert alarms(address.examine(client)) == expected


@pytest.mark.parametrize(("ahead", "status"), [(-600, "error"), (600, "error"), (-40, "warning")])
def test_a_server_with_a_wrong_clock_is_reported(tmp_path: Path, ahead: int, status: str) -> None:
    (tmp_path / "a").mkdir()
    script = (
        f"import sys, time; sys.path.insert(0, {str(PROJECT)!r}); real = time.time\n"
        f"time.time = lambda: real() + {ahead}\n"
        "import server; sys.exit(server.main())"
    )
    port = free_port()
    environ = {"BASE_DIR": str(tmp_path / "a"), "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "KEY": KEY}
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        env={**environ, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout
        while "listening" not in program.stdout.readline():
            assert program.poll() is None
        with client_of(f"http://127.0.0.1:{port}") as client:
            found = [finding for finding in address.examine(client) if finding.check == "clock"]
            assert [finding.status for finding in found] == [status]
            assert abs(int(found[0].found.split()[-2]) - abs(ahead)) <= 1, found[0].found
            assert alarms(specify.key(client, KEY)) == [], "Specify corrects for it"
    finally:
        program.kill()
        program.communicate()


# --- what Specify does -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "key", "alarm"),
    [
        ({}, "another key", ("error", "key")),
        ({}, None, ("warning", "key")),
        ({"KEY": None}, KEY, ("warning", "key")),
        ({"TIME_TOLERANCE": None}, KEY, ("warning", "key")),
    ],
    ids=["another key", "no key known", "the server takes any", "tokens never age"],
)
def test_problems_with_the_key_are_reported(
    tidy: Start, own: dict[str, object], key: str | None, alarm: tuple[str, str]
) -> None:
    with client_of(f"http://127.0.0.1:{tidy(**own).port}", key) as client:
        assert alarms(specify.key(client, key)) == [alarm]


def test_rejections_without_a_reason_are_reported(tidy: Start, behind: Callable[..., Site]) -> None:
    lines = GOOD + "proxy_intercept_errors on; error_page 403 = @empty;"
    site = behind(tidy().port, lines, "location @empty { default_type text/plain; return 403 ' '; }")
    with client_of(site.http) as client:
        assert alarms(specify.key(client, KEY)) == [("warning", "key")]


@pytest.mark.parametrize(
    "lines",
    [
        "add_header Access-Control-Allow-Origin * always;",
        "proxy_hide_header Access-Control-Allow-Origin;",
        "if ($request_method = OPTIONS) { return 405; }",
        "limit_except GET POST { deny all; }",
    ],
    ids=["the header twice", "the header lost", "OPTIONS answered by the proxy", "OPTIONS forbidden"],
)
def test_a_proxy_that_blocks_uploads_from_browsers_is_reported(
    tidy: Start, behind: Callable[..., Site], lines: str
) -> None:
    site = behind(tidy().port, GOOD + lines)
    with client_of(site.http) as client:
        assert alarms(specify.cors(client)) == [("error", "CORS")]


@pytest.mark.parametrize(
    ("lines", "alarm"),
    [
        ("if ($request_method = POST) { return 308 https://$host$request_uri; }", ("error", "upload")),
        ("limit_except GET { deny all; }", ("error", "upload")),
        ("proxy_set_header Range ''; max_ranges 0;", ("warning", "ranges")),
        (
            "proxy_hide_header ETag; etag off; if_modified_since off; sub_filter JFIF JFXX; sub_filter_types *;",
            ("error", "reading"),
        ),
        ("proxy_hide_header Content-Type; add_header Content-Type text/plain;", ("warning", "reading")),
    ],
    ids=["uploads are redirected", "POST is forbidden", "no ranges", "bytes are changed", "the type is lost"],
)
def test_a_proxy_that_breaks_requests_of_specify_is_reported(
    tidy: Start, behind: Callable[..., Site], lines: str, alarm: tuple[str, str]
) -> None:
    site = behind(tidy().port, GOOD + lines)
    with client_of(site.http) as client:
        assert alarm in set(alarms(specify.uploads(client)))


def test_a_cache_that_serves_deleted_files_is_reported(tidy: Start, behind: Callable[..., Site]) -> None:
    lines = "proxy_cache store; proxy_cache_valid 200 1h; proxy_ignore_headers Cache-Control Expires;"
    lines += "proxy_cache_key $arg_filename$request_method$http_range;"
    site = behind(tidy().port, GOOD + lines)
    with client_of(site.http) as client:
        assert ("error", "delete") in alarms(specify.uploads(client))


def test_an_unknown_collection_is_reported(tidy: Start) -> None:
    server = tidy(COLLECTION_DIRS={"KU Fish": "fish"})
    with client_of(f"http://127.0.0.1:{server.port}", collection="KU Fisch") as client:
        found = [finding for finding in specify.uploads(client) if finding.status != OK]
    assert {finding.check for finding in found} == {"upload", "names"}
    assert "--collection" in found[0].remedy


def test_formats_without_thumbnails_are_reported(tidy: Start) -> None:
    server = tidy(CAN_THUMBNAIL={"image/jpeg", "image/png"})
    with client_of(f"http://127.0.0.1:{server.port}") as client:
        found = list(specify.thumbnails(client, lambda media_type: media_type in ("image/jpeg", "application/pdf")))
    said = [(finding.status, finding.found.partition(" ")[0]) for finding in found]
    assert said == [("ok", "JPEG"), ("warning", "PDF")]


def test_thumbnails_that_cannot_be_generated_are_reported(tidy: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", WITHOUT_LIBRARIES)
    with client_of(f"http://127.0.0.1:{tidy().port}") as client:
        found = list(specify.thumbnails(client, lambda media_type: media_type == "image/jpeg"))
    assert [(finding.status, finding.check) for finding in found] == [("error", "thumbnails")]
    assert "ImageMagick is not installed" in found[0].found


# --- the proxy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines", ["proxy_request_buffering off;", "proxy_request_buffering on; client_max_body_size 2m;"]
)
def test_a_body_size_limit_of_the_proxy_is_reported(tidy: Start, behind: Callable[..., Site], lines: str) -> None:
    site = behind(tidy().port, lines)
    with client_of(site.http) as client:
        assert alarms(proxy.body_limit(client, 3)) == [("error", "body limit")]


def test_an_upload_limit_of_the_server_is_reported(tidy: Start) -> None:
    with client_of(f"http://127.0.0.1:{tidy(MAX_UPLOAD_BYTES=2**20).port}") as client:
        assert alarms(proxy.body_limit(client, 3)) == [("error", "body limit")]


@pytest.mark.parametrize(
    ("lines", "trusted", "expected"),
    [
        ("proxy_request_buffering on;", ["127.0.0.1"], []),
        ("proxy_request_buffering on;", [], [("warning", "buffering")]),
        ("proxy_request_buffering off;", [], []),
    ],
    ids=["collected, and the server knows for how long", "collected, and nobody says for how long", "streamed"],
)
def test_a_proxy_that_lets_tokens_expire_is_reported(
    tidy: Start, behind: Callable[..., Site], lines: str, trusted: list[str], expected: Alarms
) -> None:
    site = behind(tidy(TIME_TOLERANCE=4, TRUSTED_PROXIES=trusted).port, lines)
    with client_of(site.http) as client:
        assert alarms(proxy.buffering(client, 4)) == expected


def test_the_lines_that_specify_7_s_own_nginx_lacks_are_printed_to_be_copied(
    tidy: Start, behind: Callable[..., Site], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As nginx.conf of Specify 7: it collects uploads, and the server does not know for how long.
    server = tidy(TIME_TOLERANCE=4, TRUSTED_PROXIES=[])
    site = behind(server.port, "client_max_body_size 0;")
    for name, value in {"ASSET_SERVER_KEY": KEY, "TIME_TOLERANCE": "4", "BASE_DIR": str(server.base)}.items():
        monkeypatch.setenv(name, value)
    commands.main(["doctor", "--only", "public", "--url", site.http, "--large", "1"], PROJECT)
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    start_at = printed.index("proxy_request_buffering off;")
    assert printed[start_at + 1] == "proxy_set_header X-Receiving-Seconds $request_time;"


# --- nothing stays behind --------------------------------------------------------------------------------------------


def test_a_test_file_that_cannot_be_deleted_is_reported(
    start: Start, behind: Callable[..., Site], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(KEY=KEY)
    site = behind(server.port, GOOD, "location /filedelete { return 500; }")
    monkeypatch.setenv("ASSET_SERVER_KEY", KEY)
    monkeypatch.setenv("PORT", str(free_port()))
    arguments = ["doctor", "--only", "public", "--url", site.http, "--large", "1", "--json"]
    assert commands.main(arguments, PROJECT) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    left = next(finding for finding in found if finding["check"] == "left behind")
    assert left["status"] == "error"
    names = visible_files(server.originals)
    assert names
    assert all(name in left["found"] for name in names)


def test_an_interrupted_run_leaves_no_test_file(tidy: Start, tmp_path: Path) -> None:
    server = tidy()
    environ = {"ASSET_SERVER_KEY": KEY, "BASE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(PROJECT / "manage.py"), "doctor", "--only", "public"]
    command += ["--url", f"http://127.0.0.1:{server.port}", "--large", "5"]
    for number in (signal.SIGTERM, signal.SIGINT):
        program = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not visible_files(server.originals):
            assert program.poll() is None
            time.sleep(0.001)
        os.kill(program.pid, number)
        assert program.wait(timeout=60) == 130
        assert visible_files(server.originals) == []


def test_the_test_files_are_marked_in_the_journal_and_are_not_counted_as_growth(tidy: Start, tmp_path: Path) -> None:
    server = tidy()
    server.upload("a.jpg", b"x" * 1000)
    server.delete("a.jpg")
    environ = {"ASSET_SERVER_KEY": KEY, "BASE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(PROJECT / "manage.py"), "doctor", "--only", "public", "--large", "1"]
    command += ["--url", f"http://127.0.0.1:{server.port}"]
    subprocess.run(command, env=environ, capture_output=True, check=False)
    journal = server.context.originals.journal
    events = list(journal.search())
    assert {event.client for event in events if event.name == "a.jpg"} == {"127.0.0.1"}
    assert {event.client for event in events if event.name != "a.jpg"} == {"127.0.0.1 (doctor)"}
    (month,) = growth.measure(journal, True, time.time()).months
    assert (month.came, month.came_bytes) == (1, 1000)
    assert growth.removed(journal) == {("", month.month): growth.Removed(1, 1000)}
    run = run_manage(server.base, "usage", PORT=str(server.port))
    assert "1 added, 1.0 kB\t1 removed, 1.0 kB" in run.stdout
