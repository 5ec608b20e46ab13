"""What a run found, in a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from dtcseg.progress import short
from dtcseg.results.record import FailedSlide
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.results.folder import Row

_LONGEST_NAME = 40
_LONGEST_QC = 48


def summary_text(rows: Sequence[Row], report: Path) -> str:
    """Make a table of slides (cells screened, tumour cells per 10^6 with interval or limit, qc) and name the report."""
    header = ("slide", "cells", "DTC", "DTC per 10^6 (95 %)", "qc")
    table = [header, *(_cells(row) for row in rows)]
    widths = [max(cell_len(line[column]) for line in table) for column in range(len(header))]
    right = {1, 2}
    lines = []
    for line in table:
        cells = []
        for column, text in enumerate(line):
            space = " " * (widths[column] - cell_len(text))
            cells.append(space + text if column in right else text + space)
        lines.append("  ".join(cells).rstrip())
    done = sum(not isinstance(row, FailedSlide) for row in rows)
    failed = len(rows) - done
    outcome = f"{done} slide{'' if done == 1 else 's'} done" + (f", {failed} failed" if failed else "")
    outcome = f"{done} slide{'' if done == 1 else 's'} done" + (f", {failed} failed" if failed else "")
    lines += ["", f"{outcome}. Research use only."]
    lines.append(one_line(report))
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    name = short(row.slide, _LONGEST_NAME)
    if isinstance(row, FailedSlide):
        reason = one_line(row.reason)
        return name, "", "", "failed", reason if len(reason) <= _LONGEST_QC else f"{reason[: _LONGEST_QC - 1]}…"
    rate = "-" if row.rate is None else str(row.rate)
    return name, f"{row.mnc:,}".replace(",", " "), str(row.tumour), rate, short("; ".join(row.remarks), _LONGEST_QC)
