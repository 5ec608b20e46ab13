"""Find the cells of older verdicts again after a slide was scored with other weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry import Polygon

if TYPE_CHECKING:
    from dtcseg.verdicts.cells import CellRef, Ring

NEAR_UM = 6.0
"""Centres nearer than this belong to one cell: less than the diameter of the smallest nucleus."""
OVERLAP = 0.5
"""Outlines belong to one cell when they share at least this part of the smaller one."""
_REACH_UM = 60.0  # no two outlines of one cell have centres farther apart


def match(
    cells: Sequence[CellRef], targets: Sequence[CellRef], mpp_um: float, taken: Collection[str] = ()
) -> dict[str, str]:
    """Pair cells with targets by outline overlap, else by distance; best pairs first, each target once.

    Parameters
    ----------
    cells : sequence of CellRef
        Cells of one reader, from an older scoring.
    targets : sequence of CellRef
        Cells that are there now.
    mpp_um : float
        Pixel size of the slide.
    taken : collection of str
        Ids of targets that are spoken for.

    Returns
    -------
    dict of str to str
        Id of the target by id of the cell; cells without one are not in it.
    """
    free = [target for target in targets if target.id not in taken]
    if not free:
        return {}
    places_px = np.array([(target.x_px, target.y_px) for target in free])
    shapes: dict[int, Polygon | None] = {}
    pairs: list[tuple[float, float, str, str]] = []
    for cell in cells:
        distances_um = np.hypot(*(places_px - (cell.x_px, cell.y_px)).T) * mpp_um
        near = np.flatnonzero(distances_um <= _REACH_UM)
        shape = _polygon(cell.outline_px) if len(near) else None
        for index in near.tolist():
            if index not in shapes:
                shapes[index] = _polygon(free[index].outline_px)
            share = _share(shape, shapes[index])
            if share >= OVERLAP or distances_um[index] <= NEAR_UM:
                pairs.append((-share, float(distances_um[index]), cell.id, free[index].id))
    found: dict[str, str] = {}
    used: set[str] = set()
    for _, _, cell_id, target_id in sorted(pairs):
        if cell_id not in found and target_id not in used:
            found[cell_id] = target_id
            used.add(target_id)
    return found


def _polygon(ring: Ring) -> Polygon | None:
    if len(ring) < 4:
        return None
    polygon = shapely.make_valid(Polygon(ring))
    return polygon if polygon.area > 0 else None


def _share(one: Polygon | None, other: Polygon | None) -> float:
    """Part of the smaller outline that lies in the larger one, 0..1."""
    if one is None or other is None:
        return 0.0
    return float(one.intersection(other).area / min(one.area, other.area))
