"""The parameters of a request: queries, urlencoded bodies and form fields, decoded on demand.

Values stay bytes until somebody asks for them, because the contract ignores unknown parameters,
however broken, and because clients differ in their encodings (protocol.md, "Rules for every
answer").
"""

import re
from urllib.parse import unquote_to_bytes

from assetstore.errors import BadRequest

#: What a form field may declare as its charset; Specify 6 declares ISO-8859-1.
CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
}

#: Stands for all others; only a parameter that matters is refused for it.
UNKNOWN_CHARSET = "?"

_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Parameters:
    """Named values of one request.

    Parameters:
        fallback: the charset tried when a value is not valid UTF-8, or None to refuse it.
    """

    def __init__(self, fallback: str | None = None) -> None:
        self._values: dict[str, list[tuple[bytes, str, bool]]] = {}
        self._fallback = fallback

    @classmethod
    def from_query(cls, query: str) -> "Parameters":
        """Reads a query string in WSGI's form (bytes shown as ISO-8859-1, PEP 3333).

        `&amp;` counts as `&`: links copied out of XML or HTML have it.
        """
        parameters = cls()
        parameters._read(query.encode("latin-1").replace(b"&amp;", b"&"), "utf-8")
        return parameters

    @classmethod
    def from_urlencoded(cls, body: bytes, charset: str | None) -> "Parameters":
        """Reads an `application/x-www-form-urlencoded` body.

        Parameters:
            body: the whole body.
            charset: from the Content-Type, or None. Older Specify 6 sends ISO-8859-1 without
                saying so; it is taken for that when it is not UTF-8.
        """
        parameters = cls(fallback="latin-1")
        parameters._read(body, CHARSETS.get((charset or "").lower(), "utf-8"))
        return parameters

    def add(self, name: str, value: bytes, charset: str) -> None:
        """Adds a form field whose value is *value* in *charset* (one of CHARSETS, or UNKNOWN_CHARSET)."""
        self._values.setdefault(name, []).append((value, charset, False))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> str | None:
        """Returns the text of one parameter, None if it is absent.

        Raises:
            BadRequest: given more than once, broken percent-encoding, or not in its charset.
        """
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"The parameter {name} is given {len(values)} times.")
        value, charset, encoded = values[0]
        if encoded and b"%" in value:
            if _BROKEN_PERCENT.search(value):
                raise BadRequest(f"The parameter {name} has broken percent-encoding.")
            value = unquote_to_bytes(value)
        return self._decode(name, value, charset)

    def _decode(self, name: str, value: bytes, charset: str) -> str:
        if charset == UNKNOWN_CHARSET:
            raise BadRequest(f"The parameter {name} is in a charset that is not known here.")
        try:
            return value.decode(charset)
        except UnicodeDecodeError:
            if self._fallback is not None:
                return value.decode(self._fallback)
            raise BadRequest(f"The parameter {name} is not valid UTF-8.") from None

    def _read(self, encoded: bytes, charset: str) -> None:
        for pair in encoded.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name:
                key = name.replace(b"+", b" ")
                key = unquote_to_bytes(key) if b"%" in key else key  # which takes its time
                self._values.setdefault(key.decode("latin-1"), []).append((value.replace(b"+", b" "), charset, True))
