"""commands.output: rows as JSON for programs."""

import json

from assetstore.commands import output


def test_times_are_utc_in_json_and_other_numbers_stay() -> None:
    row = {"time_ns": 1764000000_500000000, "ended_ns": None, "size": 1764000000, "name": "ñ"}
    said = output._json(row)
    assert "ñ" in said
    assert json.loads(said) == {
        "time": "2025-11-24T16:00:00.500000+00:00",
        "ended": None,
        "size": 1764000000,
        "name": "ñ",
    }
