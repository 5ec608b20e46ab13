"""The temperature of new weights (Guo et al. 2017, ICML): logits divided by it are calibrated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GRID = np.exp(np.linspace(np.log(0.5), np.log(3), 60))


def fit_temperature(logits: npt.NDArray[np.floating], calls: npt.NDArray[np.int64]) -> float:
    """Find the temperature of greatest likelihood.

    Parameters
    ----------
    logits : (N, 4) float
        Of crops that were not learned from, N at least 1; each row up to a constant.
    calls : (N,) int64
        Their truth.
    """
    rows, exact = np.arange(len(calls)), logits.astype(np.float64)

    def loss(temperature: float) -> float:
        scaled = exact / temperature
        top = scaled.max(axis=1)
        return float((top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)) - scaled[rows, calls]).mean())

    return round(float(min(_GRID, key=loss)), 4)
