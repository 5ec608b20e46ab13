"""Rates of thousands of slides: the intervals of `rates`, computed once for each count and width of the denominator.

The limits of `rates.result` times the cells screened depend on nothing but the count and the relative error of the
denominator. So they are computed for 10^6 cells, kept, and scaled. The relative error is rounded up to three digits
first, which widens an interval by less than 0.1 % of what the denominator's error adds to it.
"""

from __future__ import annotations

import math
from functools import lru_cache

from dtcseg.statistics import PER, Rate
from dtcseg.trial.detection import corrected, recall_posterior
from dtcseg.trial.rates import Screened, result


def rate_of(count: int, cells: Screened) -> Rate:
    """Make the rate per 10^6 cells screened whose interval carries the error of the denominator.

    Raises
    ------
    ValueError
        A count that is none, or no cell screened.
    """
    if not cells.mnc > 0:
        raise ValueError(f"no rate without cells screened (mnc = {cells.mnc})")
    low, high, limit = _per_million(count, _rounded_up((cells.high - cells.low) / (2.0 * cells.mnc)))
    scale = PER / cells.mnc
    return Rate(count, round(cells.mnc), count * scale, low * scale, high * scale, limit * scale)


def corrected_of(count: int, cells: Screened, found: int, total: int) -> tuple[float, float, float]:
    """Correct a rate for the cells missed, recall being known from `found` of `total` cells (`detection.corrected`).

    Returns
    -------
    (per_million, low, high)

    Raises
    ------
    ValueError
        As `detection.corrected`, or no cell screened.
    """
    if not cells.mnc > 0:
        raise ValueError(f"no rate without cells screened (mnc = {cells.mnc})")
    half_width = _rounded_up((cells.high - cells.low) / (2.0 * cells.mnc))
    middle, low, high = _corrected(count, half_width, found, total)
    scale = PER / cells.mnc
    return middle * scale, low * scale, high * scale


def as_screened(mnc: float, low: float, high: float) -> Screened:
    """Make a denominator of a record; bounds that do not hold the count are widened to it."""
    return Screened(mnc, max(min(low, mnc), 0.0), max(high, mnc))


@lru_cache(maxsize=65536)
def _per_million(count: int, half_width: float) -> tuple[float, float, float]:
    """Give (low, high, limit) for 10^6 cells known to this half width of their 95 % interval, as a share."""
    found = result(count, _million(half_width))
    return found.low, found.high, found.limit


@lru_cache(maxsize=4096)
def _corrected(count: int, half_width: float, found: int, total: int) -> tuple[float, float, float]:
    """Give (rate, low, high), corrected, for 10^6 cells."""
    answer = corrected(count, _million(half_width), recall_posterior(found, total))
    return answer.per_million, answer.low, answer.high


def _million(half_width: float) -> Screened:
    bounds = (1.0 - half_width, 1.0 + half_width) if half_width <= 1.0 else (0.0, 2.0 * half_width)
    return Screened(PER, bounds[0] * PER, bounds[1] * PER)


def _rounded_up(value: float) -> float:
    if value <= 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return round(math.ceil(value / step - 1e-9) * step, 12)
