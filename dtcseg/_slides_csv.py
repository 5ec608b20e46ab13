"""Reading `slides.csv` as spreadsheets of every country write it."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dtcseg.errors import UsageError

TABLE = "slides.csv"
COLUMNS = ("file", "patient", "timepoint", "role", "stain", "mpp", "slide", "channel", "expected")


@dataclass(frozen=True)
class Row:
    """One line of a table: stripped cells by column; `number` counts rows as a spreadsheet shows them."""

    number: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def is_result_table(table: Path) -> bool:
    try:
        header = decode(table.read_bytes()).partition("\n")[0]
    except OSError:
        return False
    return "status" in header and "mnc_low" in header


def decode(data: bytes) -> str:
    """Text of a table as spreadsheets save it: UTF-8 with or without a mark, UTF-16 with one, else Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_table(table: Path) -> list[Row]:
    """Read a slides.csv.

    Raises
    ------
    UsageError
        It is no table, or has no column `file`, or a column that is a slip of the pen.
    """
    try:
        text = decode(table.read_bytes())
    except OSError as error:
        raise UsageError(f"{table}: cannot be read ({error.strerror or error})") from error
    first, _, rest = text.partition("\n")
    if re.fullmatch(r"\ufeff?sep=.", first.strip(), re.IGNORECASE):
        first, text = rest.partition("\n")[0], rest  # a line that spreadsheets write for themselves
    separator = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise UsageError(f"{table}: is not a CSV table ({error})") from error
    lines = [[cell.strip().strip("\0") for cell in line] for line in lines]
    header = [cell.casefold() for cell in lines[0]] if lines else []
    _check_header(table, header)
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if any(line):
            cells = dict(zip(header, line, strict=False))
            rows.append(Row(number, {column: cells[column] for column in COLUMNS if cells.get(column)}))
    return rows


def _check_header(table: Path, header: list[str]) -> None:
    if "status" in header and "mnc_low" in header:
        raise UsageError(
            f"{table}: is the table of a results folder, not a list of slides; name the folder of the slides"
        )
    if "file" not in header:
        raise UsageError(f"{table}: has no column 'file'; its columns are {', '.join(COLUMNS)}")
    for name, count in Counter(header).items():
        if name in COLUMNS and count > 1:
            raise UsageError(f"{table}: has the column {name!r} {count} times")
        # Other columns are the laboratory's own; but one that is nearly a known name is taken for a slip.
        close = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.8) if name not in COLUMNS else []
        if close and close[0] not in header:
            raise UsageError(f"{table}: column {name!r} is unknown; did you mean {close[0]!r}?")
