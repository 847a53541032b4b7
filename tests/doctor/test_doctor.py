"""doctor on this machine: each broken set-up is created and found, and a good one causes no findings."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from assetstore import commands, names
from assetstore.client.http_client import Address
from assetstore.config import loading
from assetstore.doctor import clock, network, samples, store
from assetstore.monitoring.health import OK
from assetstore.thumbnails.rendering import engines
from tests.support import PROJECT, WITHOUT_LIBRARIES, RunningServer, free_port

KEY = "0f3c9a7d5b1e48a6920d"
Alarms = list[tuple[str, str]]
Diagnose = Callable[..., Alarms]
Break = Callable[[Path], Mapping[str, str]]


def resolve_museum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the names of the museum lead to this machine, which no test may change the DNS for."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *others: object, **named: object) -> object:
        found = "127.0.0.1" if str(host).endswith("museum.org") else host
        return real(found, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "attachments"
    folder.mkdir()
    return folder


@pytest.fixture
def diagnose(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], base: Path) -> Diagnose:
    """Runs doctor on a set-up that is good but for the given variables; returns (status, check) of what is not ok."""
    resolve_museum(monkeypatch)

    def run(*arguments: str, folder: Path = PROJECT, **variables: str) -> Alarms:
        good = {"BASE_DIR": str(base), "KEY": KEY, "PORT": str(free_port()), "SERVER_NAME": "assets.museum.org"}
        for name, value in {**good, **variables}.items():
            monkeypatch.setenv(name, value)
        status = commands.main(["doctor", "--json", *arguments], folder)
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert found
        alarms = [finding for finding in found if finding["status"] != OK]
        assert all(finding["meaning"] and finding["remedy"] for finding in alarms), "it says what to do"
        assert KEY not in str(found)
        assert status == any(finding["status"] == "error" for finding in alarms)
        return [(finding["status"], finding["check"]) for finding in alarms]

    return run


def test_a_correct_installation_passes_all_checks(diagnose: Diagnose, base: Path) -> None:
    assert diagnose() == []
    assert list(base.iterdir()) == [], "and nothing is left behind"


def test_a_store_in_use_passes_all_checks_and_is_not_changed(
    start: Callable[..., RunningServer], diagnose: Diagnose
) -> None:
    server = start(KEY=KEY, COLLECTION_DIRS={"KU Fish": "fish"})
    server.upload("a.jpg", samples.JPEG.read(), coll="KU Fish")
    before = sorted(server.base.rglob("*"))
    variables = {"BASE_DIR": str(server.base), "COLLECTION_DIRS": '{"KU Fish": "fish"}', "PORT": str(server.port)}
    assert diagnose("--only", "folders", "--only", "network", "--only", "time", **variables) == []
    assert sorted(server.base.rglob("*")) == before


def test_an_unlistable_folder_of_originals_is_reported(diagnose: Diagnose, base: Path) -> None:
    (base / "originals").touch()
    assert ("error", "originals") in diagnose("--only", "folders")


@pytest.mark.parametrize(
    ("variables", "alarm"),
    [
        ({"PORT": "http"}, ("error", "settings")),
        ({"THUMB_DIR": "originals"}, ("error", "settings")),
        ({"KEY": "test_attachment_key"}, ("error", "key")),
        ({"KEY": "fish"}, ("warning", "key")),
        ({"KEY": "aaaaaaaaaaaaaaaaaaaaaaaa"}, ("warning", "key")),
        ({"KEY": f'"{KEY}"'}, ("warning", "key")),
        ({"KEY": f"{KEY} "}, ("warning", "key")),
        ({"KEY": "None"}, ("warning", "key")),
        ({"ATTACHMENT_KEY_PREVIOUS": "9b2f7c4e1a6d3058f7e2"}, ("warning", "key")),
        ({"SERVER_NAME": "localhost"}, ("warning", "advertised address")),
        ({"PUBLIC_URL": "http://127.0.0.1:8080"}, ("warning", "advertised address")),
        ({"PUBLIC_URL": "https://assets.museum.invalid"}, ("error", "advertised address")),
        ({"BIND_ADDRESS": "127.0.0.1"}, ("warning", "trusted proxies")),
        ({"REQUIRE_KEY_FOR_GET": "yes"}, ("warning", "settings")),
    ],
    ids=str,
)
def test_an_invalid_setting_is_reported(diagnose: Diagnose, variables: dict[str, str], alarm: tuple[str, str]) -> None:
    assert diagnose("--only", "settings", **variables) == [alarm]


def test_a_misspelt_setting_is_reported(diagnose: Diagnose, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("COLECTION_DIRS = {}\n")
    assert diagnose("--only", "settings", folder=tmp_path) == [("warning", "settings")]


def test_a_settings_file_with_a_syntax_error_is_reported(diagnose: Diagnose, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("KEY = 'unfinished\n")
    assert diagnose("--only", "settings", folder=tmp_path) == [("error", "settings")]


def test_a_key_file_readable_by_others_is_reported(diagnose: Diagnose, base: Path) -> None:
    (base / ".asset-server").mkdir()
    (base / ".asset-server/key").write_text(KEY)
    (base / ".asset-server/key").chmod(0o644)
    assert diagnose("--only", "settings", KEY="") == [("warning", "key file")]
    (base / ".asset-server/key").chmod(0o600)
    assert diagnose("--only", "settings", KEY="") == []


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_reported(diagnose: Diagnose, base: Path) -> None:
    assert diagnose("--only", "folders", BASE_DIR=str(base / "nowhere")) == [("error", "folder")]


def test_a_broken_file_of_added_collections_is_reported(diagnose: Diagnose, base: Path) -> None:
    (base / ".asset-server").mkdir()
    (base / ".asset-server/collections.json").write_text('{"KU Fish": ')
    assert diagnose("--only", "folders") == [("error", "collections")]


def test_a_damaged_journal_is_reported(diagnose: Diagnose, base: Path) -> None:
    (base / ".asset-server/journal").mkdir(parents=True)
    (base / ".asset-server/journal/journal.sqlite").write_bytes(b"no database at all" * 100)
    assert diagnose("--only", "folders") == [("error", "journal")]


def test_a_reserve_larger_than_the_free_space_is_reported(diagnose: Diagnose, base: Path) -> None:
    reserve = str(shutil.disk_usage(base).free * 2)
    assert diagnose("--only", "folders", RESERVED_BYTES=reserve) == [("error", "space")]


def test_a_full_disk_is_reported(diagnose: Diagnose, tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    mounted(tmp_path / "disk", "20m")
    assert diagnose("--only", "folders", BASE_DIR=str(tmp_path / "disk")) == [("error", "space")]


@pytest.mark.parametrize(
    ("free", "total", "reserved", "alarms"),
    [
        (200, 9_000, 0, ["error"]),
        (201, 9_000, 0, ["warning"]),
        (201, 2_000, 0, []),
        (4_999, 50_000, 0, ["warning"]),
        (4_999, 49_000, 0, []),
        (5_000, 900_000, 0, []),
        (7_000, 900_000, 7_000, ["error"]),
        (7_001, 900_000, 7_000, []),
    ],
)
def test_a_disk_is_full_or_nearly_full_by_its_free_space_its_size_and_the_reserve(
    monkeypatch: pytest.MonkeyPatch, base: Path, free: int, total: int, reserved: int, alarms: list[str]
) -> None:
    usage = SimpleNamespace(free=free * 1_000_000, total=total * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    found = store._space(base, reserved * 1_000_000)
    assert [finding.status for finding in found if finding.status != OK] == alarms


@pytest.mark.parametrize(
    ("files", "free", "is_full"),
    [(20_000, 999, True), (20_000, 1_000, False), (9_000_000, 8_999, True), (9_000_000, 9_000, False), (0, 0, False)],
)
def test_a_file_system_without_room_for_more_files_is_reported(
    monkeypatch: pytest.MonkeyPatch, base: Path, files: int, free: int, is_full: bool
) -> None:
    usage = SimpleNamespace(free=10**12, total=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_files=files, f_favail=free))
    assert ("inodes" in [finding.check for finding in store._space(base, 0)]) == is_full


def test_a_read_only_disk_is_reported(diagnose: Diagnose, tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    mounted(tmp_path / "disk", "400m")
    (tmp_path / "disk/originals").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
    assert set(diagnose("--only", "folders", BASE_DIR=str(tmp_path / "disk"))) == {("error", "rights")}


AS_NOBODY = """
import encodings.idna, json, os, pathlib, sys  # while all of Python can still be read
sys.path.insert(0, sys.argv[1])
from assetstore.config import loading
from assetstore.client.http_client import Address
from assetstore.doctor import network, store
folder = pathlib.Path(sys.argv[1])
settings = loading.load({}, os.environ, folder, 1)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
found = network.examine(settings, Address("http", "127.0.0.1", settings.port), None) if sys.argv[2:] else None
for finding in found or store.examine(settings, folder):
    print(json.dumps(vars(finding)))
