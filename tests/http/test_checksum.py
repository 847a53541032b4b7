"""Checksums that are computed beside an upload."""

import hashlib
import threading

from hypothesis import given
from hypothesis import strategies as st

from assetstore.http.checksum import Checksum


def working_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "checksum"]


@given(st.lists(st.integers(0, 700_000), max_size=8))
def test_the_checksum_does_not_depend_on_how_the_content_is_split(sizes: list[int]) -> None:
    pieces = [bytes([number % 256]) * size for number, size in enumerate(sizes, 1)]
    with Checksum() as checksum:
        for piece in pieces:
            checksum.update(piece)
        assert checksum.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()
        assert checksum.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_bytes_may_be_added_after_reading_the_checksum() -> None:
    with Checksum() as checksum:
        checksum.update(b"a" * 2_000_000)
        checksum.hexdigest()
        checksum.update(b"b" * 2_000_000)
        assert checksum.hexdigest() == hashlib.sha256(b"a" * 2_000_000 + b"b" * 2_000_000).hexdigest()


def test_small_files_use_no_thread_and_no_thread_is_left_running() -> None:
    before = working_threads()
    with Checksum() as small:
        small.update(b"x" * 1000)
        assert working_threads() == before
    with Checksum() as checksum:
        for _ in range(20):
            checksum.update(b"x" * 500_000)
        assert len(working_threads()) == len(before) + 1
    assert working_threads() == before
