"""A slide seen at the network's working resolution, pixel for pixel the same however it is cut into regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dtcseg.slide._base import PixelArray, Slide

_WHOLE_FACTOR_TOLERANCE = 0.12
"""A working pixel may be this much larger or smaller than asked for, if it is then a whole number of level pixels.

The networks are trained on cells scaled by more than that; whole factors are averaged exactly and fast."""

_FINER_TOLERANCE = 0.12
"""How much coarser than asked for a pyramid level may be to serve as it is."""


@dataclass(frozen=True)
class WorkingGrid:
    """How working pixels lie on one level of a slide.

    Working pixel (i, j) covers level pixels [i * factor, (i + 1) * factor) on x, and likewise j on y.

    Attributes
    ----------
    level : int
    factor : float
        Level pixels per working pixel.
    mpp_um : float
        Size of a working pixel in µm.
    downsample : float
        Level-0 pixels per working pixel.
    width_px, height_px : int
        Size of the slide in working pixels (a last partial pixel is left out).
    """

    level: int
    factor: float
    mpp_um: float
    downsample: float
    width_px: int
    height_px: int


def plan_grid(slide: Slide, mpp_um: float, target_um: float) -> WorkingGrid:
    """Choose the level and the factor that give about `target_um` per pixel.

    Parameters
    ----------
    slide : Slide
    mpp_um : float
        Level-0 pixel size.
    target_um : float
        Wanted size of a working pixel in µm.
    """
    usable = [
        i for i, level in enumerate(slide.levels) if level.downsample * mpp_um <= target_um * (1 + _FINER_TOLERANCE)
    ]
    index = max(usable, key=lambda i: slide.levels[i].downsample) if usable else 0
    level = slide.levels[index]
    factor = target_um / (level.downsample * mpp_um)
    whole = max(round(factor), 1)
    if abs(whole / factor - 1) <= _WHOLE_FACTOR_TOLERANCE:
        factor = float(whole)
    return WorkingGrid(
        level=index,
        factor=factor,
        mpp_um=factor * level.downsample * mpp_um,
        downsample=factor * level.downsample,
        width_px=max(int(level.width_px / factor + 1e-9), 1),
        height_px=max(int(level.height_px / factor + 1e-9), 1),
    )


def read_working(slide: Slide, grid: WorkingGrid, x: int, y: int, width: int, height: int) -> PixelArray:
    """Read a region at the working resolution.

    Parameters
    ----------
    x, y, width, height : int
        Region in working pixels, wholly inside the grid.

    Returns
    -------
    (height, width, channels) of the slide's dtype
        Each pixel depends on its own place on the slide alone, never on the region asked for.

    Raises
    ------
    UnreadableRegion
        As `Slide.read`.
    """
    level = slide.levels[grid.level]
    if grid.factor == int(grid.factor):
        n = int(grid.factor)
        pixels = slide.read(
            grid.level, x * n, y * n, min(width * n, level.width_px - x * n), min(height * n, level.height_px - y * n)
        )
        return pixels if n == 1 else box_mean(pixels, n)
    rows = _taps(y, height, grid.factor, level.height_px)
    columns = _taps(x, width, grid.factor, level.width_px)
    left, top = int(columns[0].min()), int(rows[0].min())
    pixels = slide.read(grid.level, left, top, int(columns[0].max()) + 1 - left, int(rows[0].max()) + 1 - top)
    mixed = _mix(_mix(pixels.astype(np.float32), rows[0] - top, rows[1], 0), columns[0] - left, columns[1], 1)
    return cast("PixelArray", (mixed + 0.5).astype(pixels.dtype))


def box_mean(pixels: PixelArray, n: int) -> PixelArray:
    """Mean of n x n blocks, rounded half up; what does not fill a block is left out."""
    height, width = pixels.shape[0] // n, pixels.shape[1] // n
    total = np.zeros((height, width, pixels.shape[2]), np.uint32 if pixels.dtype == np.uint16 or n > 15 else np.uint16)
    for dy in range(n):
        rows = pixels[dy : height * n : n]
        for dx in range(n):
            total += rows[:, dx : width * n : n]
    return cast("PixelArray", ((total + n * n // 2) // (n * n)).astype(pixels.dtype))


def _taps(start: int, count: int, factor: float, limit: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Find the level pixels that make each working pixel of one axis: indices and weights, each (taps, count).

    Coarser than the level: the share of each level pixel that the working pixel covers. Finer: linear interpolation.
    """
    i = np.arange(start, start + count, dtype=np.float64)
    if factor >= 1:
        low, high = i * factor, (i + 1) * factor
        first = np.floor(low + 1e-9)
        index = first[None] + np.arange(int(np.ceil(factor)) + 1)[:, None]
        weight = np.clip(np.minimum(index + 1, high) - np.maximum(index, low), 0, None)
    else:
        centre = (i + 0.5) * factor - 0.5
        first = np.floor(centre)
        index = first[None] + np.arange(2)[:, None]
        weight = 1 - np.abs(index - centre)
    weight = (weight / weight.sum(axis=0)).astype(np.float32)
    return np.clip(index, 0, limit - 1).astype(np.intp), weight


def _mix(
    pixels: npt.NDArray[np.float32], index: npt.NDArray[np.intp], weight: npt.NDArray[np.float32], axis: int
) -> npt.NDArray[np.float32]:
    """Weighted sum of taps along one axis, always in the same order, so that equal inputs give equal bits."""
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.take(pixels, index[0], axis) * weight[0].reshape(shape)
    for i, w in zip(index[1:], weight[1:], strict=True):
        total += np.take(pixels, i, axis) * w.reshape(shape)
    return cast("npt.NDArray[np.float32]", total)
