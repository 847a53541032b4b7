"""storage.disk: whole files or none, nothing outside the store."""

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.errors import BadRequest, NotFound, OutOfSpace, StorageFault
from assetstore.storage.disk.store import disk_store
from assetstore.storage.protocols import Store
from assetstore.storage.thumbnail_sizes import SizeRules
from tests.support import visible_files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = disk_store(tmp_path, "originals", "thumbnails", ["", "nested/fish"])
    store.space.prepare()
    return store


def put(store: Store, name: str, content: bytes, collection_dir: str = "") -> bool:
    with store.originals.receive(collection_dir, len(content)) as incoming:
        incoming.write(content)
        incoming.sync()
        return incoming.commit(collection_dir, name, keep_old=False)


def read(store: Store, name: str, collection_dir: str = "") -> bytes:
    with store.originals.open_original(collection_dir, name) as stored:
        return stored.file.read()


def leftovers(base: Path) -> list[Path]:
    return [path for path in base.rglob(".asset-server/*") if path.is_file()]


def test_missing_folders_are_created_with_their_parents(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "nested/fish/originals").is_dir()
    assert (tmp_path / "nested/fish/thumbnails").is_dir()
    assert put(store, "a", b"1", "nested/fish") is False
    assert (tmp_path / "nested/fish/originals/a").read_bytes() == b"1"


def test_a_committed_file_replaces_the_old_one_atomically(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"old")
    with store.originals.open_original("", "a") as old:
        assert put(store, "a", b"new version") is True
        assert old.file.read() == b"old", "an open file stays what it is"
    assert read(store, "a") == b"new version"
    assert leftovers(tmp_path) == []


def test_an_upload_that_is_not_committed_leaves_nothing(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"old")
    with pytest.raises(RuntimeError), store.originals.receive("", None) as incoming:
        incoming.write(b"half")
        raise RuntimeError
    assert read(store, "a") == b"old"
    assert leftovers(tmp_path) == []


def test_new_files_have_the_usual_permissions(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "originals/a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_versions_of_the_same_time_and_size_have_different_tags(store: Store, tmp_path: Path) -> None:
    tags = set()
    for content in (b"1", b"2", b"3"):
        put(store, "a", content)
        with store.originals.open_original("", "a") as stored:
            tags.add(stored.version.etag)
    assert len(tags) == 3


def test_a_reader_never_sees_a_mix_of_versions(store: Store) -> None:
    versions = [bytes([letter]) * 300_000 for letter in b"abcd"]
    put(store, "a", versions[0])
    done = threading.Event()

    def replace() -> None:
        try:
            for turn in range(200):
                put(store, "a", versions[turn % 4])
            turns.append(200)
        finally:
            done.set()

    turns: list[int] = []
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        while not done.is_set():
            content = read(store, "a")
            assert len(content) == 300_000
            assert len(set(content)) == 1
    finally:
        writer.join()
    assert turns == [200]


@pytest.mark.parametrize("name", ["absent", "folder", "pipe", "socket"])
def test_anything_but_a_regular_file_is_not_found(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "originals/folder").mkdir()
    os.mkfifo(tmp_path / "originals/pipe")
    os.mknod(tmp_path / "originals/socket", stat.S_IFSOCK | 0o600)
    with pytest.raises(NotFound):
        store.originals.open_original("", name)


def test_symbolic_links_are_followed_within_the_store_only(store: Store, tmp_path: Path) -> None:
    put(store, "real", b"shared", "nested/fish")
    outside = tmp_path.parent / f"{tmp_path.name}-secret"
    outside.write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"in the base folder, but no attachment")
    links = {
        "inside": tmp_path / "nested/fish/originals/real",
        "outside": outside,
        "above": Path("../secret"),
        "system": Path("/etc/passwd"),
        "nowhere": Path("nothing"),
        "circle": Path("circle"),
    }
    for name, target in links.items():
        (tmp_path / "originals" / name).symlink_to(target)
    assert read(store, "inside") == b"shared"
    for name in ("outside", "above", "system", "nowhere", "circle"):
        with pytest.raises(NotFound):
            store.originals.open_original("", name)
        with pytest.raises(NotFound), store.originals.local_original("", name):
            pass


