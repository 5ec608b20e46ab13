"""What the networks are taught: centre maps for `Screen`, masks and calls for `Look`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float32]

NUCLEUS_SIGMA_PX = 1.3
"""Width of a nucleus's centre blob at 1 µm/px: narrow, so that touching nuclei (7 µm apart) stay two peaks."""
CK_SIGMA_PX = 2.5


def centre_map(shape: tuple[int, int], centres: Sequence[tuple[float, float]], sigma: float) -> FloatArray:
    """Draw a Gaussian of height 1 at each centre.

    Parameters
    ----------
    shape : (H, W)
    centres : sequence of (x, y)
        Pixel-centre coordinates.
    sigma : float
        Pixels.

    Returns
    -------
    (H, W) float32
        The greatest of the blobs; exactly 1 at the pixel nearest to each centre.
    """
    result = np.zeros(shape, np.float32)
    reach = int(np.ceil(4 * sigma))
    for x, y in centres:
        column, row = round(x), round(y)
        if not (0 <= column < shape[1] and 0 <= row < shape[0]):
            continue
        top, left = max(row - reach, 0), max(column - reach, 0)
        ys = np.arange(top, min(row + reach + 1, shape[0]))
        xs = np.arange(left, min(column + reach + 1, shape[1]))
        blob = np.exp(-((ys[:, None] - row) ** 2 + (xs[None, :] - column) ** 2) / (2 * sigma**2))
        part = result[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        np.maximum(part, blob, out=part)
    return result