"""


def as_nobody(base: Path, *arguments: str, **variables: str) -> list[dict[str, str]]:
    """The alarms of a user who owns the store but not all that is in it; for root, rights mean nothing."""
    command = [sys.executable, "-c", AS_NOBODY, str(PROJECT), *arguments]
    environ = {"BASE_DIR": str(base), "KEY": KEY, **variables}
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert found
    return [finding for finding in found if finding["status"] != OK]


@pytest.fixture
def open_base() -> Iterator[Path]:
    """A store that belongs to an ordinary user, who can get there."""
    # Not in pytest's own folders: each session of pytest that starts closes them to other users.
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        base.chmod(0o755)
        for made in (base, base / "originals", base / "thumbnails"):
            made.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                os.chown(made, 65534, 65534)
        yield base


def test_a_correct_store_of_an_unprivileged_user_passes_all_checks(open_base: Path) -> None:
    assert as_nobody(open_base) == []


@pytest.mark.parametrize("folder", ["originals", "thumbnails"])
def test_an_unwritable_folder_is_reported(open_base: Path, folder: str) -> None:
    (open_base / folder).chmod(0o555)
    alarms = as_nobody(open_base)
    (open_base / folder).chmod(0o755)
    assert ("error", "rights") in {(finding["status"], finding["check"]) for finding in alarms}
    assert any(f"{open_base / folder} is not writable" in finding["found"] for finding in alarms)


def test_unreadable_originals_are_reported(open_base: Path) -> None:
    (open_base / "originals/secret.jpg").write_bytes(b"x")
    (open_base / "originals/secret.jpg").chmod(0)
    alarms = as_nobody(open_base)
    assert [finding["check"] for finding in alarms] == ["originals"]
    assert "secret.jpg" in alarms[0]["found"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_warned_that_the_report_may_be_too_optimistic(diagnose: Diagnose, open_base: Path) -> None:
    assert diagnose("--only", "folders", BASE_DIR=str(open_base)) == [("warning", "user")]


# --- time ------------------------------------------------------------------------------------------------------------


def alarms_of_clock(base: Path, ahead: float) -> Alarms:
    settings = loading.load({"BASE_DIR": str(base), "KEY": KEY}, {}, PROJECT, 1)
    found = clock.examine(settings, lambda: time.time() + ahead)
    return [(finding.status, finding.check) for finding in found if finding.status != OK]


@pytest.mark.parametrize("ahead", [-3600, -10, 10, 3600])
def test_a_file_server_with_a_different_clock_is_reported(base: Path, ahead: float) -> None:
    assert alarms_of_clock(base, ahead) == [("error", "disk's clock")]


def test_a_clock_in_the_distant_past_is_reported(base: Path) -> None:
    assert ("error", "system clock") in alarms_of_clock(base, -time.time() + 1000)


def test_a_clock_that_was_set_back_is_reported(diagnose: Diagnose, base: Path) -> None:
    (base / "originals").mkdir()
    later = time.time() + 4000
    os.utime(base / "originals", (later, later))
    assert diagnose("--only", "time") == [("warning", "system clock")]


# --- tools -----------------------------------------------------------------------------------------------------------


def tool(folder: Path, name: str, line: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{line}\n")
    (folder / name).chmod(0o755)


CONVERT = shutil.which("magick", path="/usr/bin:/bin") or shutil.which("convert", path="/usr/bin:/bin") or ""
GS = shutil.which("gs", path="/usr/bin:/bin") or ""


WIDE = '<policy domain="resource" name="width" value="100KP"/>'


def with_policy(folder: Path, lines: str) -> dict[str, str]:
    """A machine whose ImageMagick has a policy of its own, in place of the server's."""
    (folder / "policy").mkdir()
    (folder / "policy/policy.xml").write_text(f"<policymap>{lines}</policymap>")
    name = Path(CONVERT).name
    tool(folder / "bin", name, f'exec env MAGICK_CONFIGURE_PATH={folder / "policy"} {CONVERT} "$@"')
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


