"""One HTTP request to another server, and the response.

Uses `http.client` of the standard library, so that the commands see exactly what Specify sees and need no further
library: it follows no redirects and decodes no bodies, sends a body of known length block by block, and trusts the
certificates of the operating system (or those in SSL_CERT_FILE).
"""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from assetstore.errors import BadRequest, RemoteFault
from assetstore.programs import COMMAND_AGENT

#: A request fails after this many seconds without data. The response to a large upload or for a new thumbnail takes
#: time.
TIMEOUT_SECONDS = 300.0

_XML = "/web_asset_store.xml"
_PORTS = {"http": 80, "https": 443}

#: The longest text that is read from a response, in bytes.
_LONGEST_TEXT = 256 * 1024

_BLOCK = 256 * 1024


@dataclass(frozen=True)
class Address:
    """The address of an attachment server: `scheme://host:port/path`, the path without a final slash.

    Attributes:
        is_verified: whether the server must have a trusted certificate for the host, with https.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    is_verified: bool = True

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parses the address of a server, or of its web_asset_store.xml, as configured in Specify.

        Raises:
            BadRequest: the text is not such an address.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        host = parts.hostname
        if parts.scheme not in _PORTS or not host or parts.query or parts.fragment or parts.username is not None:
            raise BadRequest(f"{text!r} is not the address of a server, such as https://assets.museum.org.")
        path = parts.path.rstrip("/").removesuffix(_XML)
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


class Response:
    """A response whose body has not been read. Reading raises RemoteFault if the connection is closed early."""

    def __init__(self, address: Address, raw: http.client.HTTPResponse) -> None:
        self._address = address
        self._raw = raw
        self.status = raw.status
        self.headers = raw.headers

    def header(self, name: str) -> str:
        """Returns a header, or an empty string; repeated headers are joined by commas, as in browsers."""
        return ", ".join(self.headers.get_all(name, []))

    @property
    def length(self) -> int | None:
        """How many bytes remain to be read, None if the server did not announce it."""
        return self._raw.length

    def blocks(self) -> Iterator[bytes]:
        """Yields the body."""
        while True:
            with faults(self._address):
                block = self._raw.read(_BLOCK)
            if not block:
                if self._raw.length:
                    message = f"{self._address.host} closed the connection before the end of its response."
                    raise RemoteFault(message, may_pass=True)
                return
            yield block

    def text(self) -> str:
        """Returns the body as text, cut off if it is very long."""
        with faults(self._address):
            return self._raw.read(_LONGEST_TEXT).decode("utf-8", "replace").strip()


@contextlib.contextmanager
def ask(
    address: Address,
    method: str,
    path: str,
    body: Iterable[bytes] | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> Iterator[Response]:
    """Sends one request and gives the response, whatever its status.

    Parameters:
        address: of the server.
        method, path: of the request; the path is relative to that of the address, and includes the query.
        body: bytes, or blocks of bytes, which require a Content-Length header.
        headers: of the request.
        timeout: seconds without data after which the request fails.

    Raises:
        RemoteFault: there is no response; the text gives the reason.
    """
    connection = _connection(address, timeout)
    lines = {"Accept-Encoding": "identity", "User-Agent": COMMAND_AGENT, "Connection": "close", **(headers or {})}
    try:
        with faults(address):
            try:
                connection.request(method, address.path + path, body, lines)
                raw = connection.getresponse()
            except (BrokenPipeError, ConnectionResetError):
                # The server rejected the request while we were sending; its response may have arrived.
                raw = _early_response(connection)
        yield Response(address, raw)
    finally:
        connection.close()


def _connection(address: Address, timeout: float) -> http.client.HTTPConnection:
    if address.scheme == "https":
        context = ssl.create_default_context()
        if not address.is_verified:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout)


def _early_response(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    try:
        return connection.getresponse()
    except (OSError, http.client.HTTPException):
        raise ConnectionResetError from None


@contextlib.contextmanager
def faults(address: Address) -> Iterator[None]:
    """Converts all network errors to RemoteFault with a sentence for the user."""
    try:
        yield
    except socket.gaierror as error:
        raise RemoteFault(f"The host name {address.host} is unknown.", str(error)) from None
    except ssl.SSLCertVerificationError as error:
        message = f"The certificate of {address.host} is not trusted: {error.verify_message}."
        raise RemoteFault(message) from None
    except ssl.SSLError as error:
        message = f"{address.host} does not use HTTPS on port {address.port}."
        raise RemoteFault(message, str(error)) from None
    except TimeoutError:
        raise RemoteFault(f"{address.host} does not respond on port {address.port}.", may_pass=True) from None
    except ConnectionRefusedError:
        message = f"No server listens on port {address.port} of {address.host}."
        raise RemoteFault(message, may_pass=True) from None
    except ConnectionError as error:
        raise RemoteFault(f"{address.host} closed the connection.", str(error), may_pass=True) from None
    except http.client.HTTPException as error:
        message = f"The program on port {address.port} of {address.host} closed the connection, or is not a web server."
        raise RemoteFault(message, repr(error), may_pass=True) from None
    except OSError as error:
        raise RemoteFault(f"{address.host} cannot be reached: {error.strerror or error}.", may_pass=True) from None
