"""Settling what readers differ on: only those cells are shown, with what each reader said, and how far they agree."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from dtcseg.errors import VerdictError
from dtcseg.review.session import Session
from dtcseg.review.slides import own_item
from dtcseg.trial.agreement import Table, Value, cohen_kappa, gwet_ac1
from dtcseg.verdicts.consensus import ReviewedCell, Say, review
from dtcseg.verdicts.names import same_reader
from dtcseg.verdicts.replay import log_files
from dtcseg.verdicts.terms import DECISIONS, LIKE_TUMOUR, NOT_AN_OBJECT, SKIP, Role, Shown

if TYPE_CHECKING:
    from dtcseg.review.slides import Item, Opened
    from dtcseg.verdicts.cells import Ring
    from dtcseg.verdicts.consensus import Consensus
    from dtcseg.verdicts.state import CellState


@dataclass(frozen=True)
class PairAgreement:
    """How far two readers agree on the cells that both judged; marked cells and skips are left out.

    Attributes
    ----------
    first, second : str
    cells : int
    same : int
        Cells on which both said the same word.
    kappa, ac1 : Value
        Cohen's and Gwet's, on tumour or probable against everything else (`dtcseg.trial.agreement`); NaN without cells.
    """

    first: str
    second: str
    cells: int
    same: int
    kappa: Value
    ac1: Value

    @property
    def raw(self) -> float:
        """Share of cells with the same word."""
        return self.same / self.cells if self.cells else math.nan


class AdjudicationSession(Session):
    """An adjudicator's work: every cell on which readers differ, and those settled before.

    Parameters
    ----------
    opened : Opened
    reader : str
        The adjudicator; nobody who has read one of these slides.

    Raises
    ------
    VerdictError
        A log cannot be read, or the adjudicator is one of the readers.
    """

    role: ClassVar[Role] = "adjudication"
    words: ClassVar[tuple[str, ...]] = DECISIONS

    def __init__(self, opened: Opened, reader: str) -> None:
        super().__init__(opened, reader, Shown("score", calls=True, verdicts=True))
        self._sizes: dict[str, tuple[tuple[str, int], ...]] = {}
        self._consensus: dict[str, Consensus] = {}
        self._differing: dict[str, ReviewedCell] = {}
        self._rings: dict[str, Ring] = {}
        self._comments: dict[str, str] = {}
        self.refresh()
        for read in (status.reader for found in self._consensus.values() for status in found.readers):
            if same_reader(read, reader):
                raise VerdictError(f"{reader} has read these slides and cannot adjudicate them; give another name")
        self.arrange()

    def refresh(self) -> bool:
        """Take in what readers have said since; tells whether there was anything."""
        changed = [name for name in self.opened.slides if self._has_grown(name)]
        for name in changed:
            self._consensus[name] = review(self.opened.slides[name].folder)
            self._take_in(name)
        return bool(changed)

    def says(self, item_id: str) -> tuple[Say, ...]:
        """Tell what each reader says of a cell."""
        return self._differing[item_id].says

    def remarks(self, item_id: str) -> tuple[tuple[str, str], ...]:
        """Tell what readers remarked on a cell: reader and text."""
        return self._differing[item_id].comments

    def agreement(self) -> list[PairAgreement]:
        """Say how far every two readers agree, on all slides together."""
        cells = [cell for found in self._consensus.values() for cell in (*found.cells, *found.deleted)]
        return pair_agreements(cells)

    def outline_px(self, item: Item) -> Ring:
        """Outline as drawn for the decision, else as decided, else as the readers left it."""
        return self._rings.get(item.id) or super().outline_px(item)

    def give(self, word: str) -> bool:
        """Settle the current cell and go on; False where nothing is left. A skip goes on and says nothing."""
        item = self._current()
        if word == SKIP:
            return self.advance()
        weighed = [(say.reader, say.entry) for say in self.says(item.id)]
        self.logs.write(
            item.slide,
            lambda log: log.adjudicate(
                item.cell,
                word,
                weighed,
                outline_px=self._rings.get(item.id),
                comment=self._comments.get(item.id, ""),
                rank=self._rank(item),
            ),
        )
        self.pace.said()
        return self.advance()

    def delete(self) -> bool:
        """Decide that it is no object of its own, and go on."""
        return self.give(NOT_AN_OBJECT)

    def comment(self, text: str) -> None:
        """Note why; written with the decision."""
        self._comments[self._current().id] = text.strip()

    def comment_of(self, item: Item) -> str:
        """Tell what will be, or was, written with the decision."""
        return self._comments.get(item.id) or super().comment_of(item)

    def correct(self, ring: Ring) -> None:
        """Draw the outline that will count; written with the decision."""
        self._rings[self._current().id] = ring

    def state(self, item: Item) -> CellState | None:
        """Tell what was decided; a decision that weighed other words than those of now shows as open again."""
        known = super().state(item)
        if known is not None and known.verdict and self._differing[item.id].outdated:
            return replace(known, verdict="")
        return known

    def _said(self) -> set[str]:
        return {key for key in self._items if self.say_of(key)}

    def _take_in(self, name: str) -> None:
        """Show what differs now; what readers have come to agree on, and nobody decided, goes."""
        found = self._consensus[name]
        differing = {c.cell.id: c for c in (*found.cells, *found.deleted) if c.basis in ("unresolved", "adjudicated")}
        gone = [key for key, item in self._items.items() if item.slide == name and key not in differing]
        for key in gone:
            del self._items[key], self._differing[key]
        measured = {item.id: item.measured for item in self.opened.slides[name].items}
        self._differing |= differing
        self._items |= {key: own_item(c.cell, name, measured.get(key)) for key, c in differing.items()}
        shown = self.current_id
        kept = [key for key in self.queue if key in self._items]
        self.queue = kept + [key for key in differing if key not in kept]
        self.position = (
            self.queue.index(shown) if shown in self.queue else min(self.position, max(len(self.queue) - 1, 0))
        )

    @property
    def current_id(self) -> str:
        """Id of what is shown now; empty where nothing is."""
        return self.queue[self.position] if self.queue and self.position < len(self.queue) else ""

    def _has_grown(self, name: str) -> bool:
        sizes = []
        for path in log_files(self.opened.slides[name].folder):
            try:
                sizes.append((path.name, path.stat().st_size))
            except OSError:
                continue
        before, self._sizes[name] = self._sizes.get(name), tuple(sizes)
        return before != self._sizes[name]


def pair_agreements(cells: Iterable[ReviewedCell]) -> list[PairAgreement]:
    """Compare every two readers on the cells that both judged."""
    words: dict[str, dict[str, str]] = {}
    for cell in cells:
        for say in cell.says:
            if say.say != SKIP:
                words.setdefault(say.reader, {})[cell.cell.id] = say.say
    return [_agreement(first, second, words[first], words[second]) for first, second in combinations(sorted(words), 2)]


def _agreement(first: str, second: str, one: dict[str, str], other: dict[str, str]) -> PairAgreement:
    pairs = [(one[key], other[key]) for key in one.keys() & other.keys()]
    positive = [(a in LIKE_TUMOUR, b in LIKE_TUMOUR) for a, b in pairs]
    nothing = Value(math.nan, math.nan, math.nan)
    kappa = ac1 = nothing
    if pairs:
        table = Table(
            *(positive.count(wanted) for wanted in ((True, True), (True, False), (False, True), (False, False)))
        )
        kappa, ac1 = cohen_kappa(table), gwet_ac1(table)
    return PairAgreement(first, second, len(pairs), sum(a == b for a, b in pairs), kappa, ac1)
