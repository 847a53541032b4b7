"""rendering.tools: what it means when a program ends."""

import signal
from pathlib import Path

import pytest

from assetstore.errors import OutOfSpace, Unavailable
from assetstore.thumbnails.rendering import refusals, tools


@pytest.mark.parametrize(
    ("status", "complaint", "kind", "words"),
    [
        (1, "corrupt header", refusals.Damaged, "damaged"),
        (1, "Cache Resources exhausted", refusals.Refused, "too large"),
        (1, "This file requires a password", refusals.Refused, "encrypted"),
        (1, "no decode delegate for this image format", Unavailable, "cannot read this format"),
        (1, "No space left on device", OutOfSpace, "disk is full"),
        (-signal.SIGKILL, "", refusals.Refused, "too large"),
        (-signal.SIGXFSZ, "", refusals.Refused, "too large"),
        (signal.SIGXFSZ, "", refusals.Refused, "too large"),
        (-signal.SIGXCPU, "", refusals.Refused, "too long"),
        (signal.SIGXCPU, "", refusals.Refused, "too long"),
        (-signal.SIGSEGV, "", refusals.Damaged, "damaged"),
        (signal.SIGKILL, "", refusals.Damaged, "damaged"),
    ],
)
def test_the_end_of_a_program_is_explained(
    tmp_path: Path, status: int, complaint: str, kind: type[Exception], words: str
) -> None:
    error = tools._explain(tools.IMAGEMAGICK, status, complaint, tmp_path)
    assert type(error) is kind
    assert words in error.public
    assert error.retry_after == (300 if kind is Unavailable else None)
