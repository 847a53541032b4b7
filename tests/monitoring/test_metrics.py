"""monitoring.metrics: what Prometheus reads, and where."""

import json
import shutil
import socket
import time
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assetstore.monitoring import health
from tests import pictures
from tests.support import Client, RunningServer, free_port


@pytest.fixture
def port() -> int:
    return free_port()


def metrics(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    end = time.monotonic() + 60
    while True:
        try:
            page = Client(port).get("/metrics")
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
    return {
        (sample.name.removeprefix("asset_server_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@pytest.fixture
def measured(start: Callable[..., RunningServer], port: int) -> RunningServer:
    return start(METRICS_ADDRESS=f"127.0.0.1:{port}")


def test_requests_renders_and_changes_are_counted(measured: RunningServer, port: int) -> None:
    picture = pictures.jpeg()
    measured.upload("a.jpg", picture)
    measured.upload("a.jpg", picture)
    measured.upload("b.jpg", b"no picture")
    measured.thumbnail("a.jpg")
    measured.thumbnail("a.jpg")
    measured.thumbnail("b.jpg")
    measured.get("/fileget", filename="a.jpg")
    measured.get("/testkey", random="1", token="forged")
    measured.get("/no/such/route")
    measured.delete("a.jpg")
    found = metrics(port)
    assert of(found, "requests_total", route="/fileupload", method="POST", status="200") == 3
    assert of(found, "requests_total", route="/fileget", method="GET", status="200") == 3
    assert of(found, "requests_total", route="other", method="GET", status="404") == 1
    assert of(found, "renders_total", format="jpeg", outcome="made") == 1
    assert of(found, "changes_total", operation="stored") == 2
    assert of(found, "changes_total", operation="replaced") == 1
    assert of(found, "changes_total", operation="deleted") == 1
    assert of(found, "refused_tokens_total") == 1
    assert (of(found, "sent_bytes_total", route="/fileget") or 0) > len(picture)
    assert (of(found, "received_bytes_total", route="/fileupload") or 0) > 2 * len(picture)
    assert of(found, "request_seconds_count", route="/fileget") == 4
    assert of(found, "originals", place="") == 1
    assert of(found, "trash_files") == 2
    assert (of(found, "free_bytes") or 0) > 0
    assert of(found, "render_workers_busy") == 0
    assert of(found, "render_jobs_waiting") == of(found, "render_jobs_in_background") == 0


def test_the_health_checks_with_their_reasons_are_at_the_same_address(
    measured: RunningServer, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0)
    metrics(port)  # waits until the address is served
    answer = Client(port).get("/readyz")
    assert answer.status == 200
    assert "free" in json.loads(answer.body)["checks"]["space"]["reason"]
    shutil.rmtree(measured.originals)
    assert Client(port).get("/readyz").status == 503


def test_metrics_are_not_served_to_clients(measured: RunningServer) -> None:
    assert measured.get("/metrics").status == 404


def test_a_metrics_address_in_use_is_logged_and_does_not_stop_the_server(
    start: Callable[..., RunningServer], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        server = start(METRICS_ADDRESS=address)
        for _ in range(100):
            if f"METRICS_ADDRESS {address} cannot be used" in caplog.text:
                break
            server.get("/healthz")
        assert f"METRICS_ADDRESS {address} cannot be used" in caplog.text
        assert server.get("/testkey", random="1", token=server.token("1")).status == 200
