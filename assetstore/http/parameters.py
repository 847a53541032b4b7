"""The parameters of a request: queries, urlencoded bodies and form fields, decoded on demand.

Values stay bytes until they are needed: unknown parameters are ignored even if they are malformed, and clients
use different encodings (docs/protocol.md).
"""

import re
from urllib.parse import unquote_to_bytes

from assetstore.errors import BadRequest

#: The charsets that a form field may declare; Specify 6 declares ISO-8859-1.
CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
}

#: Stands for all others; a parameter with such a charset is rejected only if its value is needed.
UNKNOWN_CHARSET = "?"

_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Parameters:
    """Named values of one request.

    Parameters:
        fallback: the charset for values that are not valid UTF-8; None to reject them.
    """

    def __init__(self, fallback: str | None = None) -> None:
        self._values: dict[str, list[tuple[bytes, str, bool]]] = {}
        self._fallback = fallback

    @classmethod
    def from_query(cls, query: str) -> "Parameters":
        """Parses a query string in the form of WSGI (bytes decoded as ISO-8859-1, PEP 3333).

        `&amp;` is read as `&`, because links copied out of XML or HTML contain it.
        """
        parameters = cls()
        parameters._read(query.encode("latin-1").replace(b"&amp;", b"&"), "utf-8")
        return parameters

    @classmethod
    def from_urlencoded(cls, body: bytes, charset: str | None) -> "Parameters":
        """Parses an `application/x-www-form-urlencoded` body.

        Parameters:
            body: the whole body.
            charset: from the Content-Type, or None. Old versions of Specify 6 send ISO-8859-1 without
                declaring it, so values that are not valid UTF-8 are decoded as ISO-8859-1.
        """
        parameters = cls(fallback="latin-1")
        parameters._read(body, CHARSETS.get((charset or "").lower(), "utf-8"))
        return parameters

    def add(self, name: str, value: bytes, charset: str) -> None:
        """Adds a form field; *charset* is one of CHARSETS, or UNKNOWN_CHARSET."""
        self._values.setdefault(name, []).append((value, charset, False))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> str | None:
        """Returns the text of one parameter, None if it is absent.

        Raises:
            BadRequest: it is given more than once, or cannot be decoded.
        """
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"The parameter {name} is given {len(values)} times; send it once.")
        return self._text(name, *values[0])

    def get_all(self, name: str) -> list[str]:
        """Returns the texts of a parameter that may be given several times, in their order.

        In a query, commas that are not percent-encoded separate several texts, too: `names=a.tif,b.tif`.

        Raises:
            BadRequest: one of them cannot be decoded.
        """
        return [
            self._text(name, part, charset, encoded)
            for value, charset, encoded in self._values.get(name, ())
            for part in (value.split(b",") if encoded else [value])
            if part
        ]

    def _text(self, name: str, value: bytes, charset: str, encoded: bool) -> str:
        if encoded and b"%" in value:
            if _BROKEN_PERCENT.search(value):
                raise BadRequest(f"The parameter {name} has invalid percent-encoding.")
            value = unquote_to_bytes(value)
        return self._decode(name, value, charset)

    def _decode(self, name: str, value: bytes, charset: str) -> str:
        if charset == UNKNOWN_CHARSET:
            raise BadRequest(f"The charset of the parameter {name} is not supported; send it in UTF-8.")
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
                key = unquote_to_bytes(key) if b"%" in key else key  # unquoting is slow
                self._values.setdefault(key.decode("latin-1"), []).append((value.replace(b"+", b" "), charset, True))
