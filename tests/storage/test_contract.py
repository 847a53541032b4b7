"""The contract of every store, tested with each: on disk, and on a real S3 server."""

import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from assetstore.concurrency.rate_limit import RateLimit
from assetstore.errors import NotFound
from assetstore.fixity.verification import Verification
from assetstore.journal.events import Origin
from assetstore.originals.service import Originals, Received
from assetstore.storage.models import DELETED, REPLACED, StoredFile
from assetstore.storage.protocols import Incoming, OriginalStorage, PrunableThumbnails, ThumbnailStore
from assetstore.storage.thumbnail_sizes import SizeRules, size_of
from tests.storage.conftest import FISH, HERPS

ORIGIN = Origin("KU Fish", "192.0.2.7")
MEGABYTE = 1 << 20

ODD_NAMES = [
    "plain.jpg", "a b+c&d=e;f.jpg", "植物 é.jpg", "%41%2f.jpg", "#hash?query.jpg", "[a-z]*{x,y}.jpg", "~'\"<>|^`.jpg",
    "...", ".hidden", "-n", "trailing ", "x" * 255, "é" * 127,
]  # fmt: skip


@pytest.fixture
def storage(originals: Originals) -> OriginalStorage:
    return originals.storage


@pytest.fixture
def thumbnails(storage: OriginalStorage) -> PrunableThumbnails:
    store = storage.thumbnails(SizeRules(3))
    assert isinstance(store, PrunableThumbnails)
    return store


def begin(storage: OriginalStorage, name: str, length: int, way: str) -> Incoming:
    """An upload whose name is known when its bytes come, or not."""
    return storage.receive(FISH, length, name) if way == "name first" else storage.receive(None, None)


def put(originals: Originals, name: str, content: bytes, collection_dir: str = FISH, way: str = "name first") -> bool:
    receive = originals.storage.receive
    with receive(collection_dir, len(content), name) if way == "name first" else receive(None, None) as incoming:
        for first in range(0, len(content), 300_000):
            incoming.write(content[first : first + 300_000])
        received = Received(incoming, len(content), hashlib.sha256(content).hexdigest())
        return originals.store(received, collection_dir, name, ORIGIN)


def read(storage: OriginalStorage, name: str, collection_dir: str = FISH) -> bytes:
    with storage.open_original(collection_dir, name) as stored:
        return stored.file.read()


def names(storage: OriginalStorage, collection_dir: str = FISH) -> list[str]:
    return sorted(listed.name for listed in storage.originals(collection_dir))


@pytest.mark.parametrize("way", ["name first", "file first"])
@pytest.mark.parametrize("size", [0, 1, 70_000, 9 * MEGABYTE, 25 * MEGABYTE + 1])
def test_an_upload_is_stored_unchanged(originals: Originals, size: int, way: str) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert put(originals, "a.bin", content, way=way) is False
    assert read(originals.storage, "a.bin") == content
    version = originals.storage.version(FISH, "a.bin")
    assert version.size == size
    assert abs(version.modified_ns - time.time_ns()) < 60e9
    assert [(entry.name, entry.size) for entry in originals.storage.originals(FISH)] == [("a.bin", size)]
    with originals.storage.local_original(FISH, "a.bin") as path:
        assert path.read_bytes() == content


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_never_interpreted_as_a_path(originals: Originals, name: str) -> None:
    put(originals, name, name.encode())
    assert read(originals.storage, name) == name.encode()
    assert names(originals.storage) == [name]
    assert names(originals.storage, HERPS) == []
    originals.delete(FISH, name, ORIGIN)
    [entry] = originals.trash()
    assert entry.name == name
    originals.restore(entry, ORIGIN)
    assert read(originals.storage, name) == name.encode()
    assert list(originals.trash()) == []


def test_collection_folders_are_independent(originals: Originals) -> None:
    put(originals, "a", b"fish")
    put(originals, "a", b"herps", HERPS)
    originals.delete(FISH, "a", ORIGIN)
    assert read(originals.storage, "a", HERPS) == b"herps"
    assert [entry.collection_dir for entry in originals.trash()] == [FISH]


