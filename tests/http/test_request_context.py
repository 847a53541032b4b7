"""The request context and the log line of each request."""

import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

from assetstore.http import middleware
from assetstore.http.request_context import RequestContext
from assetstore.monitoring import logs
from tests.support import RunningServer


def test_many_threads_at_once_get_request_ids_of_their_own() -> None:
    ids = middleware.RequestIds()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            given = list(threads.map(lambda _: [ids.new() for _ in range(5000)], range(16)))
    finally:
        sys.setswitchinterval(interval)
    assert len({name for names in given for name in names}) == 16 * 5000


def test_a_request_id_comes_from_a_trusted_proxy_only(start: object) -> None:
    for trusted, is_taken in ((("127.0.0.1",), True), ((), False)):
        server: RunningServer = start(TRUSTED_PROXIES=trusted)  # type: ignore[operator]
        answer = server.get("/healthz", {"X-Request-Id": "from-the-proxy-1"})
        assert (answer.headers["x-request-id"] == "from-the-proxy-1") is is_taken
        odd = server.get("/healthz", {"X-Request-Id": "no <id> of ours"})
        assert "<" not in odd.headers["x-request-id"]


def test_a_log_in_json_has_the_same_id_and_no_token(start: object) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("assetserver.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        server: RunningServer = start()  # type: ignore[operator]
        token = server.token("a.jpg")
        answer = server.get("/fileget", filename="a.jpg", token=token)
    finally:
        logger.removeHandler(handler)
    line = logs.JsonLines().format(records[-1])
    assert token not in line
    found = json.loads(line)
    assert found["request_id"] == answer.headers["x-request-id"]
    assert (found["route"], found["name"], found["status"]) == ("/fileget", "a.jpg", 404)
    assert "'a.jpg' 404" in logs.PlainLines().format(records[-1])


def test_a_log_line_has_only_the_beginning_of_a_long_path_and_name() -> None:
    context = RequestContext("id", "192.0.2.7", "GET", "/a" * 8000, 0, 0, "other", name="é" * 8000)
    record = logging.LogRecord("access", logging.INFO, "", 0, "%s", (context.path,), None)
    record.context = context
    assert len(logs.PlainLines().format(record)) < 1200
    line = logs.JsonLines().format(record)
    assert line.isascii()
    assert json.loads(line)["path"] == "/a" * 250 + "…"
