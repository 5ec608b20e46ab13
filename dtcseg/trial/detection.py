"""Cells missed: recall, what two independent looks leave unseen, and rates corrected for it beside the raw ones.

A rate divided by the recall is the rate of what was there, if recall on these slides is what it was where it was
measured. The recall is known from so many audited cells only: its posterior is a beta distribution (Jeffreys' prior),
and the limits of the corrected rate are those at which the exact Poisson tail, averaged over recall and denominator,
leaves half of what the confidence leaves over (as in `rates`; Cousins and Highland 1992).

Where a reader and the program searched the same cells without knowledge of each other and found n1 and n2, m of them
both, these tell how many there were: (n1 + 1)(n2 + 1) / (m + 1) - 1 (D. G. Chapman, University of California
Publications in Statistics 1 (1951) 131-160). Given n1 and n2, m is hypergeometric; its exact tails, inverted, give the
interval. It has no upper end where no cell was found twice, and it should not. Both searchers miss the pale and the
broken cells, so the number is a lower bound rather than an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, betaln, logsumexp

from dtcseg.statistics import CONFIDENCE, PER, share_interval
from dtcseg.trial._checks import between, positive, whole
from dtcseg.trial.rates import (
    Result,
    Screened,
    averaged_interval,
    averaged_upper_limit,
    exposure_nodes,
    result,
    screened,
)

FloatArray = npt.NDArray[np.float64]

_STEPS = 200
_EVERY = 8
"""The 801 points of a denominator's error are thinned to a hundred: with recall they make 20,000 products."""
_MOST_CELLS = 1 << 40