def test_a_missing_file_is_not_found(storage: OriginalStorage, thumbnails: ThumbnailStore) -> None:
    for fail in (
        lambda: storage.open_original(FISH, "a"),
        lambda: storage.version(FISH, "a"),
        lambda: storage.local_original(FISH, "a").__enter__().read_bytes(),
        lambda: thumbnails.open(FISH, "a_1.jpg"),
        lambda: thumbnails.open(FISH, "a_1.jpg", 10**18),
    ):
        with pytest.raises((NotFound, FileNotFoundError)):
            fail()
    assert storage.delete_original(FISH, "a", keep_old=True) is False
    assert names(storage) == []


@pytest.mark.parametrize("size", [3, 20 * MEGABYTE])
@pytest.mark.parametrize("way", ["name first", "file first"])
def test_an_upload_that_is_not_committed_leaves_nothing(originals: Originals, size: int, way: str) -> None:
    put(originals, "a", b"old")
    with pytest.raises(RuntimeError), begin(originals.storage, "a", size, way) as incoming:
        for _ in range(0, size, MEGABYTE):
            incoming.write(bytes(min(size, MEGABYTE)))
        raise RuntimeError
    assert read(originals.storage, "a") == b"old"
    assert names(originals.storage) == ["a"]
    assert list(originals.trash()) == []


def test_every_version_has_its_own_tag(originals: Originals) -> None:
    tags = set()
    for content in (b"1", b"2", b"3"):
        put(originals, "a", content)
        tags.add(originals.storage.version(FISH, "a").etag)
        with originals.storage.open_original(FISH, "a") as stored:
            tags.add(stored.version.etag)
    assert len(tags) == 3
    assert all(tag.startswith('"') and tag.endswith('"') and tag.count('"') == 2 for tag in tags)


def test_a_reader_gets_one_version_or_learns_that_it_was_replaced(originals: Originals) -> None:
    versions = [bytes([letter]) * 3_000_000 for letter in b"ab"]
    put(originals, "a", versions[0])
    ended = threading.Event()
    seen = set()

    def replace() -> None:
        for turn in range(12):
            put(originals, "a", versions[turn % 2])
        ended.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not ended.is_set():
        try:
            content = read(originals.storage, "a")
        except Exception as error:
            assert "replaced" in str(error)
            continue
        assert content in versions
        seen.add(content[:1])
    writer.join()
    assert seen


def test_reading_a_range_returns_that_range(originals: Originals) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(500_000))
    put(originals, "a", content)
    for first, length in ((0, 1), (0, 2_000_000), (1_999_999, 1), (777_777, 600_000), (262_143, 2)):
        with originals.storage.open_original(FISH, "a") as stored:
            assert stored.section(first, length).read(length) == content[first : first + length]
    with originals.storage.open_original(FISH, "a") as stored:
        for position, length in ((1_000_000, 10), (5, 300_000), (1_999_990, 100), (0, 4), (600_000, 900_000)):
            stored.file.seek(position)
            assert stored.file.read(length) == content[position : position + length]
            assert stored.file.tell() == min(position + length, len(content))


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 524_288, 1_000_001])
def test_an_original_is_read_the_same_way_however_it_was_opened(originals: Originals, size: int) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]
    put(originals, "a", content)
    middle = size // 3
    for reads in (True, False):

        def opened(reads: bool = reads) -> StoredFile:
            return originals.storage.open_original(FISH, "a", reads)

        with opened() as stored:
            assert (stored.file.read(), stored.file.read()) == (content, b"")
        with opened() as stored:
            assert stored.section(0, size).read(size) == content
        with opened() as stored:
            assert b"".join(iter(partial(stored.section(middle, size - middle).read, 70_000), b"")) == content[middle:]
        with opened() as stored:
            for position in (size - 5, 0, 262_140, 0):
                stored.file.seek(max(0, position))
                assert stored.file.read(300_000) == content[max(0, position) :][:300_000]


def test_a_small_original_that_is_replaced_while_it_is_open_is_read_as_it_was(originals: Originals) -> None:
    put(originals, "a", b"old")
    with originals.storage.open_original(FISH, "a") as stored:
        put(originals, "a", b"newer")
        assert stored.section(0, stored.version.size).read(10) == b"old"
    assert read(originals.storage, "a") == b"newer"


