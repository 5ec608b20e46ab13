"""Where the pixels of a review come from: files of the slides, thumbnails, and surroundings of single cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.errors import UsageError, VerdictError
from dtcseg.results.text import one_line
from dtcseg.review.pictures import picture
from dtcseg.review.slides import same_slide, slide_files
from dtcseg_napari._handles import Handles
from dtcseg_napari._thumbnails import Thumbnails

if TYPE_CHECKING:
    import numpy.typing as npt

    from dtcseg.results.record import SlideRecord
    from dtcseg.review.session import Session
    from dtcseg.review.slides import Item

_DETAIL_UM = 260.0
"""Side of what is laid over the slide around a cell where known cells are mixed in: more than a close view shows."""


class Pictures:
    """Pixels of the slides of a session.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    with_detail : bool
        Whether known cells of other slides are mixed in.
    """

    def __init__(self, session: Session) -> None:
        self._opened = session.opened
        self._files: dict[str, tuple[Path, ...] | None] = {}
        self._handles = Handles(self.find)
        self.thumbnails = Thumbnails(self.find)
        self.with_detail = any(item.seeded for name in session.opened.slides for item in session.items_on(name))

    def files(self, name: str) -> tuple[Path, ...] | None:
        """Find the files of a slide; None where they are not to be found."""
        if name not in self._files:
            slide = self._opened.slides.get(name)
            try:
                self._files[name] = slide_files(self._opened.root, slide.record) if slide else None
            except UsageError:
                self._files[name] = None
        return self._files[name]

    def find(self, name: str) -> tuple[SlideRecord, tuple[Path, ...]] | None:
        """Give record and files of a slide, as `Handles` asks for them."""
        files = self.files(name)
        return None if files is None else (self._opened.slides[name].record, files)

    def put(self, name: str, file: str) -> None:
        """Take a file for a slide, for this session.

        Raises
        ------
        VerdictError
            It is not the file that was scored.
        """
        record = self._opened.slides[name].record
        if len(record.files) != 1 or not same_slide(Path(file), record):
            raise VerdictError(
                f"{one_line(Path(file).name)} is not the file that was scored as {one_line(name)} (its size differs); "
                "choose another, or score it first"
            )
        self._files[name] = (Path(file),)
        self._handles.close()
        self.thumbnails.forget()

    def detail(self, item: Item) -> npt.NDArray[np.uint8]:
        """Read the surroundings of a cell at full resolution, (side, side, 3) RGB."""
        handle = self._handles.get(item.home)
        side_px = round(_DETAIL_UM / self._opened.slides[item.slide].record.mpp_um)
        if handle is None:
            return np.full((side_px, side_px, 3), 128, np.uint8)
        return picture(handle.slide, handle.profile, *item.home_px, side_px=side_px)

    def close(self) -> None:
        """Close the slides and end the reading of thumbnails."""
        self.thumbnails.stop()
        self._handles.close()
