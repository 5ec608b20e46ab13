"""Where the candidates lie on a microscope's stage, to find them again on the glass."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.errors import UsageError
from dtcseg.results.text import csv_bytes, fixed, one_line

if TYPE_CHECKING:
    from dtcseg.exports.slides import Calls, ExportedSlide

STAGE_COLUMNS = (
    "cell_id",
    "call",
    "score",
    "x_px",
    "y_px",
    "x_um",
    "y_um",
    "stage_x_um",
    "stage_y_um",
    "diameter_um",
    "uuid",
)
_MARK = re.compile(r"\s*([^,=]+),([^,=]+)=([^,=]+),([^,=]+)\s*")
_NEAREST_PX = 1.0
_NEAREST_UM = 1.0
_SCALE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Mark:
    """One place seen both in the image (level-0 pixels, as in cells.csv) and on the stage (µm)."""

    x_px: float
    y_px: float
    stage_x_um: float
    stage_y_um: float


@dataclass(frozen=True)
class Similarity:
    """The map from image to stage that keeps angles: turn, scale, shift, and mirror where the stage needs it.

    With image and stage positions as complex numbers z and w it is w = factor * z + shift, or, mirrored,
    w = factor * conjugate(z) + shift.

    Attributes
    ----------
    factor : complex
        Its size is µm on the stage per level-0 pixel, its angle the rotation.
    shift_um : complex
    mirrored : bool
        Whether the axes of the stage are of the other handedness than the image's (x right, y down).
    """

    factor: complex
    shift_um: complex
    mirrored: bool

    @property
    def scale_um(self) -> float:
        """µm on the stage per level-0 pixel."""
        return abs(self.factor)

    def to_stage(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Say where on the stage (µm) a place of the image (level-0 pixels) lies."""
        place = self.factor * complex(x_px, -y_px if self.mirrored else y_px) + self.shift_um
        return place.real, place.imag


def parse_mark(text: str) -> Mark:
    """Read a mark, `X_PX,Y_PX=X_UM,Y_UM`.

    Raises
    ------
    UsageError
        It is not of that form.
    """
    found = _MARK.fullmatch(text)
    try:
        values = [float(value) for value in found.groups()] if found else []
    except ValueError:
        values = []
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise UsageError(f"--mark {one_line(text)!r}: write it as X_PX,Y_PX=X_UM,Y_UM, for instance 120,80=5000,3000.5")
    return Mark(*values)


def fit_marks(texts: Sequence[str], *, mirrored: bool = False) -> Similarity | None:
    """Make the map from the marks of a command line; None without marks.

    Raises
    ------
    UsageError
        There are not two, one is not of the form it must have, or both are one place.
    """
    if not texts:
        if mirrored:
            raise UsageError("--mirrored says nothing without two marks; give --mark twice")
        return None
    if len(texts) != 2:
        raise UsageError(f"two marks place a slide on the stage; --mark is given {len(texts)} times")
    first, second = map(parse_mark, texts)
    return similarity(first, second, mirrored=mirrored)


def similarity(first: Mark, second: Mark, *, mirrored: bool = False) -> Similarity:
    """Make the map that two marks define.

    Two marks fit two maps, one mirrored and one not: which of them a stage needs must be said.

    Raises
    ------
    UsageError
        The marks are one place in the image or on the stage, so that no direction can be taken from them.
    """
    z0, z1 = (complex(mark.x_px, -mark.y_px if mirrored else mark.y_px) for mark in (first, second))
    w0, w1 = (complex(mark.stage_x_um, mark.stage_y_um) for mark in (first, second))
    if abs(z1 - z0) < _NEAREST_PX or abs(w1 - w0) < _NEAREST_UM:
        raise UsageError("both marks are at one place; take two far apart, best in opposite corners of the scan")
    factor = (w1 - w0) / (z1 - z0)
    shift_um = w0 - factor * z0
    if not (factor and cmath.isfinite(factor) and cmath.isfinite(shift_um)):
        raise UsageError("the marks are too far out to compute with")
    return Similarity(factor, shift_um, mirrored)


def scale_doubt(slide: ExportedSlide, fit: Similarity) -> str:
    """Say in one line when the marks disagree with the pixel size of the slide; empty when they agree."""
    mpp_um = slide.record.mpp_um
    if abs(fit.scale_um / mpp_um - 1) <= _SCALE_TOLERANCE:
        return ""
    return (
        f"{one_line(slide.record.slide)}: the marks say {fit.scale_um:.4g} µm per pixel and the slide {mpp_um:.4g}; "
        "check that they are level-0 pixels and µm"
    )


def stage_csv(slide: ExportedSlide, calls: Calls | None = None, fit: Similarity | None = None) -> bytes:
    """Make stage.csv: one row a candidate, in the order of cells.csv.

    Parameters
    ----------
    slide : ExportedSlide
    calls : mapping of int to Call, optional
        Calls by `cell_id` that take the place of the program's.
    fit : Similarity, optional
        From two marks; without it `stage_x_um` and `stage_y_um` are empty.

    Returns
    -------
    bytes
        CSV. `x_um`, `y_um` count from the top left corner of the scan (x right, y down), so that they are half a pixel
        more than those of cells.csv, which count from the centre of the first pixel.

    Raises
    ------
    ExportError
        A call is given for a cell that is not there.
    """
    mpp_um = slide.record.mpp_um
    rows = []
    for cell in slide.with_calls(calls).cells:
        stage = fit.to_stage(cell.x_px, cell.y_px) if fit else (None, None)
        rows.append(
            {
                "cell_id": cell.cell_id,
                "call": cell.call,
                "score": fixed(cell.score, 4),
                "x_px": fixed(cell.x_px, 2),
                "y_px": fixed(cell.y_px, 2),
                "x_um": fixed((cell.x_px + 0.5) * mpp_um, 2),
                "y_um": fixed((cell.y_px + 0.5) * mpp_um, 2),
                "stage_x_um": fixed(stage[0], 2),
                "stage_y_um": fixed(stage[1], 2),
                "diameter_um": fixed(cell.measurements.get("diameter_um"), 2),
                "uuid": cell.uuid,
            }
        )
    return csv_bytes(STAGE_COLUMNS, rows)
