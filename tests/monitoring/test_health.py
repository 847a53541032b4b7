"""health and readiness: what /healthz and /readyz say, and that nothing makes them wait."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.errors import StorageFault
from assetstore.monitoring.health import ERROR, OK, WARNING, Health, Result
from assetstore.thumbnails.rendering import engines
from tests.support import RunningServer

CHECKS = ("store", "thumbnails", "space", "journal", "tools", "rendering", "verification")
OKAY = {"status": "ok"}


def test_a_healthy_server_is_ready_and_lists_its_checks(server: RunningServer) -> None:
    answer = server.get("/readyz")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text) == {"ready": True, "status": "ok", "checks": dict.fromkeys(CHECKS, OKAY)}
    page = server.readiness()
    assert set(page["checks"]) == set(CHECKS)
    assert all(check["reason"].endswith(".") for check in page["checks"].values())
    assert str(server.base) not in answer.text
    assert server.get("/healthz").text == "ok"


def test_only_a_valid_token_gets_the_reasons(server: RunningServer) -> None:
    answer = server.get("/readyz", {"X-Status-Token": server.token("/readyz")})
    assert answer.status == 403
    assert "are free" not in answer.text


def test_an_unwritable_store_is_not_ready_but_alive(server: RunningServer) -> None:
    shutil.rmtree(server.originals)
    answer = server.get("/readyz")
    assert answer.status == 503
    assert json.loads(answer.text)["checks"]["store"]["status"] == "error"
    assert str(server.base) not in answer.text
    assert server.get("/healthz").status == 200


def test_free_space_below_the_reserve_is_not_ready(start: Callable[..., RunningServer]) -> None:
    checks = start(RESERVED_BYTES=10**15).readiness()["checks"]
    assert checks["space"] == {"status": "error", "reason": "The disk is full, so uploads are rejected."}
    assert checks["store"]["status"] == "ok"


def test_an_unwritable_journal_is_reported(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start()
    shutil.rmtree(server.base / ".asset-server/journal")
    (server.base / ".asset-server/journal").write_text("in the way")
    assert server.readiness()["checks"]["journal"]["status"] == "error"


def test_a_missing_tool_is_reported_with_its_package(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tools = server.readiness()["checks"]["tools"]
    assert tools["status"] == "warning"
    assert "Ghostscript (package ghostscript)" in tools["reason"]


def test_without_tools_and_libraries_there_are_no_thumbnails(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engines.Engine, "is_installed", lambda engine: engine.library is None)
    tools = server.readiness()["checks"]["tools"]
    assert tools["status"] == "error"
    assert "PDFium (Python package pypdfium2)" in tools["reason"]


def test_findings_of_a_verification_are_a_warning_and_do_not_affect_readiness(
    start: Callable[..., RunningServer],
) -> None:
    server = start()
    server.upload("a.txt", b"x")
    (server.originals / "a.txt").write_bytes(b"y")
    from assetstore.fixity.schedule import Verifier

    Verifier(server.context.originals, 30).round(threading.Event())
    page = server.readiness()
    assert (page["ready"], page["status"]) == (True, "degraded")
    assert page["checks"]["verification"]["status"] == "warning"
    assert "read 1 file: 1 changed" in page["checks"]["verification"]["reason"]


def test_a_hanging_check_is_reported_without_waiting_or_starting_it_again() -> None:
    hanging, begun = threading.Event(), []

    def hang() -> Result:
        begun.append(1)
        hanging.wait(60)
        return Result(OK, "Back again.")

    health = Health({"disk": hang, "other": lambda: Result(WARNING, "Fine.")}, deadline=0.05)
    for _ in range(3):
        report = health.report()
        assert report["disk"].status == ERROR
        assert "has not responded for" in report["disk"].reason
        assert report["other"] == Result(WARNING, "Fine.")
    assert len(begun) == 1
    hanging.set()
    patient = Health({"disk": hang}, deadline=30)
    assert patient.report()["disk"] == Result(OK, "Back again.")


def test_an_error_in_a_check_is_its_result(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> Result:
        raise StorageFault("The disk is broken.", "/secret/path")

    def surprise() -> Result:
        raise KeyError("/secret/path")

    report = Health({"fault": fault, "surprise": surprise}, deadline=30).report()
    assert report["fault"] == Result(ERROR, "The disk is broken.")
    assert report["surprise"].status == ERROR
    assert "/secret" not in report["surprise"].reason
    assert caplog.text.count("/secret/path") >= 2
