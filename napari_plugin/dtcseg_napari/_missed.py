"""A missed cell that was clicked: the network outlines it in a thread, which can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError
from dtcseg.review.outlines import circle
from dtcseg_napari._threads import beside

if TYPE_CHECKING:
    from pathlib import Path

    from dtcseg.review.missed import Outlined
    from dtcseg.review.slides import ReviewSlide
    from dtcseg.verdicts.cells import Ring

_STAND_IN_UM = 15.0

OnOutlined = Callable[[str, "Ring", "Ring | None", str], None]


class MissedCell:
    """Asks the network for one outline at a time.

    Parameters
    ----------
    on_outlined : callable
        Told the slide, the outline, that of the nucleus, and what the reader should know.
    on_problem : callable
        Told what went wrong in a way that nobody foresaw.
    """

    def __init__(self, on_outlined: OnOutlined, on_problem: Callable[[str], None]) -> None:
        self._on_outlined = on_outlined
        self._on_problem = on_problem
        self._wish = 0
        self._worker: object = None

    def outline(self, slide: ReviewSlide, files: Sequence[Path] | None, x_px: float, y_px: float) -> None:
        """Outline what lies at a place of a slide, level-0 pixels; an earlier wish is forgotten."""
        self.stop()
        if files is None:
            ring = circle((x_px, y_px), _STAND_IN_UM / 2 / slide.record.mpp_um)
            self._on_outlined(slide.name, ring, None, "The slide is not there, so a circle stands in: paint it to fit.")
            return
        self._wish += 1
        wish = self._wish
        self._worker = beside(
            lambda: _look(slide, tuple(files), x_px, y_px),
            lambda found: self._took(wish, slide.name, found),
            lambda error: self._failed(wish, error),
        )

    def stop(self) -> None:
        """Forget a wish; its answer is not waited for."""
        self._wish += 1

    def _took(self, wish: int, slide: str, found: Outlined) -> None:
        if wish == self._wish:
            self._on_outlined(slide, found.ring, found.nucleus, found.remark)

    def _failed(self, wish: int, error: Exception) -> None:
        if wish == self._wish:
            self._on_problem(f"The cell could not be outlined: {error}")


def _look(slide: ReviewSlide, files: tuple[Path, ...], x_px: float, y_px: float) -> Outlined:
    from dtcseg.review.missed import outline_at, stand_in
    from dtcseg.slide import open_slide

    try:
        opened = open_slide(files, mpp_um=slide.record.mpp_um, channels=slide.record.channels, check=False)
    except DtcsegError as error:
        return stand_in(slide.record, x_px, y_px, str(error))
    with opened:
        return outline_at(opened, slide.record, x_px, y_px)
