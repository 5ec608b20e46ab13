"""The cells a verdict speaks of: named, placed and outlined, so that they are found again after another scoring."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from dtcseg.errors import VerdictError
from dtcseg.results.text import one_line
from dtcseg.verdicts.terms import MARKS, Mark

Ring = tuple[tuple[float, float], ...]
"""Closed ring of (x, y) level-0 pixels, two decimals, first point repeated as the last."""

_QUPATH_OFFSET_PX = 0.5  # cells.geojson counts from the corner of the first pixel, dtcseg from its centre


@dataclass(frozen=True)
class CellRef:
    """One cell as a reader was shown it.

    Attributes
    ----------
    id : str
        The `uuid` of cells.csv, made of slide and place; of an added cell, one of its own.
    x_px, y_px : float
        Centre in level-0 pixels, two decimals.
    outline_px : Ring
    number : int
        `cell_id` in cells.csv when it was shown; 0 for a cell that is not in it.
    score : float
        What the program gave it, 0..1.
    call : str
        What the program called it; empty for a cell that the program did not find.
    mark : {"", "seeded", "audit"}
    source : str
        Of a seeded cell, where it really lies: name of its slide, a slash, its id there. Empty for every other cell.
    """

    id: str
    x_px: float
    y_px: float
    outline_px: Ring = ()
    number: int = 0
    score: float = 0.0
    call: str = ""
    mark: Mark = ""
    source: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a cell of this slide's result: seeded and audit cells are not."""
        return not self.mark

    def to_json(self, *, with_outline: bool) -> dict[str, Any]:
        """Make its members in an entry; the outline's hash is always there."""
        values: dict[str, Any] = {
            "call": self.call,
            "id": self.id,
            "number": self.number,
            "outline_sha256": ring_sha256(self.outline_px),
            "score": self.score,
            "x_px": self.x_px,
            "y_px": self.y_px,
        }
        if self.mark:
            values["mark"] = self.mark
        if self.source:
            values["source"] = self.source
        if with_outline and self.outline_px:
            values["outline_px"] = self.outline_px
        return values


def cell_from_json(values: Mapping[str, Any], rings: dict[str, Ring]) -> CellRef:
    """Read a cell of an entry.

    Parameters
    ----------
    values : mapping
    rings : dict of str to Ring
        Outlines of this log by their SHA-256; one that stands in this entry is added.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is none, or its outline stands nowhere in the log.
    """
    sha256 = str(values["outline_sha256"])
    if "outline_px" in values:
        ring = ring_from_json(values["outline_px"])
        if ring_sha256(ring) != sha256:
            raise ValueError("the outline does not have the hash it carries")
        rings[sha256] = ring
    mark = values.get("mark", "")
    if mark not in MARKS:
        raise ValueError("unknown mark of a cell")
    return CellRef(
        id=str(values["id"]),
        x_px=float(values["x_px"]),
        y_px=float(values["y_px"]),
        outline_px=rings[sha256] if sha256 != _NO_RING else (),
        number=int(values["number"]),
        score=float(values["score"]),
        call=str(values["call"]),
        mark=cast("Mark", mark),
        source=str(values.get("source", "")),
    )


def ring_of(points_px: Iterable[Iterable[float]]) -> Ring:
    """Make a ring of an outline: two decimals, closed.

    Parameters
    ----------
    points_px : iterable of (x, y), or an (N, 2) array
        Level-0 pixels, at least three different points.

    Raises
    ------
    VerdictError
        It is not an outline.
    """
    try:
        rows = points_px if isinstance(points_px, np.ndarray) else [tuple(point) for point in points_px]
        places = np.round(np.asarray(rows, np.float64).reshape(-1, 2), 2) + 0.0
    except (TypeError, ValueError) as error:
        raise VerdictError("an outline is a list of (x, y) in level-0 pixels; draw it again") from error
    points: list[tuple[float, float]] = [(x, y) for x, y in places.tolist()]
    if points and points[0] != points[-1]:
        points.append(points[0])
    if len(set(points)) < 3 or not np.isfinite(places).all():
        raise VerdictError("an outline needs at least three different points with finite places; draw it again")
    return tuple(points)


def ring_from_json(values: Any) -> Ring:
    """Read a ring as it stands in a log.

    Raises
    ------
    TypeError, ValueError
        It is none.
    """
    return tuple([(float(x), float(y)) for x, y in values])


def ring_sha256(ring: Ring) -> str:
    """Name an outline: SHA-256 of its places as `x,y` with two decimals, separated by spaces; no outline, no places."""
    return hashlib.sha256(" ".join([f"{x:.2f},{y:.2f}" for x, y in ring]).encode("ascii")).hexdigest()


_NO_RING = ring_sha256(())


def placed(cell: CellRef) -> CellRef:
    """Round a cell's place and score to what the log holds.

    Raises
    ------
    VerdictError
        The place is not finite.
    """
    x_px, y_px, score = round(float(cell.x_px), 2) + 0.0, round(float(cell.y_px), 2) + 0.0, round(float(cell.score), 4)
    if not (cell.id and math.isfinite(x_px) and math.isfinite(y_px) and math.isfinite(score)):
        raise VerdictError("a cell needs an id, a finite place and a finite score")
    outline = ring_of(cell.outline_px) if cell.outline_px else ()
    return replace(cell, x_px=x_px, y_px=y_px, score=score, outline_px=outline, number=int(cell.number))


def read_candidates(folder: Path) -> tuple[CellRef, ...]:
    """Read what the program found on a slide, in the order of its cells.csv.

    Parameters
    ----------
    folder : Path
        RESULTS/<slide>.

    Raises
    ------
    VerdictError
        Its cells.csv and cells.geojson are not there, or not those of dtcseg.
    """
    try:
        text = (folder / "cells.csv").read_bytes().decode("utf-8-sig")
        shapes = json.loads((folder / "cells.geojson").read_bytes())["features"]
        outlines = {shape["id"]: shape["geometry"]["coordinates"][0] for shape in shapes}
        return tuple(_candidate(row, outlines[row["uuid"]]) for row in csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise VerdictError(f"{one_line(folder)}: holds no cells that can be read; score the slide again") from error


def _candidate(row: Mapping[str, str], outline: Sequence[Sequence[float]]) -> CellRef:
    return CellRef(
        id=row["uuid"],
        x_px=float(row["x_px"]),
        y_px=float(row["y_px"]),
        outline_px=ring_of(np.asarray(outline, np.float64) - _QUPATH_OFFSET_PX),
        number=int(row["cell_id"]),
        score=float(row["score"]),
        call=row["call"],
    )
