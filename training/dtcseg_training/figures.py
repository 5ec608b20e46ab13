"""Figures of an evaluation: recall, precision, FROC, outlines, counts, calibration, and all of it by stratum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from dtcseg.quality import MIN_SHARPNESS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg_training.evaluate import SlideEvaluation, TumourCell

FloatArray = npt.NDArray[np.float64]

FALSE_ALLOWED = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Where the FROC curve is read: CAMELYON16's steps (Ehteshami Bejnordi et al. 2017), per slide and per 10^6 cells."""
_BINS = 10


@dataclass(frozen=True)
class Share:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """NaN where there is nothing to judge by."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Of a share; (0, 1) where there is nothing to judge by."""
        low = float(beta.ppf(0.025, self.count, self.total - self.count + 1)) if self.count else 0.0
        high = float(beta.ppf(0.975, self.count + 1, self.total - self.count)) if self.count < self.total else 1.0
        return low, high

    def __str__(self) -> str:
        """Percent with the interval, and the numbers."""
        if not self.total:
            return "-"
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f}; {self.count} of {self.total})"


def recall(results: Sequence[SlideEvaluation]) -> Share:
    """Tumour cells called."""
    return Share(sum(c.called for r in results for c in r.tumour), sum(len(r.tumour) for r in results))


def false_calls(results: Sequence[SlideEvaluation]) -> int:
    """Tumour calls on anything but a tumour cell."""
    return sum(o.called for r in results for o in r.others)


def false_calls_beside(results: Sequence[SlideEvaluation]) -> int:
    """Those of them that touch a tumour cell: they add to the count of a positive slide, and make none positive."""
    return sum(o.called and o.beside_tumour for r in results for o in r.others)


def precision(results: Sequence[SlideEvaluation]) -> Share:
    """Tumour calls that are right."""
    right = recall(results).count
    return Share(right, right + false_calls(results))


def f1(results: Sequence[SlideEvaluation]) -> float:
    """Harmonic mean of recall and precision of tumour calls; NaN where there is neither call nor tumour cell."""
    found, called = recall(results), precision(results)
    return 2 * found.count / (found.total + called.total) if found.total + called.total else float("nan")


def candidate_recall(results: Sequence[SlideEvaluation]) -> Share:
    """Tumour cells that are candidates, whatever their call."""
    return Share(sum(c.score >= 0 for r in results for c in r.tumour), sum(len(r.tumour) for r in results))


def cells(results: Sequence[SlideEvaluation]) -> int:
    """Nucleated cells in truth."""
    return sum(r.true_mnc for r in results)


def froc(results: Sequence[SlideEvaluation], *, elsewhere: bool = False) -> tuple[FloatArray, FloatArray]:
    """Recall of candidates over the number of false ones, as the score falls.

    Parameters
    ----------
    results : sequence of SlideEvaluation
    elsewhere : bool
        Leave out false candidates that touch a tumour cell: where slides hold many times the tumour cells of ordinary
        ones, these are as many times too common.

    Returns
    -------
    false_per_million, recall : (N,) float64
        One step a score; false candidates per 10^6 true cells.
    """
    true = np.array([c.score for r in results for c in r.tumour])
    other = np.array([o.score for r in results for o in r.others if not (elsewhere and o.beside_tumour)])
    steps = np.unique(np.concatenate([true[true >= 0], other, [0.0]]))[::-1]
    false = np.array([(other >= s).sum() for s in steps], float)
    found = np.array([(true >= s).sum() for s in steps], float)
    return 1e6 * false / max(cells(results), 1), found / max(len(true), 1)


def froc_at(results: Sequence[SlideEvaluation], false_per_million: float, *, elsewhere: bool = False) -> float:
    """Greatest recall with at most as many false candidates per 10^6 cells; NaN without tumour cells."""
    if not any(r.tumour for r in results):
        return float("nan")
    false, found = froc(results, elsewhere=elsewhere)
    allowed = false <= false_per_million
    return float(found[allowed].max()) if allowed.any() else 0.0


def froc_score(results: Sequence[SlideEvaluation]) -> float:
    """CAMELYON16's figure: mean recall at 1/4, 1/2, 1, 2, 4 and 8 false candidates a slide."""
    slides_per_million = 1e6 * len(results) / max(cells(results), 1)
    return float(np.mean([froc_at(results, rate * slides_per_million) for rate in FALSE_ALLOWED]))


