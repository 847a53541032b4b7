"""location_safe: recipes are made once for each version, cached within a limit, and never outlive their original."""

import contextlib
import io
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.errors import NotPublic, Overtaken
from assetstore.location_safe import kinds, service
from assetstore.location_safe.cache import RecipeCache
from assetstore.location_safe.kinds import Kind
from assetstore.location_safe.service import LocationSafe
from assetstore.storage.models import StoredFile, Version
from tests import pictures
from tests.location_safe import zoo

CLIENT, NAME = "192.0.2.1", "a.jpg"
PHOTO = pictures.encoded(pictures.scene(48, 32), "JPEG", exif=pictures.exif())


class Counted(LocationSafe):
    """A service that counts the recipes that its workers make."""

    made = 0

    def _made(self, *arguments: object) -> object:  # type: ignore[override]
        self.made += 1
        return super()._made(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / ".asset-server").mkdir()
    return tmp_path


@pytest.fixture
def copies(base: Path) -> Iterator[Counted]:
    with contextlib.closing(Counted(base, 1 << 20, ElasticLimit(64), b"secret")) as opened:
        yield opened


class InMemory(StoredFile):
    """A file that no program can edit."""

    def check_unmodified(self) -> None:
        pass


def read(copies: LocationSafe, data: bytes = PHOTO, name: str = NAME, etag: str = '"1"') -> tuple[bytes, str]:
    version = Version(len(data), 1, 1, etag)
    with copies.open(lambda: InMemory(io.BytesIO(data), version, "path"), "", name, CLIENT) as found:
        return b"".join(found.pieces(0, found.version.size)), found.version.etag


def test_a_recipe_is_made_once_for_each_version_also_after_a_restart(copies: Counted, base: Path) -> None:
    copy, etag = read(copies)
    assert (copy, etag) == read(copies)
    assert b"GPS" not in copy
    assert zoo.pixels(copy) == zoo.pixels(PHOTO)
    with contextlib.closing(Counted(base, 1 << 20, ElasticLimit(64), b"another secret")) as another:
        assert read(another)[1] != etag, "nobody can compute it from a guess of the original"
    other, other_etag = read(copies, zoo.made()["comment.jpg"], etag='"2"')
    assert (copies.made, other == copy, other_etag == etag) == (2, False, False)
    with contextlib.closing(Counted(base, 1 << 20, ElasticLimit(64), b"secret")) as restarted:
        assert read(restarted, zoo.made()["comment.jpg"], etag='"2"') == (other, other_etag)
        assert restarted.made == 0
        restarted.discard("", NAME)
        restarted._recent.clear()
        read(restarted, etag='"2"')
        assert restarted.made == 1


def test_many_requests_at_once_have_a_recipe_made_once(copies: Counted) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: read(copies), range(16)))
    assert (copies.made, len(set(found))) == (1, 1)


def test_a_refusal_is_remembered_and_closes_the_original(copies: Counted) -> None:
    file = io.BytesIO(PHOTO[:-9])
    for _ in range(2):
        with pytest.raises(NotPublic, match="may say where"):
            read(copies, PHOTO[:-9])
    assert copies.made == 1
    with pytest.raises(NotPublic):
        copies.open(lambda: StoredFile(file, Version(9, 1, 1, '"1"')), "", NAME, CLIENT)
    assert file.closed


@pytest.mark.parametrize("as_file", [False, True], ids=["as it is sent", "as a file"])
def test_a_copy_ends_before_bytes_of_an_original_that_is_edited_in_place(
    copies: Counted, base: Path, as_file: bool
) -> None:
    path = base / NAME
    path.write_bytes(PHOTO)
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        version = Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, '"1"')
        with copies.open(lambda: StoredFile(file, version), "", NAME, CLIENT) as copy:
            half = copy.version.size // 2
            pieces = copy.pieces(half, copy.version.size - half)
            time.sleep(0.02)  # a file system may not distinguish changes within some milliseconds
            with path.open("r+b") as edited:
                edited.write((zoo.SECRET * len(PHOTO))[: len(PHOTO)])
            os.utime(path, ns=(version.modified_ns, version.modified_ns))
            with pytest.raises(Overtaken):
                copy.file.read() if as_file else next(pieces)


def test_a_damaged_or_missing_cache_only_costs_time(copies: Counted, base: Path) -> None:
    first = read(copies)
    copies._cache.close()
    copies._recent.clear()
    for path in (base / ".asset-server/location-safe").iterdir():
        path.write_bytes(b"no database" * 1000)
    assert read(copies) == first
    copies._recent.clear()
    assert read(copies) == first  # the database was removed
    copies._recent.clear()
    assert read(copies) == first
    assert copies.made == 2


