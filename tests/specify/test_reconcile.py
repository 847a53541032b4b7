"""manage.py reconcile: every fault between Specify's records and the files is found, nothing else, nothing changed."""

import csv
import getpass
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetstore.errors import BadRequest
from assetstore.specify import comparison, plan
from assetstore.specify import database as specify_database
from tests import mariadb
from tests import specify_database as specify
from tests.mariadb import Database
from tests.specify_database import Specify
from tests.support import PROJECT, RunningServer, run_manage

DOCUMENTATION = (PROJECT / "docs/records.md").read_text(encoding="utf-8")

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(start: Callable[..., RunningServer]) -> RunningServer:
    return start(COLLECTION_DIRS=specify.FOLDERS)


@pytest.fixture
def manage(server: RunningServer) -> Manage:
    """Runs manage.py on the store of the running server."""

    def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
        folders = json.dumps(specify.FOLDERS)
        return run_manage(server.base, *arguments, **{"COLLECTION_DIRS": folders, **environ})

    return run


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with mariadb.running(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture
def museum(server: RunningServer) -> Specify:
    return specify.make(server.base, records=300, each=6)


@pytest.fixture
def table(server: RunningServer, tmp_path: Path) -> Callable[..., Path]:
    """Writes an export with these records: store names, or store names with their collections."""

    def write(*records: str | tuple[str, str]) -> Path:
        path = tmp_path / "attachments.csv"
        rows = [(record, "KU Fish") if isinstance(record, str) else record for record in records]
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("AttachmentID", "AttachmentLocation", "CollectionName"))
            writer.writerows((number, *row) for number, row in enumerate(rows, 1))
        return path

    return write


@pytest.fixture
def planned(
    server: RunningServer, manage: Manage, table: Callable[..., Path], tmp_path: Path
) -> Callable[[tuple[str, ...], tuple[str, ...]], Path]:
    """Stores files with records, and others, and writes a plan."""

    def write(recorded: tuple[str, ...], others: tuple[str, ...]) -> Path:
        for name in (*recorded, *others):
            put(server, name)
        time.sleep(0.01)
        plan = tmp_path / "plan.csv"
        manage("reconcile", table(*recorded), "--grace-days", 0, "--plan", plan)
        return plan

    return write


