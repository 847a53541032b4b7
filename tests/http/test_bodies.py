"""http.bodies: the body of a request is read to its declared length, and no further."""

import io

import pytest

from assetstore.errors import BadRequest, LengthRequired
from assetstore.http.bodies import RequestBody, body_length

REQUEST = {"REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1"}


@pytest.mark.parametrize("length", ["-5", "+5", "0x10", "1e3", "5, 5", "5,5", " 5", "٣", "9" * 30])
def test_an_absurd_content_length_is_a_bad_request(length: str) -> None:
    with pytest.raises(BadRequest):
        body_length({**REQUEST, "CONTENT_LENGTH": length})


def test_a_body_of_unknown_length_is_rejected_even_if_the_web_server_could_decode_it() -> None:
    for more in ({"HTTP_TRANSFER_ENCODING": "chunked"}, {"SERVER_PROTOCOL": "HTTP/2"}):
        with pytest.raises(LengthRequired):
            body_length({**REQUEST, **more, "wsgi.input_terminated": True})


def test_requests_without_a_body_need_no_length() -> None:
    assert body_length(REQUEST) == 0
    assert body_length({"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/2"}) == 0


def test_nothing_beyond_the_body_is_read() -> None:
    stream = io.BytesIO(b"bodynext request")
    body = RequestBody(stream, 4)
    assert body.read(100) == b"body"
    assert body.read(100) == b""
    body.drain()
    assert stream.read() == b"next request"


def test_a_truncated_body_is_an_error() -> None:
    body = RequestBody(io.BytesIO(b"ab"), 4)
    assert body.read(2) == b"ab"
    with pytest.raises(BadRequest, match="interrupted"):
        body.read(2)


def test_draining_a_rejected_body_is_bounded() -> None:
    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.taken = 0

        def read(self, size: int = -1) -> bytes:
            self.taken += size
            return bytes(size)

    endless = Endless()
    RequestBody(endless, 10**15).drain()
    assert endless.taken < 10**9


def test_a_client_that_disconnects_while_its_rejected_body_is_drained_is_not_an_error() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    RequestBody(Broken(), 100).drain()
