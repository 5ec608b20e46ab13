"""Posterior of a Poisson regression with a patient effect and over-dispersion, by its marginal likelihood.

Patient i at visit t has y tumour cells among N cells screened:

    y | g_i, e_it ~ Poisson(N_it exp(x_it beta) g_i e_it)
    log g_i ~ Normal(0, s^2)            patients differ
    e_it ~ Gamma(1 / c^2, 1 / c^2)      visits of a patient differ by more than Poisson (mean 1, relative SD c)

e_it integrates out in closed form (negative binomial; M. Greenwood and G. U. Yule, Journal of the Royal Statistical
Society 83 (1920) 255-279), g_i by Gauss-Hermite quadrature centred on each patient's own likelihood (J. Liu and D. A.
Pierce, Biometrika 81 (1994) 624-629). Where patients were enrolled because their first sample was positive, each
patient's likelihood is divided by the probability of that (truncation at zero), or the first visit would pass for the
usual level and every arm would seem to fall.

Priors (natural logarithms): log rate per 10^6 at the start ~ Normal(0, 3^2); change with time ~ Normal(0, 1.5^2);
log ratio by treatment ~ Normal(0, 2^2), which puts 95 % between 1/50 and 50 times; s ~ half-normal(1.5);
c ~ half-normal(1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NODES = 15
_CHUNK = 40
_SMALLEST = -6.0
"""Logarithm of the smallest s and c looked at: 0.0025, where nothing differs from Poisson any more."""
_LARGEST = 3.0
_RARE = math.log(0.9)


@dataclass(frozen=True)
class Priors:
    """Standard deviations of the priors, natural logarithms but for the two last."""

    level: float = 3.0
    time: float = 1.5
    effect: float = 2.0
    patient: float = 1.5
    visit: float = 1.0


@dataclass(frozen=True, eq=False)
class Design:
    """Counts in the form the likelihood wants: patients x visits, filled up with visits of no cell screened.

    Attributes
    ----------
    counts : (P, T) float64
    millions : (P, T) float64
        10^6 cells screened; 0 where there was no visit.
    columns : (P, T, K) float64
        Explanatory columns: level, times, effects.
    kinds : tuple of str
        "level", "time" or "effect" for each of the K columns.
    truncated : bool
        Every patient's visit 0 is there because its count was not 0.
    """

    counts: FloatArray
    millions: FloatArray
    columns: FloatArray
    kinds: tuple[str, ...]
    truncated: bool


def start(design: Design) -> FloatArray:
    """Give a place to begin: the mean rate, no effect, moderate spread."""
    point = np.zeros(len(design.kinds) + 2)
    point[0] = math.log((design.counts.sum() + 0.5) / design.millions.sum())
    point[-2:] = math.log(0.7)
    return point


def log_posterior(design: Design, priors: Priors, points: FloatArray) -> FloatArray:
    """Give the logarithm of the posterior density (up to a constant) of (N, K + 2) parameters: beta, log s, log c."""
    inside = np.clip(points[:, -2:], _SMALLEST, _LARGEST)
    out = _log_prior(design, priors, points, inside)
    for first in range(0, len(points), _CHUNK):
        part = slice(first, first + _CHUNK)
        out[part] += _log_likelihood(design, points[part, :-2], np.exp(inside[part, 0]), np.exp(inside[part, 1]))
    return out


def _log_prior(design: Design, priors: Priors, points: FloatArray, inside: FloatArray) -> FloatArray:
    widths = np.array([getattr(priors, kind) for kind in design.kinds])
    out = -0.5 * np.sum((points[:, :-2] / widths) ** 2, axis=1)
    spread = np.exp(inside) / np.array([priors.patient, priors.visit])
    # half-normal of the spread itself; its logarithm is the parameter, hence the Jacobian
    out += np.sum(-0.5 * spread**2 + inside, axis=1)
    return np.asarray(out - np.sum(50.0 * (points[:, -2:] - inside) ** 2, axis=1))


def _log_likelihood(design: Design, beta: FloatArray, patient_sd: FloatArray, visit_cv: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):
        rates = np.exp(np.clip(np.tensordot(beta, design.columns, axes=(1, 2)), -60.0, 60.0))
    means = rates * design.millions
    shape = 1.0 / visit_cv**2
    patients = log_marginal(design.counts, means, patient_sd, shape)
    if design.truncated:
        patients = patients - log_found(means[..., 0], patient_sd, shape)
    return np.asarray(patients.sum(axis=1))


def log_marginal(counts: FloatArray, means: FloatArray, patient_sd: FloatArray, shape: FloatArray) -> FloatArray:
    """Integrate the patient effect out.

    Parameters
    ----------
    counts : (P, T) float64
    means : (N, P, T) float64
        Expected counts of the average patient; 0 where there was no visit.
    patient_sd, shape : (N,) float64
        s and 1 / c^2.

    Returns
    -------
    (N, P) float64
        Logarithm of the probability of each patient's counts.
    """
    total = counts.sum(axis=1)
    visits = np.maximum((means > 0).sum(axis=2), 1)
    effects, log_weights = _nodes(total, means.sum(axis=2), patient_sd, 1.0 / (shape[:, None] * visits))
    each = shape[:, None, None]
    fixed = gammaln(each + counts) - gammaln(each) - gammaln(counts + 1)
    fixed = np.sum(fixed + np.where(counts > 0, counts * np.log(np.maximum(means, 1e-300) / each), 0.0), axis=2)
    ratio = (means / each)[..., None] * np.exp(effects)[:, :, None, :]
    varying = total[:, None] * effects - np.sum((each + counts)[..., None] * np.log1p(ratio), axis=2)
    return np.asarray(fixed + _log_sum(varying + log_weights))


def log_found(means: FloatArray, patient_sd: FloatArray, shape: FloatArray) -> FloatArray:
    """Give the logarithm of the probability that a visit shows at least one cell; `means` is (N, P).

    Nodes lie where what is integrated has its mass: for a frequent find that is so for the probability of none, for a
    rare one for the probability of some, whose complement would also lose its digits.
    """
    patients = means.shape[1]
    none = log_marginal(np.zeros((patients, 1)), means[..., None], patient_sd, shape)
    frequent = np.log(np.maximum(-np.expm1(np.minimum(none, 0.0)), 1e-300))
    if (none < _RARE).all():
        return np.asarray(frequent)
    effects, log_weights = _nodes(np.ones(patients), means, patient_sd, 1.0 / shape[:, None])
    each = shape[:, None, None]
    some = -np.expm1(-each * np.log1p(means[..., None] / each * np.exp(effects)))
    rare = _log_sum(np.log(np.maximum(some, 1e-300)) + log_weights)
    return np.where(none < _RARE, frequent, rare)


def _nodes(
    total: FloatArray, means: FloatArray, patient_sd: FloatArray, extra: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Place nodes (N, P, Q) of log g where prior times likelihood has its mass; with logarithms of their weights."""
    prior = patient_sd[:, None] ** 2
    likelihood = 1.0 / (total + 0.5) + extra
    variance = 1.0 / (1.0 / prior + 1.0 / likelihood)
    centre = variance / likelihood * np.log((total + 0.5) / np.maximum(means, 1e-300))
    width = np.sqrt(variance)
    z, weights = _hermite()
    effects = centre[..., None] + width[..., None] * z
    log_weights = np.log(weights) + 0.5 * z**2 + np.log(width)[..., None] - 0.5 * effects**2 / prior[..., None]
    return effects, np.asarray(log_weights - 0.5 * np.log(2 * np.pi * prior)[..., None])


def _log_sum(terms: FloatArray) -> FloatArray:
    top = terms.max(axis=-1)
    return np.asarray(top + np.log(np.exp(terms - top[..., None]).sum(axis=-1)))


@cache
def _hermite() -> tuple[FloatArray, FloatArray]:
    return np.polynomial.hermite_e.hermegauss(NODES)