def test_a_damaged_recipe_is_made_again(copies: Counted, base: Path) -> None:
    first = read(copies)
    for damage in ("zeroblob(length(recipe))", "substr(recipe, 1, length(recipe) - 1)", "zeroblob(0)"):
        database = sqlite3.connect(base / ".asset-server/location-safe/copies.sqlite")
        with contextlib.closing(database), database:
            database.execute(f"UPDATE copies SET recipe = {damage}")
        copies._recent.clear()
        assert read(copies) == first
    assert copies.made == 4


def test_the_least_recently_used_recipes_are_removed_when_the_limit_is_reached(base: Path) -> None:
    cache = RecipeCache(base, 256 << 10)
    for number in range(200):
        cache.put("", f"{number}.jpg", "1", bytes(4000))
    assert cache.get("", "0.jpg", "1") is None
    assert cache.get("", "199.jpg", "1") == (bytes(4000),)
    assert cache.get("", "199.jpg", "2") is None
    cache.put("", "large.jpg", "1", bytes(64 << 10))
    assert cache.get("", "large.jpg", "1") is None
    cache.close()
    size = (base / ".asset-server/location-safe/copies.sqlite").stat().st_size
    assert size < 300 << 10


def test_a_cache_that_another_program_has_locked_is_not_waited_for(copies: Counted, base: Path) -> None:
    first = read(copies)
    with contextlib.closing(sqlite3.connect(base / ".asset-server/location-safe/copies.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        copies.discard("", NAME)
        assert read(copies) == first


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.jpg", PHOTO, Kind.COPY),
        ("a.bin", PHOTO, Kind.COPY),
        ("a.txt", pictures.tiff(), Kind.COPY),
        ("a.nef", pictures.tiff(), Kind.NOTHING),
        ("a.dng", PHOTO, Kind.NOTHING),
        ("a.jpg", b"no picture", Kind.NOTHING),
        ("a.gif", pictures.gif(), Kind.NOTHING),
        ("a.mp4", b"\0\0\0\x18ftypmp42", Kind.NOTHING),
        ("a.bin", b"\0\0\0\x18ftypmp42", Kind.NOTHING),
        ("a.dat", b"RIFF\0\0\0\0AVI LIST", Kind.NOTHING),
        ("a.dat", b"\x1aE\xdf\xa3", Kind.NOTHING),
        ("a.psb", b"8BPS\0\2", Kind.NOTHING),
        ("a.xcf", b"gimp xcf v011\0", Kind.NOTHING),
        ("a.exr", b"\x76\x2f\x31\x01\2", Kind.NOTHING),
        ("a.mxf", b"\x06\x0e\x2b\x34", Kind.NOTHING),
        ("a.dat", b"IIRO\x08\0\0\0", Kind.NOTHING),
        ("a.m4a", b"\0\0\0\x18ftypM4A ", Kind.AS_IT_IS),
        ("a.m4a", b"\0\0\0\x18ftypmp42", Kind.NOTHING),
        ("a.m4a", b"\0\0\0\x18moov", Kind.NOTHING),
        ("a.dat", (b"\x47" + bytes(187)) * 5, Kind.NOTHING),
        ("a.dat", (bytes(4) + b"\x47" + bytes(187)) * 5, Kind.NOTHING),
        ("a.ogg", b"OggS", Kind.AS_IT_IS),
        ("a.wav", b"RIFF\0\0\0\0WAVE", Kind.AS_IT_IS),
        ("a.pdf", b"%PDF-1.7", Kind.AS_IT_IS),
        ("a.txt", b"In the beginning", Kind.AS_IT_IS),
        ("a.zip", b"PK\3\4", Kind.AS_IT_IS),
        ("a.jpg", b"%PDF-1.7", Kind.AS_IT_IS),
        ("a.txt", b"", Kind.AS_IT_IS),
    ],
)
def test_the_kind_of_a_file_depends_on_its_first_bytes_and_its_name(name: str, head: bytes, kind: Kind) -> None:
    assert kinds.kind(name, head[:1024]) is kind


def test_the_version_of_the_rules_is_part_of_the_cached_version(
    copies: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(copies)
    monkeypatch.setattr(service, "_RULES", service._RULES + 1)
    read(copies)
    assert copies.made == 2
