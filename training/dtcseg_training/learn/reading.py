"""How much a laboratory's readers ask that tumour cells stand out: what a few verdicts can teach safely.

What a new laboratory changes first is how much chromogen sticks to ordinary cells. The look measures how far an
object's cytokeratin stands out from the slide's own ordinary cells; here two numbers are fitted to readers' words by
penalised likelihood, as in a logistic regression (Cox 1958): how much an object has to stand out, and how surely it is
no tumour cell if it does not. They hold for slides that are stained like those that were read (`Reading`), and can
lower scores, never raise them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from dtcseg.network.model import LOOK_CLASSES
from dtcseg.network.reading import Reading
from dtcseg_training.fields import LOOK_INNER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg.network.model import Look
    from dtcseg_training.learn.training_set import SlideCrops

FloatArray = npt.NDArray[np.float64]

_USUAL_ASKED, _USUAL_CLEAR = np.log(3.0), np.log(0.6)
_SD = 0.7
"""What is expected before any verdict is known (logarithms), and its standard deviation: where an ordinary cell of most
slides stands out by 0.3 and most tumour cells by more than 1. A few verdicts move it little."""
_TUMOUR_WEIGHT = 3.0
"""A tumour cell that is lost weighs as much as three other objects called: recall is first. With equal weights, in
another laboratory, a third of the held-out tumour cells called before fell with three in four of the false calls; so,
one in sixteen with half of them."""
_STARTS = tuple((np.log(asked), np.log(clear)) for asked in (2.0, 5.0) for clear in (0.4, 0.8, 1.5))
_BATCH = 16
_TUMOUR = LOOK_CLASSES.index("tumour")


def fit_reading(
    start: Look, lab: Sequence[SlideCrops], on_crops: Callable[[int], None] = lambda crops: None
) -> Reading | None:
    """Fit a reading to a laboratory's words.

    Parameters
    ----------
    start : Look
        On the CPU, in evaluation mode.
    lab : sequence of SlideCrops
        The slides to learn from.
    on_crops : callable
        Told how many crops have been looked at.

    Returns
    -------
    Reading or None
        None where the words are as likely without: readers call tumour what hardly stands out, too.
    """
    odds, strength = _seen(start, lab, on_crops)
    tumour = np.concatenate([slide.calls for slide in lab]) == _TUMOUR
    side, weight = np.where(tumour, 1.0, -1.0), np.where(tumour, _TUMOUR_WEIGHT, 1.0)

    def unlikely(lowered: FloatArray) -> float:
        return float((weight * np.logaddexp(0, -side * (odds - lowered))).sum())

    def penalised(values: FloatArray) -> float:
        log_asked, clear = values
        unusual = ((log_asked - _USUAL_ASKED) / _SD) ** 2 + ((clear - _USUAL_CLEAR) / _SD) ** 2
        return unlikely(np.logaddexp(0, np.exp(log_asked) * (clear - strength))) + 0.5 * float(unusual)

    found = min((minimize(penalised, np.array(at), method="Nelder-Mead") for at in _STARTS), key=lambda fit: fit.fun)
    if found.fun >= unlikely(np.zeros_like(odds)):
        return None
    asked, clear = float(np.exp(found.x[0])), float(found.x[1])
    return Reading(round(asked, 4), round(clear, 4), tuple(slide.signature for slide in lab))


def _seen(look: Look, slides: Sequence[SlideCrops], on_crops: Callable[[int], None]) -> tuple[FloatArray, FloatArray]:
    """Log odds of a tumour cell, and how far each object stands out (logarithm)."""
    odds, strengths = [np.zeros(0)], [np.zeros(0)]
    done = 0
    with torch.inference_mode():
        for slide in slides:
            for i in range(0, len(slide.calls), _BATCH):
                part = slice(i, i + _BATCH)
                crops = torch.from_numpy(np.ascontiguousarray(slide.crops[part][LOOK_INNER], np.float32))
                _, calls, strength = look.seen(crops, torch.from_numpy(slide.spreads[part]))
                others = torch.cat([calls[:, :_TUMOUR], calls[:, _TUMOUR + 1 :]], dim=1)
                odds.append((calls[:, _TUMOUR] - others.logsumexp(1)).double().numpy())
                strengths.append(strength.double().numpy())
                done += len(strength)
                on_crops(done)
    return np.concatenate(odds), np.concatenate(strengths)
