"""Two assays on the same patients (DTC and ctDNA, DTC and CTC, two readers, two sites): how far they agree.

Cohen's kappa (J. Cohen, Educational and Psychological Measurement 20 (1960) 37-46) falls towards 0 where nearly all
patients are negative, however well the assays agree; Gwet's AC1 (K. L. Gwet, British Journal of Mathematical and
Statistical Psychology 61 (2008) 29-48) does not. Both are given with the shares they rest on. Their intervals are
those of the delta method for multinomial counts (for kappa: J. L. Fleiss, J. Cohen and B. S. Everitt, Psychological
Bulletin 72 (1969) 323-327), which are rough below some 30 patients or with an empty cell; the shares' intervals
(Clopper and Pearson 1934) are exact. McNemar's test is the exact binomial one on the discordant patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, ndtri

from dtcseg.statistics import CONFIDENCE, share_interval
from dtcseg.trial._checks import between, whole

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Patients by two assays: positive in both, in the first only, in the second only, in neither."""

    both: int
    first_only: int
    second_only: int
    neither: int

    def __post_init__(self) -> None:
        """Refuse counts that are none, and an empty table."""
        for name in ("both", "first_only", "second_only", "neither"):
            whole(getattr(self, name), name)
        if not self.total:
            raise ValueError("no patient to compare")

    @property
    def total(self) -> int:
        """Return the number of patients."""
        return self.both + self.first_only + self.second_only + self.neither


@dataclass(frozen=True)
class Value:
    """A figure with its interval; NaN where the table does not define it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How far two assays agree.

    Attributes
    ----------
    agreement : Value
        Share of patients with equal results.
    first_in_second, second_in_first : Value
        Of the patients positive by the second assay, those positive by the first; and the other way round.
    negative : Value
        Of the patients negative by the second assay, those negative by the first.
    kappa, ac1 : Value
        Agreement beyond chance.
    mcnemar : float
        Exact two-sided p of equal positivity.
    """

    agreement: Value
    first_in_second: Value
    second_in_first: Value
    negative: Value
    kappa: Value
    ac1: Value
    mcnemar: float


def table(first_positive: int, second_positive: int, both: int, total: int) -> Table:
    """Make the table from the figures that papers give: positives of each assay, of both, and patients."""
    return Table(both, first_positive - both, second_positive - both, total - first_positive - second_positive + both)


def agreement(counts: Table, *, confidence: float = CONFIDENCE) -> Agreement:
    """Say how far two assays agree."""
    between(confidence, "confidence")
    same = counts.both + counts.neither
    return Agreement(
        agreement=_share(same, counts.total, confidence),
        first_in_second=_share(counts.both, counts.both + counts.second_only, confidence),
        second_in_first=_share(counts.both, counts.both + counts.first_only, confidence),
        negative=_share(counts.neither, counts.neither + counts.first_only, confidence),
        kappa=cohen_kappa(counts, confidence=confidence),
        ac1=gwet_ac1(counts, confidence=confidence),
        mcnemar=mcnemar(counts),
    )


def cohen_kappa(counts: Table, *, confidence: float = CONFIDENCE) -> Value:
    """Give Cohen's kappa; NaN where both assays say the same of all patients."""

    def chance(first: float, second: float) -> tuple[float, float, float]:
        return first * second + (1 - first) * (1 - second), 2 * second - 1, 2 * first - 1

    return _beyond_chance(counts, chance, confidence)


def gwet_ac1(counts: Table, *, confidence: float = CONFIDENCE) -> Value:
    """Give Gwet's AC1."""

    def chance(first: float, second: float) -> tuple[float, float, float]:
        mean = (first + second) / 2
        return 2 * mean * (1 - mean), 1 - 2 * mean, 1 - 2 * mean

    return _beyond_chance(counts, chance, confidence)


def mcnemar(counts: Table) -> float:
    """Give the exact two-sided p of McNemar's test (Q. McNemar, Psychometrika 12 (1947) 153-157)."""
    fewer = min(counts.first_only, counts.second_only)
    more = max(counts.first_only, counts.second_only)
    if fewer == more:
        return 1.0
    # twice P(K <= fewer) of a fair coin thrown fewer + more times
    return min(1.0, 2.0 * float(betainc(more, fewer + 1, 0.5)))


def _beyond_chance(
    counts: Table, chance: Callable[[float, float], tuple[float, float, float]], confidence: float
) -> Value:
    """Give (agreement - chance) / (1 - chance) with its delta interval.

    `chance` gives the agreement by chance of the two positivities and its derivatives with respect to each.
    """
    shares = np.array([counts.both, counts.first_only, counts.second_only, counts.neither]) / counts.total
    same = float(shares[0] + shares[3])
    by_chance, slope_1, slope_2 = chance(float(shares[0] + shares[1]), float(shares[0] + shares[2]))
    if by_chance >= 1.0:
        return Value(math.nan, math.nan, math.nan)
    value = (same - by_chance) / (1 - by_chance)
    slope = np.array([1.0, 0.0, 0.0, 1.0]) / (1 - by_chance)
    slope_of_chance = slope_1 * np.array([1.0, 1.0, 0.0, 0.0]) + slope_2 * np.array([1.0, 0.0, 1.0, 0.0])
    slope = slope - (1 - same) / (1 - by_chance) ** 2 * slope_of_chance
    variance = float(shares @ slope**2 - (shares @ slope) ** 2) / counts.total
    reach = float(ndtri(0.5 + between(confidence, "confidence") / 2)) * math.sqrt(max(variance, 0.0))
    return Value(value, max(value - reach, -1.0), min(value + reach, 1.0))


def _share(count: int, total: int, confidence: float) -> Value:
    return Value(count / total if total else math.nan, *share_interval(count, total, confidence))
