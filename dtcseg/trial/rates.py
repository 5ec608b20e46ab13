"""The result of a slide, a specimen or a patient: a rate whose interval carries the denominator's own error.

The count of tumour cells k is Poisson with mean rate x cells screened. The cells screened are themselves counted with
error: N = mnc * exp(sd * Z), Z standard normal (a count cannot fall below 0, and errors of a network are relative).
The limits of the rate are those at which the exact Poisson tail, averaged over N, leaves half of what the confidence
leaves over:

    E[P(K >= k | low * N)] = alpha / 2        E[P(K <= k | high * N)] = alpha / 2

This is the averaging of R. D. Cousins and V. L. Highland, Nuclear Instruments and Methods A 320 (1992) 331-335, done
for both tails. With a denominator known exactly it is Garwood's interval (`dtcseg.statistics`), to the last digit.

Slides of one patient are counted by one network, whose error (it takes this stain's doublets for one nucleus, say) is
the same on all of them. It does not average out, so their relative errors are taken as fully correlated: the bounds
of the counts add up as the counts do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc, gammaincc, ndtri

from dtcseg.statistics import CONFIDENCE, PER, figure, poisson_interval, poisson_upper_limit
from dtcseg.trial._checks import between, not_negative, positive, whole

FloatArray = npt.NDArray[np.float64]

_NODES = 801
_REACH = 8.0
_HALVINGS = 200
_WIDEST = 40.0
"""Limits are looked for within a factor of e^40 of Garwood's; error of the denominator moves them far less."""


