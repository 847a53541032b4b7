"""thumbnails.failures: how long errors of files that cannot be rendered are cached."""

import gc
import weakref

import pytest

from assetstore.errors import Unrenderable
from assetstore.storage.models import Version
from assetstore.thumbnails.failures import Failures
from assetstore.thumbnails.request import ThumbnailRequest


class Large:
    """Something that a traceback refers to."""


def request(etag: str = '"1"') -> ThumbnailRequest:
    return ThumbnailRequest("", "a.jpg", Version(1, 1, 1, etag), "a_200.jpg", 200)


def failed() -> tuple[Unrenderable, "weakref.ref[Large]"]:
    large = Large()
    try:
        raise Unrenderable("The image is damaged.", "a detail")
    except Unrenderable as error:
        return error, weakref.ref(large)


def test_a_failure_is_cached_for_the_same_version_only() -> None:
    failures = Failures()
    failures.check(request())
    failures.remember(request(), Unrenderable("The image is damaged.", "a detail"))
    with pytest.raises(Unrenderable, match="damaged"):
        failures.check(request())
    failures.check(request('"2"'))


def test_nothing_of_the_failed_attempt_stays_in_memory() -> None:
    failures = Failures()
    error, large = failed()
    failures.remember(request(), error)
    del error
    gc.collect()
    assert large() is None
