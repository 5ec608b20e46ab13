"""From centre maps to centres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from dtcseg.network.model import SCREEN_MAPS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dtcseg.tiles import Tile

NUCLEUS_APART_PX = 2
"""Two nuclei are at least this many working pixels (µm) apart in x or y, plus one."""
CANDIDATE_APART_PX = 4

_FLOOR = -4.0
"""Logit of a pixel that is no centre at all (probability 0.02): how far below it lies says nothing about a nucleus."""
_OTHER_MARGIN = 2.0
"""The map of other CK+ objects counts for as many logits less than that of tumour cells: on held-out fields this halves
the ordinary cells that become candidates at the same recall of tumour cells."""


def candidate_logits(maps: torch.Tensor) -> torch.Tensor:
    """Join the maps of CK+ objects into the one that candidates are the peaks of.

    Parameters
    ----------
    maps : (3, H, W) float32
        Logits of `Screen`, in the order of `SCREEN_MAPS`.

    Returns
    -------
    (H, W) float32
    """
    return torch.maximum(maps[SCREEN_MAPS.index("tumour")], maps[SCREEN_MAPS.index("other_ck")] - _OTHER_MARGIN)


def nucleus_logits(nuclei: torch.Tensor) -> torch.Tensor:
    """Average the map of nuclei over what its centres are uncertain by: 3 x 3 pixels.

    A nucleus of which the network cannot tell the centre has a low and broad peak: how much there is says more than how
    high it is. Only additions in a fixed order: the same bits in every tile. (Wider averages count better still on
    single fields, but miss close nuclei of fluorescence slides.)

    Parameters
    ----------
    nuclei : (H, W) float32
        Logits of the map of nuclei.

    Returns
    -------
    (H, W) float32
        Logits, cut off below; nothing within a pixel of the border.
    """
    floored = nuclei.clamp(min=_FLOOR)
    rows = floored[:-2] + floored[1:-1] + floored[2:]
    mean = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0
    mean = mean.masked_fill(mean <= _FLOOR, -math.inf)  # a plain is no peak
    return torch.nn.functional.pad(mean, (1, 1, 1, 1), value=-math.inf)


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
    values = logits.contiguous().view(-1)
    core = logits[tile.halo : tile.halo + tile.height, tile.halo : tile.halo + tile.width]
    rows, columns = torch.nonzero(core >= logit(threshold), as_tuple=True)
    place = (rows + tile.halo) * logits.shape[1] + columns + tile.halo
    own = values[place]
    greatest = torch.ones(len(place), dtype=torch.bool)
    for dy in range(-apart, apart + 1):  # few pixels are above the threshold: this is faster than a pooled image
        for dx in range(-apart, apart + 1):
            greatest &= values[place + dy * logits.shape[1] + dx] <= own
    rows, columns, own = rows[greatest], columns[greatest], own[greatest]
    found = torch.stack([columns + tile.x, rows + tile.y, own], dim=1).to(torch.float32)
    return cast("npt.NDArray[np.float32]", found.numpy())
