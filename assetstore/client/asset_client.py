"""An attachment server as Specify sees it: routes, tokens by the server's own clock, and what its answers mean.

Works with every server that speaks the protocol. Not for several threads at once.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlencode

from assetstore.auth import tokens
from assetstore.client.http_client import TIMEOUT_SECONDS, Address, Answer, ask
from assetstore.client.multipart_encoder import UploadForm
from assetstore.errors import NotFound, RemoteFault

_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class RemoteServer:
    """One attachment server.

    Parameters:
        address: where it is. The routes are asked below it, whatever addresses its XML advertises.
        key: the key that it shares with Specify, None to send no tokens.
        collection: as Specify names it, None to name none.
        timeout: seconds of silence after which it is given up.
    """

    def __init__(
        self, address: Address, key: str | None, collection: str | None, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._key = key
        self._collection = collection
        self._skew: float | None = None

    def skew(self) -> float:
        """Returns by how many seconds the server's clock is ahead of ours; asks it the first time.

        Raises:
            RemoteFault: it cannot be reached, or is no attachment server.
        """
        if self._skew is None:
            try:
                with self.ask("GET", "/web_asset_store.xml") as answer:
                    _expect(answer)
            except NotFound:
                message = f"{self.address} has no web_asset_store.xml: is this an attachment server?"
                raise RemoteFault(message, answered=404) from None
            if self._skew is None:
                message = f"{self.address} does not say its time (X-Timestamp): is this an attachment server?"
                raise RemoteFault(message, answered=200)
        return self._skew

    def token(self, name: str, age: int = 0) -> str | None:
        """Returns the token that signs *name* for now, or for *age* seconds ago; None without a key."""
        if self._key is None:
            return None
        return tokens.make(self._key, name, int(time.time() + self.skew()) - age)

    def test_key(self, token: str | None = None) -> tuple[int, str]:
        """Asks whether a token is good, the right one if none is given; returns status and text. Raises RemoteFault."""
        random = "doctor"
        query = {"random": random, "token": token if token is not None else self.token(random) or ""}
        with self.ask("GET", f"/testkey?{urlencode(query)}") as answer:
            return answer.status, answer.text()[:300]

    def put(self, name: str, file: BinaryIO, size: int, local_name: str, on_read: Callable[[bytes], None]) -> None:
        """Uploads an original, in place of one that has the name.

        Parameters:
            name: the store name.
            file, size: open at its beginning, and its length in bytes.
            local_name: of the file, for the server's log at most.
            on_read: called with each block on its way.

        Raises:
            RemoteFault: it was not stored, or nobody knows.
        """
        fields = self.signed(name, {"type": "O", "store": name})
        form = UploadForm(fields, file, size, local_name, on_read=on_read)
        with self.ask("POST", "/fileupload", form, form.headers) as answer:
            _expect(answer)

    @contextlib.contextmanager
    def open(
        self, name: str, scale: int | None = None, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Iterator[Answer]:
        """Gives the answer with an original, or with its thumbnail of *scale* pixels: 200, 206 or 416.

        Raises:
            NotFound: there is no such original.
            RemoteFault: anything else.
        """
        asked = {"type": "T", "scale": str(scale)} if scale else {"type": "O"}
        query = urlencode(self.signed(name, {**asked, "filename": name}))
        with self.ask(method, f"/fileget?{query}", headers=headers) as answer:
            _expect(answer, 200, 206, 416)
            yield answer

    def delete(self, name: str) -> bool:
        """Deletes an original; False if there was none. Raises RemoteFault."""
        body = urlencode(self.signed(name, {"filename": name})).encode()
        try:
            with self.ask("POST", "/filedelete", body, _FORM) as answer:
                _expect(answer)
        except NotFound:
            return False
        return True

    def metadata(self, name: str) -> list[dict[str, Any]]:
        """Returns the EXIF groups of an original, `{"Name": group, "Fields": {tag: text}}`. Raises NotFound,
        RemoteFault.
        """
        query = urlencode(self.signed(name, {"filename": name, "dt": "json"}))
        with self.ask("GET", f"/getmetadata?{query}") as answer:
            _expect(answer)
            text = answer.text()
        try:
            groups = json.loads(text)
        except (ValueError, RecursionError):  # RecursionError: thousands of brackets
            raise RemoteFault("The server's metadata is not JSON.", text[:200]) from None
        if not isinstance(groups, list) or not all(map(_is_group, groups)):
            raise RemoteFault("The server's metadata is no list of groups.", text[:200])
        return groups

    @contextlib.contextmanager
    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Answer]:
        """Sends a request and gives the answer, whatever its status; keeps the server's time. Raises RemoteFault."""
        with ask(self.address, method, path, body, headers, timeout=self._timeout) as answer:
            timestamp = answer.header("X-Timestamp")
            if _TIMESTAMP.fullmatch(timestamp):
                self._skew = int(timestamp) - time.time()
            yield answer

    def signed(self, name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Returns parameters of a request together with token and collection. Raises RemoteFault."""
        signed = dict(parameters)
        token = self.token(name)
        if token is not None:
            signed["token"] = token
        if self._collection is not None:
            signed["coll"] = self._collection
        return signed


def _is_group(group: object) -> bool:
    return isinstance(group, dict) and isinstance(group.get("Fields", {}), dict)


def _expect(answer: Answer, *statuses: int) -> None:
    """Raises NotFound or RemoteFault if the answer has another status (200 if none is said)."""
    if answer.status in (statuses or (200,)):
        return
    if 300 <= answer.status < 400:
        target = answer.header("Location")
        raise RemoteFault(f"The server sends us to {target!r}; please use that address.", answered=answer.status)
    sentence = answer.text()[:500] if "html" not in answer.header("Content-Type") else ""
    if answer.status == 404:
        raise NotFound(sentence or "There is no such file.")
    reason = f"The server says {answer.status}: {sentence}" if sentence else f"The server says only {answer.status}."
    raise RemoteFault(reason, answered=answer.status, may_pass=answer.status in (502, 503, 504))
