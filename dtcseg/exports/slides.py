"""What the exports know about a slide: its record, its candidates and their outlines, read back from the files.

Nothing of it is trusted: the files may be of another version, edited by hand or cut off, and each such slide is named
with what is wrong in one line.
"""

from __future__ import annotations

import csv
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dtcseg.cells import CALLS, Call
from dtcseg.errors import DtcsegError, UsageError
from dtcseg.results.candidates import MEASUREMENTS
from dtcseg.results.folder import RECORD, read_run
from dtcseg.results.record import SlideRecord, from_json
from dtcseg.results.text import one_line

_LATER = ("nucleus_ratio", "ck_granularity", "cd45_ring")
"""Columns that results of earlier versions lack."""
_NEEDED = ("cell_id", "x_px", "y_px", "score", "call", "uuid", *(name for name in MEASUREMENTS if name not in _LATER))
Calls = Mapping[int, Call]
"""Calls by `cell_id` that take the place of those in cells.csv, for instance what readers said."""


class ExportError(DtcsegError):
    """One slide cannot be exported; the others go on (exit status 1)."""


class NothingToExport(ExportError):
    """The slide is fine, but a file of this format would have to be empty and may not be (exit status 0)."""


@dataclass(frozen=True)
class ExportedCell:
    """One candidate.

    Attributes
    ----------
    cell_id : int
        Its number in cells.csv, from 1.
    uuid : str
        The same in every file, and in every run that finds the cell at the same place.
    x_px, y_px : float
        Centre, level-0 pixels; (0, 0) is the centre of the first pixel.
    score : float
        Probability that it is a tumour cell, 0..1.
    call : Call
        What counts: that of the program, or one that took its place.
    program_call : Call
        What the program said.
    outline_px : (N, 2) float64
        Closed simple ring of (x, y), level-0 pixels; (0, 0) is the top left corner of the first pixel, whose centre is
        (0.5, 0.5).
    measurements : dict of str to float
        Those of `results.candidates.MEASUREMENTS` that the cell has.
    """

    cell_id: int
    uuid: str
    x_px: float
    y_px: float
    score: float
    call: Call
    program_call: Call
    outline_px: npt.NDArray[np.float64] = field(compare=False)
    measurements: dict[str, float]


@dataclass(frozen=True)
class ExportedSlide:
    """One finished slide with its candidates, in the order of cells.csv (falling score)."""

    record: SlideRecord
    cells: tuple[ExportedCell, ...]

    @property
    def references(self) -> dict[str, Any]:
        """What scoring noted about the file for other programs: `bounds_px`, `dicom`; empty in older results."""
        found = self.record.details.get("references")
        return found if isinstance(found, dict) else {}

    def with_calls(self, calls: Calls | None) -> ExportedSlide:
        """Put other calls in the place of the program's.

        Parameters
        ----------
        calls : mapping of int to Call, optional
            By `cell_id`; cells that are not in it keep their call.

        Raises
        ------
        ExportError
            There is no such cell or no such call.
        """
        if not calls:
            return self
        unknown = sorted(set(calls) - {cell.cell_id for cell in self.cells})
        if unknown:
            raise ExportError(f"{one_line(self.record.slide)}: has no cell {unknown[0]}, for which a call is given")
        wrong = sorted({str(call) for call in calls.values()} - set(CALLS))
        if wrong:
            raise ExportError(f"{one_line(self.record.slide)}: {one_line(wrong[0])!r} is no call ({', '.join(CALLS)})")
        return replace(self, cells=tuple(replace(cell, call=calls.get(cell.cell_id, cell.call)) for cell in self.cells))


def read_slides(root: Path, names: Sequence[str] = ()) -> tuple[list[ExportedSlide], list[str]]:
    """Read the finished slides of a results folder.

    Parameters
    ----------
    root : Path
    names : sequence of str, optional
        Only these slides; all by default.

    Returns
    -------
    slides : list of ExportedSlide
        Sorted by name.
    problems : list of str
        One line for each slide that is left out: it failed in the last run, or its files cannot be used.

    Raises
    ------
    UsageError
        It is no results folder, no slide was scored in it, or it has no slide of a name asked for.
    """
    info, failures = read_run(root)
    if info is None:
        raise UsageError(f"{one_line(root)}: is no results folder (it has no run.json that can be read)")
    folders = {path.parent.name: path.parent for path in sorted(root.glob(f"*/{RECORD}"))}
    folders = {name: folder for name, folder in folders.items() if not folder.is_symlink()}
    missing = sorted(set(names) - {*folders, *failures})
    if missing:
        raise UsageError(f"{one_line(root)}: holds no slide {one_line(missing[0])!r}")
    wanted = [name for name in sorted({*folders, *failures}) if not names or name in names]
    if not wanted:
        raise UsageError(f"{one_line(root)}: holds no slide that was scored")
    slides, problems = [], []
    for name in wanted:
        try:
            if name in failures:  # what an earlier run left in its folder is not what the tables count
                raise ExportError(f"{one_line(name)}: not exported, scoring failed ({one_line(failures[name].reason)})")
            slides.append(read_slide(folders[name]))
        except ExportError as error:
            problems.append(str(error))
    return slides, problems


