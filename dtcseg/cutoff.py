"""Above what cytokeratin a cell of a slide is positive: a cut-off that its own nucleated cells set.

Leukocytes show some, too: chromogen sticks to them, and in fluorescence they glow, granulocytes and eosinophils more
than others. How much differs between laboratories: what is a tumour cell's signal on one slide is that of one leukocyte
in twenty on another. So laboratories set their cut-off against cells that are surely negative, and so is it done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.network.model import SCREEN_MAPS
from dtcseg.network.peaks import NUCLEUS_APART_PX, core_peaks, nucleus_logits
from dtcseg.search import screen_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg.network.engine import Engine
    from dtcseg.screen import Profile
    from dtcseg.slide._base import Kind, PixelArray

FloatArray = npt.NDArray[np.float64]

_LEUKOCYTE_RADIUS_UM = 5.0
_FEWEST = 100
"""With fewer cells nobody knows what one in fifty shows."""
_ABOVE = 1.25
"""How far above what one cell in fifty exceeds the cut-off lies. On 14 slides of a simulator written apart and eight of
this project's, in fluorescence, whose leukocytes glow very differently, 1.15 left a quarter more false calls, 1.35 lost
two tumour cells."""
_TAIL = 1.5
"""One cell in fifty exceeds at most as many times what one in twenty does, on slides without tumour cells: where more
do, tumour cells (or mimics) make up the tail, and must not raise their own cut-off."""
_MOST: dict[Kind, float] = {"brightfield": 0.15, "fluorescence": 0.2}
"""The highest cut-off, since where tumour cells are one cell in ten they would otherwise all lie below it. In
brightfield the faintest stain of a tumour cell, optical density; in fluorescence three times what the brighter
leukocytes show (`stain.fluorescence`)."""
_STEEPNESS = 16.0
"""The logarithm of a cell's cytokeratin over the cut-off is known to about a tenth (a standard deviation of 1.7 /
steepness): so well 500 cells tell what one in fifty exceeds."""


def cells_cytokeratin(fields: Sequence[PixelArray], profile: Profile, engine: Engine, mpp_um: float) -> FloatArray:
    """Cytokeratin of the nucleated cells in a sample of fields.

    Parameters
    ----------
    fields : sequence of (H, W, C) uint8 or uint16
        At about 1 µm/px.
    profile : Profile
    engine : Engine
        Finds their nuclei.
    mpp_um : float
        Pixel size of the fields.

    Returns
    -------
    (N,) float64
        Mean of the plane in a disc of a leukocyte's size around each nucleus; cells that the border cuts are left out.
    """
    radius_px = _LEUKOCYTE_RADIUS_UM / mpp_um
    reach = int(np.ceil(radius_px))
    axis = np.arange(-reach, reach + 1)
    disc = np.hypot(axis[:, None], axis[None, :]) <= radius_px
    found = []
    for field in fields:
        seen = profile.planes(field)  # type: ignore[arg-type]
        maps, tile = screen_field(engine, seen)
        logits = nucleus_logits(maps[SCREEN_MAPS.index("nucleus")])
        nuclei = core_peaks(logits, tile, engine.info.card.nucleus_threshold, NUCLEUS_APART_PX)
        height, width = field.shape[:2]
        for x, y in np.round(nuclei[:, :2]).astype(int):
            if reach <= x < width - reach and reach <= y < height - reach:
                found.append(float(seen[1, y - reach : y + reach + 1, x - reach : x + reach + 1][disc].mean()))
    return np.array(found)


def cytokeratin_cutoff(cells_ck: FloatArray, kind: Kind) -> float:
    """Cut-off of a slide, on the cytokeratin plane; 0 (all are positive) where too few cells tell.

    Parameters
    ----------
    cells_ck : (N,) float64
        `cells_cytokeratin` of a sample of all nucleated cells, whatever they are.
    kind : {"brightfield", "fluorescence"}
    """
    if len(cells_ck) < _FEWEST:
        return 0.0
    twentieth, fiftieth = (float(v) for v in np.percentile(cells_ck, (95, 98)))
    return round(max(0.0, min(_ABOVE * min(fiftieth, _TAIL * twentieth), _MOST[kind])), 4)


def positivity(ck_od: FloatArray, cutoff: float) -> FloatArray:
    """How surely objects lie above the cut-off.

    Parameters
    ----------
    ck_od : (N,) float64
        Mean cytokeratin of each.
    cutoff : float

    Returns
    -------
    (N,) float64
        0 to 1; one half at the cut-off.
    """
    if cutoff <= 0:
        return np.ones(len(ck_od))
    return 1 / (1 + (cutoff / np.maximum(ck_od, 1e-3)) ** _STEEPNESS)
