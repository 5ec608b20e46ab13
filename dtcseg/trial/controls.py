"""What control slides say: is a sample above its control, what can be told from blank, do probable cells count.

Sample against control: given the sum of both counts, the sample's count is binomial with share N_s / (N_s + N_c) where
both rates are equal (J. Przyborowski and H. Wilenski, Biometrika 31 (1940) 313-323); the interval of the ratio comes
from the Clopper-Pearson interval of that share.

Limits, after the idea of CLSI EP17-A2 (2012), whose normal formulas are of no use for counts of 0 to 3:
the limit of blank is the 95th percentile of the count a blank shows at the sample's own depth, and the limit of
detection the true rate that is found above the limit of blank with 95 % probability. Blanks may differ by more than
Poisson, so a blank's count is negative binomial, averaged over what the mean and the dispersion may be, given the
controls seen (mean: Jeffreys' prior, m^-1/2; relative SD between blanks: half-normal of scale 0.5, up to 1).

Probable tumour cells count only where the isotype control is negative (E. Borgen et al., Cytotherapy 1 (1999) 377-388).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, gammaln

from dtcseg.statistics import CONFIDENCE, PER, poisson_upper_limit, share_interval
from dtcseg.trial._checks import between, positive, whole

FloatArray = npt.NDArray[np.float64]

EQUAL_DEPTH = 0.8
"""Share of the sample's cells that its isotype control must have screened to pass for an equal number of cells."""

_MEANS = 401
_SPREAD_SCALE = 0.5
_SPREADS = np.linspace(0.025, 1.0, 21)
"""Relative SD between blanks looked at, beyond Poisson. With more than 1, a clean control would allow any blank rate
(the posterior of the mean would not even exist after one)."""
_MOST = 1 << 16
"""Cells on a blank beyond which no percentile is looked for: a stain that does this is not to be counted."""


@dataclass(frozen=True)
class Exceeds:
    """A sample's rate against its control's.

    Attributes
    ----------
    p_value : float
        One-sided: a sample's count so high or higher, were its rate the control's.
    ratio : float
        Sample's rate / control's; infinite where the control shows nothing, NaN where neither shows anything.
    low, high : float
        Exact two-sided interval of it; 0 to infinity where neither shows anything.
    """

    p_value: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class DetectionLimits:
    """What can be told from blank at a sample's depth.

    Attributes
    ----------
    blank_count : int
        Limit of blank: more cells than this are found in less than 5 % of blanks.
    blank_per_million : float
        It as a rate at the sample's depth.
    detection_per_million : float
        Limit of detection: true rate found above the limit of blank with 95 % probability.
    controls, control_count, control_mnc
        Blanks, cells found in them, cells screened in them.
    """

    blank_count: int
    blank_per_million: float
    detection_per_million: float
    controls: int
    control_count: int
    control_mnc: float


@dataclass(frozen=True)
class GatedCount:
    """Tumour cells to report after the isotype control was looked at; `reason` says what happened to probable ones."""

    count: int
    tumour: int
    probable: int
    probable_counted: bool
    reason: str


def exceeds(
    count: int, mnc: float, control_count: int, control_mnc: float, *, confidence: float = CONFIDENCE
) -> Exceeds:
    """Test whether a sample's rate exceeds its control's, the numbers of cells screened being unequal.

    Raises
    ------
    ValueError
        A count that is none, or no cell screened.
    """
    seen, blank = whole(count, "count"), whole(control_count, "control_count")
    share = positive(mnc, "mnc") / (mnc + positive(control_mnc, "control_mnc"))
    # P(K >= k | n, share) = I_share(k, n - k + 1)
    p_value = float(betainc(seen, blank + 1, share)) if seen else 1.0
    low, high = (_odds(bound) * control_mnc / mnc for bound in share_interval(seen, seen + blank, confidence))
    nothing = math.inf if seen else math.nan
    ratio = seen / mnc / (blank / control_mnc) if blank else nothing
    return Exceeds(p_value, ratio, low, high)


