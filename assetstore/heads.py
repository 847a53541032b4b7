"""The head of a request, and the environment that the application gets of it (PEP 3333)."""

import re
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

#: A head as nearly all clients write it. It is read here in a tenth of the time that the standard library takes
#: with its parser for mail; that one reads all others, and knows what is wrong with them.
_COMMON = re.compile(rb"(GET|HEAD|POST) (/(?!/)[!-~\x80-\xff]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n){0,100})\r\n")

#: What all others must be like (RFC 9112, 3 and 5). The standard library overlooks a line that is no header, and with
#: it all that follow, also one that says how long the body is; a proxy in front may read them. In the first line it
#: takes the bytes 85 and A0 for blanks.
_WELL_FORMED = re.compile(
    rb"(?:\r?\n)?[^\0- \x7f\x85\xa0]+(?: [^\0- \x7f\x85\xa0]+){1,2}\r?\n"
    rb"(?:[!#$%&'*+.^_`|~A-Za-z0-9-]+:[^\0\r\n]*\r?\n)*\r?\n"
)

#: A target with scheme and host, as proxies get it (RFC 9112, 3.2.2).
ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

#: These have variables without HTTP_ in front.
_NAMED_OTHERWISE = ("content-type", "content-length")


@dataclass(frozen=True)
class Head:
    """The head of a request.

    Fields:
        method, target: of its first line.
        fields: names, in lower case, and values of the headers, in their order.
    """

    method: str
    target: str
    fields: list[tuple[str, str]]

    def field(self, wanted: str) -> str:
        """Returns the values of a header, joined by commas (RFC 9110, 5.3); nothing if there is none."""
        return ",".join(value for name, value in self.fields if name == wanted)

    def environment(self) -> dict[str, Any]:
        """Returns what the head says in the words of PEP 3333; the path is undecoded and unnormalised."""
        target = ABSOLUTE_FORM.sub("", self.target, count=1) or "/"
        path, _, query = target.partition("#")[0].partition("?")
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.field("content-type"),
            "CONTENT_LENGTH": self.field("content-length") or "0",
        }
        for name, value in self.fields:
            # X_Forwarded_For would look like X-Forwarded-For, and nobody in front has judged it.
            if "_" not in name and name not in _NAMED_OTHERWISE:
                key = "HTTP_" + name.upper().replace("-", "_")
                before = environ.get(key)
                environ[key] = value if before is None else f"{before},{value}"
        return environ


def common_head(data: bytes) -> Head | None:
    """Reads a head of the common kind; None if it is of another kind, or malformed.

    Parameters:
        data: up to and with the empty line.
    """
    match = _COMMON.fullmatch(data)
    if match is None:
        return None
    method, target, lines = (group.decode("latin-1") for group in match.groups())
    pairs = (line.partition(":") for line in lines.split("\r\n")[:-1])
    return Head(method, target, [(name.lower(), value.strip()) for name, _, value in pairs])


def is_well_formed(data: bytes) -> bool:
    """Says whether all lines of a head are what they should be.

    Parameters:
        data: up to and with the empty line.
    """
    return _WELL_FORMED.fullmatch(data) is not None