def test_deleted_and_replaced_versions_are_in_the_trash_exactly_once(originals: Originals) -> None:
    before = time.time_ns()
    put(originals, "a", b"first")
    assert put(originals, "a", b"second") is True
    assert originals.delete(FISH, "a", ORIGIN) is True
    first, second = originals.trash()
    assert [(entry.name, entry.reason, entry.size) for entry in (first, second)] == [
        ("a", REPLACED, 5),
        ("a", DELETED, 6),
    ]
    assert before <= first.modified_ns <= first.removed_ns < second.removed_ns <= time.time_ns()
    assert originals.sha256_of(first) == hashlib.sha256(b"first").hexdigest()
    assert originals.restore(second, ORIGIN) is False
    assert originals.restore(first, ORIGIN) is True
    assert read(originals.storage, "a") == b"first"
    [again] = originals.trash()
    assert (again.size, again.reason) == (6, REPLACED)
    with pytest.raises(NotFound):
        originals.restore(first, ORIGIN)
    assert originals.purge(again, ORIGIN) is True
    assert originals.purge(again, ORIGIN) is False
    assert list(originals.trash()) == []
    assert read(originals.storage, "a") == b"first"


def test_an_entry_of_the_trash_can_be_found_and_read(originals: Originals) -> None:
    for name in ("a.txt", "x" * 255):
        put(originals, name, name.encode())
        originals.delete(FISH, name, ORIGIN)
    for entry in originals.trash():
        assert originals.trash_storage.entry(FISH, entry.identifier) == entry
        with originals.trash_storage.local_file(entry) as path:
            assert path.read_bytes() == entry.name.encode()
        for wrong in ("", "..", "a.txt", f"../trash/{entry.identifier}", f"{entry.identifier}x/../y", "a\0b"):
            with pytest.raises(NotFound):
                originals.trash_storage.entry(FISH, wrong)
        originals.purge(entry, ORIGIN)
        with pytest.raises(NotFound), originals.trash_storage.local_file(entry):
            pass


def test_a_large_original_can_be_trashed_and_restored(originals: Originals) -> None:
    content = b"large" * 4_000_000
    put(originals, "a.tif", content)
    originals.delete(FISH, "a.tif", ORIGIN)
    [entry] = originals.trash()
    originals.restore(entry, ORIGIN)
    assert read(originals.storage, "a.tif") == content


def test_without_a_trash_no_old_version_remains(originals: Originals) -> None:
    storage = originals.storage
    for content in (b"first", b"second"):
        with storage.receive(FISH, None, "a") as incoming:
            incoming.write(content)
            incoming.sync()
            incoming.commit(FISH, "a", keep_old=False)
    assert storage.delete_original(FISH, "a", keep_old=False) is True
    assert list(originals.trash()) == []
    assert names(storage) == []