@dataclass(frozen=True)
class CountAgreement:
    """Counted against true nuclei over slides, in shares of the true count.

    Attributes
    ----------
    bias : float
        Mean error.
    limits : (float, float)
        95 % limits of agreement (Bland and Altman 1986): bias ± 1.96 standard deviations.
    mean_abs, max_abs : float
    concordance : float
        Lin's concordance correlation coefficient of the counts (Lin 1989); NaN of fewer than two slides.
    """

    bias: float
    limits: tuple[float, float]
    mean_abs: float
    max_abs: float
    concordance: float


def count_agreement(results: Sequence[SlideEvaluation]) -> CountAgreement:
    """Compare the counts of the slides that hold any cell."""
    true = np.array([r.true_mnc for r in results if r.true_mnc], float)
    counted = np.array([r.mnc for r in results if r.true_mnc], float)
    if not len(true):
        nan = float("nan")
        return CountAgreement(nan, (nan, nan), nan, nan, nan)
    error = (counted - true) / true
    spread = 1.96 * float(error.std(ddof=1)) if len(error) > 1 else float("nan")
    bias = float(error.mean())
    return CountAgreement(
        bias,
        (bias - spread, bias + spread),
        float(np.abs(error).mean()),
        float(np.abs(error).max()),
        lin(true, counted),
    )


def lin(a: FloatArray, b: FloatArray) -> float:
    """Lin's concordance correlation coefficient: 2 cov / (var + var + squared difference of the means)."""
    if len(a) < 2:
        return float("nan")
    covariance = float(((a - a.mean()) * (b - b.mean())).mean())
    below = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    return 2 * covariance / below if below else float("nan")


@dataclass(frozen=True)
class Calibration:
    """Scores against how often they are right, in ten bins of equal width.

    Attributes
    ----------
    predicted, observed : (10,) float64
        Mean score and share of tumour cells of each bin; NaN in empty ones.
    counts : (10,) int64
    ece : float
        Expected calibration error: mean distance of both, weighted by the counts (Guo et al. 2017).
    """

    predicted: FloatArray
    observed: FloatArray
    counts: npt.NDArray[np.int64]
    ece: float


def calibration(results: Sequence[SlideEvaluation]) -> Calibration:
    """Calibrate over all candidates."""
    true = [c.score for r in results for c in r.tumour if c.score >= 0]
    other = [o.score for r in results for o in r.others]
    scores = np.array(true + other)
    right = np.array([True] * len(true) + [False] * len(other))
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1) if len(scores) else np.zeros(0, int)
    counts = np.bincount(bins, minlength=_BINS)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(bins, scores, _BINS) / counts
        observed = np.bincount(bins, right, _BINS) / counts
    full = counts > 0
    ece = float((np.abs(predicted - observed)[full] * counts[full]).sum() / max(counts.sum(), 1))
    return Calibration(predicted, observed, counts, ece)


def mean_outline(results: Sequence[SlideEvaluation]) -> tuple[float, float]:
    """Mean overlap (IoU) and mean boundary distance (µm) of the tumour cells that were found."""
    found = [c for r in results for c in r.tumour if c.score >= 0]
    if not found:
        return float("nan"), float("nan")
    return float(np.mean([c.iou for c in found])), float(np.mean([c.boundary_um for c in found]))


@dataclass(frozen=True)
class Stratum:
    """Tumour cells of one kind: how many were called, how many were candidates, and how well they were outlined."""

    factor: str
    name: str
    called: Share
    candidates: Share
    iou: float


_CELL_STRATA: tuple[tuple[str, Callable[[TumourCell], str]], ...] = (
    ("strength", lambda c: _band(c.ck_od, (0.25, 0.5, 1.0), "OD")),
    ("size", lambda c: _band(c.diameter_um, (15, 20, 30), "µm")),
    ("cluster", lambda c: "in a cluster" if c.clustered else "single"),
    ("density", lambda c: _band(c.density_per_mm2, (1000, 2000, 4000), "cells/mm²")),
    ("focus", lambda c: _band(c.sharpness, (MIN_SHARPNESS, 0.6, 0.9), "sharpness")),
)