def without_fonts(folder: Path) -> dict[str, str]:
    tool(folder / "bin", "gs", f'exec {GS} -sFONTMAP=/dev/null -dNOFONTMAP "$@"')
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


def with_only(*names: str) -> Break:
    """A machine that has no other tools than these."""

    def break_machine(folder: Path) -> dict[str, str]:
        for path in (CONVERT, GS):
            if Path(path).name in names:
                tool(folder / "bin", Path(path).name, f'exec {path} "$@"')
        return {"PATH": str(folder / "bin")}

    return break_machine


def crashing(name: str) -> Break:
    def break_machine(folder: Path) -> dict[str, str]:
        tool(folder / "bin", name, "echo 'error while loading shared libraries: libgomp.so.1' >&2; exit 127")
        return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}

    return break_machine


@pytest.mark.parametrize(
    ("break_machine", "alarms"),
    [
        (with_only("gs"), [("error", "ImageMagick")]),
        (with_only(Path(CONVERT).name), [("error", "Ghostscript"), ("error", "renders PDF")]),
        (crashing("gs"), [("error", "Ghostscript"), ("error", "renders PDF"), ("error", "fonts for PDF")]),
        (
            lambda folder: with_policy(folder, f'<policy domain="coder" rights="none" pattern="GIF"/>{WIDE}'),
            [("error", "renders GIF")],
        ),
        (
            lambda folder: with_policy(folder, '<policy domain="resource" name="width" value="16KP"/>'),
            [("warning", "ImageMagick policy")],
        ),
        (without_fonts, [("error", "fonts for PDF")]),
    ],
    ids=[
        "no ImageMagick",
        "no Ghostscript",
        "Ghostscript crashes",
        "a policy against GIF",
        "a policy against wide pictures",
        "no fonts",
    ],
)
def test_missing_tools_and_libraries_for_thumbnails_are_reported(
    diagnose: Diagnose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_machine: Break, alarms: Alarms
) -> None:
    monkeypatch.setattr(engines.Engine, "is_installed", lambda engine: engine.library is None)
    missing = [("warning", engine.title) for engine in engines.missing_libraries()]
    assert ("warning", "libvips") in missing
    found = diagnose("--only", "tools", PYTHONPATH=WITHOUT_LIBRARIES, **break_machine(tmp_path))
    by_libraries_only = ("renders JPEG XL", "renders camera RAW", "renders SVG")
    missing += [("error", check) for check in by_libraries_only if ("error", "ImageMagick") not in alarms]
    assert [alarm for alarm in found if alarm not in missing] == alarms
    assert set(missing) <= set(found)