def rows(run: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert "Traceback" not in run.stderr, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def found(run: subprocess.CompletedProcess[str]) -> set[tuple[object, object]]:
    return {(row["finding"], row["name"]) for row in rows(run) if "finding" in row}


def put(server: RunningServer, name: str, content: bytes = b"x", collection: str = "KU Fish") -> None:
    assert server.upload(name, content, coll=collection).status == 200


def edited(plan: Path, **actions: str) -> None:
    """Changes what a plan does, by finding (underscores for blanks)."""
    with open(plan, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        line["action"] = actions.get(line["finding"].replace(" ", "_"), line["action"])
    with open(plan, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0], delimiter=";")  # as a spreadsheet program on the continent saves it
        writer.writeheader()
        writer.writerows(lines)


def test_exactly_the_planted_problems_are_found_in_an_export(
    server: RunningServer, museum: Specify, manage: Manage, tmp_path: Path
) -> None:
    before = specify.fingerprint(server.base)
    run = manage("reconcile", museum.export(tmp_path / "attachments.csv"), "--json")
    assert run.returncode == 1, run.stderr
    assert specify.faults(rows(run)) == museum.faults
    assert {fault[0] for fault in museum.faults} == {
        "record without file",
        "file without record",
        "file in another collection",
        "other spelling",
        "empty file",
        "unreadable file",
        "shared file",
    }
    assert rows(run)[-1]["records"] == len(museum.rows)
    assert specify.fingerprint(server.base) == before, "nothing has changed"


def test_exactly_the_planted_problems_are_found_in_a_database(
    server: RunningServer, museum: Specify, manage: Manage, database: Database
) -> None:
    museum.load(database)
    before, table_before = specify.fingerprint(server.base), database.run("CHECKSUM TABLE attachment")
    address = f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"
    run = manage("reconcile", address, "--json", SPECIFY_DATABASE_PASSWORD=mariadb.PASSWORD)
    assert specify.faults(rows(run)) == museum.faults
    by_socket = f"mysql://{mariadb.READER}@localhost/specify?unix_socket={database.socket}"
    run = manage("reconcile", by_socket, "--json", SPECIFY_DATABASE_PASSWORD=mariadb.PASSWORD)
    assert specify.faults(rows(run)) == museum.faults
    assert (specify.fingerprint(server.base), database.run("CHECKSUM TABLE attachment")) == (before, table_before)


def test_every_planted_problem_is_found_with_the_documented_export(
    museum: Specify, manage: Manage, database: Database, tmp_path: Path
) -> None:
    shown = re.search(r"mariadb (--batch .*?) specify >attachments.csv <<'SQL'\n(.*?)\nSQL", DOCUMENTATION, re.S)
    assert shown
    museum.load(database)
    client = ["mariadb", "--no-defaults", *shown[1].split(), f"--socket={database.socket}", "specify"]
    export = subprocess.run(client, input=shown[2].encode(), capture_output=True, check=True).stdout
    (tmp_path / "attachments.csv").write_bytes(export)
    run = manage("reconcile", tmp_path / "attachments.csv", "--json")
    assert specify.faults(rows(run)) == museum.faults


def test_the_database_session_is_read_only_whatever_the_account_permits(database: Database) -> None:
    address = f"mysql://{getpass.getuser()}@localhost/specify?unix_socket={database.socket}"
    for statement in (
        "DELETE FROM attachment",
        "INSERT INTO collection VALUES (1, 'x', 1)",
        "UPDATE attachment SET ScopeID = 1",
    ):
        with (
            pytest.raises(BadRequest) as refusal,
            specify_database.connected(specify_database.address(address, {})) as cursor,
        ):
            cursor.execute(statement)
        assert "READ ONLY" in refusal.value.detail


def test_an_unreachable_database_is_reported_without_the_password(manage: Manage, database: Database) -> None:
    for address, reason in {
        f"mysql://{mariadb.READER}:wrong-secret@127.0.0.1:{database.port}/specify": "Access denied",
        f"mysql://{mariadb.READER}:wrong-secret@127.0.0.1:1/specify": "cannot be reached",
        "mysql://127.0.0.1/specify": "expected mysql://USER@HOST",
        "mysql://wrong-secret@[::1/specify": "expected mysql://USER@HOST",
    }.items():
        run = manage("reconcile", address)
        assert run.returncode == 1
        assert reason in run.stderr
        assert "wrong-secret" not in run.stderr + run.stdout
        assert "Traceback" not in run.stderr
    run = manage("reconcile", f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/information_schema",
                 SPECIFY_DATABASE_PASSWORD=mariadb.PASSWORD)  # fmt: skip
    assert "Specify's tables could not be read" in run.stderr


def test_an_intact_collection_has_no_differences(
    server: RunningServer, manage: Manage, table: Callable[..., Path]
) -> None:
    put(server, "a.jpg")
    run = manage("reconcile", table("a.jpg"))
    assert (run.returncode, run.stdout) == (0, "1 record, 1 file: no problems found.\n")


def test_a_new_file_without_a_record_is_not_reported_yet(
    server: RunningServer, manage: Manage, table: Callable[..., Path]
) -> None:
    put(server, "a.jpg")
    put(server, "form still open.jpg")
    assert found(manage("reconcile", table("a.jpg"), "--json")) == set()
    time.sleep(0.01)
    run = manage("reconcile", table("a.jpg"), "--json", "--grace-days", 0)
    assert found(run) == {("file without record", "form still open.jpg")}
    run = manage("reconcile", table("a.jpg"), "--json", "--grace-days", 0, "--exported", "1h")
    assert found(run) == set(), "the file came after the export"


def test_a_file_deleted_after_the_export_is_not_reported(
    server: RunningServer, manage: Manage, table: Callable[..., Path]
) -> None:
    put(server, "a.jpg")
    put(server, "deleted with its record.jpg")
    path = table("a.jpg", "deleted with its record.jpg")
    time.sleep(0.01)
    server.delete("deleted with its record.jpg", coll="KU Fish")
    assert found(manage("reconcile", path, "--json")) == set()
    path.touch()
    run = manage("reconcile", path, "--json")
    assert found(run) == {("record without file", "deleted with its record.jpg")}
    assert "in the trash" in str(rows(run)[0]["meaning"])


def test_a_plan_restores_and_moves_to_the_trash_and_can_be_undone(
    server: RunningServer, manage: Manage, table: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("a.jpg", "=HYPERLINK(0).jpg", "deleted by mistake.jpg"):
        put(server, name, name.encode())
    server.delete("deleted by mistake.jpg", coll="KU Fish")
    time.sleep(0.01)
    plan, path = tmp_path / "plan.csv", table("a.jpg", "deleted by mistake.jpg")
    assert manage("reconcile", path, "--grace-days", 0, "--plan", plan).returncode == 1
    assert "'=HYPERLINK" in plan.read_text("utf-8-sig"), "no spreadsheet program calculates with a name"
    before = specify.fingerprint(server.base)
    run = manage("reconcile", "--apply", plan, "--dry-run")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "2 of 2 files."), run.stderr
    assert "would be restored" in run.stdout
    assert "would be moved to the trash" in run.stdout
    assert specify.fingerprint(server.base) == before
    edited(plan)
    run = manage("reconcile", "--apply", plan)
    assert run.returncode == 0, run.stdout + run.stderr
    assert server.get("/fileget", filename="deleted by mistake.jpg", coll="KU Fish").body == b"deleted by mistake.jpg"
    assert server.get("/fileget", filename="=HYPERLINK(0).jpg", coll="KU Fish").status == 404
    assert found(manage("reconcile", path, "--json", "--grace-days", 0)) == set()
    run = manage("reconcile", "--apply", plan)
    assert (run.returncode, run.stdout.count("already")) == (0, 2), "it can be repeated"
    assert manage("trash", "restore", "=HYPERLINK(0).jpg").returncode == 0


def test_rows_removed_from_a_plan_are_not_applied(
    server: RunningServer, manage: Manage, planned: Callable[..., Path]
) -> None:
    plan = planned(("a.jpg",), ("nobody's.jpg",))
    edited(plan, file_without_record=" ")
    assert manage("reconcile", "--apply", plan).stdout == "0 of 0 files.\n"
    assert server.get("/fileget", filename="nobody's.jpg", coll="KU Fish").status == 200


def test_a_file_changed_or_recorded_since_the_plan_is_left_alone(
    server: RunningServer, manage: Manage, table: Callable[..., Path], planned: Callable[..., Path]
) -> None:
    plan = planned(("a.jpg", "b.jpg"), ("replaced.jpg", "now with a record.jpg"))
    put(server, "replaced.jpg", b"another")
    run = manage("reconcile", table("a.jpg", "NOW WITH A RECORD.jpg"), "--apply", plan)
    assert run.returncode == 1
    assert "the file has changed since the plan was written" in run.stdout
    assert "a record uses it now" in run.stdout
    assert run.stdout.splitlines()[-1] == "0 of 2 files."
    assert server.get("/fileget", filename="replaced.jpg", coll="KU Fish").body == b"another"


def test_a_file_stored_since_the_plan_is_not_overwritten_by_a_restore(
    server: RunningServer, manage: Manage, table: Callable[..., Path], tmp_path: Path
) -> None:
    put(server, "a.jpg", b"old")
    server.delete("a.jpg", coll="KU Fish")
    time.sleep(0.01)
    manage("reconcile", table("a.jpg"), "--plan", tmp_path / "plan.csv")
    put(server, "a.jpg", b"uploaded again")
    run = manage("reconcile", "--apply", tmp_path / "plan.csv")
    assert (run.returncode, "a file with this name exists now" in run.stdout) == (1, True)
    assert server.get("/fileget", filename="a.jpg", coll="KU Fish").body == b"uploaded again"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("trash,file without record", "delete,file without record", "is not an action"),
        ("trash,file without record", "restore,file without record", "is not possible"),
        ("trash,file without record", "trash,shared file", "is not possible"),
        (",fish,", ",../../etc,", "the folder or name is invalid"),
        ("nobody's.jpg", "../nobody's.jpg", "the folder or name is invalid"),
        ("trash,file without record", "trash,file without record\ntrash,file without record", "is not possible"),
        ("trash entry", "entry", "has no column trash entry"),
    ],
)
def test_a_plan_with_an_impossible_row_is_rejected_as_a_whole(
    server: RunningServer, manage: Manage, planned: Callable[..., Path], old: str, new: str, reason: str
) -> None:
    plan = planned(("a.jpg", "b.jpg"), ("nobody's.jpg", "nobody's, too.jpg"))
    text = plan.read_text("utf-8-sig")
    assert old in text
    plan.write_text(text.replace(old, new))
    run = manage("reconcile", "--apply", plan)
    assert run.returncode == 1
    assert reason in run.stderr
    assert len(list((server.base / "fish" / "originals").glob("*.jpg"))) == 4


