"""Lessons from real images: their nuclei, and simulated CK+ cells laid among them; nothing else on them is CK+."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.network.model import LOOK_MPP_UM, SCREEN_MPP_UM
from dtcseg.screen import read_planes
from dtcseg.stain.brightfield import BrightfieldProfile
from dtcseg.working import plan_grid
from dtcseg_training.composite import composite_field
from dtcseg_training.fields import (
    ArraySlide,
    Lesson,
    as_it_is,
    centres_of,
    draw_profile,
    make_lesson,
    no_crops,
    object_crops,
)
from dtcseg_training.real import TRAINABLE, real_fields
from dtcseg_training.white_cells import white_cells, with_white_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from dtcseg.screen import SlideProfile
    from dtcseg_training.real import RealField

_SIDE_PX = 264
_SHARES = {
    "cytospin_dapi": 0.15,
    "marrow_cells_brightfield": 0.25,
    "nuclei_fluorescence": 0.3,
    "tissue_purple": 0.1,
    "smears": 0.2,
}
"""How often each set is drawn: marrow most for its number, the large sets for their variety."""
BRIGHTFIELD_SHARES = {"marrow_cells_brightfield": 0.3, "tissue_purple": 0.3, "smears": 0.4}
"""How often each set is drawn for what might be taken for cytokeratin (`mine_real_lesson`)."""
_COMPOSITES = 0.5
"""Share of the images that get CK+ cells; the others stay as negatives."""
_APART, _GLASS_PX = 0.5, 12
"""Share of the lessons whose images have empty glass around them, and how much: nuclei that a border cuts count."""
_WHITE_CELLS = 0.6
"""Share of the simulated fields that get nuclei of real white cells."""
_ZOOM = 0.2
"""Pixel sizes are assumed, not known: cells are shown larger and smaller by as much (log scale, half range)."""


def real_lesson(
    seed: int,
    index: int,
    folder: Path,
    *,
    held_out: bool = False,
    seen_as: Callable[[SlideProfile], SlideProfile] = as_it_is,
) -> Lesson:
    """Fill a lesson with images that may be learned from, side by side; into half of them CK+ cells are laid.

    Parameters
    ----------
    seed, index : int
        The same numbers give the same lesson.
    folder : Path
        `shared/data`.
    held_out : bool
        Images of the third that is never learned from, to judge by.
    seen_as : callable
        As in `fields.field_lesson`.
    """
    rng = np.random.default_rng([seed, index])
    planes = np.zeros((3, _SIDE_PX, _SIDE_PX), np.float16)
    parts: list[Lesson] = []
    gap = _GLASS_PX if rng.random() < _APART else 0
    left = top = shelf = gap
    while top < _SIDE_PX:
        part = _one(folder, rng, held_out, seen_as)
        width, height = min(part.planes.shape[2], _SIDE_PX - left), min(part.planes.shape[1], _SIDE_PX - top)
        planes[:, top : top + height, left : left + width] = part.planes[:, :height, :width]
        centres = [_moved(c, width, height, left, top) for c in (part.nuclei, part.tumour, part.other)]
        parts.append(replace(part, nuclei=centres[0], tumour=centres[1], other=centres[2]))
        left, shelf = left + width + gap, max(shelf, height)
        if left >= _SIDE_PX - 8:
            left, top, shelf = gap, top + shelf + gap, 0
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("nuclei", "tumour", "other", "crops", "masks", "calls", "spreads")
    }
    return Lesson(planes=planes, **joined)


def lesson_with_white_cells(
    seed: int, index: int, folder: Path, seen_as: Callable[[SlideProfile], SlideProfile] = as_it_is
) -> Lesson:
    """Render a field as `make_lesson`, and lay nuclei of real white cells into most of them.

    Parameters
    ----------
    seed, index, folder, seen_as
        As `real_lesson`.
    """
    lesson = make_lesson(seed, index, seen_as)
    rng = np.random.default_rng([seed, index, 1])
    return with_white_cells(lesson, white_cells(folder), rng) if rng.random() < _WHITE_CELLS else lesson


def _moved(centres: npt.NDArray[np.float32], width: int, height: int, left: int, top: int) -> npt.NDArray[np.float32]:
    """Centres in the part of an image that is shown, moved to where it is shown."""
    inside = (centres[:, 0] < width - 0.5) & (centres[:, 1] < height - 0.5)
    return centres[inside] + np.array((left, top), np.float32)


def _one(
    folder: Path, rng: np.random.Generator, held_out: bool, seen_as: Callable[[SlideProfile], SlideProfile]
) -> Lesson:
    """Prepare one image at a random zoom."""
    field, mpp_um = draw_real_field(folder, rng, _SHARES, held_out=held_out)
    profile = real_profile(field, rng)
    if rng.random() < _COMPOSITES:
        hematoxylin = profile.hematoxylin if isinstance(profile, BrightfieldProfile) else None
        laid = composite_field(field, mpp_um, hematoxylin, rng)
        slide = ArraySlide(laid.image, mpp_um, laid.channels)
        profile = seen_as(draw_profile(laid.image, laid.channels, mpp_um, rng, laid.ck_labels != 0))
        grid = plan_grid(slide, mpp_um, SCREEN_MPP_UM)
        nuclei, tumour, other = centres_of(laid, grid)
        close = plan_grid(slide, mpp_um, LOOK_MPP_UM)
        crops, masks, calls, spreads = object_crops(laid, slide, profile, close, rng)
    else:
        slide, profile = field.slide, seen_as(profile)
        grid = plan_grid(slide, mpp_um, SCREEN_MPP_UM)
        assert field.centres is not None
        nuclei = ((field.centres + 0.5) / grid.downsample - 0.5).astype(np.float32)
        tumour = other = np.zeros((0, 2), np.float32)
        crops, masks, calls, spreads = no_crops()
    planes = read_planes(slide, grid, profile, 0, 0, grid.width_px, grid.height_px)
    return Lesson(planes.astype(np.float16), nuclei, tumour, other, crops, masks, calls, spreads)


def draw_real_field(
    folder: Path, rng: np.random.Generator, shares: dict[str, float], *, held_out: bool = False
) -> tuple[RealField, float]:
    """Draw a real image that may be learned from (or was kept back), and the pixel size (µm) it is shown at."""
    source = str(rng.choice(list(shares), p=list(shares.values())))
    fields = _fields(folder, source, held_out)
    field = fields[int(rng.integers(len(fields)))]
    return field, _mpp_um(field) * float(np.exp(rng.uniform(-_ZOOM, _ZOOM)))


def real_profile(field: RealField, rng: np.random.Generator) -> SlideProfile:
    """Draw a profile of a real image (`draw_profile`)."""
    level = field.slide.levels[0]
    pixels = field.slide.read(0, 0, 0, level.width_px, level.height_px)
    return draw_profile(pixels, field.slide.channels, _mpp_um(field), rng)


def _mpp_um(field: RealField) -> float:
    return field.slide.resolution.mpp_um if field.slide.resolution else SCREEN_MPP_UM


@lru_cache(maxsize=2 * len(_SHARES))
def _fields(folder: Path, source: str, held_out: bool) -> tuple[RealField, ...]:
    assert source in TRAINABLE
    return tuple(f for f in real_fields(folder, source) if f.held_out == held_out and f.centres is not None)
