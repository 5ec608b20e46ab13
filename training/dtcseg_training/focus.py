"""How sharp a slide is around given places: measured as scoring does, but on a block around each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtcseg.errors import UnreadableRegion
from dtcseg.network.model import SCREEN_MPP_UM
from dtcseg.quality import BLOCK_PX, block_statistics
from dtcseg.screen import read_planes
from dtcseg.slide import match_channels
from dtcseg.stain.brightfield import optical_density
from dtcseg.working import plan_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dtcseg.slide import Slide


def sharpness_around(slide: Slide, mpp_um: float, places: Sequence[tuple[float, float]]) -> list[float]:
    """Measure the focus around places.

    Parameters
    ----------
    slide : Slide
    mpp_um : float
    places : sequence of (x, y)
        Level-0 pixels.

    Returns
    -------
    list of float
        Sharpness (`BlockStats.sharpness`; blurred below 0.32) of the 64 µm around each place; NaN where nothing is to
        be seen or nothing can be read.
    """
    grid = plan_grid(slide, mpp_um, SCREEN_MPP_UM)
    found = []
    for x, y in places:
        left, top = (round((v + 0.5) / grid.downsample - 0.5) - BLOCK_PX // 2 for v in (x, y))
        left = int(np.clip(left, 0, max(grid.width_px - BLOCK_PX, 0)))
        top = int(np.clip(top, 0, max(grid.height_px - BLOCK_PX, 0)))
        width, height = min(BLOCK_PX, grid.width_px - left), min(BLOCK_PX, grid.height_px - top)
        try:
            planes = read_planes(slide, grid, _Darkness(slide), left, top, width, height)
        except UnreadableRegion:
            found.append(float("nan"))
            continue
        stats = block_statistics(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), slide.kind)
        found.append(float(stats.sharpness[0, 0]))
    return found


class _Darkness:
    """One plane: mean optical density in brightfield, the nuclear channel over its dtype's range in fluorescence.

    Sharpness is a ratio of two energies of the same edges, so neither needs the slide's white or its exposure.
    """

    def __init__(self, slide: Slide) -> None:
        self._nuclear = match_channels(slide.channels)["nuclear"] if slide.kind == "fluorescence" else -1

    def planes(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        result = np.zeros((3, *pixels.shape[:2]), np.float32)
        if self._nuclear < 0:
            result[0] = optical_density(pixels, (255.0, 255.0, 255.0)).mean(axis=-1)
        else:
            result[0] = pixels[..., self._nuclear] / np.float32(np.iinfo(pixels.dtype).max)
        return result
