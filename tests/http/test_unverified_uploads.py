"""http.unverified_uploads: how much clients may upload before their token is known."""

import pytest

from assetstore.errors import TooLarge, Unavailable
from assetstore.http.unverified_uploads import UnverifiedUploads


def test_one_client_may_use_half_of_the_limit_and_all_clients_together_the_whole() -> None:
    uploads = UnverifiedUploads(100)
    with uploads.of("a") as first, uploads.of("a") as second, uploads.of("b") as third, uploads.of("c") as fourth:
        first(30)
        second(20)
        with pytest.raises(Unavailable):
            second(1)
        third(50)
        with pytest.raises(Unavailable):
            fourth(1)


def test_an_upload_that_can_never_fit_is_too_large() -> None:
    with UnverifiedUploads(100).of("a") as count, pytest.raises(TooLarge):
        count(51)


def test_bytes_stop_counting_when_the_upload_ends() -> None:
    uploads = UnverifiedUploads(100)
    for _ in range(10):
        with pytest.raises(ValueError, match="broken"), uploads.of("a") as count:
            count(50)
            raise ValueError("broken")
    with uploads.of("a") as count:
        count(50)
