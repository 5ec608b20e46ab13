"""One reader's read: what is shown now, what the next key does, how far it is.

The session holds no state of its own that matters: what was said lies in the logs, so a session that was killed begins
again where the last acknowledged entry left it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dtcseg.errors import NotPossible
from dtcseg.review import outlines
from dtcseg.review.logs import ReaderLogs
from dtcseg.review.order import BLIND_ORDER, Filter, Order, next_unread, ordered, passes
from dtcseg.review.pace import Pace
from dtcseg.review.slides import Item, own_item, seeded_item
from dtcseg.verdicts.attach import match
from dtcseg.verdicts.log import new_cell
from dtcseg.verdicts.terms import VERDICTS, Role, Shown

if TYPE_CHECKING:
    from dtcseg.review.slides import Opened
    from dtcseg.verdicts.cells import CellRef, Ring
    from dtcseg.verdicts.state import CellState, Entry

_BRIDGE_UM = 4.0
"""Gaps between outlines that a join closes: twice the error of both together."""


@dataclass(frozen=True)
class Proposal:
    """Cells that are drawn but not said yet: the next verdict writes them, Escape forgets them.

    Attributes
    ----------
    kind : {"add", "split", "join"}
    slide : str
    rings : tuple of Ring
        One outline, two for a split.
    old : tuple of CellRef
        The cells that go.
    nucleus : Ring or None
        Of an added cell, where the network saw one.
    remark : str
        What the reader should know of it.
    """

    kind: str
    slide: str
    rings: tuple[Ring, ...]
    old: tuple[CellRef, ...] = ()
    nucleus: Ring | None = None
    remark: str = ""


class Session:
    """What reading and adjudicating share: items in an order, a place in it, undo and redo.

    Attributes
    ----------
    opened : Opened
    logs : ReaderLogs
    queue : list of str
        Ids in the order in which they come, through the filter as it stood when it was chosen.
    position : int
        Place in the queue of what is shown now.
    pace : Pace
    proposal : Proposal or None
    """

    role: ClassVar[Role] = "read"
    words: ClassVar[tuple[str, ...]] = VERDICTS

    def __init__(self, opened: Opened, reader: str, shown: Shown) -> None:
        self.opened = opened
        self.logs = ReaderLogs(opened.slides, reader, self.role, shown)
        self.order: Order = "score" if shown.calls else BLIND_ORDER
        self.filter = Filter()
        self.queue: list[str] = []
        self.position = 0
        self.pace = Pace()
        self.proposal: Proposal | None = None
        self._items: dict[str, Item] = {}

    @property
    def reader(self) -> str:
        """Who reads."""
        return self.logs.reader

    @property
    def shows_calls(self) -> bool:
        """Whether the program's calls, scores and their orders may be seen."""
        return self.logs.shown.calls

    @property
    def current(self) -> Item | None:
        """What is shown now; None where nothing passes the filter."""
        return self._items[self.queue[self.position]] if self.queue else None

    def item(self, item_id: str) -> Item:
        """Find an item by its id."""
        return self._items[item_id]

    def has(self, item_id: str) -> bool:
        """Tell whether there is such an item."""
        return item_id in self._items

    def comment_of(self, item: Item) -> str:
        """Tell this reader's comment on an item."""
        state = self.state(item)
        return state.comment if state else ""

    def items_on(self, slide: str) -> list[Item]:
        """List everything that is shown on a slide."""
        return [item for item in self._items.values() if item.slide == slide]

    def mpp_um(self, slide: str) -> float:
        """Pixel size of a slide."""
        return self.opened.slides[slide].record.mpp_um

    def state(self, item: Item) -> CellState | None:
        """Tell what this reader says of an item."""
        return self.logs.cell(item.slide, item.id)

    def say_of(self, item_id: str) -> str:
        """Tell the word on an item: a verdict, `not_an_object`, or empty."""
        state = self.state(self._items[item_id])
        return state.say if state else ""

    def outline_px(self, item: Item) -> Ring:
        """Outline as it is now, (x, y) level-0 pixels of the item's slide."""
        state = self.state(item)
        return state.outline_now_px if state and state.outline_px else item.cell.outline_px

    def arrange(self, order: Order | None = None, wanted: Filter | None = None) -> None:
        """Choose order and filter; the first cell without a verdict is shown."""
        self.order = order or self.order
        if not self.shows_calls:
            self.order = BLIND_ORDER
        self.filter = wanted or self.filter
        shown = self.logs.shown
        self.logs.shown = Shown(self._order_name(), shown.calls, shown.verdicts)
        items = ordered(self._items.values(), self.order, self.mpp_um, self._said())
        self.queue = [item.id for item in items if passes(item, self.state(item), self.filter)]
        self.position = next_unread(self.queue, 0, self.say_of) or 0
        self.proposal = None

    def go_to(self, item_id: str) -> None:
        """Show an item; one that the filter hides is shown after the one before."""
        if item_id not in self.queue:
            self.queue.insert(self.position + 1 if self.queue else 0, item_id)
        self.position = self.queue.index(item_id)
        self.proposal = None

    def back(self) -> bool:
        """Go back by one; nothing is said. False at the beginning."""
        self.proposal = None
        if self.position == 0:
            return False
        self.position -= 1
        return True

    def advance(self) -> bool:
        """Go on to the next item of which nothing was said; False, and no move, where there is none left."""
        found = next_unread(self.queue, self.position + 1, self.say_of)
        if found is None:
            return False
        self.position = found
        return True

    def undo(self) -> str:
        """Undo what was said last and show that cell; tells what was undone."""
        slide, entry = self.logs.undo()
        self._took_in(slide, entry)
        return f"undone: {entry.kind.replace('_', ' ')}"

    def redo(self) -> str:
        """Do again what was undone last and show that cell; tells what counts again."""
        slide, entry = self.logs.redo()
        self._took_in(slide, entry)
        return f"done again: {entry.kind.replace('_', ' ')}"

    def progress(self) -> tuple[int, int]:
        """Tell how many of the queue were seen, and how many are left."""
        seen = len(self._said().intersection(self.queue))
        return seen, len(self.queue) - seen

    def _said(self) -> set[str]:
        """Ids of everything that this reader spoke of; quicker than asking for each of thousands of cells."""
        states = (self.logs.state(name) for name in self.opened.slides)
        return {key for state in states if state for key, known in state.cells.items() if known.say}

    def sign_off(self, slide: str, meaning: str) -> None:
        """Close the read of a slide."""
        self.logs.write(slide, lambda log: log.sign_off(meaning))

    def reopen(self, slide: str, reason: str) -> None:
        """Open the read of a slide again, with a reason that stays in the log."""
        self.logs.write(slide, lambda log: log.reopen(reason))

    def signed(self, slide: str) -> str:
        """Tell when the read of a slide was signed off; empty while it is open."""
        state = self.logs.state(slide)
        return state.signed.when if state and state.signed else ""

    def unread(self, slide: str) -> int:
        """Count the items of a slide of which nothing was said."""
        return sum(not self.say_of(item.id) for item in self.items_on(slide))

    def close(self) -> None:
        """Let go of the logs."""
        self.logs.close()

    def _order_name(self) -> str:
        """Name the order for the log; a filter changes what comes, so it is named too."""
        filtered = [value for value in (self.filter.call, self.filter.standing) if value]
        return "/".join([self.order, *filtered])

    def _current(self) -> Item:
        if self.current is None:
            raise NotPossible("no cell is shown; choose another filter")
        return self.current

    def _rank(self, item: Item) -> int:
        return self.queue.index(item.id) + 1 if item.id in self.queue else 0

    def _took_in(self, slide: str, entry: Entry) -> None:
        """Show the first cell of an entry that is there."""
        self.proposal = None
        self._sync(slide)
        cells = [entry.values.get("cell"), *(part["cell"] for part in entry.values.get("deleted", ()))]
        for cell in cells:
            if cell is not None and cell["id"] in self._items:
                self.go_to(str(cell["id"]))
                return
        self.position = min(self.position, max(len(self.queue) - 1, 0))

    def _sync(self, slide: str) -> None:
        """Take in the cells that the log of a slide adds, and let go of those that it no longer has."""


