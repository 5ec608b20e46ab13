"""Champion against challenger: exact tests on paired calls, FROC with bootstrap intervals, and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from dtcseg_training.figures import FALSE_ALLOWED, Share
from dtcseg_training.learn.outcome import Comparison, GateResult

_DRAWS = 1000
_LEVEL = 0.05
_LEAST_JUDGED = 6
"""Held-out cells of a laboratory below which nothing can be said of them: six that all go one way are the fewest that
an exact test can tell from chance (p = 2 x 0.5^6 = 0.03)."""
_RECALL_LOST = 0.01
"""Share of the reference set's tumour cells that may be lost whatever the test says: one in a hundred."""
_FALSE_GAINED = 0.01
"""The same for its other objects that become tumour calls. (In laboratory 10,300,000 of the benchmark of learning this
refused weights that called 352 tumour cells of 385 with 25 false calls where there had been 343 and 203: on fields like
its slides they called 252 of 265 tumour cells for 225, and 28 of 530 other objects for 20. Hence `_paid_for`.)"""


_PLACES = {
    "lab": "this laboratory's held-out slides",
    "alike": "simulated fields like this laboratory's slides",
    "reference": "the reference set",
}

NOBODY = "there is nobody to judge by: give verdicts on slides of at least two patients"


@dataclass(frozen=True)
class Judged:
    """Scores of both networks on cells of known truth.

    Attributes
    ----------
    tumour : (N,) bool
    unit : (N,) int64
        Slide or field of each.
    scores : (2, N) float64
        Of champion and challenger.
    called : (2, N) bool
        Called tumour, each at its own threshold.
    """

    tumour: npt.NDArray[np.bool_]
    unit: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    called: npt.NDArray[np.bool_]


def compare(name: Literal["lab", "alike", "reference"], judged: Judged, seed: int = 0) -> Comparison:
    """Compare both networks on the same cells.

    Parameters
    ----------
    name : {"lab", "alike", "reference"}
    judged : Judged
    seed : int
        Of the bootstrap, which draws slides or fields.
    """
    right = judged.called == judged.tumour
    gained = int((right[1] & ~right[0]).sum())
    lost = int((right[0] & ~right[1]).sum())
    tumour = judged.tumour
    other = ~tumour
    units = np.unique(judged.unit)
    froc = [_froc(judged.scores[k], tumour, len(units)) for k in (0, 1)]
    changes, draws = _changes(judged, len(units)), _bootstrap(judged, units, seed)
    return Comparison(
        name=name,
        units=len(units),
        recall=_shares(judged.called, tumour),
        false_calls=_shares(judged.called, other),
        gained=gained,
        lost=lost,
        p_value=mcnemar(gained, lost),
        tumour_gained=int((right[1] & ~right[0] & tumour).sum()),
        tumour_lost=int((right[0] & ~right[1] & tumour).sum()),
        froc=(froc[0], froc[1]),
        froc_change=_interval(changes[0], draws[:, 0]),
        recall_change=_interval(changes[1], draws[:, 1]),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test (McNemar 1947; binomial): p-value of as uneven a split by chance."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def decide(
    lab: Comparison | None, reference: Comparison, warnings: tuple[str, ...] = (), alike: Comparison | None = None
) -> GateResult:
    """Let the challenger through, or say in one line why not.

    Through goes what loses no recall beyond noise and calls no more falsely beyond noise on any set, and is better
    on the laboratory's own cells: more calls right. Where the truth is known (the reference set and simulated fields
    like the laboratory's) no more calls may be wrong at all, unless what is gained in the laboratory is beyond noise: a
    call or two of a thousand may change by chance, and of the fields like the laboratory's as many as chance makes, for
    its own cells are better witnesses than these.
    """
    sure = lab is not None and lab.gained > lab.lost and lab.p_value < _LEVEL
    reasons = [_known_reason(found, sure) for found in (reference, alike) if found is not None]
    reason = next(filter(None, [*reasons, NOBODY if lab is None else _lab_reason(lab)]), "")
    if reason:
        return GateResult(False, reason, lab, reference, warnings, alike)
    assert lab is not None
    others = [
        f"{_PLACES[found.name]} ({found.gained} gained, {found.lost} lost)" for found in (alike, reference) if found
    ]
    text = (
        f"better on this laboratory's held-out slides ({lab.gained} calls gained, {lab.lost} lost, "
        f"p = {lab.p_value:.2g}) and not worse beyond noise on {' and on '.join(others)}"
    )
    return GateResult(True, text, lab, reference, warnings, alike)


