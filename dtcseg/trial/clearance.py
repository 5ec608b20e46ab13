"""Two time points of one patient: how probable a reduction is, and whether "cleared" may be said at all.

Each rate has a gamma prior; with Poisson counts the posteriors are gamma, and the ratio of two independent gamma
variables is a scaled beta-prime, so every probability below is an incomplete beta function and exact:

    P(rate_2 / rate_1 < r) = I_x(a + k2, a + k1),   x = r (b + N2) / (r (b + N2) + (b + N1))

for priors Gamma(a, b). The denominators are taken as known: both time points are counted by one network, whose
relative error is shared (`rates`) and leaves the ratio.

The conditional test is that of J. Przyborowski and H. Wilenski, Biometrika 31 (1940) 313-323: given the sum of both
counts, the second is binomial with share N2 / (N1 + N2) in an unchanged patient. From k to 0 at equal depth, p = 0.5^k.

An unchanged patient looks cleared by luck: exp(-k1 N2 / N1) with the found rate put in as if it were the true one
(37, 14 and 5 % for 1, 2 and 3 cells at equal depth), and more once it is averaged over what the rate may have been:
((b + N1) / (b + N1 + N2))^(a + k1). "Cleared" asks that the second be small and the exact test agree: the test needs
no prior, and patients are looked at again because cells were found, so that the found rate flatters the first sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import betainc, betaincinv

from dtcseg.statistics import CONFIDENCE, PER
from dtcseg.trial._checks import between, not_negative, positive, whole

Word = Literal["cleared", "reduced", "unchanged", "risen", "cannot be told"]

LUCK = 0.05
"""An unchanged patient may look cleared with less than this probability, or "cleared" is not said."""
SAME = 2.0
"""A rate is "unchanged" where the whole interval of the ratio lies within this factor of 1."""


@dataclass(frozen=True)
class Prior:
    """Gamma prior of a rate.

    Attributes
    ----------
    name : str
        How it is called in a report.
    shape : float
        Tumour cells it is worth.
    millions : float
        10^6 cells screened that it is worth; 0 for a prior that knows no scale.
    """

    name: str
    shape: float
    millions: float

    def __post_init__(self) -> None:
        """Refuse what is no prior."""
        positive(self.shape, "shape")
        not_negative(self.millions, "millions")


JEFFREYS = Prior("Jeffreys", 0.5, 0.0)
"""Gamma(1/2, 0): H. Jeffreys, Proceedings of the Royal Society A 186 (1946) 453-461. It knows no scale, favours neither
time point, and its intervals come nearest to their nominal coverage among the priors that know nothing."""
UNIFORM = Prior("uniform", 1.0, 0.0)
"""Gamma(1, 0), flat in the rate: expects higher rates than Jeffreys', so it is slower to call a patient cleared."""


@dataclass(frozen=True)
class Change:
    """What two time points of one patient say.

    Attributes
    ----------
    word : str
        "cleared", "reduced", "unchanged", "risen" or "cannot be told"; `change` gives the criteria.
    ratio, low, high : float
        Posterior median of later / earlier rate, with its equal-tailed interval.
    p_reduced, p_reduced_80 : float
        Posterior probability of any reduction, and of one of at least 80 %.
    p_value_reduced, p_value_risen : float
        Exact conditional test, one-sided.
    luck_plug_in, luck : float
        Probability that an unchanged patient shows nothing at the later depth: with the found rate put in, and averaged
        over the posterior of the earlier rate.
    prior : str
        Its name.
    """

    word: Word
    ratio: float
    low: float
    high: float
    p_reduced: float
    p_reduced_80: float
    p_value_reduced: float
    p_value_risen: float
    luck_plug_in: float
    luck: float
    prior: str


def change(
    count_1: int,
    mnc_1: float,
    count_2: int,
    mnc_2: float,
    *,
    prior: Prior = JEFFREYS,
    confidence: float = CONFIDENCE,
) -> Change:
    """Compare a later time point with an earlier one.

    The word is
    - "cleared" where something was found before, nothing now, and an unchanged patient would have shown nothing now
      with a probability below 5 %, both averaged over the earlier rate and by the exact conditional test (which at
      equal depth asks for 5 cells before);
    - "reduced" or "risen" where the interval of the ratio lies wholly below or above 1;
    - "unchanged" where it lies wholly between 1/2 and 2;
    - "cannot be told" in all other cases, so also where nothing was found either time or too few cells were screened.

    Parameters
    ----------
    count_1, count_2 : int
        Tumour cells found.
    mnc_1, mnc_2 : float
        Cells screened.
    prior : Prior
        Of both rates.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        A count that is none, or no cell screened.
    """
    low, middle, high = ratio_quantiles(count_1, mnc_1, count_2, mnc_2, prior=prior, confidence=confidence)
    luck = luck_averaged(count_1, mnc_1, mnc_2, prior=prior)
    fell = p_value_reduced(count_1, mnc_1, count_2, mnc_2)
    return Change(
        word=_word(count_1, count_2, low, high, max(luck, fell)),
        ratio=middle,
        low=low,
        high=high,
        p_reduced=p_ratio_below(1.0, count_1, mnc_1, count_2, mnc_2, prior=prior),
        p_reduced_80=p_ratio_below(0.2, count_1, mnc_1, count_2, mnc_2, prior=prior),
        p_value_reduced=fell,
        p_value_risen=p_value_reduced(count_2, mnc_2, count_1, mnc_1),
        luck_plug_in=luck_plug_in(count_1, mnc_1, mnc_2),
        luck=luck,
        prior=prior.name,
    )


