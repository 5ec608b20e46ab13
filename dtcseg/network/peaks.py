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


def logit(probability: float) -> float:
    """Inverse of the sigmoid."""
    return math.log(probability / (1 - probability))


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
        x, y in working pixels of the slide, and logit; row by row. (A vectorised sigmoid rounds differently at the
        end of an array, so probabilities would depend on the tile in their last bit.)
    """
    core = logits[tile.halo : tile.halo + tile.height, tile.halo : tile.halo + tile.width]
    reach = logits[
        tile.halo - apart : tile.halo + tile.height + apart, tile.halo - apart : tile.halo + tile.width + apart
    ]
    greatest = functional.max_pool2d(reach[None, None], 2 * apart + 1, stride=1)[0, 0]
    least = logit(threshold)
    rows, columns = torch.nonzero((core == greatest) & (core >= least), as_tuple=True)
    found = torch.stack([columns + tile.x, rows + tile.y, core[rows, columns]], dim=1).to(torch.float32)
    return cast("npt.NDArray[np.float32]", found.numpy())
