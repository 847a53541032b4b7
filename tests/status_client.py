"""What the tests of the page at /status share: how the page asks for its data."""

import json
import time
from typing import Any
from urllib.parse import quote

from assetstore.auth import status_tokens, tokens
from tests.support import Client, Response


def token(client: Client, request: str, age: int = 0) -> str:
    """The token of a request (`GET /status/data/trash?search=a`) as the page makes it."""
    return tokens.make(status_tokens.page_key(client.key), request, int(time.time()) - age)


def target(path: str, parameters: dict[str, str]) -> str:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())
    return f"/status/{path}?{query}" if query else f"/status/{path}"


def ask(client: Client, method: str, path: str, **parameters: str) -> Response:
    """Asks as the page does."""
    address = target(path, parameters)
    return client.request(method, address, headers={status_tokens.HEADER: token(client, f"{method} {address}")})


def data(client: Client, part: str, **parameters: str) -> Any:
    """A part of the page's data."""
    answer = ask(client, "GET", f"data/{part}", **parameters)
    assert answer.status == 200, answer.text
    return json.loads(answer.body)
