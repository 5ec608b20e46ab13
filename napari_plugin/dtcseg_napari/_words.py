"""What the review writes on the screen about cells and readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dtcseg.review.adjudication import AdjudicationSession, PairAgreement
from dtcseg_napari._colours import UNREAD_COLOUR, VERDICT_COLOURS, word
from dtcseg_napari._layers import CALL_MARKS

if TYPE_CHECKING:
    from dtcseg.cells import Call
    from dtcseg.review.session import Session
    from dtcseg.review.slides import Item

_SYMBOLS = {
    "tumour": "disc",
    "probable": "star",
    "uninterpretable": "square",
    "haematopoietic": "diamond",
    "artefact": "triangle_up",
    "skip": "hbar",
    "not_an_object": "x",
}


def look_of(session: Session, item: Item) -> tuple[str, str]:
    """Colour and symbol of a cell's mark: the reader's word, else the program's call where it may be seen."""
    say = session.say_of(item.id)
    if say:
        return VERDICT_COLOURS[say], _SYMBOLS[say]
    call: Call | None = next((call for call in CALL_MARKS if call == item.cell.call), None)
    if call is not None and session.shows_calls:
        return CALL_MARKS[call]
    return UNREAD_COLOUR, "disc"


def title_of(session: Session, item: Item | None) -> str:
    """Name the cell on the screen."""
    if item is None:
        return "no cell"
    return f"Cell {session.position + 1} of {len(session.queue)} · {item.slide}"


def caption_of(session: Session, item: Item) -> str:
    """Line under a thumbnail."""
    return f"{item.cell.score:.2f}" if session.shows_calls and item.cell.call else ""


def says_text(session: Session, item: Item | None) -> tuple[str, str]:
    """Verdict of a cell for its colour, and what was said of it."""
    if item is None:
        return "", ""
    state = session.state(item)
    say = state.say if state else ""
    parts = [f"You said: {word(say)}" if say else "Not read yet"]
    comment = session.comment_of(item)
    if comment:
        parts.append(f"“{comment}”")
    if state is not None and (state.outline_px or state.added):
        parts.append("outline corrected" if state.outline_px else "drawn by you")
    if isinstance(session, AdjudicationSession):
        parts[0] = f"Decided: {word(say)}" if say else "Not decided yet"
        parts += [f"{one.reader}: {word(one.say)}" for one in session.says(item.id)]
        parts += [f"{reader} remarks “{text}”" for reader, text in session.remarks(item.id)]
    return say, "\n".join(parts)


def agreement_text(pairs: Sequence[PairAgreement]) -> str:
    """Say how far readers agree: every two, on the cells that both judged."""
    lines = []
    for pair in pairs:
        lines.append(
            f"{pair.first} and {pair.second}: same word on {pair.same} of {pair.cells} cells ({_percent(pair.raw)}); "
            f"tumour or not: kappa {_figure(pair.kappa.value)}, AC1 {_figure(pair.ac1.value)}"
        )
    return "\n".join(lines) or "Nobody to compare: two readers must have read the same cells."


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


def _figure(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.2f}"
