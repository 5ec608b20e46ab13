"""The page of the review: gallery and panel beside napari's canvas, showing what the session says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QMenu, QSplitter, QToolButton, QVBoxLayout, QWidget

from dtcseg.errors import VerdictError
from dtcseg.review.adjudication import AdjudicationSession
from dtcseg.review.facts import facts
from dtcseg_napari import _dialogs
from dtcseg_napari._arrange_bar import ArrangeBar
from dtcseg_napari._gallery import Gallery, Tile
from dtcseg_napari._panel import Panel
from dtcseg_napari._pictures import Pictures
from dtcseg_napari._scene import Scene
from dtcseg_napari._words import agreement_text, caption_of, look_of, says_text, title_of

if TYPE_CHECKING:
    from napari import Viewer

    from dtcseg.review.session import ReviewSession
    from dtcseg.review.slides import Item
    from dtcseg.verdicts.cells import Ring

_OUTLINES_IN_VIEW = 40
_REFRESH_MS = 2000


class ReviewPage(QWidget):
    """One session on the screen.

    Parameters
    ----------
    viewer : Viewer
    session : ReviewSession or AdjudicationSession
    keys : mapping
        Key by action.
    """

    slide_missing = Signal(str)

    def __init__(
        self,
        viewer: Viewer,
        session: ReviewSession | AdjudicationSession,
        keys: Mapping[str, str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.session = session
        self.hint = ""
        self.outlines_shown = True
        self.pictures = Pictures(session)
        self.scene = Scene(viewer, self.say)
        self.gallery = Gallery(self._tile, self)
        self.panel = Panel(keys, self)
        self.bar = ArrangeBar(list(session.opened.slides), calls=session.shows_calls)
        self.more = QToolButton()
        self._lay_out()
        self.pictures.thumbnails.ready.connect(self.gallery.tiles.touch)
        self.bar.changed.connect(self._arrange)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._refresh)
        if isinstance(session, AdjudicationSession):
            self._timer.start(_REFRESH_MS)

    def say(self, text: str) -> None:
        """Tell the reader something that needs no answer."""
        self.panel.say(text)

    def fail(self, text: str) -> None:
        """Tell the reader what could not be done, and what to do."""
        _dialogs.tell(self, "Nothing was written", [text])

    def close_session(self) -> None:
        """Let go of the logs, the slides and the canvas."""
        self._timer.stop()
        self.scene.close()
        self.pictures.close()
        self.session.close()

    def show_current(self, changed: Sequence[str] = (), *, moves: bool = True) -> None:
        """Show the current cell.

        Parameters
        ----------
        changed : sequence of str
            Ids of cells of which something was said; their marks and tiles are drawn again.
        moves : bool
            Whether the cell comes into the middle.
        """
        item = self.session.current
        if item is not None:
            self._show_slide_of(item)
            if moves:
                self.scene.centre(item.cell.x_px, item.cell.y_px)
            self._show_detail(item)
        there = [key for key in changed if self.session.has(key)]
        self.scene.recolour({key: look_of(self.session, self.session.item(key)) for key in there})
        self.draw_outlines()
        self._show_panel(item)
        self.gallery.show_queue(self.session.queue, item.id if item else "")
        for key in there:
            self.gallery.tiles.touch(key)

    def draw_outlines(self, preview: Sequence[Ring] = (), line: Sequence[tuple[float, float]] = ()) -> None:
        """Draw the outline of the current cell, or what it would become, and those of the cells in view."""
        item, drawn = self.session.current, self.session.proposal
        if item is None or not (self.outlines_shown or preview or drawn or line):
            self.scene.show_outlines(())
            return
        current = preview or (drawn.rings if drawn else (self.session.outline_px(item),))
        within_px = self.scene.screen_px(max(self.viewer.canvas.size))
        gone = {cell.id for cell in drawn.old} if drawn else {item.id}
        near = self.scene.near(item.cell.x_px, item.cell.y_px, within_px, _OUTLINES_IN_VIEW)
        others = [self.session.outline_px(self.session.item(key)) for key in near if self._stands(key, gone)]
        self.scene.show_outlines(current, others, drawn=bool(drawn or preview), line=line)

    def find_slide(self, name: str, file: str) -> None:
        """Take the file that a reader points at for a slide that moved."""
        try:
            self.pictures.put(name, file)
        except VerdictError as error:
            self.fail(str(error))
            return
        self.scene.clear()
        self.show_current()

    def _stands(self, key: str, gone: set[str]) -> bool:
        return key not in gone and self.session.has(key) and self.session.say_of(key) != "not_an_object"

    def _show_slide_of(self, item: Item) -> None:
        """Show the slide of an item, and marks for all its cells as they are now."""
        items = self.session.items_on(item.slide)
        ids = [one.id for one in items]
        same = self.scene.slide is not None and self.scene.slide.name == item.slide
        if same and self.scene.holds(ids):
            return
        places_px = np.array([(one.cell.x_px, one.cell.y_px) for one in items], float).reshape(-1, 2)
        looks = [look_of(self.session, one) for one in items]
        if not same:
            files = self.pictures.files(item.slide)
            self.scene.show_slide(self.session.opened.slides[item.slide], files)
            if files is None:
                self.slide_missing.emit(item.slide)
        self.scene.show_marks(ids, places_px, looks)

    def _show_detail(self, item: Item) -> None:
        """Lay every cell's surroundings over the slide where known cells are mixed in, so that none stands out."""
        if self.pictures.with_detail:
            self.scene.show_detail(self.pictures.detail(item), item.cell.x_px, item.cell.y_px)

    def _show_panel(self, item: Item | None) -> None:
        session, panel = self.session, self.panel
        seen, left = session.progress()
        panel.show_progress(seen, left, session.pace.seconds)
        panel.title.setText(title_of(session, item))
        panel.show_facts(facts(item, calls=session.shows_calls) if item else [])
        panel.show_say(*says_text(session, item))
        panel.say(self._what_next(left))
        if isinstance(session, AdjudicationSession):
            panel.show_agreement(agreement_text(session.agreement()))

    def _what_next(self, left: int) -> str:
        drawn = self.session.proposal
        if drawn is not None:
            what = {"add": "New cell", "split": "Two cells", "join": "One cell"}[drawn.kind]
            return f"{what} drawn: a verdict keeps it, Esc forgets it. {drawn.remark}".strip()
        if self.hint:
            return self.hint
        if self.session.current is None:
            return "No cell passes the filter."
        return "" if left else "Every cell of this list is read. Sign off under More."

    def _tile(self, item_id: str) -> Tile:
        item = self.session.item(item_id)
        state = self.session.state(item)
        return Tile(
            image=self.pictures.thumbnails.get(item),
            say=state.say if state else "",
            caption=caption_of(self.session, item),
            commented=bool(state and state.comment),
        )

    def _arrange(self) -> None:
        self.session.arrange(*self.bar.chosen())
        self.show_current()

    def _refresh(self) -> None:
        """Take in what readers say while the adjudicator is at work."""
        if isinstance(self.session, AdjudicationSession) and self.isVisible():
            try:
                if self.session.refresh():
                    self.show_current(moves=False)
            except VerdictError as error:
                self._timer.stop()
                self.fail(str(error))

    def _lay_out(self) -> None:
        self.more.setText("More ▾")
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")  # napari draws it over the word
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more.setMenu(QMenu(self.more))
        above = QWidget()
        column = QVBoxLayout(above)
        column.setContentsMargins(6, 4, 6, 0)
        column.setSpacing(3)
        column.addWidget(self.bar)
        column.addWidget(self.gallery, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(above)
        split.addWidget(self.panel)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 0)
        split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(split)
        self.panel.add_more(self.more)
