"""Text that is safe where it ends up: a terminal line, a spreadsheet cell, a file in UTF-8."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

# Cc, Cf: control and format characters (escape sequences, right-to-left overrides); Cs: bytes of a file name that are
# not text; Co, Cn: no meaning outside one program; Zl, Zp: line and paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def one_line(text: object) -> str:
    r"""Write text on one line, with every character that could steer a terminal shown as an escape (`\n`, `\x1b`)."""
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _UNSAFE_CATEGORIES else char
        for char in str(text)
    )


def utf8(text: str) -> bytes:
    """Encode text; bytes of a file name that are not text become a question mark."""
    return text.encode("utf-8", errors="replace")


def spreadsheet_cell(text: str) -> str:
    """Keep a spreadsheet from running text as a formula: such text gets a leading apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def fixed(value: float | None, decimals: int) -> str:
    """Write a number with fixed decimals; empty when there is none, and never a negative zero."""
    if value is None or value != value:
        return ""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, str | int]]) -> bytes:
    """Make a CSV file (UTF-8, quoted after RFC 4180, lines end in a line feed).

    Parameters
    ----------
    columns : sequence of str
        Header, and the keys of every row.
    rows : iterable of mapping
        Values as text. Text of people and file names must have gone through `spreadsheet_cell`.
    """
    lines = [columns, *([str(row[column]) for column in columns] for row in rows)]
    return utf8("".join(",".join(map(_quoted, line)) + "\n" for line in lines))


def _quoted(cell: str) -> str:
    """Quote a cell where it must be; `csv.writer` forgets a lone carriage return when lines end in a line feed."""
    return '"' + cell.replace('"', '""') + '"' if any(char in cell for char in ',"\r\n') else cell
