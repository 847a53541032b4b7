"""bodies: the body of a request, as long as it says and no longer."""

import io

import pytest

from assetstore.errors import BadRequest, LengthRequired
from assetstore.http.bodies import RequestBody, body_length

REQUEST = {"REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1"}


@pytest.mark.parametrize("length", ["-5", "+5", "0x10", "1e3", "5, 5", "5,5", " 5", "٣", "9" * 30])
def test_an_absurd_content_length_is_a_bad_request(length: str) -> None:
    with pytest.raises(BadRequest):
        body_length({**REQUEST, "CONTENT_LENGTH": length})


def test_a_body_of_unknown_length_is_refused_whatever_the_web_server_could_decode() -> None:
    for more in ({"HTTP_TRANSFER_ENCODING": "chunked"}, {"SERVER_PROTOCOL": "HTTP/2"}):
        with pytest.raises(LengthRequired):
            body_length({**REQUEST, **more, "wsgi.input_terminated": True})


def test_requests_without_a_body_need_no_length() -> None:
    assert body_length(REQUEST) == 0
    assert body_length({"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/2"}) == 0


def test_nothing_behind_the_body_is_read() -> None:
    stream = io.BytesIO(b"bodynext request")
    body = RequestBody(stream, 4)
    assert body.read(100) == b"body"
    assert body.read(100) == b""
    body.drain()
    assert stream.read() == b"next request"


def test_an_end_that_comes_too_early_is_no_end() -> None:
    body = RequestBody(io.BytesIO(b"ab"), 4)
    assert body.read(2) == b"ab"
    with pytest.raises(BadRequest, match="interrupted"):
        body.read(2)


def test_reading_past_what_was_refused_ends_by_itself() -> None:
    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.taken = 0

        def read(self, size: int = -1) -> bytes:
            self.taken += size
            return bytes(size)

    endless = Endless()
    RequestBody(endless, 10**15).drain()
    assert endless.taken < 10**9


def test_a_client_that_hangs_up_while_its_refused_body_is_read_is_no_fault() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    RequestBody(Broken(), 100).drain()