def read_slide(folder: Path) -> ExportedSlide:
    """Read one slide's folder.

    Raises
    ------
    ExportError
        A file of it is missing, of another version, or damaged; one line that names the file and the place in it.
    """
    return ExportedSlide(record := _read_record(folder), _read_cells(folder, record))


def _read_record(folder: Path) -> SlideRecord:
    place = f"{one_line(folder.name)}/{RECORD}"
    try:
        record = from_json((folder / RECORD).read_bytes())
        usable = isinstance(record.details, dict) and all(
            math.isfinite(value) and value > 0 for value in (record.mpp_um, record.width_px, record.height_px)
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ExportError(
            f"{place}: is of another version of dtcseg, or damaged ({one_line(error)}); score the slide again"
        ) from error
    if not usable:
        raise ExportError(f"{place}: its sizes cannot be used; score the slide again")
    if record.slide != folder.name:
        raise ExportError(f"{place}: is the record of another slide ({one_line(record.slide)}); score the slide again")
    return record


def _read_cells(folder: Path, record: SlideRecord) -> tuple[ExportedCell, ...]:
    outlines = _read_outlines(folder)
    place = f"{one_line(folder.name)}/cells.csv"
    cells: list[ExportedCell] = []
    try:
        with open(folder / "cells.csv", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if lacking:
                raise ExportError(f"{place}: has no column {lacking[0]}, another version of dtcseg wrote it")
            for row in reader:
                try:
                    cells.append(_cell(row, outlines))
                except (ValueError, KeyError, TypeError) as error:
                    raise ExportError(f"{place}: line {reader.line_num} cannot be read ({one_line(error)})") from error
    except (OSError, UnicodeError, csv.Error) as error:
        raise ExportError(f"{place}: cannot be read ({one_line(error)})") from error
    if len({cell.cell_id for cell in cells}) != len(cells) or len({cell.uuid for cell in cells}) != len(cells):
        raise ExportError(f"{place}: names a cell twice")
    if not len(cells) == len(outlines) == record.candidates:
        raise ExportError(
            f"{one_line(folder.name)}: cells.csv has {len(cells)} cells, cells.geojson {len(outlines)} and {RECORD} "
            f"{record.candidates}; score the slide again"
        )
    return tuple(cells)


def _cell(row: Mapping[str, str], outlines: Mapping[str, npt.NDArray[np.float64]]) -> ExportedCell:
    call = next((call for call in CALLS if call == row["call"]), None)
    if call is None:
        raise ValueError(f"{row['call']!r} is no call")
    name = str(uuid.UUID(row["uuid"]))
    if name not in outlines:
        raise ValueError(f"cells.geojson has no outline {name}")
    return ExportedCell(
        cell_id=int(row["cell_id"]),
        uuid=name,
        x_px=_number(row, "x_px"),
        y_px=_number(row, "y_px"),
        score=_number(row, "score"),
        call=call,
        program_call=call,
        outline_px=outlines[name],
        measurements={column: _number(row, column) for column in MEASUREMENTS if row.get(column)},
    )


def _number(row: Mapping[str, str], column: str) -> float:
    value = float("nan")
    with suppress(ValueError):
        value = float(row[column])
    if not math.isfinite(value):
        raise ValueError(f"{column} is {row[column]!r}, not a number")
    return value


def _read_outlines(folder: Path) -> dict[str, npt.NDArray[np.float64]]:
    place = f"{one_line(folder.name)}/cells.geojson"
    outlines = {}
    try:
        features = json.loads((folder / "cells.geojson").read_bytes())["features"]
        for number, feature in enumerate(features, start=1):
            try:
                outlines[str(uuid.UUID(feature["id"]))] = _ring(feature["geometry"])
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                raise ExportError(f"{place}: outline {number} cannot be read ({one_line(error)})") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ExportError(f"{place}: cannot be read ({one_line(error)})") from error
    return outlines


def _ring(geometry: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    if geometry["type"] != "Polygon" or len(geometry["coordinates"]) != 1:
        raise ValueError("it is no polygon of one ring")
    ring = np.asarray(geometry["coordinates"][0], dtype=np.float64)
    if ring.ndim != 2 or ring.shape[0] < 4 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise ValueError("its ring has no four points")
    if not np.array_equal(ring[0], ring[-1]):
        raise ValueError("its ring is not closed")
    return ring
