"""Sets the thresholds and the temperature of new weights on lessons that were not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from dtcseg.network.model import LOOK_CLASSES, SCREEN_MAPS, SCREEN_STRIDE_PX, Look, Screen
from dtcseg.network.peaks import CANDIDATE_APART_PX, NUCLEUS_APART_PX, candidate_logits, core_peaks, nucleus_logits
from dtcseg.network.sides import look_from_all_sides, worth_all_sides
from dtcseg.tiles import lone_tile
from dtcseg_training.fields import LOOK_INNER
from dtcseg_training.temperature import fit_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg_training.fields import Lesson

FloatArray = npt.NDArray[np.float32]

_LEAST = 0.003
NUCLEUS_NEAR_PX = 4.0
CANDIDATE_NEAR_PX = 8.0
_NUCLEUS_THRESHOLDS = tuple(float(t) for t in np.round(np.arange(0.02, 0.9, 0.005), 3))
_MIDDLE_SDS = 3.29
"""Nine tenths of a normal distribution span as many standard deviations."""
_INNER_PX = 12
"""Nuclei nearer to the border of a field (half of them are cut) say nothing of a slide, which has next to no border."""
_MANY = 40
"""Fields with fewer nuclei say little about the error of a count."""
_LOST = 0.003
"""Share of the tumour cells that the screen sees at all which the candidate threshold may cost: recall is first, and
the second look is cheap (from 0.01 to this, recall on held-out fields rises by 1 % and candidates by a half)."""
_TUMOUR_THRESHOLD = 0.5
"""A call says more likely than not. (The threshold of the best F1 says how common tumour cells were in the lessons.)"""
_HALO_PX = 8


@dataclass(frozen=True)
class Calibration:
    """What the card needs, and what was seen while finding it.

    Attributes
    ----------
    nucleus_threshold, candidate_threshold, tumour_threshold, temperature, count_relative_sd : float
        As in `dtcseg.network.weights.Card`.
    figures : dict
        Precision and recall of nuclei, recall of candidates, recall and precision of calls on the same lessons.
    """

    nucleus_threshold: float
    candidate_threshold: float
    tumour_threshold: float
    temperature: float
    count_relative_sd: float
    figures: dict[str, object]


def calibrate(
    screen: Screen, look: Look, lessons: Sequence[Lesson], mined: Sequence[Lesson], real: Sequence[Lesson] = ()
) -> Calibration:
    """Find thresholds and temperature.

    Parameters
    ----------
    screen, look : Screen, Look
        Fitted, in evaluation mode, on the CPU.
    lessons : sequence of Lesson
        For the screen; none of them trained on.
    mined : sequence of Lesson
        For the look: their crops are the screen's own candidates (`mine_lesson`); none of them trained on.
    real : sequence of Lesson
        Real images (`real_lesson`), for the threshold of nuclei alone: they say as much of it as the simulated fields.
    """
    nuclei, candidates = [], []
    for lesson in lessons:
        found = find_peaks(screen, lesson)
        nuclei.append(found[0])
        candidates.append(found[1])
    counts = _Counts.of(nuclei, lessons)
    real_counts = _Counts.of([find_peaks(screen, lesson)[0] for lesson in real], real)
    nucleus_threshold = _nucleus_threshold([counts, real_counts])
    relative_sd, nuclear = _nuclei_at(nucleus_threshold, counts)
    candidate_threshold, candidate_recall = _candidate_threshold(candidates, lessons)
    temperature, called = _calls(look, mined)
    area_mm2 = sum(lesson.planes.shape[1] * lesson.planes.shape[2] for lesson in lessons) * 1e-6
    kept = sum(int((c[:, 2] >= candidate_threshold).sum()) for c in candidates)
    figures = {
        "held_out_fields": len(lessons),
        "held_out_mm2": round(area_mm2, 2),
        **nuclear,
        "candidate_recall_of_tumour": round(candidate_recall, 4),
        "candidates_per_ck_object": round(kept / max(sum(len(x.tumour) + len(x.other) for x in lessons), 1), 3),
        **called,
    }
    return Calibration(
        nucleus_threshold,
        candidate_threshold,
        _TUMOUR_THRESHOLD,
        temperature,
        relative_sd,
        cast("dict[str, object]", figures),
    )


def find_peaks(screen: Screen, lesson: Lesson) -> tuple[FloatArray, FloatArray]:
    """Nuclei and candidates (N, 3) of a lesson, x and y in its pixels and probability, each down to a low one."""
    planes, tile = lone_tile(lesson.planes, halo=_HALO_PX, align=SCREEN_STRIDE_PX)
    with torch.inference_mode():
        maps = screen(torch.from_numpy(planes))[0]
    nuclei = core_peaks(nucleus_logits(maps[SCREEN_MAPS.index("nucleus")]), tile, _LEAST, NUCLEUS_APART_PX)
    candidates = core_peaks(candidate_logits(maps), tile, _LEAST, CANDIDATE_APART_PX)
    for points in (nuclei, candidates):
        points[:, 2] = 1 / (1 + np.exp(-points[:, 2]))
    return nuclei, candidates


@dataclass(frozen=True)
class _Counts:
    """Nuclei found and true away from the borders of some fields.

    Attributes
    ----------
    found : list of (N, 3) float32
        x, y and probability, a field an entry.
    true : list of (N, 2) float32
        Centres.
    """

    found: list[FloatArray]
    true: list[FloatArray]

    @classmethod
    def of(cls, found: Sequence[FloatArray], lessons: Sequence[Lesson]) -> _Counts:
        """Take what lies away from the borders."""
        return cls(
            [_inner(f, lesson) for f, lesson in zip(found, lessons, strict=True)],
            [_inner(lesson.nuclei, lesson) for lesson in lessons],
        )

    def errors(self, threshold: float) -> npt.NDArray[np.float64]:
        """Relative errors of the counts of the fields that hold many nuclei."""
        true = np.array([len(c) for c in self.true], float)
        counted = np.array([(f[:, 2] >= threshold).sum() for f in self.found], float)
        many = true >= _MANY
        return np.asarray((counted[many] - true[many]) / true[many], float)


def _nucleus_threshold(kinds: Sequence[_Counts]) -> float:
    """Threshold at which the fields' counts err least; each kind of fields weighs as much as the others.

    Least is the mean of absolute relative errors: a few crowded fields, where nuclei hide each other at any threshold,
    must not make all others count too many.
    """
    if not any(len(f) for kind in kinds for f in kind.found):
        raise ValueError("the screen finds no nucleus at all: it has not learned enough to be calibrated")
    told = [kind for kind in kinds if len(kind.errors(1.0))]
    if not told:
        raise ValueError(f"no held-out field holds {_MANY} nuclei: the count cannot be calibrated")
    best = min(_NUCLEUS_THRESHOLDS, key=lambda t: sum(float(np.abs(kind.errors(t)).mean()) for kind in told))
    return round(float(best), 4)


def _nuclei_at(threshold: float, counts: _Counts) -> tuple[float, dict[str, float]]:
    """Spread of the count over fields, and what the nuclei are worth.

    The spread is that of the middle nine tenths, as a standard deviation: a field is a hundredth of a slide, and its
    worst is not a slide's.
    """
    relative = counts.errors(threshold)
    true = np.array([len(c) for c in counts.true], float)
    by_chance = 0.04 / true[true >= _MANY].mean()
    middle = float(np.subtract(*np.quantile(relative, (0.95, 0.05)))) / _MIDDLE_SDS
    sd = float(np.sqrt(max(middle**2 - by_chance, 0.0)))
    kept = [f[f[:, 2] >= threshold, :2] for f in counts.found]
    matched = sum(matches(f, c, NUCLEUS_NEAR_PX) for f, c in zip(kept, counts.true, strict=True))
    return (
        round(max(sd, 0.005), 4),
        {
            "nucleus_recall": round(matched / true.sum(), 4),
            "nucleus_precision": round(matched / max(sum(map(len, kept)), 1), 4),
            "nucleus_count_error_mean_abs": round(float(np.abs(relative).mean()), 4),
        },
    )


def _inner(points: FloatArray, lesson: Lesson) -> FloatArray:
    """Points (N, 2 or more), x and y first, that lie away from the border of a lesson."""
    far = np.array(lesson.planes.shape[:0:-1]) - 1 - _INNER_PX
    return points[((points[:, :2] >= _INNER_PX) & (points[:, :2] <= far)).all(axis=1)]


def _candidate_threshold(found: Sequence[FloatArray], lessons: Sequence[Lesson]) -> tuple[float, float]:
    """Find the highest threshold that loses next to no tumour cell."""
    best = []
    for candidates, lesson in zip(found, lessons, strict=True):
        for centre in lesson.tumour:
            near = np.hypot(*(candidates[:, :2] - centre).T) <= CANDIDATE_NEAR_PX
            best.append(float(candidates[near, 2].max()) if near.any() else 0.0)
    scores = np.sort(np.asarray(best or [1.0]))
    seen = scores[scores > 0] if (scores > 0).any() else np.ones(1)
    threshold = float(np.clip(seen[int(_LOST * len(seen))], 0.01, 0.4))
    return round(threshold, 4), float((scores >= threshold).mean())


def matches(found: npt.NDArray[np.floating[Any]], true: npt.NDArray[np.floating[Any]], near: float) -> int:
    """Count the pairs of found and true points."""
    return len(paired(found, true, near))


def paired(
    found: npt.NDArray[np.floating[Any]], true: npt.NDArray[np.floating[Any]], near: float
) -> list[tuple[int, int]]:
    """Pair found and true points, nearest first, each used once."""
    if not len(found) or not len(true):
        return []
    pairs = cKDTree(found).sparse_distance_matrix(cKDTree(true), near, output_type="ndarray")
    used_found: set[int] = set()
    used_true: set[int] = set()
    kept = []
    for i, j, _ in sorted(pairs.tolist(), key=lambda p: p[2]):
        if i not in used_found and j not in used_true:
            used_found.add(i)
            used_true.add(j)
            kept.append((i, j))
    return kept


def _calls(look: Look, lessons: Sequence[Lesson]) -> tuple[float, dict[str, object]]:
    """Fit the temperature by likelihood; then what the calls are worth."""
    logits, overlap = [], []
    for lesson in lessons:
        for start in range(0, len(lesson.calls), 16):
            with torch.inference_mode():
                crops = torch.from_numpy(lesson.crops[start : start + 16][LOOK_INNER].astype(np.float32))
                spreads = torch.from_numpy(lesson.spreads[start : start + 16])
                mask_logits, calls = look(crops, spreads)
                masks = mask_logits.sigmoid()
                for i in torch.nonzero(worth_all_sides(calls))[:, 0].tolist():
                    masks[i], calls[i] = look_from_all_sides(look, crops[i], spreads[i])
            logits.append(calls)
            got, want = masks.numpy()[:, 0] > 0.5, lesson.masks[start : start + 16][LOOK_INNER][:, 0]
            union = (got | want).sum((1, 2))
            overlap.append(np.where(union > 0, (got & want).sum((1, 2)) / np.maximum(union, 1), np.nan))
    scores, truth = torch.cat(logits), np.concatenate([x.calls for x in lessons])
    temperature = fit_temperature(scores.numpy(), truth)
    probability = (scores / temperature).softmax(1)[:, LOOK_CLASSES.index("tumour")].numpy()
    is_tumour = truth == LOOK_CLASSES.index("tumour")
    called = probability >= _TUMOUR_THRESHOLD
    ious = np.concatenate(overlap)
    return (
        temperature,
        {
            "call_f1_tumour": round(_f1(called, is_tumour), 4),
            "call_recall_tumour": round(_mean(called[is_tumour]), 4),
            "call_precision_tumour": round(_mean(is_tumour[called]), 4),
            "call_accuracy": round(float((scores.numpy().argmax(1) == truth).mean()), 4),
            "outline_iou_tumour": round(_mean(ious[is_tumour & np.isfinite(ious)]), 4),
            "held_out_tumour_cells": int(is_tumour.sum()),
        },
    )


def _mean(values: npt.NDArray[Any]) -> float:
    """Mean; 0 of nothing, as a card holds plain numbers."""
    return float(values.mean()) if values.size else 0.0


def _f1(called: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float:
    return float(2 * (called & true).sum() / max(called.sum() + true.sum(), 1))
