"""location_safe: copies have no location and no serial number, but the same pixels, credit and licence."""

import hashlib
import io
import json
import subprocess
from pathlib import Path

import pytest

from acceptance import location_safe as acceptance
from assetstore.location_safe import cleaning, xmp
from assetstore.location_safe.recipe_file import RecipeFile
from assetstore.metadata import reading
from assetstore.metadata import xmp as xmp_reader
from tests.location_safe import zoo

needs_exiftool = pytest.mark.skipif(zoo.EXIFTOOL is None, reason="exiftool is not installed")


def copy_of(data: bytes) -> bytes:
    recipe = cleaning.recipe(io.BytesIO(data), len(data))
    return RecipeFile(recipe, lambda offset, length: data[offset : offset + length]).read()


def by_exiftool(folder: Path, *options: str) -> dict[str, dict[str, object]]:
    run = subprocess.run(
        [str(zoo.EXIFTOOL), "-q", "-q", "-json", "-a", "-G1", "-u", "-ee", *options, folder],
        capture_output=True,
        check=False,
    )
    return {Path(entry["SourceFile"]).name: entry for entry in json.loads(run.stdout)}


@needs_exiftool
def test_exiftool_finds_no_location_or_serial_number_in_any_copy_but_credit_and_licence(tmp_path: Path) -> None:
    originals, copies = tmp_path / "originals", tmp_path / "copies"
    originals.mkdir()
    copies.mkdir()
    written = {path.name for path in zoo.tagged(originals)}
    for name, data in zoo.made().items():
        (originals / f"made-{name}").write_bytes(data)
    for path in originals.iterdir():
        data = path.read_bytes()
        before = hashlib.sha256(data).digest()
        (copies / path.name).write_bytes(copy_of(data))
        assert hashlib.sha256(path.read_bytes()).digest() == before
        assert zoo.pixels((copies / path.name).read_bytes()) == zoo.pixels(data), path.name
    assert len(list(originals.iterdir())) >= 60
    had, found = by_exiftool(originals), by_exiftool(copies)
    assert all(acceptance.forbidden(had[name]) for name in written)
    for name, tags in found.items():
        assert not acceptance.forbidden(tags), name
        assert "Sekret" not in str(tags), name
        assert zoo.SECRET not in (copies / name).read_bytes(), name
    for name in written:
        texts = " ".join(map(str, found[name].values()))
        assert zoo.ARTIST in texts, name
        assert zoo.COPYRIGHT in texts, name


@pytest.mark.parametrize("name", sorted(zoo.made()))
def test_nothing_that_is_hidden_in_a_picture_is_in_its_copy(name: str) -> None:
    data = zoo.made()[name]
    copy = copy_of(data)
    assert zoo.SECRET not in copy
    assert zoo.SERIAL.to_bytes(4, "little") not in copy
    assert b"GPS" not in copy
    assert zoo.pixels(copy) == zoo.pixels(data)


def test_the_copy_of_a_png_has_the_credit_in_its_texts() -> None:
    plain = zoo.save("PNG")
    texts = zoo.chunk(b"tEXt", b"Author\0Kim Ito") + zoo.chunk(b"tEXt", b"Title\0Sekret valley")
    copy = copy_of(plain[:33] + texts + plain[33:])
    assert b"Kim Ito" in copy
    assert zoo.SECRET not in copy


def test_credits_of_iptc_become_xmp_and_dates_lose_their_time_zone() -> None:
    groups = reading.read(io.BytesIO(copy_of(zoo.made()["photoshop.jpg"]))).groups
    assert groups == [{"Name": "XMP", "Fields": {"dc:creator": zoo.ARTIST}}]
    packet = xmp.packet({"xmp:CreateDate": "2009-05-30T12:34:56+11:00", "tiff:Orientation": "6", "dc:title": "Sekret"})
    assert packet is not None
    assert xmp_reader.read(packet) == {"xmp:CreateDate": "2009-05-30T12:34:56", "tiff:Orientation": "6"}
