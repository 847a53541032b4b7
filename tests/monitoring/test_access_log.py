"""monitoring.access_log: the line of each request."""

import json
from collections.abc import Callable

import pytest

from assetstore.http.request_context import RequestContext
from assetstore.monitoring import access_log
from tests.support import RunningServer


def test_a_request_has_a_line_with_the_id_of_its_response_and_no_token(
    start: Callable[..., RunningServer], capfd: pytest.CaptureFixture[str]
) -> None:
    for log_format in ("plain", "json"):
        server = start(LOG_FORMAT=log_format)
        token = server.token("a.jpg")
        answer = server.get("/fileget", filename="a.jpg", token=token)
        (line,) = [line for line in capfd.readouterr().out.splitlines() if answer.headers["x-request-id"] in line]
        assert token not in line
        if log_format == "json":
            found = json.loads(line)
            assert found["request_id"] == answer.headers["x-request-id"]
            assert (found["route"], found["name"], found["status"]) == ("/fileget", "a.jpg", 404)
        else:
            assert " INFO 127.0.0.1 'GET' '/fileget' 'a.jpg' 404 " in line


def test_names_from_clients_cannot_begin_another_line() -> None:
    context = RequestContext("1-a-1", "192.0.2.7", "GET", "/x\n2026", 0.0, 0.0, "other", name="a\r\nb\ud800")
    for line in (access_log.plain_line(context, 1795800667.9999), access_log.json_line(context, 1795800667.9999)):
        assert len(line.splitlines()) == 1
    assert ",999 INFO " in access_log.plain_line(context, 1795800667.9999)


def test_a_line_has_only_the_beginning_of_a_long_path_and_name() -> None:
    context = RequestContext("id", "192.0.2.7", "GET", "/a" * 8000, 0, 0, "other", name="é" * 8000)
    assert len(access_log.plain_line(context, 0.0)) < 1200
    line = access_log.json_line(context, 0.0)
    assert line.isascii()
    assert json.loads(line)["path"] == "/a" * 250 + "…"
