"""one_version: a file that is replaced while it is read is read again, and not without end."""

import pytest

from assetstore.errors import NotFound, Overtaken
from assetstore.storage import one_version
from assetstore.storage.one_version import of_one_version


@pytest.mark.parametrize("times", range(one_version._ATTEMPTS))
def test_a_file_is_read_again_as_often_as_it_is_replaced(times: int) -> None:
    overtaken = [Overtaken("It was replaced.", retry_after=1) for _ in range(times)]

    def read() -> str:
        if overtaken:
            raise overtaken.pop()
        return "bytes"

    assert of_one_version(read) == "bytes"


@pytest.mark.parametrize(("error", "times"), [(Overtaken, one_version._ATTEMPTS), (NotFound, 1)])
def test_reading_ends_with_the_error_after_some_attempts_or_at_once(error: type[Exception], times: int) -> None:
    read: list[int] = []

    def fail() -> None:
        read.append(1)
        raise error("It cannot be read.")

    with pytest.raises(error):
        of_one_version(fail)
    assert len(read) == times