def test_an_existing_plan_is_never_overwritten(
    manage: Manage, server: RunningServer, table: Callable[..., Path]
) -> None:
    put(server, "a.jpg")
    path = table("a.jpg")
    run = manage("reconcile", path, "--plan", path)
    assert (run.returncode, "already exists" in run.stderr) == (1, True)
    assert path.read_text().startswith("AttachmentID")


def test_comparing_the_wrong_table_does_not_plan_to_trash_everything(
    server: RunningServer, manage: Manage, table: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        put(server, name)
    time.sleep(0.01)
    assert "contains no records" in manage("reconcile", table()).stderr
    run = manage("reconcile", table("of another museum.jpg"), "--grace-days", 0, "--plan", tmp_path / "plan.csv")
    assert "Check that all databases" in run.stderr
    assert manage("reconcile", "--apply", tmp_path / "plan.csv").stdout == "0 of 0 files.\n"


def test_without_a_trash_a_plan_trashes_nothing(
    server: RunningServer, manage: Manage, planned: Callable[..., Path]
) -> None:
    plan = planned(("a.jpg", "b.jpg"), ("nobody's.jpg",))
    run = manage("reconcile", "--apply", plan, TRASH_DAYS="0")
    assert (run.returncode, "TRASH_DAYS = 0" in run.stderr) == (2, True)
    assert server.get("/fileget", filename="nobody's.jpg", coll="KU Fish").status == 200


def test_several_databases_may_share_a_server(
    server: RunningServer, manage: Manage, table: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(server, name)
    time.sleep(0.01)
    first = table("a.jpg").rename(tmp_path / "first.csv")
    run = manage("reconcile", first, table("b.jpg"), "--grace-days", 0)
    assert run.returncode == 0, run.stdout


def test_a_single_collection_can_be_compared(server: RunningServer, manage: Manage, table: Callable[..., Path]) -> None:
    put(server, "a.jpg")
    put(server, "egg.jpg", collection="KU Eggs")
    time.sleep(0.01)
    path = table(("a.jpg", "sent as KU Fish by WEB_ATTACHMENT_COLLECTION"))
    run = manage("reconcile", path, "--collection", "KU Fish", "--grace-days", 0)
    assert run.stdout == "1 record, 1 file: no problems found.\n"


@pytest.mark.parametrize(
    "text",
    [
        "AttachmentID;AttachmentLocation;ScopeType;ScopeID\r\n1;a.jpg;0;32768\r\n",
        "\ufeffattachment id,ATTACHMENT_LOCATION,Scope Type,ScopeID\n1,a.jpg,0,32768\n\n",
        'AttachmentID\tOrigFilename\tAttachmentLocation\tScopeType\tScopeID\n1\t6" high.jpg\ta.jpg\t0\t32768\n',
        'AttachmentID,OrigFilename,AttachmentLocation,ScopeType,ScopeID\n1,"a, b\nc.jpg",a.jpg,0,32768\n',
        "\ufeffsep=;\r\nAttachmentID;AttachmentLocation;ScopeType;ScopeID\r\n1;a.jpg;0;32768\r\n",
        'SEP=,\n"AttachmentID","AttachmentLocation","ScopeType","ScopeID"\n"1","a.jpg","0","32768"\n',
        '"sep=;"\r\nAttachmentID;AttachmentLocation;ScopeType;ScopeID\r\n1;a.jpg;0;32768\r\n',
        "sep=|\nAttachmentID|AttachmentLocation|ScopeType|ScopeID\n1|a.jpg|0|32768\n",
        'sep=\t\nAttachmentID\tOrigFilename\tAttachmentLocation\tScopeType\tScopeID\n1\t"6"" a"\ta.jpg\t0\t32768\n',
    ],
)
def test_exports_in_all_dialects_are_understood(
    server: RunningServer, manage: Manage, tmp_path: Path, text: str
) -> None:
    put(server, "a.jpg")
    path = tmp_path / "export"
    path.write_text(text, encoding="utf-8")
    assert manage("reconcile", path).returncode == 0
    run = manage("reconcile", path, "--scope", "32768=KU Birds", "--json")
    assert found(run) == {("file in another collection", "a.jpg")}


def test_unicode_text_of_excel_is_understood(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    put(server, "ä 植.jpg")
    path = tmp_path / "export.txt"
    text = 'AttachmentID\tOrigFilename\tAttachmentLocation\r\n1\t"6"" high"\tä 植.jpg\r\n'
    path.write_text(text, encoding="utf-16", newline="")
    assert manage("reconcile", path).returncode == 0


def test_a_plan_that_begins_with_a_line_for_the_delimiter_is_applied(
    manage: Manage, planned: Callable[..., Path]
) -> None:
    plan = planned(("a.jpg",), ("nobody's.jpg",))
    text = plan.read_text("utf-8-sig")
    plan.write_text(f"sep=,\r\n{text}", encoding="utf-8-sig", newline="")
    assert manage("reconcile", "--apply", plan, "--dry-run").stdout.endswith("1 of 1 file.\n")
    plan.write_text(f"sep=,\r\n{text.replace('trash,', 'burn,')}", encoding="utf-8-sig", newline="")
    assert "plan.csv, line 3: 'burn' is not an action" in manage("reconcile", "--apply", plan).stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"AttachmentID\n1\n", "has no column AttachmentLocation"),
        (b"", "has no column AttachmentID and no column AttachmentLocation"),
        ("AttachmentID,AttachmentLocation\n1,Stör.jpg\n".encode("latin-1"), "is not encoded in UTF-8"),
        (b'AttachmentID,AttachmentLocation\n1,"' + b"x" * (17 << 20), "is not a valid CSV table"),
    ],
)
def test_a_file_that_is_not_an_export_is_rejected_with_a_reason(
    manage: Manage, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(content)
    run = manage("reconcile", path)
    assert (run.returncode, reason in run.stderr) == (1, True), run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Specify's records are missing"),
        (("x.csv", "--scope", "fish"), "--scope requires a number and a name"),
        (("x.csv", "--apply", "a", "--plan", "b"), "cannot be combined"),
        (("x.csv", "--collection", "KU Mammals"), "There is no collection"),
    ],
)
def test_an_incomplete_command_names_what_is_missing(manage: Manage, arguments: tuple[str, ...], reason: str) -> None:
    run = manage("reconcile", *arguments)
    assert (run.returncode, reason in run.stderr) == (2, True), run.stderr


def test_the_command_has_help(manage: Manage) -> None:
    run = manage("reconcile", "--help")
    assert run.returncode == 0
    for word in ("Exit status", *plan.POSSIBLE, *comparison.KINDS):
        assert word in run.stdout


def test_the_documentation_shows_the_actual_output(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    put(server, "sp61.att.jpg")
    server.delete("sp61.att.jpg", coll="KU Fish")
    put(server, "sp62.att.jpg", b"7 bytes")
    put(server, "sp63.att.jpg")
    time.sleep(0.01)
    path = tmp_path / "attachments.csv"
    path.write_text(
        "AttachmentID,AttachmentLocation,CollectionName\n17,sp61.att.jpg,KU Fish\n18,sp63.att.jpg,KU Fish\n"
    )
    printed = manage("reconcile", path, "--grace-days", 0).stdout
    assert f"$ manage reconcile attachments.csv\n{printed}" in DOCUMENTATION
