"""Which slides are kept for the gate: whole patients, or whole slides where patients are not named; never cells."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from dtcseg_training.learn.training_set import slide_key

if TYPE_CHECKING:
    from dtcseg_training.learn.taught import TaughtSlide

_HELD_OUT = 0.3
"""Share of the taught cells that the gate keeps, at least."""
_MOST_HELD_OUT = 0.6

By = Literal["patient", "slide", "none"]


def hold_out(slides: Sequence[TaughtSlide], seed: int) -> tuple[frozenset[str], By]:
    """Choose the slides that are kept for the gate.

    Groups (a patient's slides; each slide of no named patient by itself) are taken until they hold `_HELD_OUT` of the
    cells and, where there are such, both tumour cells and others; a group of more than `_MOST_HELD_OUT` of the cells is
    for learning. Only cells that somebody spoke of count, and control slides of which nobody spoke are for learning
    (unless they are of a patient whose other slides are held out). The order follows from hashes of the groups' names
    and the seed, so that a group keeps its side when more come in.

    Returns
    -------
    keys : frozenset of str
        `slide_key` of each; empty where only one group has cells.
    by : {"patient", "slide", "none"}
        "none" where nothing could be held out.
    """
    groups: dict[str, list[TaughtSlide]] = {}
    for slide in slides:
        if slide.cells:
            groups.setdefault(_group(slide), []).append(slide)
    groups = {name: of for name, of in groups.items() if _cells(of)}
    if len(groups) < 2:
        return frozenset(), "none"
    total = _cells(slides)
    kept: list[TaughtSlide] = []
    for name in sorted(groups, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).hexdigest()):
        if enough(kept, total) or len(groups) - len({_group(slide) for slide in kept}) < 2:
            break
        if _cells(kept + groups[name]) <= _MOST_HELD_OUT * total:
            kept += groups[name]
    if not kept:
        return frozenset(), "none"
    named = all(slide.record.patient for slide in slides if _cells([slide]))
    return frozenset(slide_key(slide) for slide in kept), "patient" if named else "slide"


def enough(kept: Sequence[TaughtSlide], total: int) -> bool:
    """Whether the gate has as many cells as it should, of both kinds."""
    calls = {cell.call == "tumour" for slide in kept for cell in slide.cells if cell.said}
    return len(calls) == 2 and _cells(kept) >= _HELD_OUT * total


def _group(slide: TaughtSlide) -> str:
    return slide.record.patient or f"slide {slide_key(slide)}"


def _cells(slides: Sequence[TaughtSlide]) -> int:
    return sum(cell.said for slide in slides for cell in slide.cells)
