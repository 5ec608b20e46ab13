"""What makes a set of verdicts doubtful: it is said, and where it is plain the gate refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu

from dtcseg_training.learn.gate import NOBODY, too_few
from dtcseg_training.learn.judge import TUMOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg_training.learn.training_set import SlideCrops

_SURE = 0.02
_MANY = 0.15
_FEWEST = 5
_LEVEL = 0.05


def warnings_of(slides: Sequence[SlideCrops], scores: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """Say what a person should know of the verdicts.

    Parameters
    ----------
    slides : sequence of SlideCrops
    scores : (N,) float64
        What the weights that were begun with give their cells, in the order of the slides.
    """
    said = np.concatenate([slide.said for slide in slides])
    calls = np.concatenate([slide.calls for slide in slides])
    found = []
    learned = np.concatenate([slide.calls for slide in slides if not slide.held_out])
    if len(set((learned == TUMOUR).tolist())) < 2:
        found.append(_one_kind(learned == TUMOUR))
    sources = {slide.patient or f"slide {slide.slide}" for slide in slides if slide.said.any()}
    if len(sources) == 1:
        found.append("all verdicts are of one patient: what is learned may be that patient's, not the laboratory's")
    tumour = calls == TUMOUR
    against = said & ((tumour & (scores <= _SURE)) | (~tumour & (scores >= 1 - _SURE)))
    if against.sum() >= max(_FEWEST, _MANY * said.sum()):
        found.append(
            f"{int(against.sum())} of {int(said.sum())} verdicts contradict what the weights are surest of: either "
            "they do not know this laboratory, or verdicts were mixed up; look at some of them again"
        )
    return tuple(found)


def unjudgeable(slides: Sequence[SlideCrops]) -> str:
    """Say why the gate would refuse whatever is fitted, so that nobody waits for it; "" where it might not."""
    kept = [slide for slide in slides if slide.held_out]
    if not kept:
        return NOBODY
    held_out = np.concatenate([slide.calls for slide in kept]) == TUMOUR
    learned = np.concatenate([slide.calls for slide in slides if not slide.held_out]) == TUMOUR
    if learned.all() or not learned.any():
        return _one_kind(learned)
    return too_few(int(held_out.sum()), int((~held_out).sum()))


def _one_kind(learned: npt.NDArray[np.bool_]) -> str:
    what = "tumour cells" if learned.all() else "no tumour cell"
    return f"the cells to learn from are all of one kind ({what}): nothing tells what they differ from"


def contradiction(scores: npt.NDArray[np.float64], tumour: npt.NDArray[np.bool_]) -> str:
    """Say so where the verdicts are the reverse of what the weights think, beyond chance (Mann and Whitney 1947)."""
    if not tumour.any() or tumour.all():
        return ""
    test = mannwhitneyu(scores[tumour], scores[~tumour], alternative="less")
    if float(test.pvalue) >= _LEVEL:
        return ""
    return (
        "cells called tumour by the readers score lower than their other cells: the words seem to be swapped; look at "
        "the verdicts again"
    )
