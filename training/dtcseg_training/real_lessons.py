"""Lessons from real images: their nuclei are the target, and nothing on them is cytokeratin-positive."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.network.model import SCREEN_MPP_UM
from dtcseg.screen import read_planes
from dtcseg.working import plan_grid
from dtcseg_training.fields import Lesson, draw_profile, no_crops
from dtcseg_training.real import TRAINABLE, real_fields

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from dtcseg.screen import Profile
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
_ZOOM = 0.2
"""Pixel sizes are assumed, not known: cells are shown larger and smaller by as much (log scale, half range)."""


def real_lesson(folder: Path, seed: int, index: int) -> Lesson:
    """Fill a lesson with images of one kind (brightfield or fluorescence) that may be learned from, side by side.

    Parameters
    ----------
    folder : Path
        `shared/data`.
    seed, index : int
        The same numbers give the same lesson.
    """
    rng = np.random.default_rng([seed, index])
    planes = np.zeros((3, _SIDE_PX, _SIDE_PX), np.float16)
    nuclei: list[npt.NDArray[np.float64]] = []
    left = top = shelf = 0
    while top < _SIDE_PX:
        part, centres = _one(folder, rng)
        width, height = min(part.shape[2], _SIDE_PX - left), min(part.shape[1], _SIDE_PX - top)
        planes[:, top : top + height, left : left + width] = part[:, :height, :width]
        inside = (centres[:, 0] < width - 0.5) & (centres[:, 1] < height - 0.5)
        nuclei.append(centres[inside] + (left, top))
        left, shelf = left + width, max(shelf, height)
        if left >= _SIDE_PX - 8:
            left, top, shelf = 0, top + shelf, 0
    nothing = np.zeros((0, 2), np.float32)
    crops, masks, calls = no_crops()
    return Lesson(planes, np.concatenate(nuclei).astype(np.float32), nothing, nothing, crops, masks, calls)


def _one(folder: Path, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Planes of one image at a random zoom, and its nuclei in their pixels."""
    field, zoomed_um = draw_real_field(folder, rng, _SHARES)
    grid = plan_grid(field.slide, zoomed_um, SCREEN_MPP_UM)
    planes = read_planes(field.slide, grid, real_profile(field, rng), 0, 0, grid.width_px, grid.height_px)
    assert field.centres is not None
    return planes, (field.centres + 0.5) / grid.downsample - 0.5


def draw_real_field(folder: Path, rng: np.random.Generator, shares: dict[str, float]) -> tuple[RealField, float]:
    """Draw a real image that may be learned from, and the pixel size (µm) it is shown at."""
    source = str(rng.choice(list(shares), p=list(shares.values())))
    fields = _train_fields(folder, source)
    field = fields[int(rng.integers(len(fields)))]
    return field, _mpp_um(field) * float(np.exp(rng.uniform(-_ZOOM, _ZOOM)))


def real_profile(field: RealField, rng: np.random.Generator) -> Profile:
    """Draw a profile of a real image (`draw_profile`)."""
    level = field.slide.levels[0]
    pixels = field.slide.read(0, 0, 0, level.width_px, level.height_px)
    return draw_profile(pixels, field.slide.channels, _mpp_um(field), rng)


def _mpp_um(field: RealField) -> float:
    return field.slide.resolution.mpp_um if field.slide.resolution else SCREEN_MPP_UM


@lru_cache(maxsize=len(_SHARES))
def _train_fields(folder: Path, source: str) -> tuple[RealField, ...]:
    assert source in TRAINABLE
    return tuple(f for f in real_fields(folder, source) if not f.held_out and f.centres is not None)
