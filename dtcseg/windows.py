"""Rectangles for the network that cover what asks for it, and little else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtcseg.quality import BLOCK_PX
from dtcseg.tiles import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    BoolArray = npt.NDArray[np.bool_]

CELL_PX = 8
"""Side of the cells of a map of what asks, in working pixels: the network's stride, on which every tile starts."""


def plan_windows(asked: BoolArray, *, largest: int, halo: int) -> list[Tile]:
    """Cover every cell that asks with rectangles, at the least cost found by halving.

    A square is covered by one rectangle, or each of its quarters for itself, whichever gives the network less to see:
    a rectangle costs its area with its halo.

    Parameters
    ----------
    asked : (rows, cols) bool
        Cells of `CELL_PX` working pixels.
    largest : int
        Longest side of a rectangle in working pixels.
    halo : int
        Of the tiles, in working pixels.

    Returns
    -------
    list of Tile
        They do not overlap. Those of the last row and column may reach beyond the slide, by less than a cell.
    """
    side = max(largest // CELL_PX, 1)
    rows, cols = asked.shape
    return [
        Tile(x * CELL_PX, y * CELL_PX, width * CELL_PX, height * CELL_PX, halo)
        for top in range(0, rows, side)
        for left in range(0, cols, side)
        for x, y, width, height in _cover(asked[top : top + side, left : left + side], left, top, halo // CELL_PX)[1]
    ]


def cost_px(windows: Sequence[Tile]) -> int:
    """Pixels that the network sees, halos included."""
    return sum((one.width + 2 * one.halo) * (one.height + 2 * one.halo) for one in windows)


def cells_of(blocks: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """Blocks of the quality map as cells; a remainder at the slide's end belongs to the last block."""
    factor = BLOCK_PX // CELL_PX
    rows, columns = (np.minimum(np.arange(n) // factor, m - 1) for n, m in zip(shape, blocks.shape, strict=True))
    return np.asarray(blocks[rows[:, None], columns[None, :]])


def cells_near(places: npt.NDArray[np.float64], reach_px: float, shape: tuple[int, ...]) -> BoolArray:
    """Cells that squares of half side `reach_px` around places (x, y; working pixels) touch."""
    cells = np.zeros(shape, bool)
    low = np.maximum(np.floor((places - reach_px) / CELL_PX).astype(int), 0)
    high = np.floor((places + reach_px) / CELL_PX).astype(int) + 1
    for (left, top), (right, bottom) in zip(low, high, strict=True):
        cells[top:bottom, left:right] = True
    return cells


def _cover(asked: BoolArray, left: int, top: int, halo: int) -> tuple[int, Sequence[tuple[int, int, int, int]]]:
    """Cost and rectangles (x, y, width, height; in cells) of a part of the map that starts at (left, top)."""
    rows, cols = np.flatnonzero(asked.any(1)), np.flatnonzero(asked.any(0))
    if not rows.size:
        return 0, []
    height, width = int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    whole = (height + 2 * halo) * (width + 2 * halo)
    if max(height, width) <= 2 * halo:  # its quarters would be mostly halo
        return whole, [(left + int(cols[0]), top + int(rows[0]), width, height)]
    down, across = asked.shape[0] // 2, asked.shape[1] // 2
    parts = [
        _cover(asked[y0:y1, x0:x1], left + x0, top + y0, halo)
        for y0, y1 in ((0, down), (down, asked.shape[0]))
        for x0, x1 in ((0, across), (across, asked.shape[1]))
    ]
    if sum(cost for cost, _ in parts) < whole:
        return sum(cost for cost, _ in parts), [one for _, found in parts for one in found]
    return whole, [(left + int(cols[0]), top + int(rows[0]), width, height)]
