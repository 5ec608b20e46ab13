"""The operating point of a laboratory: the least score of the call "tumour", chosen on its own cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.statistics import rate_per_million
from dtcseg_training.figures import Share
from dtcseg_training.learn.outcome import LabThreshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg_training.learn.training_set import SlideCrops

_GRID = tuple(float(t) for t in np.round(np.arange(0.2, 0.81, 0.05), 2))
_FEWEST = 20
"""Cells of each kind below which the laboratory's own cells choose nothing."""
_WORTH = 2
"""Wrong calls fewer that another threshold must bring: one is chance."""


def choose_threshold(
    slides: Sequence[SlideCrops],
    scores: npt.NDArray[np.float64],
    tumour: npt.NDArray[np.bool_],
    default: float,
    allowed: Callable[[float], bool],
) -> LabThreshold:
    """Choose on the laboratory's held-out cells.

    The default stays unless another threshold makes at least two wrong calls fewer, a missed tumour cell counting as
    much as a false call; of equals the nearest to the default, and of those the lower is taken.

    Parameters
    ----------
    slides : sequence of SlideCrops
        Held out: they say how many nucleated cells the false calls are among.
    scores, tumour : (N,) float64, (N,) bool
        Of their cells.
    default : float
        Threshold of the weights that were begun with.
    allowed : callable
        Whether a threshold loses nothing on the reference set.
    """
    cells = sum(slide.mnc for slide in slides)

    def wrong(threshold: float) -> int:
        return int(((scores >= threshold) != tumour).sum())

    enough = min(int(tumour.sum()), int((~tumour).sum())) >= _FEWEST
    best = default
    if enough:
        order = sorted((t for t in _GRID if t != default), key=lambda t: (wrong(t), abs(t - default), t))
        best = next((t for t in order if wrong(t) + _WORTH <= wrong(default) and allowed(t)), default)
    found = Share(int((scores[tumour] >= best).sum()), int(tumour.sum()))
    false = Share(int((scores[~tumour] >= best).sum()), int((~tumour).sum()))
    rate = _false_per_million(false.count, cells)
    return LabThreshold(
        best, "lab" if enough else "default", found, false, cells, rate, _text(best, enough, found, rate)
    )


def _false_per_million(count: int, cells: int) -> tuple[float, float, float]:
    """Rate with its exact 95 % interval; NaN where no cells were counted."""
    if not cells:
        return float("nan"), float("nan"), float("nan")
    rate = rate_per_million(count, cells)
    return rate.per_million, rate.low, rate.high


def _text(threshold: float, enough: bool, found: Share, rate: tuple[float, float, float]) -> str:
    how = (
        "chosen on this laboratory's held-out cells"
        if enough
        else f"as before: fewer than {_FEWEST} held-out cells of one kind, too few to choose by"
    )
    says = f"a score of {threshold:g} makes a tumour call ({how})"
    if found.total:
        says += f"; it finds {found} of the reviewed tumour cells"
    if np.isfinite(rate[0]):
        false = f"{rate[0]:.1f} ({rate[1]:.1f} to {rate[2]:.1f}) false tumour calls per 10^6 cells"
        says += f"{',' if found.total else ';'} with {false} among the reviewed objects"
    return says
