"""deploy/ and docs/: what they name exists, what they say is so, and their commands do what they promise."""

import contextlib
import json
import os
import re
import runpy
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

import assetstore.commands
from assetstore.config import loading, settings_file
from assetstore.config.loading import SETTINGS
from assetstore.serving import signals, sockets
from tests import pictures
from tests.support import (
    KEY,
    PROJECT,
    Client,
    GranianServer,
    RunningServer,
    free_port,
    multipart_body,
    visible_files,
    wait_for_upload,
)
from tests.test_live import MEGABYTE, running

DEPLOY = sorted(path for path in (PROJECT / "deploy").iterdir() if path.is_file())
DOCS = sorted((PROJECT / "docs").glob("*.md"))
UNIT = (PROJECT / "deploy/web-asset-server.service").read_text(encoding="utf-8")
OPERATIONS = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")
INSTALL = (PROJECT / "docs/install.md").read_text(encoding="utf-8")
SERVING = (PROJECT / "docs/serving.md").read_text(encoding="utf-8")
COMPOSE = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
DASHBOARD = json.loads((PROJECT / "deploy/grafana-dashboard.json").read_text(encoding="utf-8"))

#: Where deploy/ and docs/ have the program.
INSTALLED = "/opt/web-asset-server"

#: Words in capitals that belong to others: the system, restic, Docker, AWS, OpenSSL, certbot, HTTP, Specify, Python,
#: and variables of the administrator's commands.
FOREIGN = re.compile(
    r"(?:AF|CAP|CERT|PROTOCOL)_[A-Z0-9_]+|RENEWED_LINEAGE|(?:COMPOSE|RESTIC|AWS)_[A-Z_]+"
    r"|(?:SOURCE|TARGET|HERPS)_AWS_[A-Z_]+"
    r"|EXIF|PYTHON|ROOT_SCALE|NAME_[0-9]+|SSL_CERT_FILE|OPTIONS|WEB_ATTACHMENT_(?:COLLECTION|REQUIRES_KEY_FOR_GET)"
    r"|ASSET_SERVER_(?:KEY|URL)|SPECIFY_DATABASE_PASSWORD"
)

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def needs(*commands: str) -> pytest.MarkDecorator:
    missing = [command for command in commands if shutil.which(command) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environ}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(PROJECT)) for path in paths]


# --- Names ---


@pytest.mark.parametrize("path", [*DEPLOY, *DOCS], ids=ids([*DEPLOY, *DOCS]))
def test_every_setting_named_in_deployment_files_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    known = {*SETTINGS, *(other for setting in SETTINGS.values() for other in setting.other_names)}
    known |= {loading.PREFIX + name for name in SETTINGS}
    known |= {loading.PREVIOUS_KEY_VARIABLE, loading.PREFIX, loading.SETTINGS_FILE_VARIABLE}
    known |= set(re.findall(r"\$\{([A-Z_]+)", COMPOSE)) | set(re.findall(r"^ARG ([A-Z_]+)", DOCKERFILE, re.M))
    named = set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b", text))
    named |= set(re.findall(r"`([A-Z]{3,})(?==|`)", text)) | set(re.findall(r"^Environment=([A-Z_]+)=", text, re.M))
    assert {name for name in named if not FOREIGN.fullmatch(name)} <= known


def test_every_program_file_named_in_deployment_files_exists() -> None:
    folders = r"(?:deploy|docs|script|assetstore|tests|benchmarks)/[\w./-]*\w"
    named = rf"{folders}|\b(?:server|manage|settings)\.py|requirements[\w-]*\.txt"
    for path in [*DEPLOY, *DOCS]:
        for name in re.findall(rf"(?<![\w/.~-])(?:{INSTALLED}/)?({named})", path.read_text(encoding="utf-8")):
            assert (PROJECT / name).exists() or (PROJECT / f"{name}.py").exists(), (path.name, name)


def test_links_in_the_documents_have_targets() -> None:
    def anchors(path: Path) -> set[str]:
        headings = re.findall(r"^##+ (.+)$", path.read_text(encoding="utf-8"), re.M)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    for document in DOCS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            file = (document.parent / name).resolve() if name else document
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


# --- systemd ---


