"""csv_io: tables that no spreadsheet program runs, whichever character it takes for the separator."""

import csv
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assetstore import csv_io

_TEXTS = st.text(st.sampled_from("ab \"'=+-@,;|\t\n\r") | st.characters(codec="utf-8"), max_size=12)


@given(_TEXTS)
@example("'")
@example("a;''=1")
@example("\t\t=1")
def test_a_guarded_cell_can_be_read_again(text: str) -> None:
    assert csv_io.unguarded(csv_io.guarded(text)) == text


@given(_TEXTS)
@example("\x1e=")
def test_no_part_of_a_cell_is_a_formula_whatever_the_separator(text: str) -> None:
    guarded = csv_io.guarded(text)
    for separator in ",;|\t":
        for line in re.split("[\r\n]", guarded):  # spreadsheet programs know no other ends of lines
            for cell in line.split(separator):
                assert not cell.strip('" ').startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_opened_with_another_separator_has_no_formulas(tmp_path: Path, delimiter: str) -> None:
    names = ["=1+1", "a;=1+1", "a,=1+1", "a\t=1+1", 'a;"=1+1"', "a\n=1+1", "a; =1+1", "a|@x"]
    csv_io.write(tmp_path / "t.csv", ("name", "other"), ({"name": "x", "other": name} for name in names))
    with open(tmp_path / "t.csv", encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]
    assert not [cell for cell in cells if cell.lstrip('" ').startswith(("=", "@"))]


def test_ordinary_texts_are_not_changed() -> None:
    for text in ("a-b.jpg", "1 + 1 = 2", "a, b; c", "O'Neill", "x@y"):
        assert csv_io.guarded(text) == text
