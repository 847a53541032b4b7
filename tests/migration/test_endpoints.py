"""The addresses of a migration: one store has one canonical address, however it is written."""

import dataclasses
from pathlib import Path

import pytest

from assetstore.config import loading
from assetstore.config.loading import Settings, SettingsError
from assetstore.migration.endpoints import Address
from tests.support import PROJECT


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loading.load({"BASE_DIR": str(tmp_path), "KEY": "key"}, {}, PROJECT, 2)


def test_a_symbolic_link_to_a_folder_is_the_same_place(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    source, target = (Address(side, str(tmp_path / side)).plain(settings) for side in ("folder", "link"))
    assert source == target


def test_the_same_bucket_at_another_service_is_another_place(settings: Settings) -> None:
    here, there = (Address("source", "s3://museum/a", f"https://{name}.example").plain(settings) for name in "ab")
    assert here != there
    assert Address("source", "s3://museum/a/").plain(settings) == Address("target", "s3://museum/a").plain(settings)
    own = dataclasses.replace(settings, storage_endpoint="https://a.example")
    assert Address("source", "s3://museum/a").plain(own) == here


def test_a_collection_in_a_bucket_has_no_place_on_a_disk(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="a collection is in s3://fish; use --folder"):
        Address("target", str(tmp_path)).open(settings, ["birds", "s3://fish"], {})


def test_a_folder_of_originals_that_does_not_exist_yet_is_new(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "fish/originals").mkdir(parents=True)
    end = Address("target", str(tmp_path)).open(settings, ["fish", "birds"], {})
    assert end.is_disk
    assert (end.is_new("fish"), end.is_new("birds")) == (False, True)


def test_the_reserved_space_of_the_settings_applies_to_the_target(tmp_path: Path, settings: Settings) -> None:
    own = dataclasses.replace(settings, reserved_bytes=1 << 60)
    store = Address("target", str(tmp_path)).open(own, [""], {}).store
    store.space.prepare()
    with pytest.raises(Exception, match="nearly full"):
        store.originals.receive("", 1)
