"""The laboratory's own tables beside the results: assays.csv, arms.csv and timepoints.csv.

A row that cannot be used is named in one line and left out; the others count.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dtcseg._slides_csv import decode
from dtcseg.errors import UsageError
from dtcseg.results.text import one_line, spreadsheet_cell

_YES = frozenset({"yes", "y", "true", "1", "positive", "pos", "+", "detected", "x"})
_NO = frozenset({"no", "n", "false", "0", "negative", "neg", "-", "not detected", "undetected"})
_MOST_NAMED = 20
"""Lines that name single rows of one table; a table of another kind must not bury the other warnings."""


@dataclass(frozen=True)
class AssayValue:
    """One row of assays.csv: what another assay found in a patient at a time point; `row` as a spreadsheet counts."""

    row: int
    patient: str
    timepoint: str
    assay: str
    value: float | None
    unit: str
    detected: bool


@dataclass(frozen=True)
class Sheets:
    """What the tables say.

    Attributes
    ----------
    assays : tuple of AssayValue
    arms : dict of str to str
        Arm of each patient.
    control : str
        Name of the control arm; empty without one.
    order : dict of str to float
        Place of each time point.
    warnings : tuple of str
        One line each.
    """

    assays: tuple[AssayValue, ...] = ()
    arms: dict[str, str] | None = None
    control: str = ""
    order: dict[str, float] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SheetFiles:
    """Where the tables are; None: in the results folder, if there."""

    assays: Path | None = None
    arms: Path | None = None
    timepoints: Path | None = None


def read_sheets(root: Path, files: SheetFiles = SheetFiles()) -> Sheets:
    """Read what there is.

    Raises
    ------
    UsageError
        A file that was named cannot be read or lacks a column. One that merely lies in the folder gives a warning.
    """
    warnings: list[str] = []
    assays = _read_assays(_rows(root, "assays.csv", files.assays, ("patient", "assay"), warnings), warnings)
    arms, control = _read_arms(_rows(root, "arms.csv", files.arms, ("patient", "arm"), warnings), warnings)
    order = _read_order(_rows(root, "timepoints.csv", files.timepoints, ("timepoint", "order"), warnings), warnings)
    return Sheets(assays, arms or None, control, order or None, tuple(warnings))


@dataclass(frozen=True)
class _Sheet:
    name: str
    rows: tuple[tuple[int, dict[str, str]], ...]

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        return iter(self.rows)


def _rows(root: Path, name: str, given: Path | None, needed: tuple[str, ...], warnings: list[str]) -> _Sheet:
    path = given or root / name
    shown = one_line(path if given else name)
    if given is None and not path.exists():
        return _Sheet(shown, ())
    try:
        lines = _lines(path)
        header = [cell.casefold() for cell in lines[0]] if lines else []
        missing = [column for column in needed if column not in header]
        if missing:
            raise ValueError(f"has no column {', '.join(map(repr, missing))}")
    except (OSError, ValueError) as error:
        reason = one_line(getattr(error, "strerror", None) or error)
        if given is not None:
            raise UsageError(f"{shown}: {reason}") from error
        warnings.append(f"{shown}: {reason}; it is left out")
        return _Sheet(shown, ())
    rows = [(number, dict(zip(header, line, strict=False))) for number, line in enumerate(lines[1:], 2) if any(line)]
    return _Sheet(shown, tuple(rows))


def _lines(path: Path) -> list[list[str]]:
    text = decode(path.read_bytes())
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        return [
            [_plain(cell.strip()) for cell in line]
            for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        ]
    except csv.Error as error:
        raise ValueError(f"is no CSV table ({error})") from error


def _plain(cell: str) -> str:
    """Take off the apostrophe that the tables of results put before what a spreadsheet would run (`'+6 mo`)."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) == cell else cell


class _Complaints:
    """Warnings about single rows, so many and no more."""

    def __init__(self, name: str, warnings: list[str]) -> None:
        self._name, self._warnings, self._count = name, warnings, 0

    def add(self, row: int, problem: str) -> None:
        self._count += 1
        if self._count <= _MOST_NAMED:
            self._warnings.append(f"{self._name}, row {row}: {problem}; the row is left out")

    def close(self) -> None:
        if self._count > _MOST_NAMED:
            self._warnings.append(f"{self._name}: {self._count - _MOST_NAMED} more rows cannot be used")


def _read_assays(sheet: _Sheet, warnings: list[str]) -> tuple[AssayValue, ...]:
    found: dict[tuple[str, str, str], AssayValue] = {}
    complaints = _Complaints(sheet.name, warnings)
    for number, row in sheet:
        try:
            value = _assay_value(number, row)
        except ValueError as error:
            complaints.add(number, str(error))
            continue
        key = (value.patient, value.timepoint, value.assay.casefold())
        if key in found:
            complaints.add(number, f"repeats the assay, patient and time point of row {found[key].row}")
        else:
            found[key] = value
    complaints.close()
    return tuple(found.values())


def _assay_value(number: int, row: dict[str, str]) -> AssayValue:
    patient, assay = row.get("patient", ""), row.get("assay", "")
    if not patient or not assay:
        raise ValueError("names no patient" if not patient else "names no assay")
    text, word = row.get("value", ""), row.get("detected", "").casefold()
    below = text.startswith("<")
    value = _number(text.removeprefix("<").strip(), "value") if text else None
    if word and word not in _YES | _NO:
        raise ValueError(f"detected is {one_line(word)!r}, not yes or no")
    if not word and value is None:
        raise ValueError("has neither a value nor yes or no under detected")
    detected = word in _YES if word else not below and value is not None and value > 0
    shown = None if below else value
    return AssayValue(number, patient, row.get("timepoint", ""), assay, shown, row.get("unit", ""), detected)


def _read_arms(sheet: _Sheet, warnings: list[str]) -> tuple[dict[str, str], str]:
    arms: dict[str, str] = {}
    controls: set[str] = set()
    complaints = _Complaints(sheet.name, warnings)
    for number, row in sheet:
        patient, arm, word = row.get("patient", ""), row.get("arm", ""), row.get("control", "").casefold()
        if not patient or not arm:
            complaints.add(number, "names no patient" if not patient else "names no arm")
        elif word and word not in _YES | _NO:
            complaints.add(number, f"control is {one_line(word)!r}, not yes or no")
        elif arms.get(patient, arm) != arm:
            complaints.add(number, f"puts patient {one_line(patient)!r} into a second arm")
        else:
            arms[patient] = arm
            if word in _YES:
                controls.add(arm)
    complaints.close()
    if arms and len(controls) != 1:
        said = "none" if not controls else ", ".join(repr(one_line(arm)) for arm in sorted(controls))
        warnings.append(f"{sheet.name}: one arm must be the control (control = yes), here it is {said}; arms are shown "
                        "side by side without a comparison")  # fmt: skip
    return arms, controls.pop() if len(controls) == 1 else ""


def _read_order(sheet: _Sheet, warnings: list[str]) -> dict[str, float]:
    order: dict[str, float] = {}
    complaints = _Complaints(sheet.name, warnings)
    for number, row in sheet:
        name = row.get("timepoint", "")
        try:
            at = _number(row.get("order", ""), "order")
        except ValueError as error:
            complaints.add(number, str(error))
            continue
        if name in order and order[name] != at:
            complaints.add(number, f"gives time point {one_line(name)!r} a second place")
        else:
            order[name] = at
    complaints.close()
    return order


def _number(text: str, column: str) -> float:
    try:
        value = float(text.replace(",", "."))  # spreadsheets of many countries write a decimal comma
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} {one_line(text)!r} is no number")
    return value
