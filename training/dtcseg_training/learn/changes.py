"""The cells of a laboratory whose call the challenger changes, with their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.crops import draw_place
from dtcseg.errors import DtcsegError
from dtcseg.look import call_of
from dtcseg.network.model import LOOK_MPP_UM
from dtcseg.review.profiles import read_profile
from dtcseg.slide import open_slide
from dtcseg.working import plan_grid
from dtcseg_training.learn.judge import TUMOUR
from dtcseg_training.learn.outcome import ChangedCell
from dtcseg_training.learn.training_set import slide_key

if TYPE_CHECKING:
    from dtcseg_training.learn.taught import TaughtCell, TaughtSlide
    from dtcseg_training.learn.training_set import SlideCrops

MOST_PICTURES = 400
Found = Sequence[npt.NDArray[np.float32]]


def changed_cells(
    taught: Sequence[TaughtSlide],
    slides: Sequence[SlideCrops],
    probabilities: tuple[Found, Found],
    thresholds: tuple[float, float],
) -> tuple[ChangedCell, ...]:
    """List the cells whose call differs, held-out slides first; the first `MOST_PICTURES` with pictures.

    Parameters
    ----------
    taught : sequence of TaughtSlide
        Where the pixels are.
    slides : sequence of SlideCrops
    probabilities : (sequence of (N, 4), the same)
        Of champion and challenger, by slide.
    thresholds : (float, float)
    """
    homes = {slide_key(slide): slide for slide in taught}
    changed: list[ChangedCell] = []
    for index in sorted(range(len(slides)), key=lambda i: (not slides[i].held_out, slides[i].slide)):
        slide = slides[index]
        pairs = list(zip(probabilities[0][index], probabilities[1][index], strict=True))
        calls = [(call_of(p, thresholds[0]), call_of(q, thresholds[1])) for p, q in pairs]
        rows = [i for i, (was, now) in enumerate(calls) if was != now]
        pictures = _pictures(homes.get(slide.key), [slide.cells[i]["id"] for i in rows], MOST_PICTURES - len(changed))
        for i in rows:
            cell = slide.cells[i]
            changed.append(
                ChangedCell(
                    slide=slide.slide,
                    cell_id=cell["id"],
                    x_px=cell["x_px"],
                    y_px=cell["y_px"],
                    verdict=cell["call"],
                    said=bool(slide.said[i]),
                    before=calls[i][0],
                    after=calls[i][1],
                    score_before=round(float(pairs[i][0][TUMOUR]), 4),
                    score_after=round(float(pairs[i][1][TUMOUR]), 4),
                    held_out=slide.held_out,
                    picture=pictures.get(cell["id"], b""),
                )
            )
    return tuple(changed)


def _pictures(home: TaughtSlide | None, ids: Sequence[str], most: int) -> dict[str, bytes]:
    """PNG of each cell by id; none where the slide cannot be read."""
    if home is None or not ids or most <= 0:
        return {}
    cells: dict[str, TaughtCell] = {cell.id: cell for cell in home.cells}
    record = home.record
    pictures: dict[str, bytes] = {}
    try:
        profile = read_profile(record)
        with open_slide(home.files, mpp_um=record.mpp_um, mpp_source="flag", channels=record.channels) as slide:
            grid = plan_grid(slide, record.mpp_um, LOOK_MPP_UM)
            for key in ids[:most]:
                cell = cells[key]
                ring = np.asarray(cell.outline_px, np.float64).reshape(-1, 2)
                pictures[key] = draw_place(slide, grid, cell.x_px, cell.y_px, ring, profile)
    except DtcsegError:
        pass  # the picture is for the eye; what was found does not depend on it
    return pictures