def test_concurrent_changes_of_one_name_leave_each_version_in_place_or_in_the_trash(
    originals: Originals,
) -> None:
    contents = [f"version {number}".encode() for number in range(8)]
    threads = [threading.Thread(target=put, args=(originals, "a", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [read(originals.storage, "a")]
    for entry in list(originals.trash()):
        originals.restore(entry, ORIGIN)
        found.append(read(originals.storage, "a"))
    assert sorted(found) == sorted(contents)


def test_verification_finds_no_fault_in_stored_files(originals: Originals) -> None:
    put(originals, "small.txt", b"small")
    put(originals, "large.bin", bytes(10 * MEGABYTE))
    run = Verification(originals, RateLimit(None, threading.Event()), adopt=False, accept=False, client="test")
    assert list(run.run(resume=False)) == []
    assert run.summary.files == 2


def make(thumbnails: ThumbnailStore, name: str, content: bytes, modified_ns: int) -> None:
    thumbnails.add_size(FISH, size_of(name) or 0, replaces=False)
    with thumbnails.locked(FISH, name), thumbnails.new(FISH, name) as new:
        new.path.write_bytes(content)
        assert new.publish(modified_ns) is True


def shown(thumbnails: ThumbnailStore, name: str, modified_ns: int | None = None) -> tuple[bytes, int]:
    with thumbnails.open(FISH, name, modified_ns) as stored:
        return stored.file.read(), stored.version.modified_ns


STAMP = 500_000_000_123_456_000


def test_a_thumbnail_is_cached_with_its_modification_time(thumbnails: ThumbnailStore) -> None:
    make(thumbnails, "a_100.jpg", b"picture", STAMP)
    for wanted in (None, STAMP, STAMP + 1000):
        assert shown(thumbnails, "a_100.jpg", wanted) == (b"picture", STAMP)


def test_large_thumbnails_are_cached_like_small_ones(thumbnails: ThumbnailStore) -> None:
    picture = b"".join(number.to_bytes(4, "big") for number in range(200_000))
    make(thumbnails, "a_5000.png", picture, STAMP)
    for wanted in (None, STAMP):
        assert shown(thumbnails, "a_5000.png", wanted) == (picture, STAMP)


def test_a_thumbnail_regenerated_by_another_server_is_noticed(originals: Originals, thumbnails: ThumbnailStore) -> None:
    make(thumbnails, "a_100.jpg", b"old", STAMP)
    assert shown(thumbnails, "a_100.jpg", STAMP) == (b"old", STAMP)
    make(originals.storage.thumbnails(SizeRules(3)), "a_100.jpg", b"new", STAMP + 1000)
    assert shown(thumbnails, "a_100.jpg", STAMP + 1000) == (b"new", STAMP + 1000)
    assert shown(thumbnails, "a_100.jpg") == (b"new", STAMP + 1000)


def test_a_thumbnail_that_is_not_published_leaves_nothing(thumbnails: ThumbnailStore) -> None:
    with thumbnails.new(FISH, "a_100.jpg") as new:
        new.path.write_bytes(b"half")
    with pytest.raises(NotFound):
        thumbnails.open(FISH, "a_100.jpg")


def test_only_the_thumbnails_of_the_original_itself_are_removed(thumbnails: ThumbnailStore) -> None:
    own = ["sp61.att_1.jpg", "sp61.att_20.jpg"]
    others = ["sp61.att_20.png", "sp612.att_20.jpg", "sp61_20.jpg", "sp61.att_1_20.jpg", "sp61.att_20.JPG"]
    for name in own + others:
        make(thumbnails, name, b"picture", STAMP)
    thumbnails.delete(FISH, "sp61.att", ".jpg", frozenset)
    for name in own:
        with pytest.raises(NotFound):
            thumbnails.open(FISH, name)
    assert [shown(thumbnails, name)[0] for name in others] == [b"picture"] * len(others)


def test_thumbnails_of_an_original_with_the_same_root_are_left_alone(thumbnails: ThumbnailStore) -> None:
    for size, stamp in ((1, STAMP), (20, STAMP + 7_000)):
        make(thumbnails, f"a_{size}.png", b"picture", stamp)
    thumbnails.delete(FISH, "a", ".png", lambda: frozenset([STAMP]))
    assert shown(thumbnails, "a_1.png")[0] == b"picture"
    with pytest.raises(NotFound):
        thumbnails.open(FISH, "a_20.png")


def test_a_size_is_cached_once_three_originals_were_requested_in_it(thumbnails: PrunableThumbnails) -> None:
    names = ("a.jpg", "a.jpg", "b.jpg", "c.jpg", "a.jpg")
    assert [thumbnails.caches_size(FISH, 300, name) for name in names] == [False] * 3 + [True] * 2
    assert thumbnails.largest_cached_size(FISH, 1000) == 300
    assert thumbnails.largest_cached_size(FISH, 299) is None
    assert thumbnails.largest_cached_size(HERPS, 1000) is None
    assert thumbnails.caches_size(HERPS, 300, "d.jpg") is False


def test_a_size_of_specify_is_cached_at_once_also_beyond_the_limit(thumbnails: PrunableThumbnails) -> None:
    sizes = (90, 100, 123, 150, 200)
    assert [thumbnails.caches_size(FISH, size, "a.jpg") for size in sizes] == [True] * 5


def test_the_number_of_cached_sizes_has_a_limit(thumbnails: PrunableThumbnails) -> None:
    assert [thumbnails.add_size(FISH, size, False) for size in (10, 20, 30, 40, 20)] == [True] * 3 + [False, True]
    assert thumbnails.largest_cached_size(FISH, 1000) == 30


def test_the_least_used_size_gives_way_and_its_thumbnails_are_removed(thumbnails: PrunableThumbnails) -> None:
    for size in (123, 10, 20):
        make(thumbnails, f"a_{size}.jpg", b"picture", STAMP)
        time.sleep(1.1)  # the service tells whole seconds only
    wanted = [thumbnails.caches_size(FISH, 30, name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert wanted == [False, False, True]
    assert thumbnails.caches_size(FISH, 10, "a.jpg") is False
    assert thumbnails.add_size(FISH, 40, replaces=True) is False, "one size leaves at a time"
    thumbnails.remove_retired(FISH, threading.Event())
    make(thumbnails, "a_30.jpg", b"picture", STAMP)
    assert sorted(kept.name for kept in thumbnails.cached(FISH)) == ["a_123.jpg", "a_20.jpg", "a_30.jpg"]
    assert thumbnails.add_size(FISH, 40, replaces=True) is True
    assert thumbnails.caches_size(FISH, 20, "a.jpg") is False


def test_a_size_that_is_used_stays(thumbnails: PrunableThumbnails) -> None:
    for size in (10, 20, 30):
        make(thumbnails, f"a_{size}.jpg", b"picture", STAMP)
        time.sleep(1.1)
    assert shown(thumbnails, "a_10.jpg", STAMP)[0] == b"picture"
    assert thumbnails.add_size(FISH, 40, replaces=True) is True
    assert [thumbnails.caches_size(FISH, size, "a.jpg") for size in (10, 20)] == [True, False]


def test_preview_sizes_have_a_place_and_leave_with_the_setting(storage: OriginalStorage) -> None:
    before, after = storage.thumbnails(SizeRules(1, frozenset({30, 40}))), storage.thumbnails(SizeRules(1))
    assert isinstance(after, PrunableThumbnails)
    before.update_previews(FISH)
    assert [before.caches_size(FISH, size, "a.jpg") for size in (30, 40, 50)] == [True, True, False]
    for size in (30, 40):
        make(before, f"a_{size}.jpg", b"picture", STAMP)
    for _ in range(2):
        after.update_previews(FISH)
        after.remove_retired(FISH, threading.Event())
        assert list(after.cached(FISH)) == []
    assert after.add_size(FISH, 50, replaces=False) is True


def test_thumbnails_can_be_listed_and_removed_and_sizes_retired(thumbnails: PrunableThumbnails) -> None:
    for size in (10, 20, 30):
        make(thumbnails, f"a_{size}.jpg", b"picture", STAMP)
    kept = sorted(thumbnails.cached(FISH), key=lambda kept: kept.name)
    assert [(one.name, one.size) for one in kept] == [(f"a_{size}.jpg", 7) for size in (10, 20, 30)]
    assert all(abs(one.made_ns - time.time_ns()) < 60e9 for one in kept)
    assert thumbnails.remove(FISH, kept[0]) is True
    assert thumbnails.remove(FISH, kept[0]) is False
    make(thumbnails, "a_20.jpg", b"another one", STAMP)
    assert thumbnails.remove(FISH, kept[1]) is False
    thumbnails.retire_sizes(FISH, frozenset([20]))
    assert thumbnails.largest_cached_size(FISH, 1000) == 20
    thumbnails.remove_retired(FISH, threading.Event())
    assert [kept.name for kept in thumbnails.cached(FISH)] == ["a_20.jpg"]
    assert [thumbnails.add_size(FISH, size, replaces=False) for size in (40, 10, 30)] == [True, True, False]


def test_locks_are_exclusive(storage: OriginalStorage) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with storage.locked_original(FISH, "a"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with storage.locked_original(FISH, "a"):
        inside.set()
        with storage.locked_original(FISH, "b"):
            order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_store_can_be_probed_without_a_trace(originals: Originals, tmp_path: Path) -> None:
    originals.space.probe()
    assert names(originals.storage) == []
    free: Callable[[], int | None] = originals.space.free_bytes
    assert free() is None or (free() or 0) > 0
