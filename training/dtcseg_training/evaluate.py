"""Weights against truth: which cells were found, outlined, called and counted on slides that carry their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.spatial import cKDTree

from dtcseg.config import ScoreConfig
from dtcseg.errors import UsageError
from dtcseg.manifest import find_slides
from dtcseg.score import score_slide
from dtcseg.slide import open_slide
from dtcseg_training.focus import sharpness_around
from dtcseg_training.simulate import read_truth
from dtcseg_training.simulate.truth import truth_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg.cells import Candidate, SlideScore
    from dtcseg_training.simulate import Truth, TruthCell

_NEAR_UM = 10.0
"""A candidate also counts as found when its centre lies this close to the truth's: half a small tumour cell's width."""
_TOUCHING_UM = 2.0
"""Outlines this close touch, as in the results (`cluster_id`)."""
_FAR_UM = 50.0
"""No tumour cell reaches farther."""
_AROUND_UM = 100.0
"""Cells are counted this far around an object for the density it lies in."""
_BOUNDARY_POINTS = 64


@dataclass(frozen=True)
class TumourCell:
    """One true tumour cell, and what became of it.

    Attributes
    ----------
    x_px, y_px : float
    score : float
        Best score of a candidate on it; -1 where there is none.
    called : bool
        Whether that candidate is called tumour.
    ck_od, diameter_um : float
        Strength of its stain and its size, from the truth.
    clustered : bool
    density_per_mm2 : float
        Nucleated cells around it, from the truth.
    sharpness : float
        Focus around it (`sharpness_around`), NaN where it was not measured.
    iou, boundary_um : float
        Overlap of both outlines, and the mean distance from one to the other; NaN where it was not found.
    ring_px : tuple of (x, y)
        Its true outline.
    """

    x_px: float
    y_px: float
    score: float
    called: bool
    ck_od: float
    diameter_um: float
    clustered: bool
    density_per_mm2: float
    sharpness: float
    iou: float
    boundary_um: float
    ring_px: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class OtherCandidate:
    """A candidate on anything but a tumour cell.

    Attributes
    ----------
    x_px, y_px, score : float
    called : bool
    kind : str
        What the truth has there, "" for nothing of note.
    beside_tumour : bool
        It touches a tumour cell: a cell of the cluster split in two, or a leukocyte among tumour cells.
    ring_px : tuple of (x, y)
    """

    x_px: float
    y_px: float
    score: float
    called: bool
    kind: str
    beside_tumour: bool
    ring_px: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SlideEvaluation:
    """One slide against its truth.

    Attributes
    ----------
    name, stain : str
    file : Path
    mpp_um : float
    mnc, true_mnc : int
    tumour : tuple of TumourCell
    others : tuple of OtherCandidate
    candidates : int
    """

    name: str
    stain: str
    file: Path
    mpp_um: float
    mnc: int
    true_mnc: int
    tumour: tuple[TumourCell, ...]
    others: tuple[OtherCandidate, ...]
    candidates: int


def evaluate(
    model: str,
    inputs: Sequence[Path],
    *,
    device: str = "auto",
    on_slide: Callable[[SlideEvaluation], None] | None = None,
) -> list[SlideEvaluation]:
    """Score every slide that has truth beside it, and compare.

    Parameters
    ----------
    model : str
        As `--model`.
    inputs : sequence of Path
        Slides or folders of slides.
    device : str
    on_slide : callable, optional
        Told each slide as it is done.

    Raises
    ------
    UsageError
        No slide has truth.
    SlideError
        A slide cannot be scored.
    """
    jobs, _ = find_slides(inputs, stain=None, mpp_um=None)
    known = [job for job in jobs if truth_paths(job.files[0])[0].exists()]
    if not known:
        raise UsageError("no slide here has its truth beside it (<slide>.truth.csv); make some with dtcseg simulate")
    results = []
    for job in known:
        score = score_slide(job, ScoreConfig(out=Path(), model=model, device=device))
        truth = read_truth(job.files[0])
        places = [(cell.x_px, cell.y_px) for cell in truth.cells if cell.call == "tumour"]
        with open_slide(job.files, mpp_um=score.mpp_um, mpp_source="flag") as slide:
            sharpness = sharpness_around(slide, score.mpp_um, places)
        results.append(compare(job.name, job.files[0], score, truth, sharpness))
        if on_slide is not None:
            on_slide(results[-1])
    return results


def compare(
    name: str, file: Path, score: SlideScore, truth: Truth, sharpness: Sequence[float] | None = None
) -> SlideEvaluation:
    """Pair candidates with true tumour cells, best score first; each is used once.

    `sharpness` is the focus around the true tumour cells, in their order.
    """
    tumour = [cell for cell in truth.cells if cell.call == "tumour"]
    rest = [cell for cell in truth.cells if cell.call != "tumour"]
    owner: dict[int, Candidate] = {}
    others = []
    for candidate in score.candidates:
        hit = _hit(candidate, tumour, score.mpp_um)
        if hit is None or hit in owner:  # a second candidate on one cell would count it twice
            others.append(candidate)
        else:
            owner[hit] = candidate
    density = _densities(tumour, truth, score.mpp_um)
    focus = sharpness if sharpness is not None else [float("nan")] * len(tumour)
    return SlideEvaluation(
        name=name,
        stain=score.stain,
        file=file,
        mpp_um=score.mpp_um,
        mnc=score.mnc,
        true_mnc=len(truth.nuclei_px),
        tumour=tuple(
            _tumour_cell(cell, owner.get(i), density[i], focus[i], score.mpp_um) for i, cell in enumerate(tumour)
        ),
        others=tuple(_other(c, rest, tumour, score.mpp_um) for c in others),
        candidates=len(score.candidates),
    )


def _tumour_cell(
    cell: TruthCell, found: Candidate | None, density: float, sharpness: float, mpp_um: float
) -> TumourCell:
    iou, boundary_um = _outlines(found, cell, mpp_um) if found is not None else (float("nan"), float("nan"))
    return TumourCell(
        x_px=cell.x_px,
        y_px=cell.y_px,
        score=found.score if found is not None else -1.0,
        called=found is not None and found.call == "tumour",
        ck_od=cell.ck_od,
        diameter_um=cell.diameter_um,
        clustered=cell.cluster > 0,
        density_per_mm2=density,
        sharpness=sharpness,
        iou=iou,
        boundary_um=boundary_um,
        ring_px=tuple((float(x), float(y)) for x, y in cell.outline),
    )


def _other(
    candidate: Candidate, rest: Sequence[TruthCell], tumour: Sequence[TruthCell], mpp_um: float
) -> OtherCandidate:
    hit = _hit(candidate, rest, mpp_um)
    mine = shapely.make_valid(shapely.Polygon(candidate.outline_px))
    near_px = (_FAR_UM + candidate.diameter_um) / mpp_um
    rings = [c.outline for c in tumour if np.hypot(c.x_px - candidate.x_px, c.y_px - candidate.y_px) < near_px]
    beside = any(shapely.dwithin(mine, shapely.make_valid(shapely.Polygon(r)), _TOUCHING_UM / mpp_um) for r in rings)
    return OtherCandidate(
        x_px=candidate.x_px,
        y_px=candidate.y_px,
        score=candidate.score,
        called=candidate.call == "tumour",
        kind=rest[hit].kind if hit is not None else "",
        beside_tumour=beside,
        ring_px=tuple((float(x), float(y)) for x, y in candidate.outline_px),
    )


def _densities(cells: Sequence[TruthCell], truth: Truth, mpp_um: float) -> list[float]:
    if not cells or not len(truth.nuclei_px):
        return [0.0] * len(cells)
    tree = cKDTree(truth.nuclei_px)
    counts = tree.query_ball_point([(c.x_px, c.y_px) for c in cells], _AROUND_UM / mpp_um, return_length=True)
    return [float(n) / (np.pi * (_AROUND_UM / 1000) ** 2) for n in counts]


def _hit(candidate: Candidate, cells: Sequence[TruthCell], mpp_um: float) -> int | None:
    """Index of the true cell that this candidate is on: centre inside its outline or near its centre; the nearest."""
    best, least = None, float("inf")
    for i, cell in enumerate(cells):
        distance_um = float(np.hypot(cell.x_px - candidate.x_px, cell.y_px - candidate.y_px)) * mpp_um
        if distance_um > max(_NEAR_UM, cell.diameter_um) or distance_um >= least:
            continue
        inside = len(cell.outline) > 3 and shapely.Polygon(cell.outline).contains(
            shapely.Point(candidate.x_px, candidate.y_px)
        )
        if inside or distance_um <= _NEAR_UM:
            best, least = i, distance_um
    return best


def _outlines(candidate: Candidate, cell: TruthCell, mpp_um: float) -> tuple[float, float]:
    """Intersection over union, and the mean distance between both boundaries in µm, both ways."""
    mine, theirs = (shapely.make_valid(shapely.Polygon(ring)) for ring in (candidate.outline_px, cell.outline))
    common = float(mine.intersection(theirs).area)
    iou = common / (float(mine.area) + float(theirs.area) - common)
    distances = []
    for one, other in ((mine, theirs), (theirs, mine)):
        edge = one.boundary
        points = shapely.line_interpolate_point(edge, np.linspace(0, 1, _BOUNDARY_POINTS), normalized=True)
        distances.append(float(np.mean(shapely.distance(points, other.boundary))))
    return iou, mpp_um * float(np.mean(distances))
