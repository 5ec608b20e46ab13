"""Tiles that own cells: a cell belongs to the one tile whose core holds its centre, so nothing is merged at seams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt


@dataclass(frozen=True)
class Tile:
    """One tile, in working pixels.

    Attributes
    ----------
    x, y, width, height : int
        The core: cores partition the slide, and the tile owns what is centred in its core.
    halo : int
        What is read around the core on every side (beyond the slide's edge it is empty glass).
    """

    x: int
    y: int
    width: int
    height: int
    halo: int


def lone_tile(planes: npt.NDArray[np.floating], *, halo: int, align: int) -> tuple[npt.NDArray[np.float32], Tile]:
    """Lay a field that is no part of a slide on empty glass, as the network takes it.

    Parameters
    ----------
    planes : (C, H, W) float
    halo : int
        Glass around the field, at least.
    align : int
        The sides are filled up to multiples of this.

    Returns
    -------
    canvas : (1, C, H', W') float32
    tile : Tile
        Its core is the field.
    """
    channels, height, width = planes.shape
    sides = [-(-(side + 2 * halo) // align) * align for side in (height, width)]
    canvas = np.zeros((1, channels, *sides), np.float32)
    canvas[0, :, halo : halo + height, halo : halo + width] = planes
    return canvas, Tile(0, 0, width, height, halo)


def plan_tiles(
    width: int, height: int, *, tile: int, halo: int, align: int, shift: tuple[int, int] = (0, 0)
) -> Iterator[Tile]:
    """Cut an image into tiles, row by row.

    Parameters
    ----------
    width, height : int
        Size of the image in working pixels.
    tile : int
        Side of a core, a multiple of `align`.
    halo : int
        Overlap on each side, a multiple of `align`, at least the network's reach.
    align : int
        The network's coarsest stride; every tile starts on a multiple of it, so that the network's own grid lies on
        the same pixels whatever the tile size.
    shift : (int, int)
        Moves the grid by (x, y), multiples of `align`; the cells found must not depend on it (used by tests).

    Raises
    ------
    ValueError
        A length is not a multiple of `align`.
    """
    for name, value in (("tile", tile), ("halo", halo), ("shift", shift[0]), ("shift", shift[1])):
        if value % align:
            raise ValueError(f"{name} {value} px is not a multiple of {align} px")
    for top in range((shift[1] % tile) - (tile if shift[1] % tile else 0), height, tile):
        for left in range((shift[0] % tile) - (tile if shift[0] % tile else 0), width, tile):
            x, y = max(left, 0), max(top, 0)
            yield Tile(x, y, min(left + tile, width) - x, min(top + tile, height) - y, halo)
