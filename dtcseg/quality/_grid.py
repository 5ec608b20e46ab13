"""The grid of blocks a slide is judged on: where each block lies, and which part of it belongs to the slide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK_UM = 64.0
"""Side of a block: a lymphocyte (8 µm) eight times over, so a block of a usual spot holds about eight cells."""


@dataclass(frozen=True)
class BlockGrid:
    """Square blocks that cover the slide from its top left corner.

    All lengths are µm from the top left corner of level 0. Blocks of the last row and column may reach
    beyond the slide; only the part on the slide counts as area.

    Attributes
    ----------
    rows, cols : int
        Number of blocks down and across.
    width_um, height_um : float
        Size of the slide.
    block_um : float
        Side of a block.
    """

    rows: int
    cols: int
    width_um: float
    height_um: float
    block_um: float = BLOCK_UM

    @classmethod
    def covering(cls, width_um: float, height_um: float, block_um: float = BLOCK_UM) -> BlockGrid:
        """Make the smallest grid that covers a slide of this size.

        A remainder below one hundredth of a block is rounding, not a row of its own.
        """
        if not (width_um > 0 and height_um > 0 and block_um > 0):
            raise ValueError(f"a grid needs a positive size, not {width_um} x {height_um} µm of {block_um} µm")
        rows = max(1, math.ceil(height_um / block_um - 0.01))
        cols = max(1, math.ceil(width_um / block_um - 0.01))
        return cls(rows, cols, float(width_um), float(height_um), float(block_um))

    def owned(self, x0_um: float, y0_um: float, x1_um: float, y1_um: float) -> tuple[int, int, int, int]:
        """Return the blocks whose centre lies in a rectangle, as (row0, row1, col0, col1), ends left out.

        The rectangle is half open (its right and lower border belong to the next one), so the cores of a
        tiling, whatever their size and shift, own each block exactly once. A centre that hangs over the
        slide's end is taken to lie on the last µm of it.
        """

        def span(low: float, high: float, count: int, extent: float) -> tuple[int, int]:
            centres = np.minimum((np.arange(count) + 0.5) * self.block_um, np.nextafter(extent, 0.0))
            first, last = np.searchsorted(centres, [low, high], side="left")
            return int(first), int(last)

        row0, row1 = span(y0_um, y1_um, self.rows, self.height_um)
        col0, col1 = span(x0_um, x1_um, self.cols, self.width_um)
        return row0, row1, col0, col1

    def areas_mm2(self) -> npt.NDArray[np.float64]:
        """Area of each block that lies on the slide, (rows, cols) float64."""
        down = np.minimum((np.arange(self.rows) + 1) * self.block_um, self.height_um) - (
            np.arange(self.rows) * self.block_um
        )
        across = np.minimum((np.arange(self.cols) + 1) * self.block_um, self.width_um) - (
            np.arange(self.cols) * self.block_um
        )
        return np.asarray(np.outer(np.clip(down, 0, None), np.clip(across, 0, None)) * 1e-6, dtype=np.float64)

    def cover(self, mask: npt.NDArray[np.bool_], mpp_um: float) -> npt.NDArray[np.float32]:
        """Share of each block that a mask covers.

        Parameters
        ----------
        mask : (h, w) bool
            In pixels of `mpp_um` µm from the same corner; what lies beyond it is False.
        mpp_um : float

        Returns
        -------
        (rows, cols) float32, 0..1
        """
        share = np.asarray(mask, dtype=np.float64)
        for axis, count in ((0, self.rows), (1, self.cols)):
            share = np.moveaxis(share, axis, 0)
            total = np.concatenate([np.zeros((1, share.shape[1])), np.cumsum(share, axis=0)])
            at = np.clip(np.arange(count + 1) * (self.block_um / mpp_um), 0, share.shape[0])
            low = np.minimum(at.astype(np.intp), share.shape[0] - 1)
            part = (at - low)[:, None]
            edge = total[low] * (1.0 - part) + total[low + 1] * part
            share = np.moveaxis(np.diff(edge, axis=0) * (mpp_um / self.block_um), 0, axis)
        return share.astype(np.float32)
