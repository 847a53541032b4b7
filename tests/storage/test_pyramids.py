"""The contract of every store of pyramids, tested with each: on disk, and on a real S3 server."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.app import bootstrap
from assetstore.config import loading
from assetstore.errors import NotFound, OutOfSpace, Unavailable
from assetstore.originals.service import Originals
from assetstore.storage.protocols import PyramidStore
from tests.storage.conftest import FISH, HERPS
from tests.support import PROJECT

STAMP, OTHER = 500_000_000_123_456_000, 500_000_000_123_457_000

Open = Callable[[int], PyramidStore]


@pytest.fixture
def store(originals: Originals) -> PyramidStore:
    return originals.storage.pyramids(1_000_000)


def content(store: PyramidStore, name: str) -> bytes:
    found = store.find(FISH, name, 1, STAMP)
    assert found is not None
    if found.path is not None:
        return found.path.read_bytes()
    assert found.read is not None
    return found.read(0, found.size)


def publish(store: PyramidStore, name: str, page: int = 1, size: int = 1000, folder: str = FISH) -> bool:
    with store.new(folder, name, page) as new:
        new.path.write_bytes(b"x" * size)
        is_possible = new.store(STAMP)
        if is_possible:
            new.publish()
        return is_possible


def test_a_pyramid_is_found_by_original_page_and_stamp(store: PyramidStore) -> None:
    name = "é" * 127
    assert store.find(FISH, name, 1, STAMP) is None
    assert publish(store, name)
    assert content(store, name) == b"x" * 1000
    assert store.is_cached(FISH, name, 1, STAMP)
    for other in ((HERPS, name, 1, STAMP), (FISH, "b", 1, STAMP), (FISH, name, 2, STAMP), (FISH, name, 1, OTHER)):
        assert store.find(*other) is None
        assert not store.is_cached(*other)


def test_it_is_invisible_until_it_is_published(store: PyramidStore) -> None:
    with store.new(FISH, "a.tif", 1) as new:
        new.path.write_bytes(b"x" * 1000)
        assert new.store(STAMP)
        assert store.find(FISH, "a.tif", 1, STAMP) is None
        assert list(store.cached(FISH)) == []
        new.publish()
        assert content(store, "a.tif") == b"x" * 1000


def test_a_new_process_finds_it_too(store: PyramidStore, originals: Originals) -> None:
    publish(store, "a.tif")
    assert content(originals.storage.pyramids(1_000_000), "a.tif") == b"x" * 1000


def test_one_that_was_removed_by_another_process_is_not_found(store: PyramidStore, originals: Originals) -> None:
    publish(store, "a.tif")
    assert store.is_cached(FISH, "a.tif", 1, STAMP)
    originals.storage.pyramids(1_000_000).delete(FISH, "a.tif")
    found = store.find(FISH, "a.tif", 1, STAMP)
    if found is not None:  # in a bucket, it is noticed when the next part is read
        assert found.read is not None
        with pytest.raises(NotFound):
            found.read(0, 1)
    assert store.find(FISH, "a.tif", 1, STAMP) is None


def test_any_part_of_a_large_one_can_be_read(originals: Originals) -> None:
    store = originals.storage.pyramids(10_000_000)
    data = random.Random(1).randbytes(2_700_001)  # some blocks
    with store.new(FISH, "a.tif", 1) as new:
        new.path.write_bytes(data)
        assert new.store(STAMP)
        new.publish()
    found = store.find(FISH, "a.tif", 1, STAMP)
    assert found is not None
    if found.read is not None:
        for offset, length in (
            *((0, 1), (262_143, 2), (262_144, 262_144), (2_699_999, 100), (0, 2_700_001), (2_700_001, 1)),
            *((524_287, 2), (700_000, 1_000_000)),
        ):
            assert found.read(offset, length) == data[offset : offset + length]


def test_deleting_removes_all_pages_of_one_original(store: PyramidStore) -> None:
    for page in (1, 2, 12):
        publish(store, "a.tif", page)
    publish(store, "b.tif")
    store.delete(FISH, "a.tif")
    store.delete(FISH, "missing.tif")
    assert [pyramid.page for pyramid in store.cached(FISH)] == [1]
    assert store.find(FISH, "a.tif", 12, STAMP) is None
    assert store.find(FISH, "b.tif", 1, STAMP) is not None


def test_all_pyramids_together_stay_below_the_limit(store: PyramidStore) -> None:
    for number in range(6):
        assert publish(store, f"{number}.tif", size=300_000, folder=FISH if number % 2 else HERPS)
    sizes = [pyramid.size for folder in (FISH, HERPS) for pyramid in store.cached(folder)]
    assert sizes == [300_000] * 3
    assert store.find(FISH, "5.tif", 1, STAMP) is not None
    assert not publish(store, "too-large.tif", size=1_000_001)


def test_pyramids_leave_the_reserve_to_uploads(tmp_path: Path) -> None:
    own = {"BASE_DIR": str(tmp_path), "KEY": "key"}
    for reserve, is_possible in ((0, True), (10**15, False)):
        settings = loading.load({**own, "RESERVED_BYTES": reserve}, {}, PROJECT, 2)
        opened = bootstrap.open_originals(settings, PROJECT)
        store = opened.storage.pyramids(1_000_000)
        if is_possible:
            assert publish(store, "a.tif", folder="")
        else:
            assert store.is_cached("", "a.tif", 1, STAMP)
            with pytest.raises(OutOfSpace, match="nearly full"):
                publish(store, "b.tif", folder="")
        assert [pyramid.page for pyramid in store.cached("")] == ([1] if is_possible else [])
        opened.journal.close()


def test_one_that_is_listed_can_be_removed(store: PyramidStore) -> None:
    publish(store, "a.tif", 3)
    [listed] = store.cached(FISH)
    assert (listed.page, listed.size) == (3, 1000)
    store.remove(listed)
    store.remove(listed)
    assert list(store.cached(FISH)) == []


def test_one_process_at_a_time_makes_a_pyramid(store: PyramidStore, originals: Originals) -> None:
    with (
        store.locked(FISH, "a.tif", 1),
        pytest.raises(Unavailable),
        originals.storage.pyramids(1).locked(FISH, "a.tif", 1, waits=False),
    ):
        pass


def test_what_is_not_published_disappears(store: PyramidStore) -> None:
    with store.new(FISH, "a.tif", 1) as new:
        new.path.write_bytes(b"x")
    assert not new.path.exists()
    assert list(store.cached(FISH)) == []