@dataclass(frozen=True)
class Recall:
    """Posterior of the share of tumour cells that is found: Beta(a, b)."""

    a: float
    b: float

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        positive(self.a, "a")
        positive(self.b, "b")

    @property
    def mean(self) -> float:
        """Return the posterior mean."""
        return self.a / (self.a + self.b)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Give the equal-tailed interval."""
        tail = (1.0 - between(confidence, "confidence")) / 2.0
        return float(betaincinv(self.a, self.b, tail)), float(betaincinv(self.a, self.b, 1.0 - tail))


@dataclass(frozen=True)
class Corrected:
    """A rate as counted, and corrected for the cells missed; both per 10^6 cells screened.

    Attributes
    ----------
    raw : Result
        As counted.
    per_million, low, high, limit : float
        Corrected; the point by the mean of 1 / recall.
    recall : Recall
    """

    raw: Result
    per_million: float
    low: float
    high: float
    limit: float
    recall: Recall


@dataclass(frozen=True)
class Captured:
    """What two searchers of the same cells say about how many there were.

    Attributes
    ----------
    total : float
        Chapman's estimate of the cells there were.
    low, high : float
        Exact interval; `high` is infinite where no cell was found by both.
    missed : float
        Estimated cells that neither found.
    recall_1, recall_2 : (share, low, high)
        Of each searcher, judged by what the other found, with Clopper-Pearson intervals; NaN where that was nothing.
    """

    total: float
    low: float
    high: float
    missed: float
    recall_1: tuple[float, float, float]
    recall_2: tuple[float, float, float]


def recall_posterior(found: int, total: int, *, prior: tuple[float, float] = (0.5, 0.5)) -> Recall:
    """Make the posterior of recall from cells known to be there (seeded, audited, or of a model card's test).

    Raises
    ------
    ValueError
        A count that is none or above the total, or a prior that is none.
    """
    seen, there = whole(found, "found"), whole(total, "total")
    if seen > there:
        raise ValueError(f"found cannot exceed total: {seen} of {there}")
    return Recall(positive(prior[0], "prior a") + seen, positive(prior[1], "prior b") + there - seen)


def audited_recall(found: int, unseen_audited: int, unseen_tumour: int, unseen_total: int) -> Recall:
    """Make the posterior of recall from an audit of objects that readers were not shown.

    Of `unseen_total` objects not shown, `unseen_audited` were drawn at random and `unseen_tumour` of them were tumour
    cells. The share of tumour cells among the rest is Beta(t + 1/2, n - t + 1/2), which gives the number missed, M;
    given M, recall is Beta(found + 1/2, M + 1/2). The mean and the variance of that mixture are given to one beta.

    Raises
    ------
    ValueError
        Counts that are none or do not fit each other, or nothing found (recall has then nothing to stand on).
    """
    seen, audited = whole(found, "found"), whole(unseen_audited, "unseen_audited")
    tumour, total = whole(unseen_tumour, "unseen_tumour"), whole(unseen_total, "unseen_total")
    if not tumour <= audited <= total:
        raise ValueError(f"an audit cannot exceed what there is: {tumour} of {audited} of {total}")
    positive(seen, "found")
    share = _quantile_points(tumour + 0.5, audited - tumour + 0.5)
    missed = tumour + share * (total - audited)
    number = seen + missed + 1.0
    means = (seen + 0.5) / number
    mean = float(means.mean())
    variance = float(means.var() + np.mean(means * (1 - means) / (number + 1.0)))
    worth = mean * (1 - mean) / variance - 1.0
    return Recall(mean * worth, (1.0 - mean) * worth)


def corrected(count: int, cells: Screened | float, recall: Recall, *, confidence: float = CONFIDENCE) -> Corrected:
    """Correct a rate for the cells missed, with the error of recall and of the denominator carried through.

    Raises
    ------
    ValueError
        As `rates.result`; and a recall that may be 0, so that its inverse has no mean (a not above 1).
    """
    if not recall.a > 1.0:
        raise ValueError(f"recall rests on too few cells found to correct by it: Beta({recall.a}, {recall.b})")
    denominator = cells if isinstance(cells, Screened) else screened(cells)
    raw = result(count, denominator, confidence=confidence)
    exposures, weights = exposure_nodes(denominator)
    if len(exposures) > 1:
        exposures, weights = exposures[::_EVERY], weights[::_EVERY] / weights[::_EVERY].sum()
    shares = _quantile_points(recall.a, recall.b)
    seen = np.outer(exposures, shares).ravel()
    probability = np.repeat(weights / len(shares), len(shares))
    low, high = averaged_interval(count, seen, probability, confidence)
    limit = averaged_upper_limit(count, seen, probability, confidence)
    # mean of 1 / x of Beta(a, b) is (a + b - 1) / (a - 1)
    inverse = (recall.a + recall.b - 1.0) / (recall.a - 1.0)
    return Corrected(raw, raw.per_million * inverse, low * PER, high * PER, limit * PER, recall)


def captured(found_1: int, found_2: int, both: int, *, confidence: float = CONFIDENCE) -> Captured:
    """Estimate how many cells there were from what two searchers found independently.

    Parameters
    ----------
    found_1, found_2 : int
        Cells that each found.
    both : int
        Cells found by both.

    Raises
    ------
    ValueError
        A count that is none, or more found by both than by one.
    """
    first, second, twice = whole(found_1, "found_1"), whole(found_2, "found_2"), whole(both, "both")
    if twice > min(first, second):
        raise ValueError(f"more cells found by both than by one: {twice} of {first} and {second}")
    tail = (1.0 - between(confidence, "confidence")) / 2.0
    total = (first + 1) * (second + 1) / (twice + 1) - 1
    seen = first + second - twice
    low, high = _total_interval(first, second, twice, tail)
    return Captured(total, low, high, total - seen, _share(twice, second, confidence), _share(twice, first, confidence))


def _share(count: int, total: int, confidence: float) -> tuple[float, float, float]:
    return (count / total if total else math.nan, *share_interval(count, total, confidence))


def _total_interval(first: int, second: int, twice: int, tail: float) -> tuple[float, float]:
    seen = first + second - twice

    def too_few(total: int) -> bool:
        """Whether so few common cells as seen would be a surprise, were there only `total`."""
        return _hypergeometric(total, first, second, range(twice + 1)) < tail

    def too_many(total: int) -> bool:
        """Whether so many common cells as seen would be a surprise, were there `total`."""
        return _hypergeometric(total, first, second, range(twice, min(first, second) + 1)) < tail

    low = seen
    if too_few(seen):
        low = _first_true(lambda total: not too_few(total), seen)
    if twice == 0:
        return float(low), math.inf
    return float(low), float(max(_first_true(too_many, seen) - 1, low))


def _first_true(test: Callable[[int], bool], start: int) -> int:
    """Find the smallest integer from `start` on that passes; once passed, all greater ones do."""
    if test(start):
        return start
    step = 1
    while not test(start + step):
        step *= 2
        if step > _MOST_CELLS:
            raise ValueError("these counts allow any number of cells")
    left, right = start + step // 2, start + step
    while right - left > 1:
        middle = (left + right) // 2
        left, right = (left, middle) if test(middle) else (middle, right)
    return right


def _hypergeometric(total: int, first: int, second: int, both: range) -> float:
    """Give the probability that the cells found by both number any of `both`, of `total` cells."""
    possible = np.array([m for m in both if first + second - m <= total], float)
    if not len(possible):
        return 0.0
    terms = (
        _log_choose(first, possible)
        + _log_choose(total - first, second - possible)
        - _log_choose(total, np.array([float(second)]))
    )
    return float(np.exp(logsumexp(terms)))


def _log_choose(n: int, k: FloatArray) -> FloatArray:
    return np.asarray(-betaln(n - k + 1, k + 1) - math.log(n + 1))


def _quantile_points(a: float, b: float) -> FloatArray:
    """Give points of equal probability of a beta distribution."""
    return np.asarray(betaincinv(a, b, (np.arange(_STEPS) + 0.5) / _STEPS))
