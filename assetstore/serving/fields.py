"""The headers of a request, as Paste asks for them."""

from collections.abc import Iterable, Sequence
from typing import Any


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
