"""How many cells to screen: to exclude a rate, to tell a change from no change, and whether more slides are worth it.

To exclude a rate with a confidence, -ln(1 - confidence) tumour cells must have been expected: 3.00 x 10^6 cells for
1 per 10^6 and 95 % (J. F. Swerts et al. 2005 give 3 x 10^6). The power of a follow-up is summed over all counts of both
time points, each pair judged by the exact conditional test (`clearance`), so it is the power of the test as used.

How positivity should grow with depth: patients' rates vary, by a gamma distribution say, so a share
1 - (1 + v m N)^(-1/v) of them shows at least one cell among N (m mean rate, v squared relative SD). Whatever the
distribution, the share that stays negative at twice the depth is at least the square of the one before (Jensen's
inequality): what grows faster than that was not depth alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, gammaln

from dtcseg.statistics import CONFIDENCE, PER, figure, poisson_interval, poisson_upper_limit
from dtcseg.trial._checks import between, not_negative, positive, whole
from dtcseg.trial.clearance import JEFFREYS, LUCK, Prior, p_value_reduced

FloatArray = npt.NDArray[np.float64]

MOST_CELLS = 1e9
"""Depth beyond which none is advised: no marrow aspirate has so many cells."""
_STEP = 1.02


@dataclass(frozen=True)
class Advice:
    """Whether more slides are worth it.

    Attributes
    ----------
    worth : bool
    reason : str
    slides : float
        Slides still needed for the aim if they show nothing; infinite where no number of them reaches it.
    p_finds : float
        Probability that the next slide shows at least one tumour cell, given what has been found.
    limit_now, limit_next : float
        One-sided 95 % limit per 10^6 now, and after one more slide without a tumour cell.
    """

    worth: bool
    reason: str
    slides: float
    p_finds: float
    limit_now: float
    limit_next: float


def cells_to_exclude(per_million: float, *, confidence: float = CONFIDENCE, recall: float = 1.0) -> float:
    """Give the cells to screen so that finding nothing excludes a rate.

    Parameters
    ----------
    per_million : float
        Rate to exclude, per 10^6.
    confidence : float
        One-sided.
    recall : float
        Share of tumour cells that is found, above 0 and not above 1.
    """
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"recall must lie above 0 and not above 1: {recall}")
    wanted = -math.log1p(-between(confidence, "confidence"))
    return wanted / positive(per_million, "per_million") / recall * PER


def power(per_million: float, ratio: float, mnc_1: float, mnc_2: float, *, alpha: float = 0.05) -> float:
    """Give the probability that the exact conditional test (one-sided) sees a change from `per_million` by `ratio`.

    Parameters
    ----------
    per_million : float
        True rate at the first time point.
    ratio : float
        True later / earlier rate; below 1 a reduction is tested for, above 1 a rise.
    mnc_1, mnc_2 : float
        Cells screened.
    alpha : float
        Of the test; its real size is smaller, as counts are whole numbers.
    """
    not_negative(ratio, "ratio")
    between(alpha, "alpha")
    if ratio == 1.0:
        raise ValueError("a ratio of 1 is no change to look for")
    mean_1 = positive(per_million, "per_million") * positive(mnc_1, "mnc_1") / PER
    mean_2 = per_million * ratio * positive(mnc_2, "mnc_2") / PER
    first, p_first = _likely(mean_1)
    second, p_second = _likely(mean_2)
    share_1 = mnc_1 / (mnc_1 + mnc_2)
    k1, k2 = np.meshgrid(first, second, indexing="ij")
    if ratio < 1.0:  # P(K2 <= k2 | n)
        p_value = np.where(k1 > 0, betainc(np.maximum(k1, 1), k2 + 1, share_1), 1.0)
    else:  # P(K2 >= k2 | n)
        p_value = np.where(k2 > 0, betainc(np.maximum(k2, 1), k1 + 1, 1.0 - share_1), 1.0)
    return float(p_first @ (p_value < alpha) @ p_second)


def cells_for_power(
    per_million: float,
    ratio: float,
    *,
    wanted: float = 0.8,
    mnc_1: float | None = None,
    alpha: float = 0.05,
) -> float:
    """Give the cells to screen at the later time point (at both, where `mnc_1` is None) to see a change.

    Power goes up and down by small steps as depth grows, since counts are whole numbers; the depth returned is the
    smallest, on a grid of 2 %, from which on the next ten grid points keep the power as well.

    Returns
    -------
    float
        Cells; infinite where even 10^9 do not do, as where too little was screened the first time.
    """
    between(wanted, "wanted")
    run: list[float] = []
    depth = 1e5
    while depth <= MOST_CELLS:
        mean = per_million * max(1.0, ratio) * depth / PER
        if mean > 3000:  # by then no depth changes what is limited by the first time point
            break
        if power(per_million, ratio, depth if mnc_1 is None else mnc_1, depth, alpha=alpha) >= wanted:
            run.append(depth)
            if len(run) > 10:
                return run[0]
        else:
            run = []
        depth *= _STEP
    return math.inf


def more_slides_to_exclude(
    count: int, mnc: float, slide_mnc: float, per_million: float, *, prior: Prior = JEFFREYS
) -> Advice:
    """Advise on more slides where the aim is to exclude a rate, or to find a cell if there is one.

    Parameters
    ----------
    count : int
        Tumour cells found so far.
    mnc : float
        Cells screened so far.
    slide_mnc : float
        Cells that one more slide adds.
    per_million : float
        Rate to exclude with 95 % confidence.
    prior : Prior
        For the chance that the next slide shows a cell.
    """
    found = whole(count, "count")
    p_finds, now, after = _next(found, mnc, slide_mnc, prior)
    needed = cells_to_exclude(per_million) - mnc
    if found:
        reason = f"a tumour cell has been found: {figure(per_million)} per 10^6 can be no more than measured better"
        return Advice(False, reason, math.inf, p_finds, now, after)
    slides = max(0, math.ceil(needed / slide_mnc - 1e-9))
    if slides == 0:
        reason = f"{figure(per_million)} per 10^6 is excluded already (< {figure(now)})"
    else:
        reason = f"{slides} more without a tumour cell exclude {figure(per_million)} per 10^6 (now < {figure(now)})"
    return Advice(slides > 0, reason, slides, p_finds, now, after)


def more_slides_to_clear(
    count_1: int, mnc_1: float, count_2: int, mnc_2: float, slide_mnc: float, *, prior: Prior = JEFFREYS
) -> Advice:
    """Advise on more slides of a later time point where the aim is to be allowed to say "cleared".

    Parameters
    ----------
    count_1, mnc_1 : int, float
        Tumour cells and cells screened at the earlier time point.
    count_2, mnc_2 : int, float
        The same at the later one, so far; 0 cells screened where none has been.
    slide_mnc : float
        Cells that one more slide adds.
    prior : Prior
        As in `clearance`, whose two conditions are asked here.
    """
    before, after_count = whole(count_1, "count_1"), whole(count_2, "count_2")
    positive(mnc_1, "mnc_1")
    # an unchanged patient: the later rate is the earlier one's
    shape, millions = prior.shape + before + after_count, prior.millions + (mnc_1 + not_negative(mnc_2, "mnc_2")) / PER
    p_finds = 1.0 - (millions / (millions + positive(slide_mnc, "slide_mnc") / PER)) ** shape
    now = poisson_upper_limit(after_count) / mnc_2 * PER if mnc_2 else math.inf
    after = poisson_upper_limit(after_count) / (mnc_2 + slide_mnc) * PER
    if before == 0 or after_count:
        reason = "nothing was found before" if before == 0 else "a tumour cell was found again"
        return Advice(False, f"{reason}: cleared cannot be said", math.inf, p_finds, now, after)
    needed = _cells_to_clear(before, mnc_1, prior) - mnc_2
    slides = max(0, math.ceil(needed / slide_mnc - 1e-9))
    if slides == 0:
        return Advice(False, "deep enough to say cleared", 0, p_finds, now, after)
    return Advice(True, f"{slides} more without a tumour cell allow to say cleared", slides, p_finds, now, after)


def more_slides_to_measure(count: int, mnc: float, slide_mnc: float, fold: float, *, prior: Prior = JEFFREYS) -> Advice:
    """Advise on more slides where the aim is a rate whose 95 % interval spans no more than `fold` (high / low).

    Parameters
    ----------
    count, mnc, slide_mnc
        As in `more_slides_to_exclude`.
    fold : float
        Above 1. `slides` assumes that the rate stays what it is.
    """
    found = whole(count, "count")
    if not 1.0 < fold < math.inf:
        raise ValueError(f"fold must be above 1: {fold}")
    p_finds, now, after = _next(found, mnc, slide_mnc, prior)
    if found == 0:
        return Advice(False, "nothing found: there is no rate to measure", math.inf, p_finds, now, after)
    wanted = _count_for_fold(fold)
    slides = max(0, math.ceil((wanted / found - 1.0) * mnc / slide_mnc - 1e-9))
    low, high = poisson_interval(found)
    spans = f"the interval spans a factor of {high / low:.1f}"
    if slides == 0:
        return Advice(False, f"{spans} already", 0, p_finds, now, after)
    return Advice(True, f"{spans}; {slides} more are expected to make it {fold:g}", slides, p_finds, now, after)


def positivity(per_million: float, squared_cv: float, mnc: float) -> float:
    """Give the share of patients with at least one cell among `mnc`, rates being gamma with this mean and spread.

    `squared_cv` is the squared relative SD of the patients' rates; 0 where all have the same.
    """
    mean = positive(per_million, "per_million") * positive(mnc, "mnc") / PER
    if not_negative(squared_cv, "squared_cv") == 0.0:
        return -math.expm1(-mean)
    return -math.expm1(-math.log1p(squared_cv * mean) / squared_cv)


def most_positivity(share: float, times_depth: float) -> float:
    """Give the greatest share of positives that `times_depth` times the depth can give, by depth alone.

    Of patients negative among N cells, at least (1 - share)^times_depth of all stay negative, however rates vary
    (Jensen's inequality); it needs one rate a patient, the same in every aliquot.
    """
    if not times_depth >= 1.0:
        raise ValueError(f"times_depth must be at least 1: {times_depth}")
    return float(1.0 - (1.0 - between(share, "share")) ** times_depth)


def _likely(mean: float) -> tuple[FloatArray, FloatArray]:
    """Give the counts that matter of a Poisson mean, and their probabilities."""
    reach = 8.0 * math.sqrt(mean) + 30.0
    counts = np.arange(max(0, math.floor(mean - reach)), math.ceil(mean + reach) + 1, dtype=float)
    if mean == 0.0:
        return counts, (counts == 0).astype(float)
    return counts, np.asarray(np.exp(counts * math.log(mean) - mean - gammaln(counts + 1)))


def _next(count: int, mnc: float, slide_mnc: float, prior: Prior) -> tuple[float, float, float]:
    """Give the chance of a cell on the next slide, the limit now, and the limit if there is none."""
    cells, more = positive(mnc, "mnc"), positive(slide_mnc, "slide_mnc")
    millions = prior.millions + cells / PER
    p_finds = 1.0 - float((millions / (millions + more / PER)) ** (prior.shape + count))
    limit = poisson_upper_limit(count) * PER
    return p_finds, limit / cells, limit / (cells + more)


def _cells_to_clear(count: int, mnc: float, prior: Prior) -> float:
    """Give the later depth at which both conditions of "cleared" hold, nothing being found."""
    millions = prior.millions + mnc / PER
    by_luck = float(millions * (LUCK ** (-1.0 / (prior.shape + count)) - 1.0)) * PER
    # the test: (N1 / (N1 + N2))^k < 5 %
    by_test = float(mnc * (LUCK ** (-1.0 / count) - 1.0))
    depth = max(by_luck, by_test) * (1.0 + 1e-9)
    assert p_value_reduced(count, mnc, 0, depth) < LUCK
    return depth


def _count_for_fold(fold: float) -> int:
    """Give the smallest count whose 95 % interval spans no more than `fold`."""
    count = 1
    while True:
        low, high = poisson_interval(count)
        if high / low <= fold:
            return count
        count = count + 1 if count < 200 else math.ceil(count * 1.01)
