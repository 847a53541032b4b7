"""manage.py usage: sizes, growth, when the disk will be full, and duplicates."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assetstore.commands.usage import size_text
from assetstore.journal.events import Event
from assetstore.originals import growth, usage
from assetstore.originals.growth import Forecast, Month, Removed
from assetstore.originals.service import Originals
from tests.support import RunningServer, originals_in, run_manage

FOLDERS = {"KU Fish": "fish", "KU Birds": "birds"}

DAY = 86_400


@pytest.fixture
def originals(tmp_path: Path) -> Iterator[Originals]:
    with originals_in(tmp_path, "fish", "birds") as store:
        yield store


def note(
    originals: Originals, operation: str, name: str, size: int | None, days_ago: float, collection_dir: str = "fish"
) -> None:
    """An event of the past."""
    timestamp = time.time_ns() - int(days_ago * DAY * 1_000_000_000)
    assert originals.journal.record(Event(operation, collection_dir, name, size=size, time_ns=timestamp))


def months(originals: Originals, number: int) -> list[Month]:
    return growth.measure(originals.journal, True, time.time()).since(number, ["fish"])


def forecast_of(originals: Originals, reserved_bytes: int) -> Forecast:
    return growth.forecast(originals, growth.measure(originals.journal, True, time.time()), reserved_bytes)


def month_of(days_ago: float) -> str:
    return datetime.fromtimestamp(time.time() - days_ago * DAY, UTC).strftime("%Y-%m")


def manage(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run_manage(server.base, "usage", *arguments, COLLECTION_DIRS=json.dumps(FOLDERS))
    done.check_returncode()
    return done


def test_usage_is_reported_by_folder_and_type_with_duplicates(start: Callable[..., RunningServer]) -> None:
    server = start(COLLECTION_DIRS=FOLDERS)
    server.upload("a.jpg", b"x" * 1000, coll="KU Fish")
    server.upload("b.JPG", b"x" * 1000, coll="KU Fish")
    server.upload("c.jpg", b"x" * 1000, coll="KU Birds")
    server.upload("d.pdf", b"y" * 1000, coll="KU Fish")
    server.upload("e.jpg", b"z" * 500, coll="KU Fish")
    server.delete("e.jpg", coll="KU Fish")
    rows = [json.loads(line) for line in manage(server, "--json", "--duplicates").stdout.splitlines()]
    figures = {(row["figure"], row.get("place"), row.get("media_type")): row for row in rows}
    assert figures["type", "fish", "image/jpeg"]["files"] == 2
    assert figures["type", "fish", "image/jpeg"]["bytes"] == 2000
    assert figures["type", "birds", "image/jpeg"]["files"] == 1
    assert figures["total", None, None]["bytes"] == 4000
    assert figures["trash", None, None]["bytes"] == 500
    month = figures["month", "fish", None]
    assert (month["came"], month["came_bytes"], month["went"], month["went_bytes"]) == (4, 3500, 1, 500)
    twice = [row for row in rows if row["figure"] == "duplicate"]
    assert [file["name"] for file in twice[0]["files"]] == ["c.jpg", "a.jpg", "b.JPG"]
    assert len(twice) == 1
    assert rows[-1]["bytes"] == 2000
    shown = manage(server, "--collection", "KU Birds").stdout.splitlines()
    assert shown[:3] == ["birds\timage/jpeg\t1 file\t1.0 kB", "Total\t1 file\t1.0 kB", "Trash\t0 files\t0 bytes"]
    assert shown[3] == f"{month_of(0)}\tbirds\t1 added, 1.0 kB\t0 removed, 0 bytes"
    assert "no forecast, because the journal is less than 7 days old" in shown[4]


def test_replacements_count_both_ways_and_adopted_files_are_not_growth(originals: Originals) -> None:
    note(originals, "adopted", "moved here.jpg", 10**9, 40)
    note(originals, "stored", "a.jpg", 100, 40)
    note(originals, "replaced", "a.jpg", 150, 40)
    note(originals, "replaced", "moved here.jpg", 5, 40)
    note(originals, "deleted", "a.jpg", 150, 40)
    note(originals, "purged", "a.jpg", 100, 40)
    note(originals, "restored", "a.jpg", 150, 40)
    note(originals, "restored", "a.jpg", 100, 40)
    note(originals, "deleted", "never heard of.jpg", None, 40)
    note(originals, "stored", "b.jpg", 7, 40, collection_dir="birds")
    found = months(originals, 12)
    came, went = 100 + 150 + 5 + 150 + 100, 100 + 10**9 + 150 + 150
    uploaded = 100 + 150 + 5
    assert found == [Month("fish", month_of(40), 5, came, 3, uploaded, 100)]
    assert growth.removed(originals.journal) == {("fish", month_of(40)): Removed(5, went)}


def test_only_the_requested_months_are_shown(originals: Originals) -> None:
    for days in (0, 70, 400):
        note(originals, "stored", f"{days}.jpg", 1, days)
    assert [month.month for month in months(originals, 1)] == [month_of(0)]
    assert [month.month for month in months(originals, 12)] == [month_of(70), month_of(0)]
    assert [month.month for month in months(originals, 100)] == [
        month_of(400),
        month_of(70),
        month_of(0),
    ]


def test_the_forecast_divides_free_space_by_the_growth_of_the_last_ninety_days(originals: Originals) -> None:
    note(originals, "stored", "long ago.jpg", 10**15, 200)
    note(originals, "stored", "a.jpg", 200 * 10**6, 50)
    note(originals, "deleted", "a.jpg", 110 * 10**6, 20)
    note(originals, "purged", "a.jpg", 110 * 10**6, 10)
    forecast = forecast_of(originals, 0)
    assert forecast.window_days == 90
    assert forecast.bytes_per_day == pytest.approx(10**6)
    assert forecast.free_bytes is not None
    assert forecast.days == forecast.free_bytes // 10**6
    assert forecast_of(originals, 10**18).days == 0, "what is reserved is no room"


def test_a_young_journal_or_a_shrinking_store_gives_no_forecast(originals: Originals) -> None:
    assert forecast_of(originals, 0).window_days == 0
    note(originals, "stored", "a.jpg", 100, 6)
    assert forecast_of(originals, 0).window_days == 0
    note(originals, "stored", "b.jpg", 100, 20)
    note(originals, "deleted", "b.jpg", 100, 10)
    note(originals, "purged", "b.jpg", 100, 9)
    note(originals, "deleted", "a.jpg", 100, 5)
    assert forecast_of(originals, 0).bytes_per_day == pytest.approx(5), "what is in the trash takes its space"
    note(originals, "purged", "a.jpg", 100, 4)
    forecast = forecast_of(originals, 0)
    assert (forecast.window_days, forecast.bytes_per_day, forecast.days) == (20, 0.0, None)


def test_files_modified_or_removed_by_hand_are_not_duplicates(originals: Originals, tmp_path: Path) -> None:
    for name, content in {"a": b"same", "b": b"same", "c": b"other", "empty 1": b"", "empty 2": b""}.items():
        (tmp_path / "fish/originals" / name).write_bytes(content)
    for name, size in {"a": 4, "b": 4, "c": 4, "gone": 4, "empty 1": 0, "empty 2": 0}.items():
        event = Event("stored", "fish", name, size=size, sha256="5a" if size else "00")
        originals.journal.record(event)
    assert [group.files for group in usage.duplicates(originals, ["fish"])] == [(("fish", "a"), ("fish", "b"))]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes_are_shown_in_readable_units(size: int, text: str) -> None:
    assert size_text(size) == text
