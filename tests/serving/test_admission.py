"""serving.admission: which requests get a thread."""

import io
import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from assetstore.http.middleware import Closing
from assetstore.http.request_context import REQUEST_CONTEXT, RequestContext
from assetstore.serving.admission import FORM_BYTES, LARGE_RESPONSE_BYTES, Admission
from tests.support import RunningServer

LARGE = FORM_BYTES + 1


class Call:
    """A request through the middleware: `status` and headers as they came, `finish` ends the response."""

    def __init__(self, admission: Admission, client: str, length: int = 0, method: str = "POST", **more: Any) -> None:
        context = RequestContext("id", client, method, "/", 0.0, 0.0, "/")
        environ = {REQUEST_CONTEXT: context, "REQUEST_METHOD": method, "SERVER_PROTOCOL": "HTTP/1.1", **more}
        environ |= {"CONTENT_LENGTH": str(length), "wsgi.input": io.BytesIO(bytes(length))}
        self.stream = environ["wsgi.input"]
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body = admission(environ, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]], _info: Any = None) -> None:
        self.status, self.headers = int(status[:3]), dict(headers)

    def finish(self) -> None:
        getattr(self._body, "close", lambda: None)()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answers with as many bytes as the query says, without reading the body."""
    start_response("200 OK", [("Content-Length", environ.get("QUERY_STRING", "2"))])
    return Closing([b"ok"], lambda: None)


@pytest.fixture
def admission() -> Admission:
    return Admission(application, threads=64, waiting=0)


def test_a_request_counts_until_its_response_has_ended(admission: Admission) -> None:
    calls = [Call(admission, "a", LARGE) for _ in range(admission.slow.per_client)]
    assert {call.status for call in calls} == {200}
    assert Call(admission, "a", LARGE).status == 503
    calls[0].finish()
    assert Call(admission, "a", LARGE).status == 200


def test_large_responses_count_like_large_bodies(admission: Admission) -> None:
    large = {"method": "GET", "QUERY_STRING": str(LARGE_RESPONSE_BYTES + 1)}
    for _ in range(admission.slow.per_client):
        assert Call(admission, "a", **large).status == 200
    refused = Call(admission, "a", **large)
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "10"
    assert Call(admission, "a", LARGE).status == 503
    assert Call(admission, "b", **large).status == 200


def test_small_responses_and_head_do_not_count(admission: Admission) -> None:
    for _ in range(200):
        assert Call(admission, "a", method="GET", QUERY_STRING=str(LARGE_RESPONSE_BYTES)).status == 200
        assert Call(admission, "a", method="HEAD", QUERY_STRING="999999999").status == 200


def test_forms_have_their_own_limit_and_then_use_the_general_one(admission: Admission) -> None:
    for _ in range(admission.slow.per_client):
        Call(admission, "a", LARGE)
    for _ in range(admission.forms.per_client):
        assert Call(admission, "a", 100).status == 200
    assert Call(admission, "a", 100).status == 503
    for _ in range(admission.forms.per_client + admission.slow.per_client):
        assert Call(admission, "b", 100).status == 200


def test_some_threads_are_left_when_the_limits_are_reached(start: Callable[..., RunningServer]) -> None:
    server = start(THREADS=256)
    admission: Admission = server.http.wsgi_application._application
    held = admission.slow.number + admission.forms.number + admission._drains.number
    assert held + server.settings.limits.waiters < 256


@pytest.mark.parametrize("fails", [False, True])
def test_a_request_stops_counting_whatever_the_application_does(fails: bool) -> None:
    def sometimes(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if fails:
            raise ValueError
        return application(environ, start_response)

    admission = Admission(sometimes, threads=64, waiting=0)
    for _ in range(100):
        try:
            Call(admission, "a", LARGE).finish()
        except ValueError:
            assert fails


def test_the_rest_of_a_body_is_drained(admission: Admission) -> None:
    call = Call(admission, "a", LARGE)
    assert call.stream.tell() == 0, "the response goes first"
    call.finish()
    assert call.stream.read() == b""


def test_a_rejected_client_is_not_sent_100_continue(admission: Admission) -> None:
    call = Call(admission, "a", LARGE, HTTP_EXPECT="100-continue")
    call.finish()
    assert call.stream.tell() == 0


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"SERVER_PROTOCOL": "HTTP/2", "CONTENT_LENGTH": None}, 411),
        ({"CONTENT_LENGTH": "5,6"}, 400),
        ({"CONTENT_LENGTH": "²"}, 400),
        ({"CONTENT_LENGTH": "-1"}, 400),
    ],
)
def test_bodies_without_a_length_are_rejected_at_admission(
    admission: Admission, environ: dict[str, Any], status: int
) -> None:
    started: list[Any] = []
    context = RequestContext("id", "a", "POST", "/", 0.0, 0.0, "/")
    request = {REQUEST_CONTEXT: context, "REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": "5"}
    body = admission({**request, **environ}, lambda *arguments: started.append(arguments))
    assert started[0][0].startswith(str(status))
    assert b"Content-Length" in b"".join(body)


def test_rejections_are_logged_once_a_minute(admission: Admission, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            Call(admission, "a", LARGE)
    assert [record.getMessage() for record in caplog.records].count(
        "no thread for a: too many slow uploads or downloads at the same time"
    ) == 1
