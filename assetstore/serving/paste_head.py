"""The head of a request and of a response, as Paste needs them: patterns, headers, the date."""

import functools
import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from typing import Any

#: A head as nearly all clients write it. It is read here in a tenth of the time that the standard library takes with
#: its parser for mail; that one reads all others, and knows what is wrong with them.
COMMON_HEAD = re.compile(rb"(GET|HEAD|POST) (/[!-~]*) (HTTP/1\.[01])\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n){0,100})\r\n")

#: A target with scheme and host, as proxies get it (RFC 9112, 3.2.2).
ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Fields(dict[str, str]):
    """The headers of a request as Paste asks for them; several of one name make one, separated by commas.

    Without those that have `_` in their names.
    """

    def __init__(self, fields: Iterable[Sequence[str]]) -> None:
        for name, value in fields:
            if "_" not in name:
                key, text = name.lower(), value.strip()
                self[key] = f"{self[key]},{text}" if key in self else text

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of a header, found in any case."""
        return super().get(name.lower(), default)

    def get_all(self, name: str) -> list[str]:
        """Returns the values of a header, made one."""
        return [self[name]]


@functools.lru_cache(maxsize=2)
def http_date(second: int) -> str:
    """Returns seconds since 1970 as an HTTP date; it is the same for all responses within a second."""
    return formatdate(second, usegmt=True)
