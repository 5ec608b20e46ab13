"""Positive controls: recovery of spiked cells, batches accepted or rejected, and Westgard's rules on a series of them.

Of E cells expected on a spiked slide, the found ones are Poisson with mean recovery x E: the number spiked is itself a
Poisson draw from a dilution, and a Poisson count thinned by chance stays one. So the interval of the recovery is
Garwood's over E.

A series of batches is judged on z = 2 (sqrt(k + 3/8) - sqrt(m + 3/8)), m the count on target: counts of unequal
expectation get one scale of standard deviation 1 (F. J. Anscombe, Biometrika 35 (1948) 246-254). A relative SD between
batches beyond Poisson, once known, is added to the variance. The rules are those of J. O. Westgard, P. L. Barry,
M. R. Hunt and T. Groth, Clinical Chemistry 27 (1981) 493-501.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import gammainc, gammaincc

from dtcseg.statistics import CONFIDENCE, poisson_interval
from dtcseg.trial._checks import between, not_negative, positive, whole

Rule = Literal["1-3s", "2-2s", "R-4s", "4-1s", "10-x"]


@dataclass(frozen=True)
class Recovery:
    """Spiked cells found over expected, with the exact interval of that share (it may exceed 1)."""

    found: int
    expected: float
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class BatchVerdict:
    """Whether a batch's positive control passes.

    Attributes
    ----------
    accepted : bool
    reason : str
    recovery : Recovery
    p_low, p_high : float
        Probability of so few (many) cells or fewer (more) at the least (most) recovery allowed.
    sees_half : float
        Probability that this control, at its expected count, would have rejected a batch that recovers half of the
        least allowed. A control too small to reject anything is no control.
    """

    accepted: bool
    reason: str
    recovery: Recovery
    p_low: float
    p_high: float
    sees_half: float


@dataclass(frozen=True)
class Violation:
    """A Westgard rule broken, at the batch (index into the series) that broke it."""

    rule: Rule
    batch: int


def recovery(found: int, expected: float, *, confidence: float = CONFIDENCE) -> Recovery:
    """Give the share of spiked cells that was found.

    Raises
    ------
    ValueError
        A count that is none, or nothing expected.
    """
    low, high = poisson_interval(whole(found, "found"), confidence)
    positive(expected, "expected")
    return Recovery(found, expected, found / expected, low / expected, high / expected)


def judge_batch(
    found: int, expected: float, *, least: float = 0.7, most: float = 1.3, alpha: float = 0.05
) -> BatchVerdict:
    """Accept a batch unless its recovery is shown to lie outside what is allowed.

    Parameters
    ----------
    found : int
        Spiked cells found.
    expected : float
        Cells spiked, the mean.
    least, most : float
        Recovery allowed. The defaults are round figures of ours; a laboratory sets its own.
    alpha : float
        A batch at the edge of what is allowed is rejected with at most this probability, on either side.

    Raises
    ------
    ValueError
        A count that is none, nothing expected, or bounds in the wrong order.
    """
    between(alpha, "alpha")
    if not 0.0 < least < most < math.inf:
        raise ValueError(f"least must be above 0 and below most: {least}, {most}")
    seen = recovery(found, expected, confidence=1.0 - alpha)
    p_low = float(gammaincc(found + 1, least * expected))
    p_high = float(gammainc(found, most * expected)) if found else 1.0
    reason = f"recovery {100 * seen.share:.0f} % ({100 * seen.low:.0f} to {100 * seen.high:.0f} %)"
    if p_low < alpha:
        reason += f", below {100 * least:.0f} %"
    elif p_high < alpha:
        reason += f", above {100 * most:.0f} %"
    accepted = p_low >= alpha and p_high >= alpha
    return BatchVerdict(accepted, reason, seen, p_low, p_high, _sees_half(expected, least, alpha))


def scores(
    found: Sequence[int], expected: Sequence[float], *, target: float = 1.0, batch_cv: float = 0.0
) -> list[float]:
    """Put counts of batches on one scale: standard deviations from the target.

    Parameters
    ----------
    found, expected : sequences
        Spiked cells found and expected, batch by batch in the order of time.
    target : float
        Recovery of batches known to be good.
    batch_cv : float
        Their relative SD beyond Poisson.

    Raises
    ------
    ValueError
        Sequences of unequal length, a count that is none, or nothing expected.
    """
    if len(found) != len(expected):
        raise ValueError(f"{len(found)} batches found, {len(expected)} expected")
    positive(target, "target")
    not_negative(batch_cv, "batch_cv")
    values = []
    for count, spiked in zip(found, expected, strict=True):
        mean = target * positive(spiked, "expected")
        plain = 2.0 * (math.sqrt(whole(count, "found") + 0.375) - math.sqrt(mean + 0.375))
        values.append(plain / math.sqrt(1.0 + mean * batch_cv**2))
    return values


def westgard(values: Sequence[float]) -> list[Violation]:
    """Find every rule broken in a series of scores, in the order of batches.

    1-3s: one beyond 3 SD; 2-2s: two in a row beyond 2 SD on one side; R-4s: of two in a row, one above +2 and one below
    -2 SD; 4-1s: four in a row beyond 1 SD on one side; 10-x: ten in a row on one side of the target.

    Raises
    ------
    ValueError
        A score that is no number.
    """
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a score must be a number")
    found = []
    for at in range(len(values)):
        last = values[: at + 1]
        broken: dict[Rule, bool] = {
            "1-3s": abs(last[-1]) > 3.0,
            "2-2s": _all_beyond(last, 2, 2.0),
            "R-4s": at > 0 and max(last[-2:]) > 2.0 and min(last[-2:]) < -2.0,
            "4-1s": _all_beyond(last, 4, 1.0),
            "10-x": _all_beyond(last, 10, 0.0),
        }
        found += [Violation(rule, at) for rule, is_broken in broken.items() if is_broken]
    return found


def _all_beyond(values: Sequence[float], number: int, limit: float) -> bool:
    tail = values[-number:]
    return len(tail) == number and (min(tail) > limit or max(tail) < -limit)


def _sees_half(expected: float, least: float, alpha: float) -> float:
    """Probability of a count so low that it rejects, at half the least recovery."""
    rejecting = -1
    while float(gammaincc(rejecting + 2, least * expected)) < alpha:
        rejecting += 1
    return float(gammaincc(rejecting + 1, least * expected / 2)) if rejecting >= 0 else 0.0
