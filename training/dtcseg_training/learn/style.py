"""What planes look like, in numbers: by them the simulator is set to make slides like a laboratory's (`alike`)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]

_LEVELS = (10, 50, 75, 90, 97)
_BANDS_PX = (0.0, 0.7, 1.6, 3.5)
"""Gaussian sigmas between which texture is measured, in pixels of 0.5 µm: noise and compression; blur; chromatin."""
_LEAST = 1e-3
_SCALES = np.array(
    [
        *(0.014, 0.085, 0.177, 0.235, 0.225, 0.62, 0.47, 0.38),
        *(0.061, 0.048, 0.162, 0.294, 0.431, 0.94, 0.84, 0.78),
        *(0.034, 0.008, 0.012, 0.028, 0.060, 0.86, 0.74, 0.70),
    ]
)
"""Standard deviations between 77 simulated laboratories drawn at random."""


def style_of(planes: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> FloatArray:
    """Measure planes: how much of each is there, and how fine it is.

    Parameters
    ----------
    planes : (3, H, W) float32
        At the look's resolution.
    where : (H, W) bool
        What is measured.

    Returns
    -------
    (24,) float64
        Of each plane five percentiles (OD), and the logarithm of the standard deviation in three bands of fineness.
    """
    found: list[float] = []
    for plane in planes:
        found += [float(value) for value in np.percentile(plane[where], _LEVELS)]
        smooth = [plane if sigma == 0 else ndimage.gaussian_filter(plane, sigma) for sigma in _BANDS_PX]
        found += [float(np.log((a - b)[where].std() + _LEAST)) for a, b in pairwise(smooth)]
    return np.array(found)


def apart(one: FloatArray, other: FloatArray) -> float:
    """Tell how far two styles lie apart; laboratories drawn at random lie about 1 apart."""
    return float(np.sqrt((((one - other) / _SCALES) ** 2).mean()))
