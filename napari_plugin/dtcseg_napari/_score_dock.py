"""The dock "Score": slides to a results folder, in a thread, with progress and a way to stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari import Viewer  # noqa: TC002 (napari looks at the annotation when it makes the dock)
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from dtcseg.errors import DtcsegError
from dtcseg.results.text import one_line
from dtcseg_napari import _dialogs
from dtcseg_napari._scoring import ScoringRun
from dtcseg_napari._threads import beside

if TYPE_CHECKING:
    from qtpy.QtGui import QCloseEvent

    from dtcseg.batch import RunResult


class ScoreDock(QWidget):
    """Scores a folder of slides and opens the review on the results.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    progressed = Signal(str, float)

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.slides, self.results = QLineEdit(), QLineEdit()
        self.slides.setPlaceholderText("folder of slides, or one slide")
        self.results.setPlaceholderText("new or earlier results folder")
        self.start, self.cancel, self.review = QPushButton("Score"), QPushButton("Stop"), QPushButton("Review…")
        self.bar = QProgressBar()
        self.message = QLabel("Scoring again does only what is missing. Research use only.")
        self._run: ScoringRun | None = None
        self._worker: object = None
        self._lay_out()
        self._show_running(False)
        self.review.setEnabled(False)
        self.start.clicked.connect(self._start)
        self.cancel.clicked.connect(self.stop)
        self.review.clicked.connect(self._review)
        self.progressed.connect(self._progress)

    def stop(self) -> None:
        """Ask the run to end; slides that are finished are kept."""
        if self._run is not None:
            self._run.stop()
            self.message.setText("Stopping at the next step …")
            self.cancel.setEnabled(False)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """End the run with the window."""
        self.stop()
        super().closeEvent(event)

    def _start(self) -> None:
        if not self.slides.text() or not self.results.text():
            _dialogs.tell(self, "What is missing?", ["Choose the slides, and a folder for the results."])
            return
        self._run = ScoringRun([Path(self.slides.text())], Path(self.results.text()), self.progressed.emit)
        self._show_running(True)
        self.message.setText("Looking at the slides …")
        self._worker = beside(self._run.run, self._done, self._failed)

    def _progress(self, name: str, share: float) -> None:
        self.bar.setValue(round(100 * share))
        self.message.setText(one_line(name))

    def _done(self, result: RunResult) -> None:
        self._show_running(False)
        failed = [row for row in result.rows if hasattr(row, "reason")]
        stopped = result.status == 130
        done = len(result.rows) - len(failed)
        self.message.setText(
            f"{done} slides scored{'; stopped, the rest is scored by the next run' if stopped else ''}."
        )
        self.review.setEnabled(done > 0)
        if failed:
            _dialogs.tell(self, "Some slides failed", [f"{row.file}: {row.reason}" for row in failed[:12]])

    def _failed(self, error: Exception) -> None:
        self._show_running(False)
        self.message.setText("Nothing was scored.")
        known = isinstance(error, (DtcsegError, OSError))
        text = str(error) if known else f"a fault of the program ({type(error).__name__}: {error}); please report it"
        _dialogs.tell(self, "Scoring has ended", [text])

    def _show_running(self, running: bool) -> None:
        self.start.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)
        if not running:
            self._run = None

    def _review(self) -> None:
        from dtcseg_napari._review_dock import ReviewDock

        dock = ReviewDock(self.viewer)
        self.viewer.window.add_dock_widget(dock, name="Review", area="right")
        dock.open_results(Path(self.results.text()))

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Slides", _with_button(self.slides, self))
        form.addRow("Results", _with_button(self.results, self))
        buttons = QHBoxLayout()
        for button in (self.start, self.cancel, self.review):
            buttons.addWidget(button)
        self.message.setWordWrap(True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)
        layout.addStretch(1)


def _with_button(line: QLineEdit, parent: QWidget) -> QHBoxLayout:
    """Put a button beside a path that chooses a folder."""

    def choose() -> None:
        dialog = QFileDialog(parent, "Folder", line.text())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(line.setText)
        dialog.open()

    button = QPushButton("Choose…")
    button.clicked.connect(choose)
    row = QHBoxLayout()
    row.addWidget(line, 1)
    row.addWidget(button)
    return row
