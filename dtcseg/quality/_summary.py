"""How sharp, how noisy and how well stained the screened part of a slide is, in a few numbers for its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtcseg.quality._codes import Code

if TYPE_CHECKING:
    import numpy.typing as npt

    from dtcseg.quality._blocks import BlockStats

_LEAST_TRACE = 0.02
"""Share of nuclear stain (`BlockStats.trace`) from which a block tells something of its own: about two nuclei."""
_ENOUGH = 4


def summary(stats: BlockStats, codes: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Sum up the screened blocks that hold nuclei.

    Parameters
    ----------
    stats : BlockStats
        Of the whole slide, (rows, cols).
    codes : (rows, cols) uint8
        Values of `Code`.

    Returns
    -------
    dict of str to float
        `sharpness` and `sharpness_low` (median and 10th percentile over blocks, `BlockStats.sharpness`), `noise`
        (median, of the planes) and `staining` (median nuclear staining, scaled). Empty where fewer than four blocks
        hold nuclei.
    """
    seen = (codes == Code.SCREENED) & stats.measured & (np.nan_to_num(stats.trace) >= _LEAST_TRACE)
    sharpness = stats.sharpness[seen]
    sharpness = sharpness[np.isfinite(sharpness)]
    if len(sharpness) < _ENOUGH:
        return {}
    low, middle = np.percentile(sharpness, (10, 50))
    return {
        "sharpness": round(float(middle), 4),
        "sharpness_low": round(float(low), 4),
        "noise": round(float(np.median(stats.noise[seen])), 5),
        "staining": round(float(np.median(stats.clear[seen])), 4),
    }
