"""The request context."""

import sys
from concurrent.futures import ThreadPoolExecutor

from assetstore.http import middleware
from tests.support import RunningServer


def test_concurrent_threads_get_distinct_request_ids() -> None:
    ids = middleware.RequestIds()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            given = list(threads.map(lambda _: [ids.new() for _ in range(5000)], range(16)))
    finally:
        sys.setswitchinterval(interval)
    assert len({name for names in given for name in names}) == 16 * 5000


def test_a_request_id_is_accepted_from_trusted_proxies_only(start: object) -> None:
    for trusted, is_taken in ((("127.0.0.1",), True), ((), False)):
        server: RunningServer = start(TRUSTED_PROXIES=trusted)  # type: ignore[operator]
        answer = server.get("/healthz", {"X-Request-Id": "from-the-proxy-1"})
        assert (answer.headers["x-request-id"] == "from-the-proxy-1") is is_taken
        odd = server.get("/healthz", {"X-Request-Id": "no <id> of ours"})
        assert "<" not in odd.headers["x-request-id"]
