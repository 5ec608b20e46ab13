"""Nuclei of real white cells laid into simulated lessons: lobes as they lie in flat cells, each cell counted once.

They come from the blood smears that may be learned from. Smears are Giemsa-stained, so only the shape and the chromatin
of a nucleus are taken from them; how strongly it is stained is the lesson's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from dtcseg_training.real import white_cell_boxes

if TYPE_CHECKING:
    from pathlib import Path

    from dtcseg_training.fields import Lesson

FloatArray = npt.NDArray[np.float32]

_MPP_UM, _SIDE_PX = 0.25, 81
_ACROSS_UM = 13.0
"""Diameter of a white cell on a smear (12 to 15 µm): by it the unknown pixel sizes of the images are told."""
_OBLONG = 1.35
"""Boxes longer than this are cut by a border, or hold two cells."""
_CLEAR_OD = 0.15
"""Least difference between nucleus and cytoplasm: otherwise nothing is seen of the nucleus."""
_NUCLEAR_SHARE = (0.15, 0.9)
_MOST, _TRIES = 24, 6
"""White cells in a field of 264 µm, and places tried for each."""
_APART_UM = (8.0, 13.0)
_REACH_PX = 11
_FEWEST_NUCLEI = 4
"""Below so many nuclei a lesson does not tell how strongly it is stained."""


@dataclass(frozen=True)
class WhiteCell:
    """A real white cell at 0.25 µm/px; the median of its nucleus is 1.

    Attributes
    ----------
    nucleus, cytoplasm : (81, 81) float32
    """

    nucleus: FloatArray
    cytoplasm: FloatArray


@lru_cache(maxsize=1)
def white_cells(folder: Path) -> tuple[WhiteCell, ...]:
    """Cut the white cells out of the smears that may be learned from.

    Parameters
    ----------
    folder : Path
        `shared/data`.
    """
    cells = []
    for pixels, boxes in white_cell_boxes(folder):
        light = pixels[:, :, :2]  # red and green: nuclei are blue-violet
        white = np.percentile(light.reshape(-1, 2), 95, axis=0)
        od = -np.log10(np.clip(light.astype(np.float32), 4, None) / white.astype(np.float32)).mean(2)
        for box in boxes:
            cell = _cut(od, box)
            if cell is not None:
                cells.append(cell)
    return tuple(cells)


def _cut(od: FloatArray, box: npt.NDArray[np.float64]) -> WhiteCell | None:
    """Bring the cell in a box (x, y of its middle, width, height in pixels) to one size and split it."""
    x, y, width, height = box
    across = (width + height) / 2
    outside = min(x - width / 2, y - height / 2, od.shape[1] - x - width / 2, od.shape[0] - y - height / 2) < 2
    if outside or max(width, height) > _OBLONG * min(width, height):
        return None
    zoom = across * _MPP_UM / _ACROSS_UM  # pixels of the image to one of the cell
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX] - _SIDE_PX // 2
    smooth = ndimage.gaussian_filter(od, 0.4 * zoom) if zoom > 1 else od
    patch = ndimage.map_coordinates(smooth, [rows * zoom + y - 0.5, columns * zoom + x - 0.5], order=1, mode="nearest")
    radius = np.hypot(columns * zoom / (0.525 * width), rows * zoom / (0.525 * height))
    cell = radius < 1
    threshold = float(threshold_otsu(patch[cell]))  # type: ignore[no-untyped-call]
    nucleus = ndimage.binary_opening((patch > threshold) & cell)
    share = nucleus.sum() / cell.sum()
    if not _NUCLEAR_SHARE[0] < share < _NUCLEAR_SHARE[1]:
        return None
    level = float(np.median(patch[nucleus]))
    if level - float(np.median(patch[cell & ~nucleus])) < _CLEAR_OD:
        return None
    cover = ndimage.gaussian_filter(nucleus.astype(np.float32), 0.8)
    inside = np.clip((1 - radius) * 6 + 0.5, 0, 1)
    relative = np.clip(patch / level, 0, 1.6)
    return WhiteCell(
        (relative * cover).astype(np.float32), (np.minimum(relative, 1) * inside * (1 - cover)).astype(np.float32)
    )


def with_white_cells(lesson: Lesson, cells: tuple[WhiteCell, ...], rng: np.random.Generator) -> Lesson:
    """Lay white cells where there is room, for the nuclear plane and the centres of nuclei alone.

    Parameters
    ----------
    lesson : Lesson
        Simulated, at 1 µm/px.
    cells : tuple of WhiteCell
    rng : numpy.random.Generator

    Returns
    -------
    Lesson
        The same one where it holds too few nuclei to tell how dark they are.
    """
    planes = lesson.planes.astype(np.float32)
    if len(lesson.nuclei) < _FEWEST_NUCLEI:
        return lesson
    level = float(np.median(ndimage.maximum_filter(planes[0], 5)[_pixels(lesson.nuclei, planes.shape[1:])]))
    taken = [*lesson.nuclei, *lesson.tumour, *lesson.other]
    laid: list[tuple[float, float]] = []
    wanted = int(rng.integers(4, _MOST))
    for _ in range(wanted * _TRIES):
        if len(laid) == wanted:
            break
        place = rng.uniform(8, np.array(planes.shape[:0:-1]) - 8)
        if np.hypot(*(np.array([*taken, *laid]) - place).T).min() < rng.uniform(*_APART_UM):
            continue
        laid.append(_lay(planes[0], place, cells[int(rng.integers(len(cells)))], level, rng))
    nuclei = np.concatenate([lesson.nuclei, np.array(laid, np.float32).reshape(-1, 2)])
    return replace(lesson, planes=np.minimum(planes, 3).astype(np.float16), nuclei=nuclei)


def _pixels(centres: npt.NDArray[np.float32], shape: tuple[int, ...]) -> tuple[npt.NDArray[np.intp], ...]:
    rows = np.clip(np.round(centres[:, 1]).astype(np.intp), 0, shape[0] - 1)
    return rows, np.clip(np.round(centres[:, 0]).astype(np.intp), 0, shape[1] - 1)


def _lay(
    plane: FloatArray, place: npt.NDArray[np.float64], cell: WhiteCell, level: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Add one cell, turned, mirrored, zoomed and blurred, to the plane; give the middle of its nucleus (x, y)."""
    zoom = float(np.exp(rng.uniform(-0.2, 0.2))) * _MPP_UM
    angle, mirrored = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    rows, columns = np.mgrid[-_REACH_PX : _REACH_PX + 1, -_REACH_PX : _REACH_PX + 1] - rng.uniform(-0.5, 0.5, (2, 1, 1))
    along = (columns * np.cos(angle) - rows * np.sin(angle)) / zoom + _SIDE_PX // 2
    across = mirrored * (columns * np.sin(angle) + rows * np.cos(angle)) / zoom + _SIDE_PX // 2
    sharp = cell.nucleus + np.float32(rng.uniform(0, 0.35)) * cell.cytoplasm
    blurred = ndimage.gaussian_filter(sharp, rng.uniform(0.18, 0.45) / _MPP_UM)
    patch = ndimage.map_coordinates(blurred, [across, along], order=1)
    x, y = (int(v) for v in np.round(place))
    top, left = max(y - _REACH_PX, 0), max(x - _REACH_PX, 0)
    part = plane[top : y + _REACH_PX + 1, left : x + _REACH_PX + 1]
    first_row, first_column = top - y + _REACH_PX, left - x + _REACH_PX
    shown = patch[first_row : first_row + part.shape[0], first_column : first_column + part.shape[1]]
    part += shown * np.float32(level * np.exp(rng.normal(0, 0.25)))
    row, column = ndimage.center_of_mass(patch > 0.35)
    return x + column - _REACH_PX, y + row - _REACH_PX
