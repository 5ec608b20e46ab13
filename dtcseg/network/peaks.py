"""From centre maps to centres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from dtcseg.tiles import Tile

NUCLEUS_APART_PX = 2
"""Two nuclei are at least this many working pixels (µm) apart in x or y, plus one."""
CANDIDATE_APART_PX = 4


def core_peaks(logits: torch.Tensor, tile: Tile, threshold: float, apart: int) -> npt.NDArray[np.float32]:
    """Local maxima whose centre lies in the tile's core.

    Parameters
    ----------
    logits : (H, W) float32
        The whole tile, halo included.
    tile : Tile
    threshold : float
        Least probability.
    apart : int
        A maximum is the greatest value within this many pixels in x and y.

    Returns
    -------
    (N, 3) float32
        x, y in working pixels of the slide, and probability; row by row.
    """
    core = logits[tile.halo : tile.halo + tile.height, tile.halo : tile.halo + tile.width]
    reach = logits[
        tile.halo - apart : tile.halo + tile.height + apart, tile.halo - apart : tile.halo + tile.width + apart
    ]
    greatest = functional.max_pool2d(reach[None, None], 2 * apart + 1, stride=1)[0, 0]
    least = math.log(threshold / (1 - threshold))
    rows, columns = torch.nonzero((core == greatest) & (core >= least), as_tuple=True)
    values = torch.sigmoid(core[rows, columns])
    found = torch.stack([columns + tile.x, rows + tile.y, values], dim=1).to(torch.float32)
    return cast("npt.NDArray[np.float32]", found.numpy())
