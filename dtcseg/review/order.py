"""In which order cells come, and which of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from dtcseg.review.asking import ask_items

if TYPE_CHECKING:
    from dtcseg.review.slides import Item
    from dtcseg.verdicts.state import CellState

Order = Literal["score", "uncertainty", "teaching", "place"]
ORDERS: tuple[Order, ...] = get_args(Order)
"""By falling score; by how little the score says; first the cells that teach the program most (`review.asking`); along
bands. Each slide by slide."""

BLIND_ORDER: Order = "place"
"""The only order that does not tell what the program thinks."""

_BAND_UM = 500.0

Standing = Literal["unread", "said", "skip", "not_an_object", "corrected", "commented"]
"""How a cell stands with this reader, beside the verdicts themselves."""


@dataclass(frozen=True)
class Filter:
    """Which cells are shown; an empty field lets everything through.

    Attributes
    ----------
    call : str
        The program's call.
    standing : str
        A verdict, or one of `Standing`.
    slide : str
    """

    call: str = ""
    standing: str = ""
    slide: str = ""


def ordered(
    items: Iterable[Item], order: Order, mpp_um: Callable[[str], float], said: Set[str] = frozenset()
) -> list[Item]:
    """Sort items; the same items always come in the same order.

    Parameters
    ----------
    items : iterable of Item
    order : {"score", "uncertainty", "teaching", "place"}
    mpp_um : callable
        Pixel size of a slide by its name.
    said : set of str
        Ids of what was spoken of: what is asked is unlike it.
    """
    if order == "teaching":
        rest = ordered(items, "uncertainty", mpp_um)
        first = ask_items(rest, said)
        chosen = {item.id for item in first}
        return [*first, *(item for item in rest if item.id not in chosen)]
    if order == "score":
        return sorted(items, key=lambda item: (item.slide, -item.cell.score, _reading(item, mpp_um)))
    if order == "uncertainty":
        return sorted(items, key=lambda item: (item.slide, abs(item.cell.score - 0.5), _reading(item, mpp_um)))
    return sorted(items, key=lambda item: _reading(item, mpp_um))


def _reading(item: Item, mpp_um: Callable[[str], float]) -> tuple[str, int, float, str]:
    """Slide by slide, in bands of half a millimetre that are walked forth and back, so that the eye travels little."""
    band = int(item.cell.y_px * mpp_um(item.slide) // _BAND_UM)
    along = item.cell.x_px if band % 2 == 0 else -item.cell.x_px
    return item.slide, band, along, item.id


def passes(item: Item, state: CellState | None, wanted: Filter) -> bool:
    """Tell whether a filter lets an item through, as it stands now."""
    if wanted.slide and item.slide != wanted.slide:
        return False
    if wanted.call and item.cell.call != wanted.call:
        return False
    return not wanted.standing or _stands(state, wanted.standing)


def _stands(state: CellState | None, standing: str) -> bool:
    say = state.say if state else ""
    if standing == "unread":
        return not say
    if standing == "said":
        return say not in ("", "skip")
    if standing == "corrected":
        return bool(state and (state.outline_px or state.added))
    if standing == "commented":
        return bool(state and state.comment)
    return say == standing


def next_unread(queue: Sequence[str], start: int, says: Callable[[str], str]) -> int | None:
    """Find the first place of a queue, from `start` on and then from its beginning, of which nothing was said yet."""
    places = (*range(start, len(queue)), *range(min(start, len(queue))))
    return next((place for place in places if not says(queue[place])), None)
