"""object_info: what the metadata of an object says about its version."""

import datetime
from typing import Any

import pytest

from assetstore.errors import Overtaken, StorageFault
from assetstore.storage.s3.object_info import found, modified_attribute

SECOND = 10**9
STORED = datetime.datetime(2026, 11, 28, 3, 4, 5, 678000, datetime.UTC)
STORED_NS = int(STORED.timestamp()) * SECOND + 678_000_000
META: dict[str, Any] = {"path": "originals/a", "size": 255, "e_tag": '"d41d8"', "last_modified": STORED}


def test_an_object_without_attributes_was_changed_when_it_was_stored() -> None:
    object = found(META, {})
    assert (object.key, object.size, object.stored_ns, object.sha256) == ("originals/a", 255, STORED_NS, None)
    assert object.version.modified_ns == STORED_NS
    assert object.version.etag == f'"d41d8-ff-{STORED_NS:x}-{STORED_NS // SECOND:x}"'
    assert object.version.tag == "d41d8"


@pytest.mark.parametrize("mtime", ["1764000000.123456789", "1764000000.1234567899"])
def test_the_attribute_of_rclone_has_the_time_of_the_last_change(mtime: str) -> None:
    assert found(META, {"mtime": mtime}).modified_ns == 1764000000_123456789
    assert found(META, {"mtime": modified_attribute(1764000000_000000007)}).modified_ns == 1764000000_000000007


@pytest.mark.parametrize(("mtime", "expected"), [("5", 5 * SECOND), ("5.5", 5_500_000_000)])
def test_short_times_are_seconds_and_their_fractions(mtime: str, expected: int) -> None:
    assert found(META, {"mtime": mtime}).modified_ns == expected


@pytest.mark.parametrize("mtime", ["", "yesterday", "-5", "1e9", "5,5", "٣", "1" * 12])
def test_an_unreadable_time_is_ignored(mtime: str) -> None:
    assert found(META, {"mtime": mtime}).modified_ns == STORED_NS


def test_the_change_of_a_version_is_at_the_end_of_the_second_in_which_it_was_stored_or_later() -> None:
    end = STORED_NS // SECOND * SECOND + SECOND - 1
    assert found(META, {"mtime": "5"}).version.changed_ns == end
    assert found(META, {"mtime": modified_attribute(end + 5)}).version.changed_ns == end + 5


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64])
def test_only_a_complete_checksum_counts(text: str) -> None:
    assert found(META, {"sha256": text}).sha256 is None
    assert found(META, {"sha256": "0a" * 32}).sha256 == "0a" * 32


def test_objects_without_tags_are_refused_and_others_of_another_tag_were_replaced() -> None:
    with pytest.raises(StorageFault, match="ETag"):
        found({**META, "e_tag": None}, {})
    object = found(META, {})
    object.check(META)
    with pytest.raises(Overtaken):
        object.check({**META, "e_tag": '"other"'})
