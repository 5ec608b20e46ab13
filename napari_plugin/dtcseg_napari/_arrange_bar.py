"""Order and filters above the gallery."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QWidget

from dtcseg.cells import CALLS
from dtcseg.review.order import Filter, Order

_ORDERS: dict[Order, str] = {
    "score": "best first",
    "uncertainty": "least certain first",
    "teaching": "teaches most first",
    "place": "by place",
}
_STANDINGS = {
    "": "all cells",
    "unread": "not read",
    "said": "read",
    "tumour": "tumour",
    "probable": "probable",
    "uninterpretable": "uninterpretable",
    "haematopoietic": "haematopoietic",
    "artefact": "artefact",
    "skip": "skipped",
    "not_an_object": "deleted",
    "corrected": "corrected",
    "commented": "commented",
}


class ArrangeBar(QWidget):
    """Combo boxes for order, call, standing and slide; a choice that would tell a blind reader something is not there.

    Parameters
    ----------
    slides : sequence of str
    calls : bool
        Whether calls and scores may be seen.
    """

    changed = Signal()

    def __init__(self, slides: Sequence[str], *, calls: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        orders = {str(k): v for k, v in _ORDERS.items() if calls or k == "place"}
        self.order = _combo(orders, "order")
        self.standing = _combo(_STANDINGS, "which cells")
        self.call = _combo({"": "all calls", **{call: f"called {call}" for call in CALLS}}, "the program's call")
        self.slide = _combo({"": f"all {len(slides)} slides", **{name: name for name in slides}}, "slide")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        boxes = [self.order, self.standing, *([self.call] if calls else []), *([self.slide] if len(slides) > 1 else [])]
        for number, box in enumerate(boxes):
            grid.addWidget(box, number // 2, number % 2)
            box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def chosen(self) -> tuple[Order, Filter]:
        """Tell what is chosen."""
        order: Order = self.order.currentData()
        return order, Filter(self.call.currentData(), self.standing.currentData(), self.slide.currentData())


def _combo(entries: dict[str, str], about: str) -> QComboBox:
    box = QComboBox()
    box.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # letters are verdicts here, never a search in a list
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setToolTip(about)
    for value, words in entries.items():
        box.addItem(words, value)
    return box