def test_an_upload_over_a_link_replaces_the_link_not_its_target(store: Store, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-target"
    outside.write_bytes(b"untouched")
    (tmp_path / "originals/a").symlink_to(outside)
    put(store, "a", b"new")
    assert read(store, "a") == b"new"
    assert outside.read_bytes() == b"untouched"


def test_deleting_reports_whether_the_file_existed(store: Store) -> None:
    put(store, "a", b"")
    assert store.originals.delete_original("", "a", keep_old=False) is True
    assert store.originals.delete_original("", "a", keep_old=False) is False


@pytest.mark.parametrize(
    ("root", "extension", "own"),
    [
        ("sp61.att", ".jpg", ["sp61.att_100.jpg", "sp61.att_2000.jpg"]),
        ("sp612.att", ".jpg", ["sp612.att_100.jpg"]),
        ("sp61.att", ".png", ["sp61.att_100-0.png", "sp61.att_100-1.png"]),
        ("*", ".jpg", ["*_100.jpg"]),
        ("sp61", ".jpg", ["sp61_1.jpg"]),
        ("[a-z]", ".jpg", []),
        (".", ".jpg", []),
    ],
)
def test_only_thumbnails_of_the_same_root_are_removed(
    store: Store, tmp_path: Path, root: str, extension: str, own: list[str]
) -> None:
    names = [
        "sp61.att_100.jpg", "sp61.att_2000.jpg", "sp61.att_x.jpg", "sp61.att_.jpg", "sp61.att_100.JPG",
        "sp61.att_100-0.png", "sp61.att_100-1.png", "sp612.att_100.jpg", "sp61_1.jpg", "sp61xatt_100.jpg",
        "*_100.jpg", "a_100.jpg", "sp61.att_100_50.jpg", "sp61.att_٣.jpg",
    ]  # fmt: skip
    for name in names:
        (tmp_path / "thumbnails" / name).touch()
    store.originals.thumbnails(SizeRules(32)).delete("", root, extension, frozenset)
    assert sorted(set(names) - set(visible_files(tmp_path / "thumbnails"))) == sorted(own)


def test_temporary_files_without_an_owner_are_removed_at_start(store: Store, tmp_path: Path) -> None:
    private = tmp_path / "originals/.asset-server"
    for name in ("upload-of-nobody", "lock-old", "lock-free"):
        (private / name).touch()
    os.utime(private / "lock-old", (0, 0))
    (private / "thumbnail-old").mkdir()
    os.utime(private / "thumbnail-old", (0, 0))
    with store.originals.receive("", None) as incoming, store.originals.locked_original("", "a.jpg"):
        incoming.write(b"under way")
        store.space.prepare()
        store.space.sweep()
        left = sorted(path.name.split("-")[0] for path in private.iterdir())
        assert left == ["ballast", "lock", "trash", "upload"]
    assert sorted(path.name for path in private.iterdir()) == ["ballast", "trash"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, OutOfSpace),
        (errno.EDQUOT, OutOfSpace),
        (errno.EIO, StorageFault),
        (errno.ENAMETOOLONG, BadRequest),
    ],
)
def test_system_errors_have_public_messages_without_paths(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, kind: type
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number), "/secret/path")

    with store.originals.receive("", None) as incoming:
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(kind) as error:
            incoming.write(b"x")
        monkeypatch.undo()
    assert "/secret" not in error.value.public
    assert "/secret" in error.value.detail


def test_a_full_disk_preserves_the_old_version(tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    base = tmp_path / "small"
    mounted(base, "2m")
    store = disk_store(base, "originals", "thumbnails", [""])
    store.space.prepare()
    put(store, "a", b"old")
    with pytest.raises(OutOfSpace):
        put(store, "a", bytes(3_000_000))
    assert read(store, "a") == b"old"
    assert leftovers(base) == []
    put(store, "b", bytes(1_000_000))


def test_a_collection_may_be_on_its_own_file_system(tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    mounted(tmp_path / "fish", "8m")
    store = disk_store(tmp_path, "originals", "thumbnails", ["birds", "fish"])
    store.space.prepare()
    with store.originals.receive(None, None) as incoming:
        incoming.write(b"the file came before its collection")
        incoming.commit("fish", "a", keep_old=False)
    assert read(store, "a", "fish").startswith(b"the file")
    assert leftovers(tmp_path) == []


def test_a_copy_to_another_file_system_is_not_swept_and_leaves_nothing_on_failure(
    tmp_path: Path, mounted: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(tmp_path / "fish", "2m")
    store = disk_store(tmp_path, "originals", "thumbnails", ["birds", "fish"])
    store.space.prepare()
    fsync = os.fsync

    def others_start_meanwhile(descriptor: int) -> None:
        store.space.prepare()
        fsync(descriptor)

    with store.originals.receive(None, None) as incoming:
        incoming.write(b"whole")
        monkeypatch.setattr(os, "fsync", others_start_meanwhile)
        incoming.commit("fish", "a", keep_old=False)
        monkeypatch.undo()
    assert read(store, "a", "fish") == b"whole"
    with store.originals.receive(None, None) as incoming:
        incoming.write(bytes(4_000_000))
        with pytest.raises(OutOfSpace):
            incoming.commit("fish", "b", keep_old=False)
    assert leftovers(tmp_path) == []


def test_nothing_is_written_to_the_mount_point_of_an_unmounted_disk(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"x", "nested/fish")
    (tmp_path / "nested").rename(tmp_path / "gone")
    (tmp_path / "nested").mkdir()
    with pytest.raises(StorageFault):
        put(store, "b", b"x", "nested/fish")
    with store.originals.receive("", None) as incoming:
        incoming.write(b"x")
        incoming.sync()
        with pytest.raises(StorageFault):
            incoming.commit("nested/fish", "b", keep_old=True)
    with pytest.raises(StorageFault):
        store.originals.open_original("nested/fish", "a")
    with pytest.raises(StorageFault), store.originals.locked_original("nested/fish", "a"):
        pass
    assert list((tmp_path / "nested").iterdir()) == []


def test_a_folder_that_cannot_be_created_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "originals").write_text("a file in the way")
    with pytest.raises(StorageFault) as error:
        disk_store(tmp_path, "originals", "thumbnails", [""]).space.prepare()
    assert "originals" in error.value.detail


def test_files_can_be_stored_in_a_union_file_system(tmp_path: Path, mounted: Callable[[Path, str], None]) -> None:
    mounted(tmp_path / "memory", "8m")
    for name in ("memory/upper", "memory/work", "lower", "base"):
        (tmp_path / name).mkdir()
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/memory/upper,workdir={tmp_path}/memory/work"
    command = ["mount", "-t", "overlay", "overlay", "-o", layers, str(tmp_path / "base")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("unions of file systems cannot be mounted here")
    try:
        store = disk_store(tmp_path / "base", "originals", "thumbnails", [""])
        store.space.prepare()
        put(store, "a", b"x")
        assert read(store, "a") == b"x"
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "base")], check=True)
