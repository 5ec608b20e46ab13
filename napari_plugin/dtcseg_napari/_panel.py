"""What stands beside the picture: how far the read is, the evidence on the cell, and the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from dtcseg.review.facts import CRITERIA
from dtcseg_napari._colours import VERDICT_COLOURS, word

if TYPE_CHECKING:
    from dtcseg.review.facts import Fact

_VERDICTS = ("tumour", "probable", "uninterpretable", "haematopoietic", "artefact", "skip")
_STEPS = {"back": "back", "undo": "undo", "redo": "redo", "comment": "comment"}
_TOOLS = {
    "paint": "paint",
    "drag": "drag",
    "split": "split",
    "join": "join",
    "new_cell": "new cell",
    "delete": "delete",
    "outline": "outline",
    "planes": "stain",
    "centre": "centre",
}
_HINTS = {
    "skip": "seen, no verdict",
    "back": "to the cell before; nothing is said",
    "paint": "correct the outline with a round brush",
    "drag": "pull the outline where it should be",
    "split": "cut the cell in two by a line",
    "join": "make one cell of this and another",
    "new_cell": "add a cell that was missed: the network outlines it",
    "delete": "the outline is no object of its own",
    "outline": "show or hide the outlines",
    "planes": "the slide, its nuclear stain, its cytokeratin stain",
    "centre": "bring the cell back into the middle",
}
_FACT_ROWS = 8


class Panel(QWidget):
    """Evidence, progress and keys.

    Parameters
    ----------
    keys : mapping
        Key by action.
    """

    acted = Signal(str)
    commented = Signal(str)

    def __init__(self, keys: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.says, self.message, self.agreement = QLabel(), QLabel(), QLabel(), QLabel()
        self.agreement.hide()
        for label in (self.title, self.says, self.message, self.agreement):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.comment = QLineEdit()
        self.comment.setPlaceholderText("comment; Enter keeps it, Esc does not")
        self.comment.hide()
        self.comment.installEventFilter(self)
        self.comment.returnPressed.connect(self._comment_done)
        self.buttons: dict[str, QPushButton] = {}
        self._facts = [(QLabel(), QLabel()) for _ in range(_FACT_ROWS)]
        self._lay_out(keys)

    def show_progress(self, seen: int, left: int, seconds: float | None) -> None:
        """Show how far the read is."""
        self.progress.setMaximum(max(seen + left, 1))
        self.progress.setValue(seen)
        pace = f" · {seconds:.1f} s a cell" if seconds is not None else ""
        self.progress.setFormat(f"{seen} seen · {left} left{pace}")

    def show_facts(self, facts: Sequence[Fact]) -> None:
        """Show the evidence."""
        for number, (label, value) in enumerate(self._facts):
            fact = facts[number] if number < len(facts) else None
            for part, text in ((label, fact.label if fact else ""), (value, fact.value if fact else "")):
                part.setText(text)
                part.setToolTip(fact.hint if fact else "")
                part.setVisible(fact is not None)

    def show_say(self, say: str, text: str) -> None:
        """Show what the reader said of the cell."""
        colour = VERDICT_COLOURS.get(say, "")
        self.says.setText(text)
        self.says.setStyleSheet(f"border-left: 8px solid {colour}; padding-left: 6px;" if colour else "")

    def show_agreement(self, text: str) -> None:
        """Show how far readers agree."""
        self.agreement.setText(text)
        self.agreement.show()

    def add_more(self, button: QWidget) -> None:
        """Put a button beside the progress."""
        self._top.addWidget(button)

    def say(self, text: str) -> None:
        """Tell what to do next, or what was done."""
        self.message.setText(text)

    def hold(self, tool: str) -> None:
        """Show which tool is in the hand."""
        for name in ("paint", "drag", "split", "join", "new_cell"):
            self.buttons[name].setChecked(name == tool)

    def ask_comment(self, text: str) -> None:
        """Let the reader type a comment."""
        self.comment.setText(text)
        self.comment.show()
        self.comment.setFocus()
        self.comment.selectAll()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Let Escape leave the comment as it was."""
        if watched is self.comment and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            if event.type() == QEvent.Type.ShortcutOverride:
                event.accept()
                return True
            if event.type() == QEvent.Type.KeyPress:
                self.comment.hide()
                return True
        return super().eventFilter(watched, event)

    def _comment_done(self) -> None:
        self.comment.hide()
        self.commented.emit(self.comment.text())

    def _lay_out(self, keys: Mapping[str, str]) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        self._top = QHBoxLayout()
        self._top.addWidget(self.progress, 1)
        layout.addLayout(self._top)
        layout.addWidget(self.title)
        layout.addLayout(self._facts_grid())
        layout.addWidget(self.says)
        layout.addWidget(self.comment)
        layout.addWidget(self.message)
        layout.addWidget(self.agreement)
        layout.addStretch(1)
        layout.addLayout(self._grid({name: word(name) for name in _VERDICTS}, keys, 2))
        layout.addLayout(self._grid(_STEPS, keys, 4))
        layout.addLayout(self._grid(_TOOLS, keys, 3))

    def _facts_grid(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(1, 1)
        for row, (label, value) in enumerate(self._facts):
            value.setStyleSheet("font-weight: bold;")
            value.setTextFormat(Qt.TextFormat.PlainText)
            grid.addWidget(label, row, 0)
            grid.addWidget(value, row, 1)
        return grid

    def _grid(self, names: Mapping[str, str], keys: Mapping[str, str], columns: int) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(3)
        for number, (name, words) in enumerate(names.items()):
            button = QPushButton(f"{keys[name]}  {words}")
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setToolTip(CRITERIA.get(name, _HINTS.get(name, "")))
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            colour = VERDICT_COLOURS.get(name)
            border = f"border-left: 7px solid {colour};" if colour else ""
            button.setStyleSheet(f"text-align: left; padding: 3px 4px; {border}")
            button.setCheckable(name in ("paint", "drag", "split", "join", "new_cell"))
            button.clicked.connect(lambda checked=False, name=name: self.acted.emit(name))
            self.buttons[name] = button
            grid.addWidget(button, number // columns, number % columns)
        return grid