def unit_folder(folder: Path, override: str = "") -> Path:
    """A folder with the unit, as if the program were installed where this one is; returns the unit."""
    (folder / "web-asset-server.service.d").mkdir(parents=True)

    def here(text: str) -> str:
        return text.replace(f"{INSTALLED}/.venv/bin/python", sys.executable).replace(INSTALLED, str(PROJECT))

    (folder / "web-asset-server.service").write_text(here(UNIT))
    (folder / "web-asset-server.service.d/override.conf").write_text(here(override))
    return folder / "web-asset-server.service"


def of_unit(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.+)$", UNIT, re.M)


@needs_systemd
@pytest.mark.parametrize(
    "override",
    ["", *re.findall(r"```ini\n(.*?)```", INSTALL + OPERATIONS + SERVING, re.S)],
    ids=lambda text: text.splitlines()[:1],
)
def test_systemd_accepts_the_unit_and_its_documented_additions(tmp_path: Path, override: str) -> None:
    verified = run("systemd-analyze", "verify", "--man=no", str(unit_folder(tmp_path, override)))
    complaints = [line for line in verified.stderr.splitlines() if "web-asset-server" in line]
    assert (verified.returncode, complaints) == (0, [])


@needs_systemd
def test_systemd_rates_the_unit_as_well_protected(tmp_path: Path) -> None:
    if "--offline" not in run("systemd-analyze", "--help").stdout:
        pytest.skip("this systemd cannot judge units that are not installed")
    # In tenths; most units of Debian have 92 to 96. What is left is what a server on the network needs.
    judged = run("systemd-analyze", "security", "--offline=yes", "--threshold=25", str(unit_folder(tmp_path)))
    assert judged.returncode == 0, judged.stdout[-200:]


def test_the_limits_of_the_unit_fit_the_program() -> None:
    defaults = {name: setting.default for name, setting in SETTINGS.items()}
    [memory] = of_unit("MemoryMax")
    workers, besides = 4, 2048
    assert re.fullmatch(r"\d+G", memory)
    assert int(memory[:-1]) * 1024 >= workers * int(str(defaults["RENDER_MEMORY"])) + besides
    assert of_unit("OOMPolicy") == ["continue"]  # or one picture would stop the server
    assert int(of_unit("LimitNOFILE")[0]) >= sockets._OPEN_FILES
    assert int(of_unit("TasksMax")[0]) >= 16 * int(str(defaults["THREADS"]))
    timeout = [*of_unit("TimeoutStopSec"), *re.findall(r"stop_grace_period: (\d+)s", COMPOSE)]
    assert len(timeout) == 2
    assert min(map(int, timeout)) > signals.FORCED_SECONDS + 5


def test_the_unit_and_the_documents_agree_on_writable_paths() -> None:
    base = runpy.run_path(str(PROJECT / "deploy/settings.py"))["BASE_DIR"]
    assert of_unit("ReadWritePaths") == of_unit("RequiresMountsFor") == [base]
    assert all(base in document for document in (OPERATIONS, INSTALL))


def test_unit_and_image_use_granian_by_default() -> None:
    assert runpy.run_path(str(PROJECT / "deploy/settings.py"))["SERVER"] == "granian"
    assert re.search(rf"^Environment={loading.SETTINGS_FILE_VARIABLE}={settings_file.SYSTEM_FILE}\b", UNIT, re.M)
    assert re.search(r"^ENV (?:.*\\\n)*\s+SERVER=granian\b", DOCKERFILE, re.M)
    assert "      - SERVER=${SERVER-granian}\n" in COMPOSE


def test_a_reload_does_not_stop_paste(tmp_path: Path) -> None:
    with running(tmp_path / "a", SERVER="paste") as program:
        port = program.port()
        if os.isatty(0):
            pytest.skip("on a terminal, SIGHUP means that it was closed")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for("SIGHUP: Paste has nothing to reload")
        assert Client(port).get("/healthz").status == 200


# --- The image ---


def checked_health(**environ: object) -> int:
    """The exit status of the health check with these variables, where the program is."""
    command = [sys.executable, str(PROJECT / "deploy/healthcheck.py")]
    variables = {name: str(value) for name, value in environ.items()}
    return subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, check=False).returncode