@pytest.mark.parametrize(
    ("break_machine", "alarms"),
    [
        (with_only("gs"), [("warning", "ImageMagick")]),
        (with_only(Path(CONVERT).name), [("warning", "Ghostscript")]),
        (with_only(), [("warning", "ImageMagick"), ("warning", "Ghostscript")]),
    ],
    ids=["no ImageMagick", "no Ghostscript", "neither"],
)
def test_the_libraries_render_every_sample_without_tools(
    diagnose: Diagnose, tmp_path: Path, break_machine: Break, alarms: Alarms
) -> None:
    assert diagnose("--only", "tools", **break_machine(tmp_path)) == alarms


def test_each_sample_has_the_format_of_its_name() -> None:
    types = {sample.media_type for sample in samples.ALL} | {"image/heif"}
    raw = {media_type for media_type in loading.SETTINGS["CAN_THUMBNAIL"].default if media_type.startswith("image/x-")}
    assert types | raw == loading.SETTINGS["CAN_THUMBNAIL"].default
    assert types & raw == {"image/x-adobe-dng"}
    assert all(names.is_store_name(sample.path.name) and len(sample.read()) < 10_000 for sample in samples.ALL)


# --- network ---------------------------------------------------------------------------------------------------------


SYSTEMCTL = """#!/bin/sh
echo UnitFileState={state}
echo ActiveState={active}
echo WorkingDirectory={folder}
"""


