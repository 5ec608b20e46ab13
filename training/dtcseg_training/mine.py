"""Hard examples for the second look: what the screen takes for a candidate, true or not, on fields of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from dtcseg.network.model import LOOK_MPP_UM, SCREEN_MPP_UM, SCREEN_STRIDE_PX
from dtcseg.network.peaks import CANDIDATE_APART_PX, candidate_logits, core_peaks
from dtcseg.network.weights import load, resolve
from dtcseg.screen import read_planes
from dtcseg.tiles import Tile
from dtcseg.working import plan_grid
from dtcseg_training.fields import ArraySlide, crops_of, draw_field, draw_profile, field_lesson

if TYPE_CHECKING:
    import numpy.typing as npt

    from dtcseg.network.model import Screen
    from dtcseg_training.fields import Lesson
    from dtcseg_training.simulate import Field

_HALO_PX = 8
_MOST = 24
_NEAR_PX = 6.0


def mine_lesson(seed: int, index: int, model: str) -> Lesson:
    """Render a field and make a lesson whose crops are the screen's own candidates, with the truth of each.

    Parameters
    ----------
    seed, index : int
        Which field.
    model : str
        Weights whose screen is asked, as `--model`.
    """
    screen, threshold = _screen(model)
    rng = np.random.default_rng([seed, index])
    field = draw_field(rng)
    lesson = field_lesson(field, rng)
    slide = ArraySlide(field.image, field.mpp_um, field.channels)
    profile = draw_profile(field.image, field.channels, field.mpp_um, rng)
    coarse = plan_grid(slide, field.mpp_um, SCREEN_MPP_UM)
    sides = [-(-(v + 2 * _HALO_PX) // SCREEN_STRIDE_PX) * SCREEN_STRIDE_PX for v in (coarse.width_px, coarse.height_px)]
    planes = read_planes(slide, coarse, profile, -_HALO_PX, -_HALO_PX, sides[0], sides[1])
    with torch.inference_mode():
        maps = screen(torch.from_numpy(planes[None]))[0]
    tile = Tile(0, 0, coarse.width_px, coarse.height_px, _HALO_PX)
    found = core_peaks(candidate_logits(maps), tile, threshold, CANDIDATE_APART_PX)
    found = found[np.argsort(-found[:, 2], kind="stable")[:_MOST]]
    centres = (found[:, :2].astype(np.float64) + 0.5) * coarse.downsample - 0.5
    wanted = [(float(x), float(y), *_truth_at(field, float(x), float(y))) for x, y in centres]
    crops, masks, calls = crops_of(field, slide, profile, plan_grid(slide, field.mpp_um, LOOK_MPP_UM), wanted)
    return replace(lesson, crops=crops, masks=masks, calls=calls)


@lru_cache(maxsize=1)
def _screen(model: str) -> tuple[Screen, float]:
    torch.set_num_threads(1)
    info = resolve(model)
    return load(info)[0], info.card.candidate_threshold


def _truth_at(field: Field, x: float, y: float) -> tuple[int, str]:
    """Label and call of what lies at a place: a CK+ object, else an ordinary cell, else nothing (artefact)."""
    reach = max(round(_NEAR_PX / field.mpp_um * 0.5), 1)
    row, column = round(y), round(x)
    window = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    for labels in (field.ck_labels, field.nucleus_labels):
        near = _nearest(labels[window], min(row, reach), min(column, reach))
        if near > 0:
            return near, field.cells[near - 1].call or "haematopoietic"
    return 0, "artefact"


def _nearest(labels: npt.NDArray[np.int32], row: int, column: int) -> int:
    """Label (> 0) nearest to a place in a window, 0 if there is none."""
    rows, columns = np.nonzero(labels > 0)
    if not rows.size:
        return 0
    best = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
    return int(labels[rows[best], columns[best]])
