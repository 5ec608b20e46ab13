"""Whether a ring of leukocyte marker (CD45) is a cell's own: then it is haematopoietic, whatever else it shows.

A leukocyte's membrane shows all round it, and brighter than what lies beside. Leukocytes that touch a tumour cell, or
lie on it, show along parts of its rim, and go on beyond it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_IN_UM, _OUT_UM = 1.0, 0.5
"""The rim: so far inside and outside of the outline, about a blurred membrane."""
_AROUND_UM = 6.0
"""What lies beside: less than a leukocyte's width."""
_SECTORS = 16
_WEAKEST = 10
"""Percentile of the sectors' medians: a gap of an eighth is none. (Upper quartiles, in the place of medians, are also
those of membranes that only cross the rim: they took six tumour cells of 115 for leukocytes.)"""
_BRIGHT = 0.6
"""A bright leukocyte on the plane of the marker (`dtcseg.stain.fluorescence`)."""
RING = 0.25
"""From which on the ring is the cell's own. On 15 slides with CD45, ten of them of a simulator written apart whose
leukocytes lie against and upon half of the tumour cells, it is that of none of 198 tumour cells, of 22 of 23 leukocytes
stained like them, and of nine of 12 myeloid cells with stained granules."""
RING_ODDS = 0.0001
"""What is left of a tumour cell's odds then: as much as makes the surest look (odds of ten thousand) a toss-up. By the
criteria of the trade CD45 excludes; the look learned little of it and is as sure of leukocytes stained alike."""


def leukocyte_ring(marker: npt.NDArray[np.float32], cell: npt.NDArray[np.bool_], mpp_um: float) -> float:
    """Marker of the weakest part of a cell's rim, where that is brighter than what lies around the cell.

    Parameters
    ----------
    marker : (H, W) float32
        Plane of the leukocyte marker.
    cell : (H, W) bool
        The cell; at least one pixel.
    mpp_um : float

    Returns
    -------
    float
        1 is that of a bright leukocyte; 0 where what lies around is as bright.
    """
    outside_um = mpp_um * ndimage.distance_transform_edt(~cell)
    inside_um = mpp_um * ndimage.distance_transform_edt(cell)
    ys, xs = np.nonzero((outside_um <= _OUT_UM) & (inside_um <= _IN_UM))
    middle_y, middle_x = (float(v.mean()) for v in np.nonzero(cell))
    turn = np.arctan2(ys - middle_y, xs - middle_x) / (2 * np.pi) % 1.0
    sector = np.minimum((turn * _SECTORS).astype(int), _SECTORS - 1)
    rim = marker[ys, xs]
    shown = [float(np.median(rim[sector == s])) for s in range(_SECTORS) if (sector == s).any()]
    weakest = float(np.percentile(shown, _WEAKEST))
    around = (outside_um > 0) & (outside_um <= _AROUND_UM)
    beside = float(marker[around].mean()) if around.any() else 0.0
    return weakest / _BRIGHT if weakest > max(beside, 0.0) else 0.0
