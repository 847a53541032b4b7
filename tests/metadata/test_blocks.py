"""The view of a file from which EXIF is read: it ends when forged directories read too often or too much."""

import io
import os

import pytest

from assetstore.concurrency.remote_file import TooMuchToRead
from assetstore.metadata.containers.blocks import EXIF, MOST_BYTES, Block, Window

DATA = os.urandom(300_000)


def test_a_window_is_the_rest_of_a_file() -> None:
    window = Window(io.BytesIO(DATA), 1000)
    assert (window.read(5), window.tell()) == (DATA[1000:1005], 5)
    assert window.seek(100_000) == 100_000
    assert window.read(5) == DATA[101_000:101_005]
    assert window.seek(-10, io.SEEK_CUR) == 99_995
    assert window.seek(-(10**9), io.SEEK_CUR) == 0
    assert Block(EXIF, DATA).exif().read(5) == DATA[:5]


def test_one_read_is_not_larger_than_the_largest() -> None:
    for size in (-1, None, 10**9, Window.LARGEST_READ):
        assert Window(io.BytesIO(DATA)).read(size) == DATA[: Window.LARGEST_READ]


def test_the_number_of_reads_is_limited() -> None:
    window = Window(io.BytesIO(DATA), most_reads=3)
    for _ in range(3):
        window.seek(0)
        window.read(1)
    with pytest.raises(TooMuchToRead):
        window.read(1)
    endless = Window(io.BytesIO(DATA))
    with pytest.raises(TooMuchToRead):
        for _ in range(30_001):
            endless.read(0)


def test_a_window_gives_a_number_of_bytes_and_not_more() -> None:
    window = Window(io.BytesIO(DATA))
    for _ in range(MOST_BYTES // Window.LARGEST_READ):
        window.seek(0)
        assert len(window.read()) == Window.LARGEST_READ
    assert window.read(0) == b""
    with pytest.raises(TooMuchToRead):
        window.read(1)
