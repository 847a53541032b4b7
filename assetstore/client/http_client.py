"""One HTTP request to another server, and its answer.

By `http.client` of the standard library: a body of known length goes out block by block, the
certificates are those that the operating system trusts (SSL_CERT_FILE names others), and nothing
is followed or decoded behind our back. So the commands see what Specify sees, and need no library
more.
"""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from assetstore.errors import BadRequest, RemoteFault

#: After so many seconds of silence a request is given up; the answer to a large upload, or to a new
#: thumbnail, may take a while.
TIMEOUT_SECONDS = 300.0

_XML = "/web_asset_store.xml"
_PORTS = {"http": 80, "https": 443}

#: Of an answer that is to be text, so much is read.
_LONGEST_TEXT = 256 * 1024

_BLOCK = 256 * 1024


@dataclass(frozen=True)
class Address:
    """Where an attachment server is: `scheme://host:port/path`, the path without a final slash."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads the address of a server, or of its web_asset_store.xml, as Specify has it.

        Raises:
            BadRequest: it is none.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        host = parts.hostname
        if parts.scheme not in _PORTS or not host or parts.query or parts.fragment or parts.username is not None:
            raise BadRequest(f"{text!r} is no address of a server; expected one such as https://assets.museum.org.")
        path = parts.path.rstrip("/").removesuffix(_XML)
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


class Answer:
    """An answer whose body is still coming. Reading raises RemoteFault when the server hangs up early."""

    def __init__(self, address: Address, response: http.client.HTTPResponse) -> None:
        self._address = address
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def header(self, name: str) -> str:
        """Returns a header, empty if there is none; several of one name joined by commas, as browsers see them."""
        return ", ".join(self.headers.get_all(name, []))

    @property
    def length(self) -> int | None:
        """How many bytes are still to come, None if the server does not say."""
        return self._response.length

    def blocks(self) -> Iterator[bytes]:
        """Yields the body."""
        while True:
            with faults(self._address):
                block = self._response.read(_BLOCK)
            if not block:
                if self._response.length:
                    raise RemoteFault(f"{self._address.host} hung up before the end of its answer.", may_pass=True)
                return
            yield block

    def text(self) -> str:
        """Returns the body as text, the beginning of it if it is very long."""
        with faults(self._address):
            return self._response.read(_LONGEST_TEXT).decode("utf-8", "replace").strip()


@contextlib.contextmanager
def ask(
    address: Address,
    method: str,
    path: str,
    body: Iterable[bytes] | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> Iterator[Answer]:
    """Sends one request and gives the answer, whatever its status.

    Parameters:
        address: of the server.
        method, path: of the request; the path is below that of the address, with its query.
        body: bytes, or blocks of bytes; then the headers have to say Content-Length.
        headers: of the request.
        timeout: seconds of silence.

    Raises:
        RemoteFault: there is no answer; it says why.
    """
    connection = _connection(address, timeout)
    lines = {"Accept-Encoding": "identity", "User-Agent": "manage.py", "Connection": "close", **(headers or {})}
    try:
        with faults(address):
            try:
                connection.request(method, address.path + path, body, lines)
                response = connection.getresponse()
            except (BrokenPipeError, ConnectionResetError):
                # It refused while we were still sending; what it said may have arrived.
                response = _early_answer(connection)
        yield Answer(address, response)
    finally:
        connection.close()


def _connection(address: Address, timeout: float) -> http.client.HTTPConnection:
    if address.scheme == "https":
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=timeout, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout)


def _early_answer(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    try:
        return connection.getresponse()
    except (OSError, http.client.HTTPException):
        raise ConnectionResetError from None


@contextlib.contextmanager
def faults(address: Address) -> Iterator[None]:
    """Turns everything that can go wrong on the network into RemoteFault, in a sentence."""
    try:
        yield
    except socket.gaierror as error:
        raise RemoteFault(f"There is no machine named {address.host}.", str(error)) from None
    except ssl.SSLCertVerificationError as error:
        message = f"The certificate of {address.host} cannot be trusted: {error.verify_message}."
        raise RemoteFault(message) from None
    except ssl.SSLError as error:
        message = f"{address.host} speaks no HTTPS on port {address.port}."
        raise RemoteFault(message, str(error)) from None
    except TimeoutError:
        raise RemoteFault(f"{address.host} does not answer on port {address.port}.", may_pass=True) from None
    except ConnectionRefusedError:
        message = f"On {address.host} no server listens on port {address.port}."
        raise RemoteFault(message, may_pass=True) from None
    except ConnectionError as error:
        raise RemoteFault(f"{address.host} hung up.", str(error), may_pass=True) from None
    except http.client.HTTPException as error:
        message = f"What listens on {address.host} port {address.port} hung up, or is no web server."
        raise RemoteFault(message, repr(error), may_pass=True) from None
    except OSError as error:
        raise RemoteFault(f"{address.host} cannot be reached: {error.strerror or error}.", may_pass=True) from None
