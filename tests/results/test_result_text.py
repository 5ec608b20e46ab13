"""Text that cannot hurt a terminal, a spreadsheet or a file."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcseg.results.text import csv_bytes, fixed, one_line, spreadsheet_cell, utf8


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain name.svs", "plain name.svs"),
        ("Köln März.tif", "Köln März.tif"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("line\u2028separator", r"line\u2028separator"),
        ("\udcff.tif", r"\udcff.tif"),
        (OSError("a\tb"), r"a\tb"),
    ],
)
def test_one_line(text, line):
    assert one_line(text) == line


@given(st.text())
def test_one_line_never_steers_a_terminal(text):
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in one_line(text))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=cmd|' /C calc'!A0"])
def test_formulas_are_neutralised(text):
    assert spreadsheet_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=1", "Köln", "1-2", "'x"])
def test_other_cells_stay(text):
    assert spreadsheet_cell(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.005, "1.00"), (-0.001, "0.00"), (0.0, "0.00"), (None, ""), (float("nan"), ""), (-1.5, "-1.50")],
)
def test_fixed(value, text):
    assert fixed(value, 2) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=4))
def test_csv_comes_back_as_it_was(values):
    columns = [f"c{number}" for number in range(len(values))]
    content = csv_bytes(columns, [dict(zip(columns, values, strict=True))])
    back = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    assert back == [columns, values]


def test_names_that_are_not_text_can_be_written():
    assert utf8("a\udcffb") == b"a?b"
