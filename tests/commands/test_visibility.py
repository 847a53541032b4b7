"""manage.py visibility: lists, explanations, and files of which nothing is known."""

import json
from pathlib import Path

import pytest

from tests.support import RunningServer, run_manage
from tests.visibility import sites

TABLE = "store_name,public,embargo_until\na.jpg,yes,\nb.jpg,no,\nc.jpg,yes,2999-01\nshared.jpg,yes,\nshared.jpg,no,\n"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("store")
    base, table = folder / "attachments", folder / "visibility.csv"
    base.mkdir()
    table.write_text(TABLE)
    variables = {"VISIBILITY": "file", "VISIBILITY_FILE": str(table), "VISIBILITY_SECONDS": "3600"}
    server = RunningServer({"KEY": "k", "BASE_DIR": str(base), "THREADS": 8, "RESERVED_BYTES": 0, **variables})
    try:
        for name in ("a.jpg", "b.jpg", "nobody's.jpg"):
            server.upload(name, b"x")
        visible = server.context.visibility
        assert visible is not None
        sites.until(lambda: visible.is_public("a.jpg"))
    finally:
        server.stop()
    return {"base": str(base), **variables}


def manage(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    variables = {name: text for name, text in environ.items() if name != "base"}
    run = run_manage(Path(environ["base"]), "visibility", *arguments, **variables)
    return run.returncode, run.stdout + run.stderr


def test_files_are_listed_by_state(environ: dict[str, str]) -> None:
    status, printed = manage(environ, "list")
    assert status == 0
    rows = [line.split("\t")[:3] for line in printed.splitlines()]
    assert rows == [
        ["public", "a.jpg", "-"],
        ["private", "b.jpg", "-"],
        ["private", "c.jpg", "2999-02-01"],
        ["private", "shared.jpg", "-"],
    ]
    [row] = [json.loads(line) for line in manage(environ, "list", "--state", "embargoed", "--json")[1].splitlines()]
    assert (row["name"], row["until"]) == ("c.jpg", "2999-02-01")


def test_a_state_is_explained(environ: dict[str, str]) -> None:
    status, printed = manage(environ, "explain", "shared.jpg")
    assert (status, printed.splitlines()[:3]) == (
        0,
        ["shared.jpg: private.", "  record 5: public", "  record 6: not public"],
    )
    assert "c.jpg: private until 2999-02-01" in manage(environ, "explain", "c.jpg")[1]
    assert manage(environ, "explain", "nobody's.jpg")[0] == 1
    assert "nothing is known of it" in manage(environ, "explain", "nobody's.jpg")[1]


def test_files_of_which_nothing_is_known_are_found(environ: dict[str, str]) -> None:
    status, printed = manage(environ, "check")
    assert status == 1
    assert "nothing known\t-\tnobody's.jpg" in printed
    assert "5 records: 1 public, 3 private, 0 without a complete record. 1 file of which nothing is known." in printed


def test_without_the_setting_the_command_says_so(environ: dict[str, str]) -> None:
    run = run_manage(Path(environ["base"]), "visibility", "list")
    assert run.returncode == 1
    assert "VISIBILITY is not set" in run.stderr