def _known_reason(found: Comparison, sure: bool) -> str:
    """Say what is wrong on cells whose truth nobody had to tell."""
    reason = _worse(found, strict=not (sure and found.name == "alike"))
    if not reason and found.lost > found.gained and not sure:
        counts = f"{found.gained} gained, {found.lost} lost"
        return f"more calls are wrong on {_PLACES[found.name]} ({counts}), and what is gained here may be chance"
    return reason


def _lab_reason(lab: Comparison) -> str:
    reason = too_few(lab.recall[0].total, lab.false_calls[0].total) or _worse(lab, strict=False)
    if reason:
        return reason
    if lab.gained <= lab.lost:
        return (
            f"not better on this laboratory's held-out slides ({lab.gained} calls gained, {lab.lost} lost); give more "
            "verdicts"
        )
    return ""


def too_few(tumour: int, other: int) -> str:
    """Say so where a laboratory's held-out cells can judge nothing."""
    if tumour + other < _LEAST_JUDGED:
        return f"only {tumour + other} held-out cells of this laboratory to judge by; give more verdicts"
    if not tumour or not other:
        missing = "tumour cells" if not tumour else "other objects"
        return f"no {missing} among this laboratory's held-out cells; give verdicts of both kinds on every patient"
    return ""


def _worse(found: Comparison, *, strict: bool) -> str:
    """Say how it is worse beyond noise, if it is; `strict` also refuses a loss that no test can tell from chance."""
    where = _PLACES[found.name]
    (was, now), (false_was, false_now) = found.recall, found.false_calls
    lost = found.tumour_lost - found.tumour_gained
    if lost > 0 and (
        mcnemar(found.tumour_gained, found.tumour_lost) < _LEVEL or (strict and lost > _RECALL_LOST * was.total)
    ):
        return f"misses tumour cells on {where}: {now.count} of {now.total} called, before {was.count}"
    gained = false_now.count - false_was.count
    false_lost = found.lost - found.tumour_lost
    false_gained = found.gained - found.tumour_gained
    many = strict and gained > _FALSE_GAINED * false_was.total and not _paid_for(found)
    if gained > 0 and (many or mcnemar(false_gained, false_lost) < _LEVEL):
        return f"calls more falsely on {where}: {false_now.count} of {false_now.total}, before {false_was.count}"
    if found.froc_change[2] < 0:
        low, high = 100 * found.froc_change[1], 100 * found.froc_change[2]
        return f"ranks worse on {where}: FROC changes by {low:.1f} to {high:.1f} points"
    return ""


def _paid_for(found: Comparison) -> bool:
    """Whether false calls that may be chance came with a better network of the laboratory, and not with a lower bar.

    On simulated fields like its slides alone: more calls are right, and tumour cells rank higher, each beyond noise.
    Elsewhere nobody asked for anything in return.
    """
    return found.name == "alike" and found.gained > found.lost and found.p_value < _LEVEL and found.froc_change[1] > 0


def _shares(called: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> tuple[Share, Share]:
    first, second = (Share(int((called[k] & of).sum()), int(of.sum())) for k in (0, 1))
    return first, second


def _froc(scores: npt.NDArray[np.float64], tumour: npt.NDArray[np.bool_], units: int) -> float:
    """Mean recall at 1/4, 1/2, 1, 2, 4 and 8 false candidates a unit (CAMELYON16)."""
    if not tumour.any():
        return 0.0
    false = np.sort(scores[~tumour])[::-1]
    true = np.sort(scores[tumour])
    recalls = []
    for rate in FALSE_ALLOWED:
        allowed = int(rate * units)
        above = false[allowed] if allowed < len(false) else -np.inf
        recalls.append(1 - np.searchsorted(true, above, "right") / len(true))
    return float(np.mean(recalls))


def _changes(judged: Judged, units: int) -> tuple[float, float]:
    """Challenger less champion: FROC and recall."""
    tumour = judged.tumour
    if not tumour.any():
        return 0.0, 0.0
    was, now = (_froc(judged.scores[k], tumour, units) for k in (0, 1))
    return now - was, float(judged.called[1][tumour].mean() - judged.called[0][tumour].mean())


def _bootstrap(judged: Judged, units: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """Draw units with replacement (Efron 1979): `_changes` of each draw, (draws, 2)."""
    members = [np.flatnonzero(judged.unit == unit) for unit in units]
    rng = np.random.default_rng([seed, len(units)])
    found = []
    for _ in range(_DRAWS):
        chosen = np.concatenate([members[i] for i in rng.integers(len(units), size=len(units))])
        part = Judged(judged.tumour[chosen], judged.unit[chosen], judged.scores[:, chosen], judged.called[:, chosen])
        found.append(_changes(part, len(units)))
    return np.asarray(found)


def _interval(value: float, draws: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(value), float(low), float(high)
