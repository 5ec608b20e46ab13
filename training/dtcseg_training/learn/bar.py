"""How much surer than its network a laboratory's call "tumour" must be, so that it calls no more falsely than before.

A look that was fitted to a laboratory tells tumour cells from others better there, and may all the same call more of
the others: it was shown tumour cells half of the time, and more places are candidates (`proposal`). In laboratory
11,100,000 of `benchmarks/learning.py` false calls fell from 134 to 24 on its other slides, and rose from 14 to 28 of
766 on simulated fields like its slides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from dtcseg_training.learn.gate import Judged

_BARS = tuple(float(bar) for bar in np.arange(0, 2.01, 0.25))
"""Natural logarithms of the odds."""


def choose_bar(judged: Judged, threshold: float) -> float:
    """Choose by simulated fields like a laboratory's slides, which nothing was learned from.

    Parameters
    ----------
    judged : Judged
        Champion and challenger, both with `threshold`.
    threshold : float
        Least score of the call "tumour".

    Returns
    -------
    float
        By how much the logarithm of the odds of a tumour cell is to be lowered: the least with which no more others are
        called tumour than by the champion, as long as no fewer tumour cells are; 0 where that cannot be.
    """
    tumour, was = judged.tumour, judged.called[0]
    best = 0.0
    for bar in _BARS:
        called = judged.scores[1] >= expit(logit(threshold) + bar)
        if (called & tumour).sum() < (was & tumour).sum():
            break
        best = bar
        if (called & ~tumour).sum() <= (was & ~tumour).sum():
            break
    return best


def in_words(bar: float) -> str:
    """Say it as half a sentence that follows another; nothing where no bar is raised."""
    if not bar:
        return ""
    return (
        f"; odds of a tumour cell are taken {np.exp(bar):.1f} times lower than the fit gives them, so that no more is "
        "called falsely on simulated fields like these slides than before"
    )
