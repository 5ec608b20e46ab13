"""The dock "Review": opens results, asks who reads, and shows the review."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari import Viewer  # noqa: TC002 (napari looks at the annotation when it makes the dock)
from qtpy.QtWidgets import QFileDialog, QStackedWidget, QVBoxLayout, QWidget

from dtcseg.errors import DtcsegError
from dtcseg.memory import no_collection
from dtcseg.review.adjudication import AdjudicationSession
from dtcseg.review.logs import check_writable, has_log, readers_of
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results
from dtcseg.review.vigilance import extra_items
from dtcseg.verdicts.audit import verify
from dtcseg.verdicts.names import clean_name, same_reader
from dtcseg_napari import _dialogs
from dtcseg_napari._hands import Hands
from dtcseg_napari._keys import bind, chosen_keys, remember_reader, remembered_reader
from dtcseg_napari._page import ReviewPage
from dtcseg_napari._start_page import ADJUDICATE, BLIND, Choice, StartPage

if TYPE_CHECKING:
    from qtpy.QtGui import QCloseEvent
    from qtpy.QtWidgets import QShortcut

    from dtcseg.review.slides import Opened
    from dtcseg_napari._pictures import Pictures


class ReviewDock(QWidget):
    """The review of a results folder.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.page: ReviewPage | None = None
        self._hands: Hands | None = None
        self._shortcuts: list[QShortcut] = []
        self._opened: Opened | None = None
        self.start = StartPage()
        self._stack = QStackedWidget()
        self._stack.addWidget(self.start)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)
        self.setMinimumWidth(344)  # three thumbnails and a scroll bar
        self.start.folder_chosen.connect(lambda path: self.open_results(Path(path)))
        self.start.begun.connect(self.begin)
        self.start.reader.setCurrentText(remembered_reader())

    @property
    def results(self) -> Path | None:
        """The results folder that is open."""
        return self._opened.root if self._opened is not None else None

    def open_results(self, path: Path, reader: str = "") -> None:
        """Look at a results folder, and begin at once where the reader is named."""
        try:
            self._opened = open_results(path)
        except DtcsegError as error:
            _dialogs.tell(self, "These results cannot be opened", [str(error)])
            return
        readers, problems = readers_of(self._opened.slides)
        cells = sum(len(slide.items) for slide in self._opened.slides.values())
        about = f"{len(self._opened.slides)} slides, {cells} cells to look at. " + (
            f"Read so far by {', '.join(readers)}." if readers else "Nobody has read them yet."
        )
        self.start.show_results(path, about, readers, reader or remembered_reader())
        problems = [*self._opened.problems, *problems]
        if problems:
            _dialogs.tell(self, "Some of it cannot be opened", problems)
        elif reader:
            self.begin(self.start.choice())

    def begin(self, choice: Choice) -> None:
        """Begin with what was chosen; a name that nobody here has used before is asked about."""
        if self._opened is None or not _same(choice.results, self._opened):
            self.open_results(choice.results)
        opened = self._opened
        if opened is None:
            return
        try:
            name = clean_name(choice.reader)
        except DtcsegError as error:
            _dialogs.tell(self, "Who reads?", [str(error)])
            return
        readers, _ = readers_of(opened.slides)
        known = has_log(opened.slides, name) or same_reader(name, remembered_reader() or "\0")
        if readers and not known and choice.way != ADJUDICATE:
            _dialogs.ask(
                self,
                f"Begin a new log for {name}?",
                f"{name} has read none of these slides; {', '.join(readers)} did. A slip of the finger would make a "
                "new reader.",
                [(f"Begin as {name}", lambda: self._begin(opened, choice, name)), ("Change the name", lambda: None)],
            )
            return
        self._begin(opened, choice, name)

    def leave(self) -> None:
        """Go back to the first page; everything that was said is on disk."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []
        if self._hands is not None:
            self._hands.close()
            self._hands = None
        if self.page is not None:
            self.page.close_session()
            self._stack.removeWidget(self.page)
            self.page.deleteLater()
            self.page = None
        self._stack.setCurrentWidget(self.start)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Let go of logs and slides with the window."""
        self.leave()
        super().closeEvent(event)

    def _begin(self, opened: Opened, choice: Choice, name: str) -> None:
        try:
            for slide in opened.slides.values():
                check_writable(slide.folder)
            session = self._session(opened, choice, name)
        except DtcsegError as error:
            _dialogs.tell(self, "The review cannot begin", [str(error)])
            return
        remember_reader(name)
        self.leave()
        keys, problems = chosen_keys()
        self.page = ReviewPage(self.viewer, session, keys)
        self._hands = Hands(self.page)
        self._shortcuts = bind(self.page, keys, self._hands.act)
        self.page.slide_missing.connect(self._ask_for_slide)
        self.page.destroyed.connect(partial(_let_go, session, self.page.pictures))
        self._fill_menu(self.page)
        self._stack.addWidget(self.page)
        self._stack.setCurrentWidget(self.page)
        with no_collection():
            self.page.show_current()
        if problems:
            _dialogs.tell(self, "Some keys are not as in the preferences", problems)

    def _session(self, opened: Opened, choice: Choice, name: str) -> ReviewSession | AdjudicationSession:
        if choice.way == ADJUDICATE:
            return AdjudicationSession(opened, name)
        extra = extra_items(opened, name, seeded=choice.seeded, audit=choice.audit)
        return ReviewSession(opened, name, calls=choice.way != BLIND, extra=extra)

    def _fill_menu(self, page: ReviewPage) -> None:
        menu = page.more.menu()
        if menu is None:
            return
        entries: list[tuple[str, Callable[[], object]]] = [
            ("Sign off this slide…", self._sign_off),
            ("Check all logs", self._verify),
            ("Find this slide's file…", self._find_current),
            ("Leave the review", self.leave),
        ]
        for words, action in entries:
            menu.addAction(words).triggered.connect(lambda checked=False, action=action: action())

    def _sign_off(self) -> None:
        page = self.page
        item = page.session.current if page else None
        if page is None or item is None:
            return
        slide, unread = item.slide, page.session.unread(item.slide)
        left = f"{unread} cells are not read yet. " if unread else "Every cell is read. "

        def sign() -> None:
            try:
                page.session.sign_off(slide, "I have read this slide")
            except DtcsegError as error:
                page.fail(str(error))
                return
            page.say(f"{slide} is signed off; to go on, a reason will be asked for")

        _dialogs.ask(
            self,
            f"Sign off {slide}?",
            f"{left}After that nothing can be changed unless the read is reopened with a reason, which stays in the "
            "log.",
            [(f"Sign off as {page.session.reader}", sign), ("Not yet", lambda: None)],
        )

    def _verify(self) -> None:
        if self._opened is None:
            return
        found = verify(self._opened.root)
        if found.sound:
            _dialogs.tell(self, "No change found", [f"{found.logs} logs with {found.entries} entries were checked."])
        else:
            _dialogs.tell(self, "Logs were changed", [str(problem) for problem in found.problems[:12]])

    def _ask_for_slide(self, name: str) -> None:
        page = self.page
        if page is None:
            return
        record = page.session.opened.slides[name].record
        _dialogs.ask(
            self,
            f"{name}: the slide has moved",
            f"It was at {'; '.join(record.files)}. Put it back there or beside the results folder, or say where it is. "
            "Verdicts can be given without the picture, but should not.",
            [("Find it…", lambda: self._find(name)), ("Go on without", lambda: None)],
        )

    def _find_current(self) -> None:
        if self.page is not None and self.page.session.current is not None:
            self._find(self.page.session.current.slide)

    def _find(self, name: str) -> None:
        page = self.page
        if page is None:
            return
        dialog = QFileDialog(self, f"Where is {name}?")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda file: page.find_slide(name, file))
        dialog.open()


def _let_go(session: ReviewSession | AdjudicationSession, pictures: Pictures) -> None:
    """Close logs and slides of a page that went with its window, without a word."""
    session.close()
    pictures.close()


def _same(path: Path, opened: Opened) -> bool:
    return path.resolve() in (opened.root.resolve(), *(s.folder.resolve() for s in opened.slides.values()))
