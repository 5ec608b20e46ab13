"""Hard examples for the second look: what the screen takes for a candidate, true or not, simulated and real."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely
import torch

from dtcseg.network.model import LOOK_MPP_UM, SCREEN_MPP_UM, SCREEN_STRIDE_PX
from dtcseg.network.peaks import CANDIDATE_APART_PX, candidate_logits, core_peaks
from dtcseg.network.weights import load, resolve
from dtcseg.screen import read_planes
from dtcseg.search import lie_in, stained_cells
from dtcseg.tiles import Tile
from dtcseg.working import plan_grid
from dtcseg_training.fields import (
    LOOK_INNER,
    ArraySlide,
    Crops,
    Lesson,
    as_it_is,
    crops_of,
    cut_crops,
    draw_dirty_field,
    draw_field,
    draw_profile,
    field_lesson,
)
from dtcseg_training.real_lessons import BRIGHTFIELD_SHARES, draw_real_field, real_profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dtcseg.cells import Stain
    from dtcseg.network.model import Look, Screen
    from dtcseg.screen import SlideProfile
    from dtcseg.slide import Slide
    from dtcseg.working import WorkingGrid
    from dtcseg_training.simulate import Field

FloatArray = npt.NDArray[np.float32]

_HALO_PX = 8
_MOST, _MOST_DEEP = 24, 36
_NEAR_PX = 6.0


def any_field(rng: np.random.Generator) -> tuple[Field, Stain | None]:
    """Render a field of a random laboratory, of which nobody says how it is stained."""
    return draw_field(rng), None


def dirty_field(rng: np.random.Generator) -> tuple[Field, Stain | None]:
    """Render a field without a tumour cell, full of what may be taken for one."""
    return draw_dirty_field(rng), None


def mine_lesson(
    seed: int,
    index: int,
    model: str,
    seen_as: Callable[[SlideProfile], SlideProfile] = as_it_is,
    draw: Callable[[np.random.Generator], tuple[Field, Stain | None]] = any_field,
) -> Lesson:
    """Render a field and make a lesson whose crops are the screen's own candidates, and the tumour cells it misses.

    Parameters
    ----------
    seed, index : int
        Which field.
    model : str
        Weights whose screen is asked, as `--model`.
    seen_as : callable
        As in `fields.field_lesson`.
    draw : callable
        Renders the field, and tells its stain where that is known.
    """
    rng = np.random.default_rng([seed, index])
    field, stain = draw(rng)
    lesson = field_lesson(field, rng, seen_as)
    (crops, masks, calls, spreads), _ = _mined(field, stain, rng, model, seen_as, 1.0)
    return replace(lesson, crops=crops, masks=masks, calls=calls, spreads=spreads)


def mine_crops(
    seed: int,
    index: int,
    model: str,
    seen_as: Callable[[SlideProfile], SlideProfile],
    draw: Callable[[np.random.Generator], tuple[Field, Stain | None]],
    depth: float,
) -> tuple[Crops, FloatArray]:
    """Render a field and cut out what the screen may propose there, and the tumour cells it would miss all the same.

    Parameters
    ----------
    seed, index, model, seen_as, draw
        As `mine_lesson`.
    depth : float
        How many times lower the threshold of candidates is than it stands in the card.

    Returns
    -------
    crops : Crops
    screened : (M,) float32
        Probability of the screen at each; 0 where it proposes nothing.
    """
    rng = np.random.default_rng([seed, index])
    field, stain = draw(rng)
    return _mined(field, stain, rng, model, seen_as, depth)


def _mined(
    field: Field,
    stain: Stain | None,
    rng: np.random.Generator,
    model: str,
    seen_as: Callable[[SlideProfile], SlideProfile],
    depth: float,
) -> tuple[Crops, FloatArray]:
    slide = ArraySlide(field.image, field.mpp_um, field.channels)
    profile = seen_as(draw_profile(field.image, field.channels, field.mpp_um, rng, field.ck_labels != 0, stain))
    coarse = plan_grid(slide, field.mpp_um, SCREEN_MPP_UM)
    wanted, screened = [], []
    for x, y, probability in _candidates(model, slide, profile, coarse, depth):
        truth = _truth_at(field, x, y)
        if truth is not None:
            wanted.append((x, y, *truth))
            screened.append(probability)
    missed = _missed(field, {label for _, _, label, _ in wanted})
    close = plan_grid(slide, field.mpp_um, LOOK_MPP_UM)
    crops = crops_of(field, slide, profile, close, [*wanted, *missed])
    return crops, np.array([*screened, *(0.0 for _ in missed)], np.float32)


def mine_real_lesson(
    seed: int, index: int, model: str, folder: Path, seen_as: Callable[[SlideProfile], SlideProfile] = as_it_is
) -> Lesson:
    """Make a lesson of what the screen takes for a candidate on a real image: none of it is a tumour cell.

    Crops with a labelled nucleus in the middle are called haematopoietic, the others artefacts. Nobody outlined them,
    so the masks are those of the model's own second look.

    Parameters
    ----------
    seed, index : int
        The same numbers give the same lesson.
    model : str
        Weights that are asked, as `--model`.
    folder : Path
        `shared/data`.
    seen_as : callable
        As in `fields.field_lesson`.
    """
    rng = np.random.default_rng([seed, index])
    field, zoomed_um = draw_real_field(folder, rng, BRIGHTFIELD_SHARES)
    profile = seen_as(real_profile(field, rng))
    coarse, fine = (plan_grid(field.slide, zoomed_um, mpp) for mpp in (SCREEN_MPP_UM, LOOK_MPP_UM))
    nuclei = np.zeros((0, 2)) if field.centres is None else field.centres
    wanted = []
    for x, y, _ in _candidates(model, field.slide, profile, coarse):
        near = (np.hypot(*(nuclei - (x, y)).T) <= field.nucleus_px / 2).any()
        wanted.append((x, y, 0, "haematopoietic" if near else "artefact"))
    crops, masks, calls, spreads = cut_crops(field.slide, profile, fine, wanted)
    if len(calls):
        with torch.inference_mode():
            close = torch.from_numpy(np.ascontiguousarray(crops[LOOK_INNER], np.float32))
            seen, _ = _networks(model)[1](close, torch.from_numpy(spreads))
        masks[LOOK_INNER] = seen.numpy() > 0
    nothing = np.zeros((0, 2), np.float32)
    return Lesson(np.zeros((3, 0, 0), np.float16), nothing, nothing, nothing, crops, masks, calls, spreads)


def _candidates(
    model: str, slide: Slide, profile: SlideProfile, grid: WorkingGrid, depth: float = 1.0
) -> list[tuple[float, float, float]]:
    """Level-0 places and probabilities of the screen's best candidates on a small slide, as scoring finds them."""
    screen, _, threshold = _networks(model)
    sides = [-(-(v + 2 * _HALO_PX) // SCREEN_STRIDE_PX) * SCREEN_STRIDE_PX for v in (grid.width_px, grid.height_px)]
    planes = read_planes(slide, grid, profile, -_HALO_PX, -_HALO_PX, sides[0], sides[1])
    with torch.inference_mode():
        maps = screen(torch.from_numpy(planes[None]))[0]
    tile = Tile(0, 0, grid.width_px, grid.height_px, _HALO_PX)
    found = core_peaks(candidate_logits(maps), tile, threshold / depth, CANDIDATE_APART_PX)
    found = found[lie_in(stained_cells(planes[1], tile), tile, found)]
    found = found[np.argsort(-found[:, 2], kind="stable")[: _MOST if depth == 1 else _MOST_DEEP]]
    centres = (found[:, :2].astype(np.float64) + 0.5) * grid.downsample - 0.5
    chances = 1 / (1 + np.exp(-found[:, 2].astype(np.float64)))
    return [(float(x), float(y), float(p)) for (x, y), p in zip(centres, chances, strict=True)]


@lru_cache(maxsize=1)
def _networks(model: str) -> tuple[Screen, Look, float]:
    torch.set_num_threads(1)
    info = resolve(model)
    screen, look = load(info)
    return screen, look, info.card.candidate_threshold


def _truth_at(field: Field, x: float, y: float) -> tuple[int, str] | None:
    """Label and call of what lies at a place: a tumour cell, else what is seen there, else what is near, else nothing.

    A tumour cell counts with its whole outline, under a fibre or a squame as well: it is there to be found. None where
    something lies that is centred outside the field: its truth is not told.
    """
    tumour = _tumour_at(field, x, y)
    if tumour:
        return tumour, "tumour"
    reach = max(round(_NEAR_PX / field.mpp_um * 0.5), 1)
    row, column = round(y), round(x)
    window = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    height, width = field.ck_labels.shape
    for labels in (field.ck_labels, field.nucleus_labels):
        if 0 <= row < height and 0 <= column < width and labels[row, column] > 0:  # a leukocyte beside a tumour cell
            here = int(labels[row, column])
            return here, field.cells[here - 1].call or "haematopoietic"
    if (field.ck_labels[window] < 0).any() or (field.nucleus_labels[window] < 0).any():
        return None
    for labels in (field.ck_labels, field.nucleus_labels):
        near = _nearest(labels[window], min(row, reach), min(column, reach))
        if near > 0:
            return near, field.cells[near - 1].call or "haematopoietic"
    return 0, "artefact"


def _missed(field: Field, found: set[int]) -> list[tuple[float, float, int, str]]:
    """Tumour cells that are no candidate: a better screen will propose them."""
    return [
        (cell.x_px, cell.y_px, label, cell.call)
        for label, cell in enumerate(field.cells, start=1)
        if cell.call == "tumour" and label not in found
    ]


def _tumour_at(field: Field, x: float, y: float) -> int:
    """Label of the tumour cell whose outline holds a place, the one with the nearest centre; 0 if there is none."""
    best, least = 0, np.inf
    for number, cell in enumerate(field.cells, start=1):
        distance = float(np.hypot(cell.x_px - x, cell.y_px - y))
        if cell.call != "tumour" or len(cell.outline) < 4 or distance >= min(least, cell.diameter_um / field.mpp_um):
            continue
        if shapely.Polygon(cell.outline).contains(shapely.Point(x, y)):
            best, least = number, distance
    return best


def _nearest(labels: npt.NDArray[np.int32], row: int, column: int) -> int:
    """Label (> 0) nearest to a place in a window, 0 if there is none."""
    rows, columns = np.nonzero(labels > 0)
    if not rows.size:
        return 0
    best = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
    return int(labels[rows[best], columns[best]])
