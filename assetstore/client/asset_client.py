"""An attachment server as Specify sees it: routes, tokens by the server's own clock, and responses.

Works with every server that implements the protocol.

Concurrency: not thread-safe.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlencode

from assetstore.auth import tokens
from assetstore.client.http_client import TIMEOUT_SECONDS, Address, Response, ask
from assetstore.client.multipart_encoder import UploadForm
from assetstore.errors import NotFound, RemoteFault
from assetstore.programs import COMMAND_AGENT

_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)

#: The environment variable with the key of another server.
KEY_VARIABLE = "ASSET_SERVER_KEY"

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class RemoteServer:
    """One attachment server.

    Parameters:
        address: of the server. Requests are sent there, whatever addresses its XML advertises.
        key: the key that it shares with Specify, None to send no tokens.
        collection: as named in Specify, None to send none.
        timeout: seconds without data after which a request fails.
        agent: the User-Agent header.
    """

    def __init__(
        self,
        address: Address,
        key: str | None,
        collection: str | None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        agent: str = COMMAND_AGENT,
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._agent = agent
        self._key = key
        self._collection = collection
        self._skew: float | None = None

    def skew(self) -> float:
        """Returns by how many seconds the server's clock is ahead of ours; the first call sends a request.

        Raises:
            RemoteFault: the server cannot be reached, or is not an attachment server.
        """
        if self._skew is None:
            try:
                with self.ask("GET", "/web_asset_store.xml") as response:
                    self._expect(response)
            except NotFound:
                message = f"{self.address} is not an attachment server: it has no web_asset_store.xml."
                raise RemoteFault(message, answered=404) from None
            if self._skew is None:
                message = f"{self.address} is not an attachment server: it sends no X-Timestamp header."
                raise RemoteFault(message, answered=200)
        return self._skew

    def token(self, name: str, age: int = 0) -> str | None:
        """Returns a token for *name*, with the current time or that *age* seconds ago; None without a key."""
        if self._key is None:
            return None
        return tokens.make(self._key, name, int(time.time() + self.skew()) - age)

    def test_key(self, token: str | None = None) -> tuple[int, str]:
        """Tests a token, by default a valid one; returns the response's status and text. Raises RemoteFault."""
        random = "doctor"
        query = {"random": random, "token": token if token is not None else self.token(random) or ""}
        with self.ask("GET", f"/testkey?{urlencode(query)}") as response:
            return response.status, response.text()[:300]

    def put(self, name: str, file: BinaryIO, size: int, local_name: str, on_read: Callable[[bytes], None]) -> None:
        """Uploads an original, and replaces an existing one of that name.

        Parameters:
            name: the store name.
            file, size: the file, open at its beginning, and its length in bytes.
            local_name: of the file; the server at most logs it.
            on_read: called with each block that is sent.

        Raises:
            RemoteFault: the file was not stored, or the result is unknown.
        """
        fields = self.signed(name, {"type": "O", "store": name})
        form = UploadForm(fields, file, size, local_name, on_read=on_read)
        with self.ask("POST", "/fileupload", form, form.headers) as response:
            self._expect(response)

    @contextlib.contextmanager
    def open(
        self, name: str, scale: int | None = None, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Iterator[Response]:
        """Gives the response with an original, or with its thumbnail of *scale* pixels: 200, 206 or 416.

        Raises:
            NotFound: there is no such original.
            RemoteFault: the request failed for another reason.
        """
        asked = {"type": "T", "scale": str(scale)} if scale else {"type": "O"}
        query = urlencode(self.signed(name, {**asked, "filename": name}))
        with self.ask(method, f"/fileget?{query}", headers=headers) as response:
            self._expect(response, 200, 206, 416)
            yield response

    def delete(self, name: str) -> bool:
        """Deletes an original; False if there was none. Raises RemoteFault."""
        body = urlencode(self.signed(name, {"filename": name})).encode()
        try:
            with self.ask("POST", "/filedelete", body, _FORM) as response:
                self._expect(response)
        except NotFound:
            return False
        return True

    def metadata(self, name: str) -> list[dict[str, Any]]:
        """Returns the EXIF groups of an original, each `{"Name": group, "Fields": {tag: text}}`.

        Raises NotFound, RemoteFault.
        """
        query = urlencode(self.signed(name, {"filename": name, "dt": "json"}))
        with self.ask("GET", f"/getmetadata?{query}") as response:
            self._expect(response)
            text = response.text()
        try:
            groups = json.loads(text)
        except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
            raise RemoteFault("The server's metadata is not JSON.", text[:200]) from None
        if not isinstance(groups, list) or not all(map(_is_group, groups)):
            raise RemoteFault("The server's metadata is not a list of groups.", text[:200])
        return groups

    @contextlib.contextmanager
    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Response]:
        """Sends a request and gives the response, whatever its status; reads the server's time from it.

        Raises RemoteFault.
        """
        headers = {"User-Agent": self._agent, **(headers or {})}
        with ask(self.address, method, path, body, headers, timeout=self._timeout) as response:
            timestamp = response.header("X-Timestamp")
            if _TIMESTAMP.fullmatch(timestamp):
                self._skew = int(timestamp) - time.time()
            yield response

    def signed(self, name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Returns the parameters of a request with token and collection added. Raises RemoteFault."""
        signed = dict(parameters)
        token = self.token(name)
        if token is not None:
            signed["token"] = token
        if self._collection is not None:
            signed["coll"] = self._collection
        return signed

    def _expect(self, response: Response, *statuses: int) -> None:
        """Raises NotFound or RemoteFault if the response has none of these statuses (default: 200)."""
        if response.status in (statuses or (200,)):
            return
        if 300 <= response.status < 400:
            target = response.header("Location")
            sentence = f"The server redirects to {target!r}. Use that address instead."
            raise RemoteFault(sentence, answered=response.status)
        if response.status == 403 and self._key is None:
            sentence = f"The server requires a key. Set the environment variable {KEY_VARIABLE}, or use --key-file."
            raise RemoteFault(sentence, answered=403)
        sentence = response.text()[:500] if "html" not in response.header("Content-Type") else ""
        if response.status == 404:
            raise NotFound(sentence or "There is no such file.")
        reason = f"The server returned {response.status}{f': {sentence}' if sentence else '.'}"
        raise RemoteFault(reason, answered=response.status, may_pass=response.status in (502, 503, 504))


def _is_group(group: object) -> bool:
    return isinstance(group, dict) and isinstance(group.get("Fields", {}), dict)
