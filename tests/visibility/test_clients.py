"""What the real Specify clients send (tests/wire), with VISIBILITY set and all files public, or all private."""

import re
from pathlib import Path

import pytest

from tests.support import KEY, Response, RunningServer
from tests.test_clients import STORE, WIRE, recordings, signed_anew
from tests.visibility import sites

_READS = ("GET /fileget", "GET /getmetadata")
_REFUSAL = "This file is not public, or it does not exist."

#: What differs from request to request.
_OF_REQUEST = ("date", "x-request-id", "x-timestamp", "last-modified", "etag")

Answers = dict[str, tuple[int, dict[str, str], bytes]]


def names() -> set[str]:
    """The store names of all uploads in the recordings that can be stored."""
    found = {name.decode() for row in recordings("sp") for name in STORE.findall((WIRE / row["file"]).read_bytes())}
    return {name for name in found if re.fullmatch(r"[^/,\"]{1,128}", name)}


def replay(folder: Path, public: str = "", **settings: object) -> Answers:
    """What both clients, one after the other, get of a server with these settings, as soon as a name is public."""
    folder.mkdir()
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(folder), "RESERVED_BYTES": 0, **settings})
    try:
        if public:  # the file is not there yet
            sites.until(lambda: server.get("/fileget", filename=public).status == 404)
        return {row["file"]: _seen(_sent(server, row)) for client in ("sp6-", "sp7fe-") for row in recordings(client)}
    finally:
        server.stop()


def in_a_table(path: Path, public: set[str]) -> dict[str, object]:
    """The settings with which these files are public."""
    lines = ["store_name,public,embargo_until", *(f"{name},yes," for name in sorted(public))]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return {"VISIBILITY": "file", "VISIBILITY_FILE": str(path)}


def _sent(server: RunningServer, row: dict[str, str]) -> Response:
    recording = (WIRE / row["file"]).read_bytes()
    return server.raw(signed_anew(recording) if row["token"] == "valid" else recording, finish=False)


def _seen(answer: Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: text for name, text in answer.headers.items() if name not in _OF_REQUEST}
    return answer.status, headers, sites.without_age(answer.body)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return replay(tmp_path_factory.mktemp("clients") / "plain")


def assert_no_difference(plain: Answers, public: Answers) -> None:
    """Only reads of missing files without a token differ, and how long caches may keep a response."""
    for row in recordings("sp"):
        status, headers, body = public[row["file"]]
        if row["request"] in _READS and row["token"] == "none" and row["status"] == "404":
            assert status == 403, row["file"]
            assert _REFUSAL in body.decode(), "in a picture, for a page"
            continue
        was_status, was_headers, was_body = plain[row["file"]]
        assert (status, body) == (was_status, was_body), row["file"]
        if headers.get("cache-control") == "no-cache":  # caches must ask again each time
            headers["cache-control"] = was_headers["cache-control"]
        assert headers == was_headers, row["file"]


def test_with_all_files_public_clients_see_no_difference(plain: Answers, tmp_path: Path) -> None:
    public = names()
    settings = in_a_table(tmp_path / "public.csv", public)
    assert_no_difference(plain, replay(tmp_path / "public", min(public), **settings))


def test_with_all_files_private_only_reads_without_a_token_are_refused(plain: Answers, tmp_path: Path) -> None:
    private = replay(tmp_path / "private", **in_a_table(tmp_path / "private.csv", set()))
    refused = 0
    for row in recordings("sp"):
        status, _, body = private[row["file"]]
        if row["request"] in _READS and row["token"] == "none":
            assert status == 403, row["file"]
            refused += 1
            continue
        assert (status, body) == (plain[row["file"]][0], plain[row["file"]][2]), row["file"]
    assert refused == 18
