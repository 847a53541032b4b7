"""The file as the worker sees it: fetched in blocks, each once, and not more than the limit."""

import io
import json
import os

import pytest

from assetstore.concurrency import remote_file
from assetstore.concurrency.remote_file import BLOCK_BYTES, RemoteFile, TooMuchToRead


class Server(io.BytesIO):
    """The server's side of the pipes of a worker: takes requests, and has the bytes ready."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data
        self.fetched: list[tuple[int, int]] = []
        self._ready = io.BytesIO()

    def write(self, line: bytes) -> int:  # type: ignore[override]
        offset, length = json.loads(line)["read"]
        self.fetched.append((offset, length))
        part = self.data[offset : offset + length]
        self._ready = io.BytesIO(len(part).to_bytes(4) + part)
        return len(line)

    def read(self, size: int | None = -1) -> bytes:
        return self._ready.read(size)


def opened(blocks: int, extra: int = 0, most_bytes: int | None = None) -> tuple[RemoteFile, Server]:
    server = Server(os.urandom(blocks * BLOCK_BYTES + extra))
    return RemoteFile(len(server.data), server, server, most_bytes), server


def test_parts_are_read_as_of_any_file_and_each_block_is_fetched_once() -> None:
    file, server = opened(2, 100)
    for offset, size in ((0, 10), (BLOCK_BYTES - 5, 10), (5, 3), (2 * BLOCK_BYTES + 90, 50), (10**9, 5)):
        assert file.seek(offset) == offset
        assert file.read(size) == server.data[offset : offset + size]
    assert server.fetched == [(number * BLOCK_BYTES, BLOCK_BYTES) for number in range(3)]
    file.seek(0)
    assert file.read() == server.data
    assert len(server.fetched) == 3


def test_positions_count_from_the_beginning_the_current_one_and_the_end() -> None:
    file, server = opened(1)
    assert file.seek(-10, io.SEEK_END) == BLOCK_BYTES - 10
    assert file.read(4) == server.data[-10:-6]
    assert file.seek(-2, io.SEEK_CUR) == file.tell() == BLOCK_BYTES - 8
    assert file.seek(-(10**9), io.SEEK_CUR) == 0


def test_a_file_that_became_shorter_ends_where_it_ends_now() -> None:
    file, server = opened(3)
    server.data = server.data[: BLOCK_BYTES + 7]
    assert file.read() == server.data


def test_not_more_than_the_limit_is_fetched() -> None:
    file, server = opened(5, most_bytes=3 * BLOCK_BYTES)
    assert file.read(3 * BLOCK_BYTES) == server.data[: 3 * BLOCK_BYTES]
    with pytest.raises(TooMuchToRead):
        file.read(1)
    assert len(server.fetched) == 3
    file.seek(BLOCK_BYTES)
    assert file.read(5) == server.data[BLOCK_BYTES : BLOCK_BYTES + 5], "what was fetched can still be read"


def test_the_least_recent_blocks_are_forgotten_and_count_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "_MOST_BLOCKS", 2)
    file, server = opened(3)
    for number in (0, 1, 0, 2, 0, 1):
        file.seek(number * BLOCK_BYTES)
        file.read(1)
    assert [offset // BLOCK_BYTES for offset, _ in server.fetched] == [0, 1, 2, 1]