def detection_limits(
    control_counts: Sequence[int],
    control_mncs: Sequence[float],
    mnc: float,
    *,
    confidence: float = CONFIDENCE,
    recall: float = 1.0,
) -> DetectionLimits:
    """Give the limit of blank and the limit of detection of a sample from negative controls.

    Parameters
    ----------
    control_counts, control_mncs : sequences
        Cells called tumour cells on each negative control, and cells screened on it.
    mnc : float
        Cells screened in the sample.
    confidence : float
        Both of the blank's percentile and of detection.
    recall : float
        Share of the tumour cells present that is found, above 0, at most 1; it raises the limit of detection.

    Raises
    ------
    ValueError
        No control, sequences of unequal length, a count that is none, no cell screened, or a recall that is none.
    """
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"recall must lie above 0 and not above 1: {recall}")
    between(confidence, "confidence")
    most, reached = 32, np.zeros(1)
    while reached[-1] < confidence and most < _MOST:
        most *= 4
        reached = np.cumsum(blank_probabilities(control_counts, control_mncs, mnc, most))
    if reached[-1] < confidence:
        raise ValueError(f"the negative controls allow more than {most} cells on a blank: no limit can be given")
    blank = int(np.searchsorted(reached, confidence))
    detected = poisson_upper_limit(blank, confidence) / mnc / recall
    return DetectionLimits(
        blank,
        blank / mnc * PER,
        detected * PER,
        len(control_counts),
        sum(control_counts),
        float(sum(control_mncs)),
    )


def blank_probabilities(
    control_counts: Sequence[int], control_mncs: Sequence[float], mnc: float, most: int
) -> FloatArray:
    """Give the probabilities of 0, 1, ... `most` cells on a blank of `mnc` cells, given the negative controls seen."""
    counts = np.array([whole(count, "control count") for count in control_counts], float)
    millions = np.array([positive(cells, "control mnc") / PER for cells in control_mncs])
    if not len(counts) or len(counts) != len(millions):
        raise ValueError(f"counts and cells of one or more controls are needed: {len(counts)} and {len(millions)}")
    depth = positive(mnc, "mnc") / PER
    shape = (counts.sum() + 0.5) / millions.sum()
    rates = np.exp(np.linspace(math.log(shape) - 10.0, math.log(shape) + 5.0, _MEANS))
    rate, spread = (grid.ravel() for grid in np.meshgrid(rates, _SPREADS))
    # prior per step of log rate: m^(-1/2) dm = m^(1/2) d log m
    log_weight = 0.5 * np.log(rate) - 0.5 * (spread / _SPREAD_SCALE) ** 2
    log_weight = log_weight + _negative_binomial(counts, rate[:, None] * millions, spread[:, None]).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    likely = weight > 1e-12
    rate, spread, weight = rate[likely, None], spread[likely, None], weight[likely]
    return np.concatenate(
        [
            weight
            @ np.exp(
                _negative_binomial(np.arange(first, min(first + 256, most + 1), dtype=float), rate * depth, spread)
            )
            for first in range(0, most + 1, 256)
        ]
    )


def isotype_gate(
    tumour: int, probable: int, mnc: float, isotype_count: int | None, isotype_mnc: float | None
) -> GatedCount:
    """Count probable tumour cells only where the isotype control allows it.

    Parameters
    ----------
    tumour, probable : int
        Cells called tumour cell and probable tumour cell on the sample.
    mnc : float
        Cells screened in the sample.
    isotype_count : int or None
        Cells on the isotype control that meet the same criteria (tumour and probable); None where there is no control.
    isotype_mnc : float or None
        Cells screened on it. The rule asks for an equal number; below 80 % of the sample's cells it is no such control.

    Raises
    ------
    ValueError
        A count that is none, or no cell screened.
    """
    sure, likely = whole(tumour, "tumour"), whole(probable, "probable")
    positive(mnc, "mnc")
    if (isotype_count is None) != (isotype_mnc is None):
        raise ValueError("an isotype control needs both its count and its cells screened")
    counted, reason = False, "no isotype control: probable cells do not count"
    if isotype_count is not None and isotype_mnc is not None:
        found, share = whole(isotype_count, "isotype_count"), positive(isotype_mnc, "isotype_mnc") / mnc
        if found:
            reason = f"isotype control shows {found}: probable cells do not count"
        elif share < EQUAL_DEPTH:
            reason = f"isotype control screened {100 * share:.0f} % of the sample's cells: probable cells do not count"
        else:
            counted, reason = True, "isotype control negative: probable cells count"
    return GatedCount(sure + likely if counted else sure, sure, likely, counted, reason)


def _odds(share: float) -> float:
    return share / (1.0 - share) if share < 1.0 else math.inf


def _negative_binomial(counts: FloatArray, means: npt.NDArray[Any], spread: npt.NDArray[Any]) -> FloatArray:
    """Give the logarithm of the probability of counts whose mean varies with a relative SD `spread` (gamma)."""
    shape = 1.0 / spread**2
    fixed = gammaln(shape + counts) - gammaln(shape) - gammaln(counts + 1)
    return np.asarray(fixed + counts * np.log(means / shape) - (shape + counts) * np.log1p(means / shape))