class ReviewSession(Session):
    """One reader's read of all slides of a results folder.

    Parameters
    ----------
    opened : Opened
    reader : str
    calls : bool
        Whether the program's calls and scores are shown. Other readers' verdicts never are.
    extra : sequence of Item
        Seeded and audit items (`dtcseg.review.vigilance`).

    Raises
    ------
    VerdictError
        A log of this reader cannot be read.
    """

    def __init__(self, opened: Opened, reader: str, *, calls: bool = True, extra: Sequence[Item] = ()) -> None:
        super().__init__(opened, reader, Shown("score" if calls else BLIND_ORDER, calls=calls, verdicts=False))
        self._older: dict[str, str] = {}
        self._drawn: set[str] = set()
        for slide in opened.slides.values():
            self._items |= {item.id: item for item in slide.items}
        self._items |= {item.id: item for item in extra}
        for name in opened.slides:
            self._find_again(name)
            self._sync(name)
        self.arrange()

    def state(self, item: Item) -> CellState | None:
        """Tell what this reader says of an item, also where it was said of another scoring."""
        return super().state(item) or self.logs.cell(item.slide, self._older.get(item.id, ""))

    def _said(self) -> set[str]:
        said = super()._said()
        return said | {key for key, older in self._older.items() if older in said}

    def give(self, word: str) -> bool:
        """Say what the current cell is, or what was drawn is, and go on; False where nothing is left unread."""
        if self.proposal is not None:
            return self._settle(self.proposal, word)
        item = self._current()
        self.logs.write(item.slide, lambda log: log.give(item.cell, word, rank=self._rank(item)))
        self.pace.said()
        return self.advance()

    def comment(self, text: str) -> None:
        """Replace the comment on the current cell."""
        item = self._current()
        self.logs.write(item.slide, lambda log: log.comment(item.cell, text.strip()))

    def correct(self, ring: Ring) -> None:
        """Replace the outline of the current cell, or of what was drawn."""
        if self.proposal is not None:
            rings = (ring, *self.proposal.rings[1:])
            self.proposal = Proposal(**{**self.proposal.__dict__, "rings": rings})
            return
        item = self._current()
        self._may_be_drawn(item)
        self.logs.write(item.slide, lambda log: log.correct(item.cell, ring))

    def delete(self) -> bool:
        """Say that the current outline is no object of its own, and go on."""
        item = self._current()
        self.logs.write(item.slide, lambda log: log.delete(item.cell))
        self.pace.said()
        return self.advance()

    def propose_split(self, stroke: Sequence[tuple[float, float]]) -> None:
        """Cut the current cell in two; the next verdict writes it."""
        item = self._current()
        self._may_be_drawn(item)
        parts = outlines.split(self.outline_px(item), stroke)
        self.proposal = Proposal("split", item.slide, parts, old=(item.cell,))

    def propose_join(self, other_id: str) -> None:
        """Make one cell of the current and another; the next verdict writes it."""
        item, other = self._current(), self._items[other_id]
        for one in (item, other):
            self._may_be_drawn(one)
        if other.id == item.id or other.slide != item.slide or self.say_of(other.id) == "not_an_object":
            raise NotPossible("choose another cell of the same slide to join with")
        rings = [self.outline_px(item), self.outline_px(other)]
        whole = outlines.join(rings, _BRIDGE_UM / self.mpp_um(item.slide))
        self.proposal = Proposal("join", item.slide, (whole,), old=(item.cell, other.cell))

    def propose_cell(self, slide: str, ring: Ring, *, nucleus: Ring | None = None, remark: str = "") -> None:
        """Add a cell that the program missed; the next verdict writes it."""
        self.proposal = Proposal("add", slide, (ring,), nucleus=nucleus, remark=remark)

    def forget_proposal(self) -> None:
        """Let go of what was drawn and not said."""
        self.proposal = None

    def _settle(self, drawn: Proposal, word: str) -> bool:
        """Write what was drawn, with its verdict, and show the first new cell where it was split off."""
        cells = [new_cell(*outlines.centre_of(ring), ring) for ring in drawn.rings]
        actions: dict[str, Callable[..., Entry]] = {
            "add": lambda log: log.add(cells[0].x_px, cells[0].y_px, drawn.rings[0], word, drawn.nucleus),
            "split": lambda log: log.split(drawn.old[0], [(cell, word) for cell in cells]),
            "join": lambda log: log.join(drawn.old, cells[0], word),
        }
        if word == "skip":
            raise NotPossible("what was drawn needs a verdict; Escape forgets it")
        self.logs.write(drawn.slide, actions[drawn.kind])
        self.pace.said()
        self.proposal = None
        self._sync(drawn.slide)
        return self.advance()

    def _may_be_drawn(self, item: Item) -> None:
        """Refuse outlines on what is no candidate: for a seeded or an audit cell only the verdict matters."""
        if item.cell.mark:
            raise NotPossible("the outline of this cell cannot be changed; give it a verdict, or skip it")

    def _sync(self, slide: str) -> None:
        state = self.logs.state(slide)
        cells = state.cells if state else {}
        theirs = {key for key, item in self._items.items() if item.slide == slide and key in self._drawn}
        for key in theirs - set(cells):
            del self._items[key]
            self._drawn.discard(key)
            if key in self.queue:
                place = self.queue.index(key)
                self.queue.remove(key)
                self.position -= place < self.position
        for key, known in cells.items():
            if key in self._items or not (known.added or known.cell.mark):
                continue
            self._items[key] = self._item_of(known, slide)
            if known.added:
                self._drawn.add(key)
            if self.queue:
                self.queue.insert(self.position + 1, key)

    def _find_again(self, slide: str) -> None:
        """Let verdicts on an older scoring stand for the candidates that took the place of theirs."""
        state = self.logs.state(slide)
        here = self.items_on(slide)
        if state is None:
            return
        own = {item.id for item in here}
        lost = [known.cell for known in state.cells.values() if not known.added and known.cell.id not in own]
        lost = [cell for cell in lost if cell.counts]
        targets = [item.cell for item in here if item.cell.counts]
        found = match(lost, targets, self.mpp_um(slide), taken=set(state.cells)) if lost else {}
        self._older |= {target: cell for cell, target in found.items()}

    def _item_of(self, known: CellState, slide: str) -> Item:
        """Make the item of a cell that stands in the log alone: drawn, seeded or drawn at random."""
        return seeded_item(self.opened, known.cell, slide) if known.cell.source else own_item(known.cell, slide)