@pytest.mark.parametrize(
    ("state", "active", "folder", "expected"),
    [
        ("enabled", "inactive", PROJECT, [("error", "port")]),
        ("disabled", "failed", PROJECT, [("error", "port")]),
        ("disabled", "inactive", PROJECT, []),
        ("enabled", "inactive", "/opt/another-server", []),
        ("", "inactive", "", []),
    ],
    ids=str,
)
def test_a_server_that_is_down_is_an_error_if_its_unit_says_that_it_should_run(
    diagnose: Diagnose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    active: str,
    folder: str | Path,
    expected: Alarms,
) -> None:
    # Tests cannot have a systemd of their own, so a program answers in its place.
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(state=state, active=active, folder=folder))
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert diagnose("--only", "network") == expected


def test_a_server_that_is_down_is_an_error_at_the_address_that_was_given(diagnose: Diagnose) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert diagnose("--only", "public", "--url", address) == [("error", "address")]


def test_another_program_on_the_port_is_reported(diagnose: Diagnose) -> None:
    program = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", "/var/empty"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout
    port = program.stdout.readline().split(" port ")[1].split()[0]
    try:
        assert diagnose("--only", "network", PORT=port) == [("error", "port")]
    finally:
        program.kill()
        program.communicate()


def test_a_listening_address_of_another_machine_is_reported() -> None:
    settings = loading.load({"BIND_ADDRESS": "203.0.113.1", "PORT": 18080, "KEY": KEY}, {}, PROJECT, 1)
    found = list(network.examine(settings, Address("http", "127.0.0.1", free_port()), KEY))
    assert [(finding.status, finding.found) for finding in found] == [
        ("error", "This machine has no address 203.0.113.1.")
    ]


def test_a_running_server_with_a_different_key_is_reported(
    start: Callable[..., RunningServer], diagnose: Diagnose
) -> None:
    server = start(KEY="the key before the settings were changed")
    assert diagnose("--only", "network", PORT=str(server.port)) == [("warning", "running server")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who may not")
def test_a_privileged_port_is_reported(open_base: Path) -> None:
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if limit < 100:
        pytest.skip("every user may listen on every port here")
    alarms = as_nobody(open_base, "network", PORT="99")
    assert [finding["found"] for finding in alarms] == ["This user has no permission to use port 99."]


# --- how it reports --------------------------------------------------------------------------------------------------


def test_the_report_explains_each_problem_and_its_remedy(base: Path) -> None:
    command = [sys.executable, str(PROJECT / "manage.py"), "doctor", "--only", "settings"]
    variables = {"BASE_DIR": str(base), "KEY": "test_attachment_key"}
    run = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "error   settings  key: The key is a well-known example." in run.stdout
    assert "Effect: Anyone can upload and delete attachments" in run.stdout
    assert "What to do: Set KEY to a long random text" in run.stdout
    assert "\x1b" not in run.stdout, "no colours where there is no terminal"
    assert run.stdout.splitlines()[-1] == "1 error, 1 warning, 1 ok."


def test_the_public_checks_require_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["doctor", "--only", "public"], PROJECT) == 2
    assert "requires --url" in capsys.readouterr().err


def test_a_certificate_for_another_host_name_is_an_error(diagnose: Diagnose, tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    names = "subjectAltName=DNS:assets.museum.org,DNS:*.example.org"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "100", "-subj", "/CN=x"]
    command += ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    own = {"SERVER": "granian", "TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key)}
    assert diagnose(**own) == []
    assert diagnose(**own, SERVER_NAME="other.museum.org") == [("error", "certificate")]
    key.write_text("no key")
    assert diagnose(**own) == [("error", "certificate")]
