"""Which cells to ask a reader about next, so that the weights learn most from few answers; and when to stop asking.

A verdict teaches most on a cell of which the program is unsure, that is unlike every cell that was read, and unlike the
other cells that are asked. So cells are chosen one by one, each time the one with the greatest product of

- doubt: the entropy (bits) of the score, of which the logit is halved first, since networks are too sure of what they
  never learned (Guo et al. 2017, ICML); and
- distance to the nearest cell that was read or asked, in what scoring measured (k-centre greedy: Sener & Savarese 2018,
  ICLR), nearer for cells of a slide that many were asked of already.

Pure functions of tables; the same table gives the same cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.statistics import share_interval

if TYPE_CHECKING:
    from dtcseg.review.slides import Item

FloatArray = npt.NDArray[np.float64]

ASKED = 50
"""How many cells are asked at once."""
_SURE = 1e-3
_LEAST_DOUBT = 0.05
"""Even of a cell of which the program is sure something can be learned."""
_FAR = 4.0
"""Measures are cut off at so many spreads: one squame is not the strangest thing for ever."""
_SAME_SLIDE = 0.15
"""By how much each cell asked of a slide lowers the worth of the next one of that slide."""
DOUBTFUL = (0.05, 0.95)
"""Scores between these say that the program is not sure."""
_WINDOW = 60
_MOST_WRONG = 0.10
"""Enough is read when of the cells in doubt fewer than so many calls (upper 95 % limit) would be changed."""

_POSITIVE = ("diameter_um", "nucleus_area_um2", "ck_od", "nucleus_ratio", "ck_granularity")
_PLAIN = ("ck_over_nucleus", "neighbours")


def features(scores: Sequence[float], measured: Sequence[Mapping[str, float]]) -> FloatArray:
    """Make cells comparable: each measure less its median, over its spread (half of 10th to 90th percentile).

    Parameters
    ----------
    scores : sequence of float
        0..1.
    measured : sequence of mapping
        `Item.measured`; what is missing counts as usual.

    Returns
    -------
    (N, 8) float64
        -4 to 4.
    """
    columns = [_logit(np.asarray(scores, float))]
    for name in (*_POSITIVE, *_PLAIN):
        values = np.array([values.get(name, np.nan) for values in measured], float)
        if name in _POSITIVE:
            values = np.log(np.where(values > 0, values, np.nan))
        columns.append(values)
    return np.column_stack([_spread(column) for column in columns])


def _spread(values: FloatArray) -> FloatArray:
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(len(values))
    low, middle, high = np.percentile(known, (10, 50, 90))
    scaled = (values - middle) / max(0.5 * (high - low), 1e-6)
    return np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -_FAR, _FAR)


def doubt(scores: npt.ArrayLike) -> FloatArray:
    """Entropy of the softened scores, bits (0..1): 1 at 0.5, 0.44 at 0.01."""
    p = 1 / (1 + np.exp(-0.5 * _logit(np.asarray(scores, float))))
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), float)


def _logit(scores: FloatArray) -> FloatArray:
    p = np.clip(scores, _SURE, 1 - _SURE)
    return np.asarray(np.log(p / (1 - p)), float)


@dataclass(frozen=True)
class Asked:
    """One cell to ask about.

    Attributes
    ----------
    index : int
        Into the table.
    worth : float
        Doubt times distance; falls from one asked cell to the next, but for the slides they lie on.
    doubt : float
        0..1.
    distance : float
        To the nearest cell read or asked before, in spreads; infinite while there is none.
    """

    index: int
    worth: float
    doubt: float
    distance: float


def ask(
    table: FloatArray,
    scores: Sequence[float],
    slides: Sequence[str],
    read: npt.NDArray[np.bool_],
    count: int = ASKED,
) -> list[Asked]:
    """Choose cells to ask about.

    Parameters
    ----------
    table : (N, F) float64
        `features`.
    scores, slides : sequence
        Of the same cells, in an order that is always the same: it settles ties.
    read : (N,) bool
        What was said of already.
    count : int
        At most so many.
    """
    doubts = _LEAST_DOUBT + (1 - _LEAST_DOUBT) * doubt(scores)
    _, slide = np.unique(np.asarray(slides, object).astype(str), return_inverse=True)
    on_slide = np.bincount(slide[read], minlength=slide.max(initial=-1) + 1).astype(float)
    on_slide /= max(read.sum() / ASKED, 1.0)  # of a long read only how it is spread over the slides
    distance = _to_nearest(table, table[read])
    free = ~read
    chosen: list[Asked] = []
    while len(chosen) < count and free.any():
        reach = np.minimum(distance, 2 * _FAR)
        worth = np.where(free, doubts * reach / (1 + _SAME_SLIDE * on_slide[slide]), -1.0)
        best = int(np.argmax(worth))
        chosen.append(Asked(best, float(worth[best]), float(doubts[best]), float(distance[best])))
        free[best] = False
        on_slide[slide[best]] += 1
        distance = np.minimum(distance, np.linalg.norm(table - table[best], axis=1))
    return chosen


def _to_nearest(table: FloatArray, known: FloatArray) -> FloatArray:
    """Distance of each row to the nearest of some; infinite where there is none."""
    if not len(known):
        return np.full(len(table), np.inf)
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(known).query(table)
    return np.asarray(distance, float)


def ask_items(items: Sequence[Item], said: Set[str], count: int = ASKED) -> list[Item]:
    """Choose among the cells of a review.

    Parameters
    ----------
    items : sequence of Item
        Candidates; seeded and audited cells are never asked about.
    said : set of str
        Ids of what was spoken of.
    count : int

    Returns
    -------
    list of Item
        Slide by slide, the slide of the first asked cell first; on a slide the most instructive first.
    """
    pool = [item for item in items if item.cell.counts and item.measured]
    scores = [item.cell.score for item in pool]
    read = np.array([item.id in said for item in pool], bool)
    table = features(scores, [item.measured for item in pool])
    chosen = [pool[one.index] for one in ask(table, scores, [item.slide for item in pool], read, count)]
    slides = list(dict.fromkeys(item.slide for item in chosen))
    return sorted(chosen, key=lambda item: slides.index(item.slide))


@dataclass(frozen=True)
class Answer:
    """A verdict on a cell of which the program was in doubt: whether it changes the call (tumour or not), and when."""

    changed: bool
    when: str


@dataclass(frozen=True)
class Enough:
    """Whether more verdicts would help.

    Attributes
    ----------
    enough : bool
    text : str
        One line: why.
    """

    enough: bool
    text: str


def enough(answers: Sequence[Answer], doubtful_left: int) -> Enough:
    """Say whether more verdicts would help: the rule is that readers no longer change what the program doubts.

    Of the last 60 verdicts on cells of doubtful score (0.05 to 0.95), the exact upper 95 % limit of the share that
    changes the call must be at most 10 %: none of 36, or 1 of 54. Where nothing doubtful is left unread,
    more of these slides cannot help either.

    Parameters
    ----------
    answers : sequence of Answer
        All verdicts on doubtful cells.
    doubtful_left : int
        Doubtful cells of which nothing was said.
    """
    latest = sorted(answers, key=lambda answer: answer.when)[-_WINDOW:]
    changed = sum(answer.changed for answer in latest)
    high = share_interval(changed, len(latest))[1] if latest else 1.0
    said = f"readers changed {changed} of the last {len(latest)} calls that the program was not sure of"
    if latest and high <= _MOST_WRONG:
        return Enough(True, f"enough: {said} (at most {100 * high:.0f} %); more verdicts will not help")
    if not doubtful_left:
        return Enough(True, f"enough here: no doubtful cell is left unread; {said}. Other slides may help")
    limit = f" (up to {100 * high:.0f} % may be wrong)" if latest else ""
    return Enough(False, f"more helps: {said}{limit}; {doubtful_left} doubtful cells are unread")
