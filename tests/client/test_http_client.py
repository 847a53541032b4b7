"""client.http_client: addresses as people write them, and what can go wrong with a request."""

import socket
import threading
from collections.abc import Callable

import pytest

from assetstore.client.http_client import Address, ask
from assetstore.errors import BadRequest, RemoteFault


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("http://museum.org", Address("http", "museum.org", 80), "http://museum.org"),
        ("https://museum.org/", Address("https", "museum.org", 443), "https://museum.org"),
        ("https://museum.org:443/web_asset_store.xml", Address("https", "museum.org", 443), "https://museum.org"),
        (" http://Museum.org:8080 ", Address("http", "museum.org", 8080), "http://museum.org:8080"),
        ("https://m.org/assets/", Address("https", "m.org", 443, "/assets"), "https://m.org/assets"),
        ("https://m.org/assets/web_asset_store.xml", Address("https", "m.org", 443, "/assets"), "https://m.org/assets"),
        ("http://[::1]:8080", Address("http", "::1", 8080), "http://[::1]:8080"),
    ],
)
def test_an_address_may_be_of_the_server_or_of_its_xml(text: str, address: Address, shown: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == shown


NO_ADDRESSES = ["", "museum.org", "ftp://museum.org", "http://", "http://m.org:x", "http://m.org:99999"]
NO_ADDRESSES += ["http://m.org/?a", "http://m.org/#a", "http://user:secret@m.org", "http://[::1"]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_anything_else_is_not_a_valid_address(text: str) -> None:
    with pytest.raises(BadRequest, match="is not the address of a server"):
        Address.parse(text)


def answering(data: bytes) -> Callable[[], str]:
    """Asks a server that answers with these bytes and hangs up; returns the body."""

    def ask_it() -> str:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(data)

            thread = threading.Thread(target=answer)
            thread.start()
            try:
                with ask(Address("http", "127.0.0.1", listener.getsockname()[1]), "GET", "/") as reply:
                    return b"".join(reply.blocks()).decode()
            finally:
                thread.join()

    return ask_it


def test_a_response_is_read_completely() -> None:
    assert answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")() == "hi"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "closed the connection"),
        (b"220 mail.museum.org ESMTP\r\n", "is not a web server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", "closed the connection"),
    ],
    ids=["nothing", "a mail server", "less than announced", "a chunk that is cut off"],
)
def test_an_incomplete_response_is_reported_in_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(RemoteFault, match=sentence) as fault:
        answering(data)()
    assert fault.value.may_pass
