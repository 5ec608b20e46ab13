"""The temperature of new weights (Guo et al. 2017, ICML), from probabilities that were seen at another one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GRID = np.exp(np.linspace(np.log(0.5), np.log(3), 60))


def fit_temperature(probabilities: npt.NDArray[np.float32], calls: npt.NDArray[np.int64], at: float) -> float:
    """Find the temperature of greatest likelihood.

    Parameters
    ----------
    probabilities : (N, 4) float32
        Of crops that were not learned from, at the temperature `at`.
    calls : (N,) int64
        Their truth.
    at : float
    """
    logits = at * np.log(np.maximum(probabilities.astype(np.float64), 1e-12))
    rows = np.arange(len(calls))

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        top = scaled.max(axis=1)
        return float((top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)) - scaled[rows, calls]).mean())

    return round(float(min(_GRID, key=loss)), 4) if len(calls) else at
