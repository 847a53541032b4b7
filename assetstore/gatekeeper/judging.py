"""What the gatekeeper says to a request: the file that nginx may send, "not modified", or that it is the server's."""

import time
from collections.abc import Mapping

from assetstore import content_types, delivery, names, tokens
from assetstore.collections import Collections
from assetstore.configuration import Settings
from assetstore.errors import AssetError
from assetstore.exchange import ON_EVERY_ANSWER, REQUEST_ID
from assetstore.gatekeeper.memory import Identity, Memory, Remembered, Wish, identity
from assetstore.heads import Head, common_head
from assetstore.parameters import Parameters
from assetstore.thumbnails import Thumbnails

_ROUTE = "/fileget?"

#: To nginx: this is for the server (RFC 9110, 15.5.20).
ASK_THE_SERVER = b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"

#: Headers that say how the server would judge the request otherwise, or that it has a body. nginx sends none of them.
_NOT_FOR_US = frozenset(
    ("range", "if-range", "if-match", "if-unmodified-since", "content-length", "transfer-encoding", "expect")
)

#: A 304 has none of these, as from the server.
_OF_THE_FILE = ("Content-Length", "Content-Type", "Last-Modified")


class Gatekeeper:
    """Judges requests for kept thumbnails by the same rules as the server.

    Parameters:
        settings: the effective settings; ACCEL_REDIRECT is one of them.
        collections: of the store.
        thumbnails: of the store, on a disk.

    Concurrency: for one thread. What it sees of the store is what other processes do to it by renaming files.
    """

    def __init__(self, settings: Settings, collections: Collections, thumbnails: Thumbnails) -> None:
        self._settings = settings
        self._collections = collections
        self._thumbnails = thumbnails
        self.memory = Memory()

    def answer(self, data: bytes) -> bytes:
        """Returns a whole answer to a whole head; ASK_THE_SERVER if it is not for the gatekeeper."""
        head = common_head(data)
        if head is None or head.method != "GET" or not head.target.startswith(_ROUTE) or "#" in head.target:
            return ASK_THE_SERVER
        fields = dict(head.fields)
        if len(fields) != len(head.fields) or not _NOT_FOR_US.isdisjoint(fields):
            return ASK_THE_SERVER
        try:
            return self._judge(head, fields) or ASK_THE_SERVER
        except AssetError:
            return ASK_THE_SERVER  # which finds the same, and says and logs it

    def _judge(self, head: Head, fields: dict[str, str]) -> bytes | None:
        query = Parameters.from_query(head.target[len(_ROUTE) :])
        request_id = fields.get("x-request-id", "")
        if query.get("type") != "T" or not REQUEST_ID.fullmatch(request_id):
            return None
        name, now = query.get("filename"), time.time()
        if self._settings.require_key_for_get:
            tokens.check(self._settings.key, query.get("token"), name, now, self._settings.time_tolerance)
        place, name = self._collections.place(query), names.store_name(name or "")
        wish = Wish(place, name, names.scale(query.get("scale")), query.get("downloadname"))
        answers = self._answers(wish)
        if answers is None:
            return None
        is_unchanged = delivery.is_unchanged(
            answers.version, fields.get("if-none-match"), fields.get("if-modified-since")
        )
        text = answers.unchanged if is_unchanged else answers.sent
        return text + f"X-Timestamp: {int(now)}\r\nX-Request-Id: {request_id}\r\n\r\n".encode()

    def _answers(self, wish: Wish) -> Remembered | None:
        """The answers to a wish; None if it is the server's. Raises AssetError."""
        files = self._files(wish)
        if files is None:
            return None
        known = self.memory.recall(wish, files)
        if known is not None:
            return known
        kept = self._thumbnails.kept(wish.place, wish.name, wish.scale)
        if kept is None:
            return None
        with kept:
            if kept.path is None:
                return None  # a link, which nginx does not follow
            media_type = content_types.header(self._thumbnails.name(wish.name, wish.scale))
            request = delivery.Request(download_name=wish.download_name)
            headers = delivery.answer(kept.version, media_type, request).headers
        sent = delivery.sent_by_nginx(headers, str(self._settings.accel_redirect), kept.path)
        unchanged = {name: text for name, text in headers.items() if name not in _OF_THE_FILE}
        made = Remembered(
            files,
            kept.version,
            _worded("200 OK", {**sent, "Content-Length": "0"}),
            _worded("304 Not Modified", unchanged),
        )
        # If somebody changed the files meanwhile, it is not certain of which they are.
        if self._files(wish) == files:
            self.memory.remember(wish, made)
        return made

    def _files(self, wish: Wish) -> tuple[Identity, Identity] | None:
        settings = self._settings
        folder = f"{settings.base_dir}/{wish.place}"
        thumbnail = self._thumbnails.name(wish.name, wish.scale)
        original = identity(f"{folder}/{settings.orig_dir}/{wish.name}")
        kept = identity(f"{folder}/{settings.thumb_dir}/{thumbnail}") if original else None
        return (original, kept) if original and kept else None


def _worded(status: str, headers: Mapping[str, str]) -> bytes:
    """The head of an answer but for its end."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {text}" for name, text in (*headers.items(), *ON_EVERY_ANSWER)), ""]
    return "\r\n".join(lines).encode("latin-1")
