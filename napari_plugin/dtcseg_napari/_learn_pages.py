"""The three pages of the dock "Learn": what to learn from, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from dtcseg.results.text import one_line
from dtcseg_napari._curves import CurveView
from dtcseg_napari._learn_words import (
    changed_hint,
    changed_title,
    headline,
    is_right,
    left_text,
    outcome_lines,
    sentence,
)

if TYPE_CHECKING:
    from dtcseg_training.learn import ChangedCell, LearnOutcome, LearnProgress

_PICTURE_PX = 84
_MOST_PICTURES = 200
_RIGHT, _WRONG = QColor("#009E73"), QColor("#D55E00")


class ChoosePage(QWidget):
    """Which results folders to learn from, and whether there is enough in them."""

    changed = Signal()
    begun = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.folders = QListWidget()
        self.folders.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.folders.setFixedHeight(84)
        self.add, self.remove = QPushButton("Add results…"), QPushButton("Remove")
        self.about = plain_label("Choose results folders whose cells were reviewed.")
        self.start = QPushButton("Learn")
        self.start.setEnabled(False)
        self.note = plain_label(
            "Learning takes a quarter of an hour or so. Nothing changes until you say so afterwards, and what is not "
            "better is refused. Research use only."
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.add)
        buttons.addWidget(self.remove)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addWidget(plain_label("Reviewed results to learn from"))
        layout.addWidget(self.folders)
        layout.addLayout(buttons)
        for widget in (self.about, self.start, self.note):
            layout.addWidget(widget)
        layout.addStretch(1)
        self.add.clicked.connect(self._browse)
        self.remove.clicked.connect(self._remove)
        self.start.clicked.connect(self.begun.emit)

    def chosen(self) -> list[Path]:
        """List the folders."""
        items = (self.folders.item(row) for row in range(self.folders.count()))
        return [Path(item.text()) for item in items if item is not None]

    def add_folder(self, path: Path | str) -> None:
        """Take a folder in, once."""
        if Path(path) not in self.chosen():
            self.folders.addItem(str(path))
            self.changed.emit()

    def tell(self, text: str, *, ready: bool) -> None:
        """Say what is in the folders, and whether to learn from it."""
        self.about.setText(text)
        self.start.setEnabled(ready)

    def _remove(self) -> None:
        row = self.folders.currentRow()
        if row >= 0:
            self.folders.takeItem(row)
            self.changed.emit()

    def _browse(self) -> None:
        dialog = QFileDialog(self, "Results folder")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self.add_folder)
        dialog.open()


class ProgressPage(QWidget):
    """How far learning is, with its curves and the time left."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setFormat("%p %")
        self.text, self.left = plain_label(""), plain_label("")
        self.curves = CurveView()
        self.stop = QPushButton("Stop")
        layout = QVBoxLayout(self)
        for widget in (self.bar, self.text, self.left, self.curves, self.stop):
            layout.addWidget(widget)
        layout.addWidget(plain_label("Stopping loses nothing: the next start goes on from there."))
        layout.addStretch(1)

    def begin(self) -> None:
        """Forget the run before."""
        self.bar.setValue(0)
        self.text.setText("Looking at what readers said …")
        self.left.setText(left_text(None))
        self.curves.hide()  # until there is a point of the fit
        self.stop.setEnabled(True)

    def show_progress(self, told: LearnProgress) -> None:
        """Show how far it is."""
        self.bar.setValue(round(1000 * told.share))
        if not self.stop.isEnabled():
            return
        self.text.setText(one_line(told.text))
        self.left.setText(left_text(told.seconds_left))
        if told.curves:
            self.curves.show_curves(told.curves)
            self.curves.show()

    def stopping(self) -> None:
        """Say that the stop was heard."""
        self.stop.setEnabled(False)
        self.text.setText("Stopping at the next step …")
        self.left.setText("")


class OutcomePage(QWidget):
    """What the gate found, the cells whose call changed, and the decision."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = plain_label("")
        font = self.title.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.15)
        self.title.setFont(font)
        self.text, self.about = plain_label(""), plain_label("")
        self.changed = QListWidget()
        self.changed.setViewMode(QListView.ViewMode.IconMode)
        self.changed.setIconSize(QSize(_PICTURE_PX, _PICTURE_PX))
        self.changed.setResizeMode(QListView.ResizeMode.Adjust)
        self.changed.setMovement(QListView.Movement.Static)
        self.changed.setGridSize(QSize(_PICTURE_PX + 40, _PICTURE_PX + 26))
        small = self.changed.font()
        small.setPointSizeF(small.pointSizeF() - 1.5)
        self.changed.setFont(small)
        self.changed.setMinimumHeight(150)
        self.use, self.keep = QPushButton("Use these weights"), QPushButton("Keep the old ones")
        self.report = QPushButton("Report…")
        buttons = QHBoxLayout()
        for button in (self.use, self.keep, self.report):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        for widget in (self.title, self.text, self.about):
            layout.addWidget(widget)
        layout.addWidget(self.changed, 1)
        layout.addLayout(buttons)
        layout.addWidget(plain_label("Research use only."))

    def show_outcome(self, outcome: LearnOutcome) -> None:
        """Show what came of it."""
        self.title.setText(headline(outcome))
        self.text.setText("\n\n".join(sentence(one_line(line)) for line in outcome_lines(outcome)))
        better = outcome.weights is not None
        self.use.setVisible(better)
        self.keep.setText("Keep the old ones" if better else "Close")
        self._show_changed(outcome.changed)

    def _show_changed(self, cells: Sequence[ChangedCell]) -> None:
        self.changed.clear()
        right = sum(is_right(cell) for cell in cells)
        self.about.setText(
            f"The call of {len(cells)} cells changes: {right} now as readers say, {len(cells) - right} no longer."
            if cells
            else "The call of no cell changes."
        )
        self.changed.setVisible(bool(cells))
        for cell in sorted(cells, key=lambda cell: (is_right(cell), not cell.held_out))[:_MOST_PICTURES]:
            picture = QPixmap()
            if not (cell.picture and picture.loadFromData(cell.picture)):
                picture = QPixmap(_PICTURE_PX, _PICTURE_PX)
                picture.fill(QColor(128, 128, 128))
            item = QListWidgetItem(QIcon(picture.scaled(_PICTURE_PX, _PICTURE_PX)), changed_title(cell))
            item.setForeground(_RIGHT if is_right(cell) else _WRONG)
            item.setToolTip(one_line_each(changed_hint(cell)))
            self.changed.addItem(item)


def one_line_each(text: str) -> str:
    """Keep the lines of a text, and nothing in them that could steer what shows it."""
    return "\n".join(one_line(line) for line in text.splitlines())


def plain_label(text: str) -> QLabel:
    """Make a label that wraps and takes nothing for markup."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