def strata(results: Sequence[SlideEvaluation]) -> list[Stratum]:
    """Break the tumour cells down by stain, strength, size, cluster, density, focus and pixel size."""
    groups: dict[tuple[str, str], list[TumourCell]] = {}
    for result in results:
        for cell in result.tumour:
            keys = [("stain", result.stain), ("pixel size", _band(result.mpp_um, (0.3, 0.6), "µm"))]
            keys += [(factor, name(cell)) for factor, name in _CELL_STRATA]
            for key in keys:
                groups.setdefault(key, []).append(cell)
    order = ["stain", *(factor for factor, _ in _CELL_STRATA), "pixel size"]
    rows = []
    for (factor, name), members in groups.items():
        found = [c for c in members if c.score >= 0]
        rows.append(
            Stratum(
                factor,
                name,
                Share(sum(c.called for c in members), len(members)),
                Share(len(found), len(members)),
                float(np.mean([c.iou for c in found])) if found else float("nan"),
            )
        )
    return sorted(rows, key=lambda row: (order.index(row.factor), _number(row.name), row.name))


def _band(value: float, edges: tuple[float, ...], unit: str) -> str:
    if np.isnan(value):
        return "not known"
    below = [e for e in edges if value >= e]
    above = [e for e in edges if value < e]
    if not below:
        return f"under {edges[0]:g} {unit}"
    return f"{below[-1]:g} to {above[0]:g} {unit}" if above else f"{edges[-1]:g} {unit} and more"


def _number(name: str) -> float:
    first = name.split()[0]
    try:
        return float(first)
    except ValueError:
        return -1.0


def summary(results: Sequence[SlideEvaluation]) -> dict[str, float | int | list[float]]:
    """Return every figure as plain numbers, for a card."""
    found, right, seen = recall(results), precision(results), candidate_recall(results)
    counted, (iou, boundary_um) = count_agreement(results), mean_outline(results)
    million = 1e6 / max(cells(results), 1)
    return {
        "slides": len(results),
        "cells": cells(results),
        "tumour_cells": found.total,
        "call_recall": round(found.value, 4),
        "call_recall_95": [round(v, 4) for v in found.interval],
        "call_precision": round(right.value, 4),
        "call_precision_95": [round(v, 4) for v in right.interval],
        "call_f1": round(f1(results), 4),
        "false_calls": false_calls(results),
        "false_calls_beside_tumour_cells": false_calls_beside(results),
        "false_calls_per_million": round(false_calls(results) * million, 3),
        "false_calls_elsewhere_per_million": round((false_calls(results) - false_calls_beside(results)) * million, 3),
        "candidate_recall": round(seen.value, 4),
        "candidates_per_million": round(sum(r.candidates for r in results) * million, 1),
        "froc_recall": [round(froc_at(results, rate), 4) for rate in FALSE_ALLOWED],
        "froc_score_per_slide": round(froc_score(results), 4),
        "froc_recall_elsewhere": [round(froc_at(results, rate, elsewhere=True), 4) for rate in FALSE_ALLOWED],
        "recall_at_20_false_candidates_per_million": round(froc_at(results, 20.0, elsewhere=True), 4),
        "outline_iou": round(iou, 4),
        "outline_boundary_um": round(boundary_um, 3),
        "count_bias": round(counted.bias, 4),
        "count_limits": [round(v, 4) for v in counted.limits],
        "count_error_mean_abs": round(counted.mean_abs, 4),
        "count_error_max_abs": round(counted.max_abs, 4),
        "count_concordance": round(counted.concordance, 4),
        "calibration_error": round(calibration(results).ece, 4),
    }


def table(results: Sequence[SlideEvaluation]) -> str:
    """Return the slides, the figures and the strata as Markdown."""
    lines = [
        "| slide | stain | cells counted / true | tumour cells called / true | false tumour calls | candidates |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        error = 100 * (r.mnc - r.true_mnc) / max(r.true_mnc, 1)
        lines.append(
            f"| {r.name} | {r.stain} | {r.mnc} / {r.true_mnc} ({error:+.1f} %) | {recall([r]).count} / {len(r.tumour)} "
            f"| {false_calls([r])} | {r.candidates} |"
        )
    lines += ["", "| tumour cells by | | called | candidates | outline IoU |", "|---|---|---|---|---|"]
    lines += [f"| {s.factor} | {s.name} | {s.called} | {s.candidates} | {s.iou:.2f} |" for s in strata(results)]
    lines += ["", *(f"- {key}: {value}" for key, value in summary(results).items())]
    return "\n".join(lines)