@dataclass(frozen=True)
class Screened:
    """Nucleated cells screened, the denominator.

    Attributes
    ----------
    mnc : float
        Cells.
    low, high : float
        95 % interval of that count, cells; both equal to `mnc` where it is taken as known.
    """

    mnc: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds that are none."""
        not_negative(self.mnc, "mnc")
        if not (not_negative(self.low, "mnc_low") <= self.mnc <= not_negative(self.high, "mnc_high")):
            raise ValueError(f"mnc {self.mnc} lies outside its interval {self.low} to {self.high}")

    @property
    def log_sd(self) -> float:
        """Standard deviation of log(mnc), from the width of the interval over the count.

        The interval may reach down to 0 (few cells), so the width is matched and not the bounds.
        """
        relative = (self.high - self.low) / (2.0 * float(ndtri(0.975)) * positive(self.mnc, "mnc"))
        return math.sqrt(math.log1p(relative**2))


@dataclass(frozen=True)
class Result:
    """Tumour cells found, and what that says.

    Attributes
    ----------
    count : int
        Tumour cells.
    screened : Screened
        Cells among which they were found.
    per_million, low, high : float
        Per 10^6 cells screened, with the two-sided interval (Poisson error and the denominator's).
    limit : float
        One-sided upper limit per 10^6, the figure to quote when nothing was found.
    confidence : float
        Of the interval and of the limit.
    mnc_per_ml : float or None
        Mononuclear cells per mL of aspirate, taken as known.
    """

    count: int
    screened: Screened
    per_million: float
    low: float
    high: float
    limit: float
    confidence: float = CONFIDENCE
    mnc_per_ml: float | None = None

    @property
    def per_ml(self) -> tuple[float, float, float, float] | None:
        """(value, low, high, one-sided limit) per mL of aspirate; None where MNC per mL is not known."""
        if self.mnc_per_ml is None:
            return None
        scale = self.mnc_per_ml / PER
        return self.per_million * scale, self.low * scale, self.high * scale, self.limit * scale

    def __str__(self) -> str:
        """Say the result; nothing found is never 0."""
        if self.count == 0:
            return f"not detected, < {figure(self.limit)} per 10^6 ({100 * self.confidence:g} %)"
        return f"{figure(self.per_million)} per 10^6 ({figure(self.low)}\N{EN DASH}{figure(self.high)})"


def screened(mnc: float, low: float | None = None, high: float | None = None) -> Screened:
    """Make a denominator; a bound that is not given is the count itself (taken as known)."""
    return Screened(mnc, mnc if low is None else low, mnc if high is None else high)


def add_screened(parts: Iterable[Screened]) -> Screened:
    """Add up the cells of slides counted by one network: their errors go the same way, so bounds add up too."""
    known = list(parts)
    return Screened(sum(p.mnc for p in known), sum(p.low for p in known), sum(p.high for p in known))


def result(
    count: int, cells: Screened | float, *, confidence: float = CONFIDENCE, mnc_per_ml: float | None = None
) -> Result:
    """Turn cells found among cells screened into a result.

    Parameters
    ----------
    count : int
        Tumour cells found.
    cells : Screened or float
        Cells screened; a plain number is taken as known without error.
    confidence : float
        Between 0 and 1.
    mnc_per_ml : float, optional
        Mononuclear cells per mL of aspirate.

    Raises
    ------
    ValueError
        A count that is none, no cell screened, or a concentration that is none.
    """
    denominator = cells if isinstance(cells, Screened) else screened(cells)
    found = whole(count, "count")
    mnc = positive(denominator.mnc, "mnc")
    if mnc_per_ml is not None:
        positive(mnc_per_ml, "mnc_per_ml")
    exposures, weights = exposure_nodes(denominator)
    low, high = averaged_interval(found, exposures, weights, confidence)
    limit = averaged_upper_limit(found, exposures, weights, confidence)
    return Result(found, denominator, found / mnc * PER, low * PER, high * PER, limit * PER, confidence, mnc_per_ml)


def pool(
    parts: Iterable[tuple[int, Screened]], *, confidence: float = CONFIDENCE, mnc_per_ml: float | None = None
) -> Result:
    """Make one result of the (count, cells) of slides of one specimen, or of the specimens of one patient.

    The counts of independent draws add up to a Poisson count; the denominators add up with `add_screened`.
    """
    known = list(parts)
    total = sum(whole(count, "count") for count, _ in known)
    cells = add_screened(cells for _, cells in known)
    return result(total, cells, confidence=confidence, mnc_per_ml=mnc_per_ml)


def exposure_nodes(cells: Screened) -> tuple[FloatArray, FloatArray]:
    """Give cells screened as points with weights that add up to 1; one point where it is known."""
    spread = cells.log_sd
    if spread == 0.0:
        return np.array([cells.mnc]), np.array([1.0])
    nodes, weights = _normal_grid()
    return cells.mnc * np.exp(spread * nodes), weights


def averaged_interval(
    count: int, exposures: FloatArray, weights: FloatArray, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Two-sided interval of a rate per unit of exposure, its exact Poisson tails averaged over the exposures.

    Parameters
    ----------
    count : int
        Events seen.
    exposures, weights : (N,) float64
        What the exposure may have been, and how probably (adds up to 1).
    confidence : float
        Between 0 and 1.
    """
    tail = (1.0 - between(confidence, "confidence")) / 2.0
    plain_low, plain_high = poisson_interval(count, confidence)
    if len(exposures) == 1:
        return plain_low / float(exposures[0]), plain_high / float(exposures[0])
    low = _lower(count, exposures, weights, tail) if count else 0.0
    return low, _upper(count, exposures, weights, tail)


def averaged_upper_limit(
    count: int, exposures: FloatArray, weights: FloatArray, confidence: float = CONFIDENCE
) -> float:
    """One-sided upper limit of a rate per unit of exposure, averaged over the exposures."""
    between(confidence, "confidence")
    if len(exposures) == 1:
        return poisson_upper_limit(count, confidence) / float(exposures[0])
    return _upper(count, exposures, weights, 1.0 - confidence)


def _upper(count: int, exposures: FloatArray, weights: FloatArray, tail: float) -> float:
    """Rate at which no more than `count` would be seen with probability `tail`."""
    start = poisson_upper_limit(count, 1.0 - tail) / float(weights @ exposures)

    def surplus(log_rate: float) -> float:
        return float(weights @ gammaincc(count + 1, math.exp(log_rate) * exposures)) - tail

    return math.exp(_falling_root(surplus, math.log(start)))


def _lower(count: int, exposures: FloatArray, weights: FloatArray, tail: float) -> float:
    """Rate at which `count` or more would be seen with probability `tail`."""
    start = poisson_interval(count, 1.0 - 2.0 * tail)[0] / float(weights @ exposures)

    def surplus(log_rate: float) -> float:
        return tail - float(weights @ gammainc(count, math.exp(log_rate) * exposures))

    return math.exp(_falling_root(surplus, math.log(start)))


def _falling_root(function: Callable[[float], float], start: float) -> float:
    """Where a falling function crosses 0, by halving: it cannot miss, and the tails are cheap."""
    left, right = start - _WIDEST, start + _WIDEST
    for _ in range(_HALVINGS):
        middle = 0.5 * (left + right)
        if middle in (left, right):
            break
        if function(middle) > 0.0:
            left = middle
        else:
            right = middle
    return 0.5 * (left + right)


@cache
def _normal_grid() -> tuple[FloatArray, FloatArray]:
    """Lay a standard normal on a fine even grid.

    With many cells found a Poisson tail is nearly a step in the denominator, which few Gauss-Hermite points would miss.
    """
    nodes = np.linspace(-_REACH, _REACH, _NODES)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()
