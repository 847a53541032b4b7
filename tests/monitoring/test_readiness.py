"""readiness: the parts of /readyz that depend on time and on files."""

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.fixity.schedule import Verifier
from assetstore.monitoring import readiness
from assetstore.monitoring.health import OK, WARNING
from assetstore.serving import tls
from assetstore.visibility.index import set_facts
from assetstore.visibility.service import Visibility
from tests.support import RunningServer

DAY = 86_400


@pytest.mark.parametrize(("verify_days", "age", "status"), [(30, 29, OK), (30, 31, WARNING), (0, 4000, OK)])
def test_a_verification_that_is_late_is_a_warning(
    start: Callable[..., RunningServer], verify_days: int, age: int, status: str
) -> None:
    server = start(VERIFY_DAYS=0)
    originals = server.context.originals
    server.upload("a.txt", b"text")
    Verifier(originals, 30).round(threading.Event())
    originals.journal.write("UPDATE runs SET ended_ns = ?", (int((time.time() - age * DAY) * 1e9),))
    settings = dataclasses.replace(server.settings, verify_days=verify_days)
    found = readiness.checks(settings, originals, server.context.pool, None)["verification"]()
    assert (found.status, "read 1 file: no errors" in found.reason) == (status, True)


def test_without_a_certificate_it_is_not_checked(server: RunningServer) -> None:
    assert "certificate" not in readiness.checks(server.settings, server.context.originals, server.context.pool, None)


@pytest.mark.parametrize(("days", "status"), [(-1, WARNING), (13.9, WARNING), (14.1, OK)])
def test_a_certificate_that_soon_expires_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, days: float, status: str
) -> None:
    monkeypatch.setattr(tls, "check", lambda _certificate, _key: tls.Certificate(time.time() + days * DAY, ()))
    assert readiness._certificate(Path("a.pem"), Path("a.key")).status == status


def test_a_certificate_that_cannot_be_used_is_a_warning(tmp_path: Path) -> None:
    assert readiness._certificate(tmp_path / "a.pem", tmp_path / "a.key").status == WARNING


def test_reading_the_visibility_of_files_too_slowly_or_without_result_is_a_warning(tmp_path: Path) -> None:
    visible = Visibility(tmp_path, 30)
    visible.index.prepare("table")

    def result(took: float = 0, age: float = 0, counts: str = "{}") -> tuple[str, str]:
        with visible.index.writing() as connection:
            facts = {"checked_at": str(time.time() - age), "took": str(took), "counts": counts}
            set_facts(connection, **facts, fault="", problems="[]")
        found = readiness._visibility(visible)
        return found.status, found.reason

    assert result(10, 25)[0] == OK
    for found, reason in (
        (result(11.44), "took 11.4 seconds, too long for VISIBILITY_SECONDS (30)"),
        (result(age=31), "overdue (VISIBILITY_SECONDS: 30). Files keep the state of 31 seconds ago."),
        (result(counts='{"unknown": 7, "records": 0}'), "has no records. Files keep their last state."),
    ):
        assert found[0] == WARNING
        assert reason in found[1]
    visible.close()
