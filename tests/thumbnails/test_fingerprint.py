"""thumbnails.fingerprint: how a thumbnail is marked as made of one version of its original."""

import pytest

from assetstore.storage.models import Version
from assetstore.thumbnails import fingerprint

#: An original in a folder, and one in a bucket.
IN_FOLDER = Version(12345, 1_700_000_000_123_456_789, 1_700_000_001_000_000_001, '"etag"')
IN_BUCKET = IN_FOLDER._replace(content="abc")


def test_a_new_version_of_the_server_knows_the_thumbnails_of_this_one() -> None:
    # Another fingerprint would mean that all thumbnails of a collection are rendered again.
    assert fingerprint.stamp("a.jpg", IN_FOLDER) == 474397238716770000
    assert fingerprint.former_stamp("a.jpg", IN_FOLDER) == 848451912440847000
    assert fingerprint.stamp("a.jpg", IN_BUCKET) == fingerprint.former_stamp("a.jpg", IN_BUCKET) == 466818582793732000


@pytest.mark.parametrize(
    ("difference_ns", "has_stamp"), [(0, True), (999, True), (1_000, False), (-1_000, False), (-716_770_000, True)]
)
def test_a_stamp_is_recognised_without_what_a_file_system_leaves_out(difference_ns: int, has_stamp: bool) -> None:
    stamp = fingerprint.stamp("a.jpg", IN_FOLDER)
    thumbnail = Version(1, stamp + difference_ns, 0, "")
    assert fingerprint.has_stamp(thumbnail, stamp) == has_stamp
