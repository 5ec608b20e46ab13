"""What each key and each stroke of the mouse does in a review."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dtcseg.errors import NotPossible, VerdictError
from dtcseg.review import outlines
from dtcseg.review.session import ReviewSession
from dtcseg_napari import _dialogs
from dtcseg_napari._missed import MissedCell
from dtcseg_napari._tools import HINTS, Tool, Tools

if TYPE_CHECKING:
    from dtcseg.verdicts.cells import Ring
    from dtcseg_napari._page import ReviewPage

_VERDICTS = ("tumour", "probable", "uninterpretable", "haematopoietic", "artefact", "skip")
_TOOLS: tuple[Tool, ...] = ("paint", "drag", "split", "join", "new_cell")


class Hands:
    """Keys, buttons and mouse of a review page.

    Parameters
    ----------
    page : ReviewPage
    """

    def __init__(self, page: ReviewPage) -> None:
        self.page = page
        self.session = page.session
        self.tools = Tools(page.viewer, page.scene, self._on_stroke, self._on_click)
        self.missed = MissedCell(self._on_outlined, page.fail)
        self._actions = self._make_actions()
        page.panel.acted.connect(self.act)
        page.panel.commented.connect(self._comment)
        page.gallery.chosen.connect(self.go_to)

    def act(self, name: str) -> None:
        """Do what a key or button stands for; what cannot be done is said, and nothing is lost."""
        self._try(self._actions[name])

    def go_to(self, item_id: str) -> None:
        """Show a cell that was clicked."""
        self._lay_down()
        self.session.go_to(item_id)
        self.page.show_current()

    def close(self) -> None:
        """Stop what runs and leave the canvas to napari."""
        self.missed.stop()
        self.tools.close()

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except NotPossible as error:
            self.page.say(str(error))
        except VerdictError as error:
            self.page.fail(str(error))

    def _make_actions(self) -> dict[str, Callable[[], None]]:
        give: dict[str, Callable[[], None]] = {
            word: partial(self._say, partial(self.session.give, word)) for word in _VERDICTS
        }
        take: dict[str, Callable[[], None]] = {tool: partial(self._take, tool) for tool in _TOOLS}
        return {
            **give,
            **take,
            "delete": partial(self._say, self.session.delete),
            "back": self._back,
            "undo": partial(self._step, self.session.undo),
            "redo": partial(self._step, self.session.redo),
            "comment": self._ask_comment,
            "outline": self._toggle_outlines,
            "planes": self._next_view,
            "centre": self.page.show_current,
            "leave": self._leave,
        }

    def _say(self, say: Callable[[], bool]) -> None:
        """Write a word; the screen moves on only when it is on disk."""
        if self._is_signed():
            return
        touched = self._touched()
        say()
        self._lay_down()
        self.page.show_current(touched)

    def _step(self, step: Callable[[], str]) -> None:
        told = step()
        self._lay_down()
        self.page.show_current(self._touched())
        self.page.say(told)

    def _back(self) -> None:
        if not self.session.back():
            raise NotPossible("this is the first cell of the list")
        self._lay_down()
        self.page.show_current()

    def _touched(self) -> list[str]:
        """Cells whose looks the next word changes."""
        drawn, current = self.session.proposal, self.session.current
        if drawn is not None:
            return [cell.id for cell in drawn.old]
        return [current.id] if current else []

    def _is_signed(self) -> bool:
        """Ask for a reason before a signed read goes on; nothing is written without one."""
        session, item = self.session, self.session.current
        signed = session.signed(item.slide) if item is not None else ""
        if item is None or not signed:
            return False
        slide = item.slide
        _dialogs.ask_text(
            self.page,
            "Signed off",
            f"{slide} was signed off on {signed[:16].replace('T', ' ')} UTC. To go on, give a reason; it stays in the "
            "log.",
            lambda reason: self._try(lambda: self._reopen(slide, reason)),
        )
        return True

    def _reopen(self, slide: str, reason: str) -> None:
        self.session.reopen(slide, reason)
        self.page.show_current()
        self.page.say(f"{slide} is open again")

    def _ask_comment(self) -> None:
        item = self.session.current
        if item is not None and not self._is_signed():
            self.page.panel.ask_comment(self.session.comment_of(item))

    def _comment(self, text: str) -> None:
        def write() -> None:
            self.session.comment(text)
            self.page.show_current(self._touched(), moves=False)

        self._try(write)

    def _toggle_outlines(self) -> None:
        self.page.outlines_shown = not self.page.outlines_shown
        self.page.draw_outlines()

    def _next_view(self) -> None:
        scene = self.page.scene
        views = scene.views()
        if len(views) < 2:
            raise NotPossible("this slide's channels are layers of their own: show and hide them in the layer list")
        scene.choose_view(views[(views.index(scene.view) + 1) % len(views)])
        self.page.say(f"shown: {scene.view}")

    def _take(self, tool: Tool) -> None:
        if tool in ("split", "join", "new_cell") and not isinstance(self.session, ReviewSession):
            raise NotPossible("an adjudication settles what readers drew; it draws no cells of its own")
        if self._is_signed():
            self.page.panel.hold("")
            return
        self.tools.take(tool)
        self._show_tool()

    def _lay_down(self) -> None:
        if self.tools.tool:
            self.tools.take("")
        self._show_tool()

    def _show_tool(self) -> None:
        self.page.hint = HINTS.get(self.tools.tool, "")
        self.page.panel.hold(self.tools.tool)
        self.page.say(self.page.hint)

    def _leave(self) -> None:
        """Escape: what was drawn is forgotten, the tool laid down."""
        self.missed.stop()
        self.session.proposal = None
        self._lay_down()
        self.page.show_current(moves=False)

    def _on_stroke(self, tool: Tool, stroke: Sequence[tuple[float, float]], done: bool) -> None:
        def follow() -> None:
            if tool == "split":
                self._split(stroke, done)
            else:
                self._reshape(tool, stroke, done)

        try:
            follow()
        except VerdictError as error:
            self.page.draw_outlines()
            (self.page.say if isinstance(error, NotPossible) else self.page.fail)(str(error))

    def _reshape(self, tool: Tool, stroke: Sequence[tuple[float, float]], done: bool) -> None:
        item, drawn = self.session.current, self.session.proposal
        if item is None:
            return
        ring = drawn.rings[0] if drawn else self.session.outline_px(item)
        if tool == "paint":
            ring = outlines.paint(ring, stroke, self.tools.reach_px)
        else:
            ring = outlines.pull(ring, stroke[0], stroke[-1], self.tools.reach_px)
        if done:
            self.session.correct(ring)
            self.page.show_current([item.id], moves=False)
        else:
            self.page.draw_outlines((ring, *(drawn.rings[1:] if drawn else ())))

    def _split(self, stroke: Sequence[tuple[float, float]], done: bool) -> None:
        if not done:
            self.page.draw_outlines(line=stroke)
        elif isinstance(self.session, ReviewSession):
            self.session.propose_split(stroke)
            self._lay_down()
            self.page.show_current(moves=False)

    def _on_click(self, tool: Tool, place: tuple[float, float]) -> None:
        page, session = self.page, self.session
        if tool == "new_cell":
            slide = page.scene.slide
            if slide is not None:
                page.say("The network outlines the cell … (Esc stops it)")
                self.missed.outline(slide, page.pictures.files(slide.name), *place)
            return
        found = page.scene.nearest(*place, self.tools.click_reach_px())
        if not found:
            return
        if tool == "join":
            self._try(lambda: self._join(found))
        elif not tool and (session.current is None or found != session.current.id):
            self.go_to(found)

    def _join(self, other: str) -> None:
        if isinstance(self.session, ReviewSession):
            self.session.propose_join(other)
            self._lay_down()
            self.page.show_current(moves=False)

    def _on_outlined(self, slide: str, ring: Ring, nucleus: Ring | None, remark: str) -> None:
        if isinstance(self.session, ReviewSession):
            self.session.propose_cell(slide, ring, nucleus=nucleus, remark=remark)
            self._lay_down()
            self.page.show_current(moves=False)
