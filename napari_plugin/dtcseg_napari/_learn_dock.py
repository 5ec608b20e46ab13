"""The dock "Learn": from reviews to weights of one's own, for someone who never opens a terminal."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari import Viewer  # noqa: TC002 (napari looks at the annotation when it makes the dock)
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFrame, QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from dtcseg import registry
from dtcseg.errors import DtcsegError
from dtcseg.network.history import own_folder, read_history, standing
from dtcseg.results.text import one_line
from dtcseg.review.ask_results import AskList, ask_results
from dtcseg_napari import _dialogs
from dtcseg_napari._learn_pages import ChoosePage, OutcomePage, ProgressPage, plain_label
from dtcseg_napari._learn_words import verdicts_text
from dtcseg_napari._learning import LearningRun
from dtcseg_napari._review_dock import ReviewDock
from dtcseg_napari._threads import beside

if TYPE_CHECKING:
    from dtcseg_training.learn import LearnOutcome
    from qtpy.QtGui import QCloseEvent, QShowEvent

    from dtcseg.registry import Change

_Result = TypeVar("_Result")
_Told = TypeVar("_Told")

_NAME = "ours"
"""Weights learned here are called so; where several are, the list tells them apart by their hash."""


class _Relay(QObject):
    """Carries progress out of a thread; outlives the dock, which may be closed while a run comes to its end."""

    progressed = Signal(object)


class LearnDock(QWidget):
    """Learns from reviewed results, shows what came of it, and takes the weights into use or goes back.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.choose, self.progress, self.outcome = ChoosePage(), ProgressPage(), OutcomePage()
        self.in_use, self.back = plain_label(""), QPushButton("Go back…")
        self._stack = QStackedWidget()
        for page in (self.choose, self.progress, self.outcome):
            self._stack.addWidget(page)
        self._runs: list[LearningRun] = []
        self._outcome: LearnOutcome | None = None
        self._workers: list[object] = []
        self._asked = 0
        self._lay_out()
        self.choose.changed.connect(self._count)
        self.choose.begun.connect(self._start)
        self.progress.stop.clicked.connect(self.stop)
        self.relay = _Relay()
        self.relay.progressed.connect(self.progress.show_progress)
        self.outcome.use.clicked.connect(self._use)
        self.outcome.keep.clicked.connect(self._leave)
        self.outcome.report.clicked.connect(self._report)
        self.back.clicked.connect(self._ask_to_go_back)
        self._show_in_use()
        self.destroyed.connect(partial(_stop_all, self._runs))  # a dock is not told that its window closes
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(partial(_stop_all, self._runs))

    @property
    def page(self) -> QWidget | None:
        """The page that is shown."""
        return self._stack.currentWidget()

    def stop(self) -> None:
        """Ask the run to end; what was done is kept."""
        if self._runs:
            _stop_all(self._runs)
            self.progress.stopping()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Offer the results that are open in the review, where nothing was chosen yet."""
        super().showEvent(event)
        if not self.choose.chosen():
            for dock in QApplication.allWidgets():
                if isinstance(dock, ReviewDock) and dock.window() is self.window() and dock.results is not None:
                    self.choose.add_folder(dock.results)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """End the run with the window."""
        self.stop()
        super().closeEvent(event)

    def _count(self) -> None:
        """Look, beside the window, at how much there is to learn from."""
        folders = self.choose.chosen()
        self._asked += 1
        number = self._asked
        if not folders:
            self.choose.tell("Choose results folders whose cells were reviewed.", ready=False)
            return
        self.choose.tell("Counting verdicts …", ready=False)

        def counted(found: AskList) -> None:
            if number == self._asked:
                text, ready = verdicts_text(found)
                self.choose.tell("\n".join([text, *(one_line(p) for p in found.problems[:5])]), ready=ready)

        def failed(error: Exception) -> None:
            if number == self._asked:
                self.choose.tell(_said(error), ready=False)

        self._beside(lambda: ask_results(folders), counted, failed)

    def _start(self) -> None:
        out = own_folder() / "learned" / f"{_NAME}.safetensors"
        relay = self.relay
        run = LearningRun(self.choose.chosen(), out, lambda told: relay.progressed.emit(told))
        self._runs.append(run)
        self.progress.begin()
        self._stack.setCurrentWidget(self.progress)
        self._beside(run.run, self._done, self._failed)

    def _done(self, outcome: LearnOutcome | None) -> None:
        self._runs.clear()
        if outcome is None:
            self._stack.setCurrentWidget(self.choose)
            self.choose.start.setText("Go on learning")
            return
        self.choose.start.setText("Learn")
        self._outcome = outcome
        self.outcome.show_outcome(outcome)
        self._stack.setCurrentWidget(self.outcome)

    def _failed(self, error: Exception) -> None:
        self._runs.clear()
        self._stack.setCurrentWidget(self.choose)
        _dialogs.tell(self, "Nothing was learned", [_said(error)])

    def _use(self) -> None:
        if self._outcome is None or self._outcome.weights is None:
            return
        weights = str(self._outcome.weights)
        self.outcome.use.setEnabled(False)
        self._beside(lambda: registry.use(weights), self._changed, self._not_changed)

    def _changed(self, done: Change) -> None:
        self.outcome.use.setEnabled(True)
        self._show_in_use()
        self._leave()
        _dialogs.tell(
            self,
            f"{one_line(done.now.name)} is in use",
            [
                "Slides that are scored from now on are scored with these weights. Results that are there stay as "
                "they are. “Go back…” gives them up again."
            ],
        )

    def _not_changed(self, error: Exception) -> None:
        self.outcome.use.setEnabled(True)
        _dialogs.tell(self, "The weights stay as they are", [_said(error)])

    def _ask_to_go_back(self) -> None:
        try:
            uses = standing(read_history(own_folder()))
        except DtcsegError as error:
            _dialogs.tell(self, "The weights stay as they are", [str(error)])
            return
        if not uses:
            return
        before = uses[-2].name if len(uses) > 1 else "the released weights"
        _dialogs.ask(
            self,
            f"Go back to {one_line(before)}?",
            f"{one_line(uses[-1].name)}, in use since {uses[-1].when[:10]}, is given up; it is kept and can be "
            "used again.",
            [("Go back", self._go_back), ("Stay", lambda: None)],
        )

    def _go_back(self) -> None:
        self._beside(registry.rollback, lambda done: self._show_in_use(), self._not_changed)

    def _show_in_use(self) -> None:
        try:
            known = registry.in_use()
            text = f"In use: {one_line(known.name)}" + (f", since {known.since[:10]}" if known.since else " (released)")
            uses = bool(standing(read_history(own_folder())))
        except DtcsegError as error:
            text, uses = str(error), True
        self.in_use.setText(text)
        self.back.setEnabled(uses)

    def _report(self) -> None:
        if self._outcome is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(self._outcome.report).absolute())))

    def _leave(self) -> None:
        self._outcome = None
        self._stack.setCurrentWidget(self.choose)

    def _beside(
        self, work: Callable[[], _Result], done: Callable[[_Result], None], failed: Callable[[Exception], None]
    ) -> None:
        """Work in a thread; the worker is kept until the next few are done. A closed dock is told nothing."""

        def alive(told: Callable[[_Told], None]) -> Callable[[_Told], None]:
            return lambda value: told(value) if isalive(self) else None  # type: ignore[no-untyped-call]

        self._workers = [*self._workers[-3:], beside(work, alive(done), alive(failed))]

    def _lay_out(self) -> None:
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        foot = QHBoxLayout()
        foot.addWidget(self.in_use, 1)
        foot.addWidget(self.back)
        layout = QVBoxLayout(self)
        layout.addWidget(self._stack, 1)
        layout.addWidget(line)
        layout.addLayout(foot)
        self.setMinimumWidth(344)


def _stop_all(runs: list[LearningRun], *_: object) -> None:
    """End what still learns when the window goes: the program would wait for it otherwise."""
    for run in runs:
        run.stop()


def _said(error: Exception) -> str:
    known = isinstance(error, (DtcsegError, OSError))
    return str(error) if known else f"a fault of the program ({type(error).__name__}: {error}); please report it"