def p_ratio_below(
    ratio: float, count_1: int, mnc_1: float, count_2: int, mnc_2: float, *, prior: Prior = JEFFREYS
) -> float:
    """Posterior probability that later / earlier rate is below `ratio` (0.2: a reduction of at least 80 %)."""
    positive(ratio, "ratio")
    shape_1, millions_1 = _posterior(count_1, mnc_1, prior)
    shape_2, millions_2 = _posterior(count_2, mnc_2, prior)
    scaled = ratio * millions_2
    return float(betainc(shape_2, shape_1, scaled / (scaled + millions_1)))


def ratio_quantiles(
    count_1: int,
    mnc_1: float,
    count_2: int,
    mnc_2: float,
    *,
    prior: Prior = JEFFREYS,
    confidence: float = CONFIDENCE,
) -> tuple[float, float, float]:
    """Give the lower end, the median and the upper end of the posterior of later / earlier rate."""
    tail = (1.0 - between(confidence, "confidence")) / 2.0
    shape_1, millions_1 = _posterior(count_1, mnc_1, prior)
    shape_2, millions_2 = _posterior(count_2, mnc_2, prior)

    def at(p: float) -> float:
        # the complement is asked for by itself, or a ratio of 10^9 would be 1 / 0
        share = float(betaincinv(shape_2, shape_1, p))
        rest = float(betaincinv(shape_1, shape_2, 1.0 - p))
        return share / rest * millions_1 / millions_2 if rest else math.inf

    return at(tail), at(0.5), at(1.0 - tail)


def p_value_reduced(count_1: int, mnc_1: float, count_2: int, mnc_2: float) -> float:
    """Exact conditional test, one-sided: as few cells or fewer the second time, had nothing changed."""
    first, second = whole(count_1, "count_1"), whole(count_2, "count_2")
    share = positive(mnc_2, "mnc_2") / (positive(mnc_1, "mnc_1") + mnc_2)
    # P(K <= k2 | n, share) = I_(1 - share)(n - k2, k2 + 1)
    return float(betainc(first, second + 1, 1.0 - share)) if first else 1.0


def luck_plug_in(count_1: int, mnc_1: float, mnc_2: float) -> float:
    """Probability that nothing is found later, had the true rate been the one found and not changed."""
    return math.exp(-whole(count_1, "count_1") * positive(mnc_2, "mnc_2") / positive(mnc_1, "mnc_1"))


def luck_averaged(count_1: int, mnc_1: float, mnc_2: float, *, prior: Prior = JEFFREYS) -> float:
    """Probability that nothing is found later in an unchanged patient, averaged over the earlier rate's posterior."""
    shape, millions = _posterior(count_1, mnc_1, prior)
    return float((millions / (millions + positive(mnc_2, "mnc_2") / PER)) ** shape)


def fit_prior(counts: Sequence[int], mncs: Sequence[float], name: str = "cohort") -> Prior:
    """Fit a gamma prior to the first samples of a cohort (empirical Bayes, largest negative binomial likelihood).

    It pulls a patient's rate towards the others' and so undoes the regression to the mean that a prior which knows
    nothing takes for a reduction (patients are compared because something was found the first time). The cohort must
    be taken as it came, negative samples included. B. Efron and C. Morris, Journal of the American Statistical
    Association 70 (1975) 311-319.

    Raises
    ------
    ValueError
        Fewer than 10 samples, sequences of unequal length, or nothing found in any.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar  # late: only this needs it
    from scipy.special import gammaln

    found = np.array([whole(count, "count") for count in counts], float)
    millions = np.array([positive(mnc, "mnc") / PER for mnc in mncs])
    if len(found) != len(millions) or len(found) < 10 or not found.any():
        raise ValueError(f"a prior needs 10 samples or more and a tumour cell among them: {len(found)} samples")

    def rate(shape: float) -> float:
        """Solve for the rate parameter that fits best at this shape, by its fixed point."""
        per_million = found.sum() / millions.sum()
        scale = float(shape / per_million)
        for _ in range(200):
            means = (shape + found) / (scale + millions)
            scale = shape / float(means.mean())
        return scale

    def loss(log_shape: float) -> float:
        shape = math.exp(log_shape)
        scale = rate(shape)
        terms = gammaln(shape + found) - gammaln(shape) - found * np.log(scale + millions)
        return -float(np.sum(terms - shape * np.log1p(millions / scale)))

    shape = math.exp(minimize_scalar(loss, bounds=(math.log(0.02), math.log(50.0)), method="bounded").x)
    return Prior(name, shape, rate(shape))


def _posterior(count: int, mnc: float, prior: Prior) -> tuple[float, float]:
    return prior.shape + whole(count, "count"), prior.millions + positive(mnc, "mnc") / PER


def _word(count_1: int, count_2: int, low: float, high: float, luck: float) -> Word:
    if count_1 > 0 and count_2 == 0:
        return "cleared" if luck < LUCK else "cannot be told"
    if high < 1.0:
        return "reduced"
    if low > 1.0:
        return "risen"
    if low >= 1.0 / SAME and high <= SAME:
        return "unchanged"
    return "cannot be told"
