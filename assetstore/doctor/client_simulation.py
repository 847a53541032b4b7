"""A visit to a server: what is uploaded to it is remembered, and deleted at the end whatever happens."""

import io
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlencode

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Answer
from assetstore.client.multipart_encoder import UploadForm
from assetstore.errors import AssetError, NotFound, RemoteFault

#: The size of thumbnails that Specify 7 asks for, so that the server has to remember no further one.
SCALE = 123

#: Nothing that a visit asks for is nearly as long, in bytes.
_LONGEST = 4 << 20


@dataclass(frozen=True)
class Reply:
    """An answer, whole: status, the headers as `Answer.header` gives them, body, and its text."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Returns a header, empty if there is none."""
        return self.headers.get(name.lower(), "")

    @property
    def text(self) -> str:
        """The body as text, the beginning of it."""
        return " ".join(self.body[:300].decode("utf-8", "replace").split())


def _beginning(answer: Answer) -> bytes:
    """The body of an answer, which may be anybody's: not more of it than a visit ever asks for."""
    body = bytearray()
    for block in answer.blocks():
        body += block
        if len(body) > _LONGEST:
            break
    return bytes(body)


class Visit:
    """A context manager; afterwards `left` names what could not be deleted, `uploaded` all that was ever uploaded.

    Parameters:
        remote: the server.
        origin: of the pages of Specify 7, as browsers say it.
    """

    def __init__(self, remote: RemoteServer, origin: str = "https://specify.invalid") -> None:
        self.remote = remote
        self.origin = origin
        self.left: list[str] = []
        self.uploaded: list[str] = []
        self._names: list[str] = []

    def ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | bytes | None = None,
    ) -> Reply:
        """Sends a request and returns its answer, whatever it is. Raises RemoteFault."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        lines = {"Origin": self.origin, **(headers or {})}
        with self.remote.ask(method, path + query, body, lines) as answer:
            found = {name.lower(): answer.header(name) for name in answer.headers}
            return Reply(answer.status, found, _beginning(answer))

    def file(self, name: str, headers: Mapping[str, str] | None = None, method: str = "GET", **others: str) -> Reply:
        """Asks for an original, or with `type` and `scale` for its thumbnail. Raises RemoteFault."""
        parameters = self.remote.signed(name, {"filename": name, "type": "O", **others})
        return self.ask(method, "/fileget", parameters, headers)

    def desktop_name(self, extension: str) -> str:
        """Returns a new store name as Specify 6 makes them."""
        return f"sp6{secrets.randbelow(10**18):018}.att{extension}"

    def web_name(self, extension: str) -> str:
        """Returns a new store name as Specify 7 makes them."""
        return f"{uuid.uuid4()}{extension}"

    def upload(self, name: str, content: bytes, *, file_first: bool = False, local_name: str = "doctor") -> Reply:
        """Uploads a file in one of the two orders of parts. Raises RemoteFault."""
        fields = self.remote.signed(name, {"type": "O", "store": name})
        form = UploadForm(fields, io.BytesIO(content), len(content), local_name, file_first=file_first)
        return self.send(name, form, form)

    def send(self, name: str, form: UploadForm, body: Iterable[bytes]) -> Reply:
        """Uploads a form, by a body of one's own making. Raises RemoteFault."""
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

    def __enter__(self) -> "Visit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._names):
            if not self._is_gone(name):
                self.left.append(name)

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
