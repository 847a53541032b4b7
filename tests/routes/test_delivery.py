"""routes.delivery: which requests read a file from its first byte, so that a bucket can be asked for it at once."""

import bottle
import pytest

from assetstore.routes.delivery import Delivery
from tests.support import load_settings

NAVIGATION = {"HTTP_SEC_FETCH_MODE": "navigate"}


@pytest.mark.parametrize(
    ("method", "headers", "redirects", "from_start"),
    [
        ("GET", {}, False, True),
        ("HEAD", {}, False, False),
        ("GET", {"HTTP_RANGE": "bytes=9-"}, False, False),
        ("GET", {"HTTP_IF_NONE_MATCH": '"a"'}, False, False),
        ("GET", {"HTTP_IF_MODIFIED_SINCE": "Thu, 01 Jan 1998 00:00:00 GMT"}, False, False),
        ("GET", NAVIGATION, False, True),
        ("GET", NAVIGATION, True, False),
        ("GET", {"HTTP_SEC_FETCH_MODE": "cors"}, True, True),
        ("GET", {}, True, True),
    ],
)
def test_a_file_is_read_from_its_start_unless_the_request_is_conditional_or_redirected(
    method: str, headers: dict[str, str], redirects: bool, from_start: bool
) -> None:
    bucket = {"STORAGE_URL": "s3://bucket", "STORAGE_REDIRECT_SECONDS": 60} if redirects else {}
    bottle.request.bind({"REQUEST_METHOD": method, **headers})
    assert Delivery(load_settings(bucket)).reads_from_start() == from_start