def test_the_health_check_uses_http_or_https(server: RunningServer, tmp_path: Path) -> None:
    assert checked_health(PORT=server.port, TLS_CERTIFICATE="") == 0
    assert checked_health(PORT=free_port()) == 1
    (tmp_path / "settings.py").write_text(f"PORT = {server.port}\n")
    assert checked_health(ASSETSTORE_SETTINGS=tmp_path / "settings.py") == 0
    assert checked_health(PORT=free_port(), ASSETSTORE_PORT=server.port) == 0
    files = {"TLS_CERTIFICATE": str(tmp_path / "certificate.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=a.example"
    names = "subjectAltName=DNS:a.example"
    made = run(*make.split(), "-addext", names, "-out", files["TLS_CERTIFICATE"], "-keyout", files["TLS_KEY"])
    assert made.returncode == 0, made.stderr
    (tmp_path / "a").mkdir()
    by_https = GranianServer({"BASE_DIR": str(tmp_path / "a"), "KEY": KEY, **files})
    try:
        assert checked_health(PORT=by_https.port, **files) == 0
        assert checked_health(PORT=by_https.port) == 1
    finally:
        by_https.stop()


def test_the_image_has_every_file_of_the_program() -> None:
    copied = " ".join(re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M)).split()
    let_in = re.findall(r"^!(.+)$", (PROJECT / ".dockerignore").read_text(encoding="utf-8"), re.M)
    assert sorted(copied) == sorted(let_in)
    programs = {path.name for path in PROJECT.glob("*.py")}
    assert programs <= set(copied)
    [check] = re.findall(r'^HEALTHCHECK .*CMD \["python", "([\w.]+)"\]$', DOCKERFILE, re.M)
    assert f"deploy/{check}" in copied


# --- The log ---


@needs("logrotate")
def test_logrotate_truncates_the_open_log_file(tmp_path: Path) -> None:
    log = tmp_path / "web-asset-server.log"
    configuration_text = (PROJECT / "deploy/logrotate.conf").read_text(encoding="utf-8")
    rules = tmp_path / "rules"
    rules.write_text(configuration_text.replace("/var/log/web-asset-server.log", str(log)))
    rules.chmod(0o644)
    log.parent.chmod(0o755)
    with open(log, "a", encoding="ascii") as server:
        print("before", file=server, flush=True)
        rotated = run("logrotate", "--force", "--state", str(tmp_path / "state"), str(rules))
        print("after", file=server, flush=True)
    assert (rotated.returncode, rotated.stderr) == (0, "")
    assert (tmp_path / "web-asset-server.log.1").read_text() == "before\n"
    assert log.read_text() == "after\n"


# --- Health and figures ---


def test_the_documented_readyz_response_is_current(server: RunningServer) -> None:
    block = re.search(r"curl -s http://localhost:8080/readyz\n```\n\n```json\n(\{.*?\n\})", OPERATIONS, re.S)
    assert block
    assert json.loads(block[1]) == json.loads(server.get("/readyz").text)


@pytest.fixture
def labels(start: Callable[..., RunningServer], tmp_path: Path) -> dict[str, set[str]]:
    """The names of all figures that a server gives, as Prometheus stores them, each with its labels."""
    port = free_port()
    table = tmp_path / "visibility.csv"
    table.write_text("store_name,public,embargo_until\n")
    server = start(METRICS_ADDRESS=f"127.0.0.1:{port}", VISIBILITY="file", VISIBILITY_FILE=str(table))
    server.upload("a.jpg", pictures.jpeg())
    server.thumbnail("a.jpg", token=server.token("a.jpg"))
    for _ in range(600):
        try:
            page = Client(port).get("/metrics").text
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {name: names for name, names in found.items() if not name.endswith("_created")}


def expressions() -> list[str]:
    in_panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return [*in_panels, *re.findall(r"^\| .+ \| `(.*asset_server_.+)` \|$", OPERATIONS, re.M)]


def test_dashboard_and_alerts_use_existing_metrics_and_labels(labels: dict[str, set[str]]) -> None:
    assert len(expressions()) > 20
    for expression in expressions():
        assert expression.count("(") == expression.count(")")
        names = re.findall(r"\basset_server_\w+", expression)
        assert set(names) <= set(labels), expression
        asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", expression))
        asked |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
        assert asked <= set.union({"instance"}, *(labels[name] for name in names)), expression


def test_the_dashboard_shows_every_metric(labels: dict[str, set[str]]) -> None:
    def figure(name: str) -> str:
        return re.sub(r"_(?:bucket|sum|count)$", "", name)

    shown = {figure(name) for name in re.findall(r"\basset_server_\w+", " ".join(expressions()))}
    assert shown == {figure(name) for name in labels}


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        collection_dir = panel["gridPos"]
        assert collection_dir["x"] + collection_dir["w"] <= 24
        cells = {
            (collection_dir["x"] + x, collection_dir["y"] + y)
            for x in range(collection_dir["w"])
            for y in range(collection_dir["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# --- Backup and restore ---


def commands(section: str, *, store: Path, **values: object) -> list[str]:
    """The blocks of shell commands of a section, with our own values of its variables."""
    text = OPERATIONS.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    for name, value in {"store": store, **values}.items():
        blocks = [re.sub(rf"^(.*\b{name}=)[^$\s]\S*", rf"\g<1>{value}", block, flags=re.M) for block in blocks]
    user = f"{os.getuid()}:{os.getgid()}"
    return [f"store={store}\n" + block.replace("specify:specify", user) for block in blocks]


def shell(*scripts: str) -> str:
    done = run("bash", "-c", "\n".join(["set -e", *scripts]))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def busy(server: RunningServer) -> RunningServer:
    """A server with originals, a thumbnail, and something in the trash."""
    for name in ("a.jpg", "b.jpg", "lock-me.jpg", "upload-1.jpg"):
        server.upload(name, pictures.jpeg())
    server.upload("gone.txt", b"gone")
    server.thumbnail("a.jpg")
    server.delete("gone.txt")
    return server


@contextlib.contextmanager
def upload_under_way(server: RunningServer) -> Iterator[None]:
    """While half of an upload has arrived."""
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(MEGABYTE)))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + body[: MEGABYTE // 2])
        wait_for_upload(server.base)
        yield


def is_all_back(base: Path) -> None:
    """A server on the restored store has every file, and the journal knows them all."""
    restored = RunningServer({"KEY": KEY, "BASE_DIR": str(base)})
    try:
        for name in ("a.jpg", "b.jpg", "lock-me.jpg", "upload-1.jpg"):
            assert restored.get("/fileget", filename=name).body == pictures.jpeg()
        assert restored.thumbnail("a.jpg").status == 200
    finally:
        restored.stop()
    manage = [sys.executable, str(PROJECT / "manage.py")]
    verified = run(*manage, "verify", BASE_DIR=str(base), KEY=KEY)
    assert (verified.returncode, "4 files" in verified.stdout) == (0, True), verified.stdout + verified.stderr
    assert "1 file restored." in run(*manage, "trash", "restore", "gone.txt", BASE_DIR=str(base), KEY=KEY).stdout
    assert (base / "originals/gone.txt").read_bytes() == b"gone"


@needs("rsync")
def test_a_backup_with_rsync_restores_everything(busy: RunningServer, tmp_path: Path) -> None:
    backup, new = tmp_path / "disk/backup", tmp_path / "new"
    new.mkdir()
    journal, by_rsync, _ = commands("Backup", store=busy.base, backup=backup)
    with upload_under_way(busy):
        for day in ("2026-11-24", "2026-11-25"):
            shell(journal, by_rsync.replace("today=$(date +%F)", f"today={day}"))
    kept = {str(path.relative_to(backup / "latest")) for path in (backup / "latest").rglob("*")}
    assert os.readlink(backup / "latest") == "2026-11-25"
    assert {"originals/lock-me.jpg", "originals/upload-1.jpg", ".asset-server/journal-copy.sqlite"} <= kept
    assert any(name.startswith("originals/.asset-server/trash/2") for name in kept)
    assert not [
        name for name in kept if re.search(r"thumbnails|ballast|journal/|server/(?:upload|lock)-|\.lock$", name)
    ]
    inodes = {os.stat(backup / day / "originals/a.jpg").st_ino for day in ("2026-11-24", "2026-11-25")}
    assert len(inodes) == 1, "an unchanged file takes its space once"
    files, put_journal, _ = commands("Restore", store=new, backup=backup)
    shell(files, put_journal)
    is_all_back(new)


@needs("sqlite3")
def test_both_ways_to_copy_the_journal_give_the_same_result(busy: RunningServer, tmp_path: Path) -> None:
    [command] = re.findall(r"^`(sqlite3 .*)`\.$", OPERATIONS, re.M)
    journal = commands("Backup", store=busy.base)[0]
    copies = []
    for script in (journal, f"store={busy.base}\n{command}"):
        (busy.base / ".asset-server/journal-copy.sqlite").unlink(missing_ok=True)
        shell(script)
        with contextlib.closing(sqlite3.connect(busy.base / ".asset-server/journal-copy.sqlite")) as copy:
            copies.append(copy.execute("SELECT * FROM events ORDER BY id").fetchall())
    assert copies[0] == copies[1]
    assert len(copies[0]) == 6


def test_a_backup_creates_no_journal(tmp_path: Path) -> None:
    (tmp_path / ".asset-server/journal").mkdir(parents=True)
    done = run("bash", "-c", commands("Backup", store=tmp_path)[0])
    assert "unable to open database file" in done.stderr
    assert list((tmp_path / ".asset-server/journal").iterdir()) == []


@needs("restic")
def test_a_backup_with_restic_restores_everything(busy: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    values = {"RESTIC_REPOSITORY": tmp_path / "repository", "RESTIC_PASSWORD_FILE": tmp_path / "password"}
    journal, _, by_restic = commands("Backup", store=busy.base, **values)
    exports = by_restic.splitlines()[1]
    with upload_under_way(busy):
        shell(journal, by_restic)
    assert "Fatal" not in shell(*by_restic.splitlines()[:3]), "a repository that exists is not made again"
    (tmp_path / "new").mkdir()
    shell(exports, f"restic restore latest --target {tmp_path / 'new'}")
    new = tmp_path / "new" / busy.base.relative_to("/")
    assert "restic restore latest --target /`" in OPERATIONS
    assert visible_files(new / "originals") == ["a.jpg", "b.jpg", "lock-me.jpg", "upload-1.jpg"]
    assert not (new / "thumbnails").exists()
    assert [path.name for path in (new / "originals/.asset-server").iterdir()] == ["trash"]
    _, put_journal, _ = commands("Restore", store=new)
    shell(put_journal)
    is_all_back(new)


def test_removing_the_documented_folders_removes_everything(busy: RunningServer) -> None:
    busy.context.originals.journal.close()
    section = OPERATIONS.split("## Back to the sample server")[1]
    [block] = re.findall(r"```sh\n(.*?)```", section, re.S)
    shell(block.replace("/var/lib/web-asset-server", str(busy.base)))
    assert sorted(path.name for path in busy.base.rglob("*") if path.name.startswith(".")) == []
    assert len(visible_files(busy.base / "originals")) == 4


def commands_of_manage() -> list[list[str]]:
    """All uses of the commands in the documents, as words."""
    found = []
    for document in [PROJECT / "README.md", *DOCS]:
        text = document.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = re.findall(r"```(?:sh|console)\n(.*?)```", text, re.S)
        pieces = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)
        for piece in pieces:
            match = re.search(r"(?:^|[ (/$])(?:manage|manage\.py|asset-admin) ([a-z].*)", piece)
            if match:
                found.append(re.split(r" +# |[|;<>)]", match[1])[0].split())
    return found


def test_every_command_of_manage_that_is_written_down_exists_with_its_options() -> None:
    root = assetstore.commands._commands
    context = click.Context(root)
    used = set()
    for words in commands_of_manage():
        command: click.Command | None = root
        left = words
        while isinstance(command, click.Group) and left and not left[0].startswith("-"):
            command, left = command.get_command(context, left[0]), left[1:]
            assert command is not None, words
            used.add(command.name)
        assert command is not None
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
        assert {word.partition("=")[0] for word in left if re.match("--?[a-z]", word)} <= known, words
    assert used >= set(root.list_commands(context)), "every command is in the documents"
