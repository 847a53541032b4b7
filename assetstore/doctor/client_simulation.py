"""A client that acts as Specify does, and deletes its uploads at the end in any case."""

import io
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlencode

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Response
from assetstore.client.multipart_encoder import UploadForm
from assetstore.errors import AssetError, NotFound, RemoteFault

#: The size of thumbnails that Specify 7 requests, so that the server does not cache a further size.
SCALE = 123

#: The largest response body that is read, in bytes. All expected bodies are much smaller.
_LONGEST = 4 << 20


@dataclass(frozen=True)
class Reply:
    """A complete response: status, headers as `Response.header` returns them, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Returns a header, or an empty string if there is none."""
        return self.headers.get(name.lower(), "")

    @property
    def text(self) -> str:
        """The first 300 bytes of the body as text."""
        return " ".join(self.body[:300].decode("utf-8", "replace").split())


def _beginning(response: Response) -> bytes:
    """The body of a response, cut off after _LONGEST bytes: any server may have sent it."""
    body = bytearray()
    for block in response.blocks():
        body += block
        if len(body) > _LONGEST:
            break
    return bytes(body)


class SimulatedClient:
    """A context manager that deletes the client's uploads on exit.

    Parameters:
        remote: the server.
        origin: the Origin header, as browsers send it for pages of Specify 7.

    Attributes:
        not_deleted: after exit, the store names that could not be deleted.
        uploaded: the store names of all uploads.
    """

    def __init__(self, remote: RemoteServer, origin: str = "https://specify.invalid") -> None:
        self.remote = remote
        self.origin = origin
        self.not_deleted: list[str] = []
        self.uploaded: list[str] = []
        self._names: list[str] = []

    def unsigned(self, name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Returns the parameters of a request for a file, without a token, as links in portals have them."""
        signed = self.remote.signed(name, {"filename": name, **parameters})
        return {key: text for key, text in signed.items() if key != "token"}

    def ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | bytes | None = None,
    ) -> Reply:
        """Sends a request and returns the response, whatever its status. Raises RemoteFault."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        lines = {"Origin": self.origin, **(headers or {})}
        with self.remote.ask(method, path + query, body, lines) as response:
            found = {name.lower(): response.header(name) for name in response.headers}
            return Reply(response.status, found, _beginning(response))

    def file(self, name: str, headers: Mapping[str, str] | None = None, method: str = "GET", **others: str) -> Reply:
        """Requests an original, or with `type` and `scale` its thumbnail. Raises RemoteFault."""
        parameters = self.remote.signed(name, {"filename": name, "type": "O", **others})
        return self.ask(method, "/fileget", parameters, headers)

    def desktop_name(self, extension: str) -> str:
        """Returns a new store name in the format of Specify 6."""
        return f"sp6{secrets.randbelow(10**18):018}.att{extension}"

    def web_name(self, extension: str) -> str:
        """Returns a new store name in the format of Specify 7."""
        return f"{uuid.uuid4()}{extension}"

    def upload(self, name: str, content: bytes, *, file_first: bool = False, local_name: str = "doctor") -> Reply:
        """Uploads a file, with the file part first (Specify 7) or last (Specify 6). Raises RemoteFault."""
        fields = self.remote.signed(name, {"type": "O", "store": name})
        form = UploadForm(fields, io.BytesIO(content), len(content), local_name, file_first=file_first)
        return self.send(name, form, form)

    def send(self, name: str, form: UploadForm, body: Iterable[bytes]) -> Reply:
        """Uploads a form with a given body. Raises RemoteFault."""
        self._names.append(name)
        self.uploaded.append(name)
        return self.ask("POST", "/fileupload", None, form.headers, body)

    def delete(self, name: str) -> Reply:
        """Deletes an original as Specify does. Raises RemoteFault."""
        body = urlencode(self.remote.signed(name, {"filename": name})).encode()
        reply = self.ask("POST", "/filedelete", None, {"Content-Type": "application/x-www-form-urlencoded"}, body)
        if reply.status in (200, 404) and name in self._names:
            self._names.remove(name)
        return reply

    def __enter__(self) -> "SimulatedClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._names):
            if not self._is_gone(name):
                self.not_deleted.append(name)

    def _is_gone(self, name: str) -> bool:
        for _ in range(2):
            try:
                self.remote.delete(name)
            except RemoteFault as fault:
                if fault.answered is not None and self._was_never_there(name):
                    return True
                continue
            return True
        return False

    def _was_never_there(self, name: str) -> bool:
        try:
            with self.remote.open(name, method="HEAD"):
                return False
        except NotFound:
            return True
        except AssetError:
            return False
