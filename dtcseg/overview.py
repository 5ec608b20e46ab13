"""The whole slide small: to find the spots, the glass and the places where chromogen may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from dtcseg.errors import UnreadableRegion
from dtcseg.parallel import ordered_map
from dtcseg.screen import SlideHandles
from dtcseg.working import WorkingGrid, plan_grid, read_working

if TYPE_CHECKING:
    from dtcseg.slide import Slide
    from dtcseg.slide._base import PixelArray

OVERVIEW_MPP_UM = 4.0
"""Fine enough for a small cell to be two pixels, coarse enough for a whole slide to be some tens of megabytes."""
_TILE_LEVEL_PX = 2048


@dataclass(frozen=True)
class Overview:
    """A slide at about 4 µm/px.

    Attributes
    ----------
    pixels : (H, W, C) uint8 or uint16
    readable : (H, W) bool
        False where the file could not be decoded (pixels are zero there).
    grid : WorkingGrid
    """

    pixels: PixelArray
    readable: npt.NDArray[np.bool_]
    grid: WorkingGrid


def read_overview(slide: Slide, mpp_um: float, *, threads: int) -> Overview:
    """Read the whole slide, from the coarsest level that suffices, never holding more than some tiles of it.

    Parameters
    ----------
    slide : Slide
    mpp_um : float
        Level-0 pixel size.
    threads : int
    """
    grid = plan_grid(slide, mpp_um, max(OVERVIEW_MPP_UM, mpp_um))
    side = max(int(_TILE_LEVEL_PX / grid.factor), 1)
    corners = [(x, y) for y in range(0, grid.height_px, side) for x in range(0, grid.width_px, side)]
    handles = SlideHandles(slide)

    def work(corner: tuple[int, int]) -> PixelArray | None:
        x, y = corner
        try:
            return read_working(handles.get(), grid, x, y, min(side, grid.width_px - x), min(side, grid.height_px - y))
        except UnreadableRegion:
            return None

    readable = np.ones((grid.height_px, grid.width_px), bool)
    pixels: PixelArray | None = None
    try:
        for (x, y), part in zip(corners, ordered_map(work, corners, threads), strict=True):
            window = np.s_[y : y + side, x : x + side]
            if part is None:
                readable[window] = False
                continue
            if pixels is None:
                pixels = cast("PixelArray", np.zeros((*readable.shape, part.shape[2]), part.dtype))
            pixels[window] = part
    finally:
        handles.close()
    if pixels is None:
        raise UnreadableRegion(slide.path, "no part of the image can be decoded; copy the file again from the scanner")
    return Overview(pixels, readable, grid)
