"""Weights against truth: tumour calls, candidates and counts on slides that carry their truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.stats import beta

from dtcseg.config import ScoreConfig
from dtcseg.errors import UsageError
from dtcseg.manifest import find_slides
from dtcseg.score import score_slide
from dtcseg_training.simulate import read_truth
from dtcseg_training.simulate.truth import truth_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg.cells import Candidate, SlideScore
    from dtcseg_training.simulate import Truth, TruthCell

_NEAR_UM = 10.0
"""A candidate also counts as found when its centre lies this close to the truth's: half a small tumour cell's width."""
FALSE_PER_MILLION = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Where the FROC curve is read: CAMELYON16's steps, per 10^6 cells instead of per slide."""


@dataclass(frozen=True)
class SlideEvaluation:
    """One slide against its truth.

    Attributes
    ----------
    name, stain : str
    mnc, true_mnc : int
    tumour_scores : tuple of float
        Best score of a candidate on each true tumour cell, -1 for one without a candidate.
    called : tuple of bool
        Whether that candidate is called tumour.
    other_scores : tuple of float
        Scores of candidates on anything else.
    false_calls : int
        Tumour calls on anything else.
    candidates : int
    ious : tuple of float
        Outline overlap of each tumour cell found.
    """

    name: str
    stain: str
    mnc: int
    true_mnc: int
    tumour_scores: tuple[float, ...]
    called: tuple[bool, ...]
    other_scores: tuple[float, ...]
    false_calls: int
    candidates: int
    ious: tuple[float, ...]


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
        results.append(compare(job.name, score, read_truth(job.files[0])))
        if on_slide is not None:
            on_slide(results[-1])
    return results


def compare(name: str, score: SlideScore, truth: Truth) -> SlideEvaluation:
    """Pair candidates with true tumour cells, best score first; each is used once."""
    tumour = [cell for cell in truth.cells if cell.call == "tumour"]
    owner: dict[int, Candidate] = {}
    others = []
    for candidate in score.candidates:
        hit = _hit(candidate, tumour, score.mpp_um)
        if hit is None:
            others.append(candidate)
        elif hit not in owner:
            owner[hit] = candidate
    return SlideEvaluation(
        name=name,
        stain=score.stain,
        mnc=score.mnc,
        true_mnc=len(truth.nuclei_px),
        tumour_scores=tuple(owner[i].score if i in owner else -1.0 for i in range(len(tumour))),
        called=tuple(i in owner and owner[i].call == "tumour" for i in range(len(tumour))),
        other_scores=tuple(c.score for c in others),
        false_calls=sum(c.call == "tumour" for c in others),
        candidates=len(score.candidates),
        ious=tuple(_iou(owner[i], tumour[i]) for i in sorted(owner)),
    )


def summary(results: Sequence[SlideEvaluation]) -> dict[str, float | list[float]]:
    """Figures over all slides; recall and precision with exact 95 % intervals (Clopper & Pearson 1934)."""
    called = [c for r in results for c in r.called]
    false = sum(r.false_calls for r in results)
    found, cells = sum(called), sum(r.true_mnc for r in results)
    scores = np.array([s for r in results for s in r.tumour_scores])
    others = np.sort(np.array([s for r in results for s in r.other_scores]))[::-1]
    errors = np.array([(r.mnc - r.true_mnc) / r.true_mnc for r in results if r.true_mnc])
    froc = []
    for rate in FALSE_PER_MILLION:
        allowed = int(rate * cells * 1e-6)
        threshold = others[allowed] if allowed < len(others) else -0.5
        froc.append(round(float((scores > threshold).mean()), 4) if len(scores) else float("nan"))
    return {
        "slides": len(results),
        "cells": cells,
        "tumour_cells": len(called),
        "call_recall": round(found / max(len(called), 1), 4),
        "call_recall_95": list(exact_interval(found, len(called))),
        "call_precision": round(found / max(found + false, 1), 4),
        "call_precision_95": list(exact_interval(found, found + false)),
        "false_calls_per_million": round(1e6 * false / max(cells, 1), 3),
        "candidate_recall": round(float((scores >= 0).mean()), 4) if len(scores) else float("nan"),
        "candidates_per_million": round(1e6 * sum(r.candidates for r in results) / max(cells, 1), 1),
        "froc_recall": froc,
        "outline_iou": round(float(np.mean([i for r in results for i in r.ious] or [np.nan])), 4),
        "count_error_mean": round(float(errors.mean()), 4),
        "count_error_mean_abs": round(float(np.abs(errors).mean()), 4),
        "count_error_max_abs": round(float(np.abs(errors).max()), 4),
    }


def table(results: Sequence[SlideEvaluation]) -> str:
    """Return the slides and the figures as Markdown."""
    lines = [
        "| slide | stain | cells counted / true | tumour cells called / true | false tumour calls | candidates |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        error = 100 * (r.mnc - r.true_mnc) / max(r.true_mnc, 1)
        lines.append(
            f"| {r.name} | {r.stain} | {r.mnc} / {r.true_mnc} ({error:+.1f} %) | {sum(r.called)} / {len(r.called)} "
            f"| {r.false_calls} | {r.candidates} |"
        )
    lines += ["", *(f"- {key}: {value}" for key, value in summary(results).items())]
    return "\n".join(lines)


def exact_interval(count: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson 95 % interval of a share; (0, 1) where there is nothing to judge by."""
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return round(low, 4), round(high, 4)


def _hit(candidate: Candidate, tumour: Sequence[TruthCell], mpp_um: float) -> int | None:
    """Index of the true cell that this candidate is on: centre inside its outline or near its centre; the nearest."""
    best, least = None, float("inf")
    for i, cell in enumerate(tumour):
        distance_um = float(np.hypot(cell.x_px - candidate.x_px, cell.y_px - candidate.y_px)) * mpp_um
        if distance_um > max(_NEAR_UM, cell.diameter_um) or distance_um >= least:
            continue
        inside = len(cell.outline) > 3 and shapely.Polygon(cell.outline).contains(
            shapely.Point(candidate.x_px, candidate.y_px)
        )
        if inside or distance_um <= _NEAR_UM:
            best, least = i, distance_um
    return best


def _iou(candidate: Candidate, cell: TruthCell) -> float:
    mine, theirs = (shapely.make_valid(shapely.Polygon(ring)) for ring in (candidate.outline_px, cell.outline))
    common = float(mine.intersection(theirs).area)
    return common / (float(mine.area) + float(theirs.area) - common)
