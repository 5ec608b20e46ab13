"""Adaptive importance sampling: draws of a posterior that is known up to a constant and has some ten parameters.

The first proposal is a multivariate t around the posterior's mode; each round fits the next proposal to the weighted
draws so far, and every draw is weighted against the mixture of all proposals used (J.-M. Cornuet, J.-M. Marin, A. Mira
and C. P. Robert, "Adaptive multiple importance sampling", Scandinavian Journal of Statistics 39 (2012) 798-812). There
is no burn-in to judge; the effective number of draws (A. Kong, J. S. Liu and W. H. Wong, Journal of the American
Statistical Association 89 (1994) 278-288) says how good the draws are, and too few of them is an error, not a result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

FloatArray = npt.NDArray[np.float64]

_T_DEGREES = 6.0
"""Heavier tails than a posterior's, so that no weight is huge."""
_STEP = 1e-3
_WIDEN = 1.3
_LEAST_CURVATURE = 0.05
"""Against a flat direction of the mode: no proposal is wider than a standard deviation of 4.5 in it."""
_MAX_ROUNDS = 12
_LEAST_EFFECTIVE = 100.0


@dataclass(frozen=True, eq=False)
class Draws:
    """Weighted draws of a posterior.

    Attributes
    ----------
    values : (N, P) float64
    weights : (N,) float64
        Add up to 1.
    """

    values: FloatArray
    weights: FloatArray

    @property
    def effective(self) -> float:
        """Number of independent draws these are worth."""
        return float(1.0 / np.sum(self.weights**2))


@dataclass(frozen=True, eq=False)
class _Proposal:
    """Multivariate t."""

    centre: FloatArray
    root: FloatArray

    def draw(self, rng: np.random.Generator, number: int) -> FloatArray:
        normal = rng.standard_normal((number, len(self.centre)))
        stretch = np.sqrt(_T_DEGREES / rng.chisquare(_T_DEGREES, number))
        return np.asarray(self.centre + (normal * stretch[:, None]) @ self.root.T)

    def log_density(self, values: FloatArray) -> FloatArray:
        size = len(self.centre)
        apart = np.linalg.solve(self.root, (values - self.centre).T)
        distance = np.sum(apart**2, axis=0)
        constant = gammaln((_T_DEGREES + size) / 2) - gammaln(_T_DEGREES / 2) - size / 2 * np.log(_T_DEGREES * np.pi)
        shape = -(_T_DEGREES + size) / 2 * np.log1p(distance / _T_DEGREES)
        return np.asarray(constant - np.log(np.diag(self.root)).sum() + shape)


def sample(
    log_posterior: Callable[[FloatArray], FloatArray], start: FloatArray, *, per_round: int, effective: float, seed: int
) -> Draws:
    """Draw from a posterior.

    Parameters
    ----------
    log_posterior : callable
        (N, P) parameters to (N,) logarithms of the density, up to a constant.
    start : (P,) float64
        Where the search for the mode begins.
    per_round : int
        Draws a round.
    effective : float
        Rounds are added until the draws are worth this many independent ones (12 rounds at most).
    seed : int
        The same seed gives the same draws.

    Raises
    ------
    ArithmeticError
        The draws are worth fewer than 100 independent ones.
    """
    rng = np.random.default_rng(seed)
    proposals = [_around_mode(log_posterior, start)]
    values = np.empty((0, len(start)))
    target = np.empty(0)
    for _ in range(_MAX_ROUNDS):
        new = proposals[-1].draw(rng, per_round)
        values = np.concatenate([values, new])
        target = np.concatenate([target, log_posterior(new)])
        mixture = logsumexp([p.log_density(values) for p in proposals], axis=0)
        draws = Draws(values, _normalised(target - mixture))
        if draws.effective >= effective:
            return draws
        proposals.append(_fitted(draws))
    if draws.effective < _LEAST_EFFECTIVE:
        raise ArithmeticError(f"the posterior could not be sampled ({draws.effective:.0f} effective draws)")
    return draws


def _normalised(log_weights: FloatArray) -> FloatArray:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _fitted(draws: Draws) -> _Proposal:
    """Fit a proposal to weighted draws; the few draws of a first round are tempered so that not one of them rules."""
    weights = draws.weights
    size = draws.values.shape[1]
    while 1.0 / np.sum(weights**2) < 10 * size:
        weights = np.sqrt(weights)
        weights = weights / weights.sum()
    centre = weights @ draws.values
    apart = draws.values - centre
    covariance = (apart * weights[:, None]).T @ apart
    return _Proposal(centre, np.asarray(np.linalg.cholesky(_WIDEN * covariance + 1e-8 * np.eye(size)), np.float64))


def _around_mode(log_posterior: Callable[[FloatArray], FloatArray], start: FloatArray) -> _Proposal:
    from scipy.optimize import minimize  # late: only fits need it

    size = len(start)
    steps = _STEP * np.concatenate([np.eye(size), -np.eye(size)])

    def descend(point: FloatArray) -> tuple[float, FloatArray]:
        around = log_posterior(np.concatenate([point[None], point + steps]))
        return -float(around[0]), -(around[1 : size + 1] - around[size + 1 :]) / (2 * _STEP)

    mode = np.asarray(minimize(descend, start, jac=True, method="BFGS", options={"gtol": 1e-2, "maxiter": 100}).x)
    curvature = np.array(
        [(descend(mode + 10 * step)[1] - descend(mode - 10 * step)[1]) / (20 * _STEP) for step in steps[:size]]
    )
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    covariance = (vectors / np.maximum(values, _LEAST_CURVATURE)) @ vectors.T
    return _Proposal(mode, np.linalg.cholesky(_WIDEN * covariance))
