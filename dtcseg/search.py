"""Finds nuclei and candidates on the planes of a tile.

Where the engine sees in integers as well as in float32, nuclei are counted in integers. Candidates are always those of
float32, bit for bit: a glance in integers says where one may be, and only these places are looked at in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.network.model import PLANES, SCREEN_CANVAS_PX, SCREEN_MAPS, SCREEN_REACH_PX, SCREEN_STRIDE_PX
from dtcseg.network.peaks import (
    CANDIDATE_APART_PX,
    NUCLEUS_APART_PX,
    candidate_logits,
    core_peaks,
    logit,
    nucleus_logits,
)
from dtcseg.tiles import Tile, lone_tile
from dtcseg.windows import CELL_PX, plan_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from dtcseg.network.engine import Engine

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_GLANCE_MARGIN = 1.0
"""Logits below the threshold of candidates at which a place is looked at again in float32. Of 1,690 candidates on 160
held-out fields a margin of 0.75 loses none."""
_FIELD_HALO_PX = 32
_CK_TRACE, _CK_TRACE_PX = 0.10, 6
"""A candidate needs as much cytokeratin (mean of 3 x 3 µm) on so many pixels of two cells by two: what the second look
itself asks for (`look._CK_POSITIVE`), on half the area of the smallest thing that it keeps."""


@dataclass(frozen=True)
class Centres:
    """What a tile owns.

    Attributes
    ----------
    nuclei, candidates : (N, 3) float32
        x, y in working pixels of the slide, and logit.
    stained : (rows, cols) bool
        `stained_cells`; no candidate lies elsewhere.
    """

    nuclei: FloatArray
    candidates: FloatArray
    stained: BoolArray


def find_centres(
    engine: Engine, tiles: Sequence[Tile], planes: FloatArray, candidate_threshold: float
) -> Iterator[Centres]:
    """Find what lies in the cores of tiles.

    Parameters
    ----------
    engine : Engine
    tiles : sequence of Tile
    planes : (N, 3, H, W) float32
        Of each tile with its halo, filled up to the network's canvas (`on_canvas`).
    candidate_threshold : float
        Probability (`Engine.candidate_threshold`).
    """
    if engine.glances:
        nuclei, greatest = engine.glance(planes)
    else:
        maps = engine.screen(planes)
        nuclei = maps[:, SCREEN_MAPS.index("nucleus")]
    for i, tile in enumerate(tiles):
        cells = stained_cells(planes[i, 1], tile)
        if engine.glances:
            asked = cells & _promising(candidate_threshold, tile, greatest[i])
            candidates = _candidates_in(engine, tile, planes[i], asked, candidate_threshold)
        else:
            asked, candidates = cells, _candidates(maps[i], tile, candidate_threshold)
        threshold = engine.info.card.nucleus_threshold
        counted = core_peaks(nucleus_logits(nuclei[i]), tile, threshold, NUCLEUS_APART_PX)
        # windows show more than what asks: what lies beside it would depend on how the slide is cut
        yield Centres(counted, candidates[lie_in(asked, tile, candidates)], cells)


def screen_field(engine: Engine, planes: FloatArray) -> tuple[torch.Tensor, Tile]:
    """Show a field of a sample to the network, with glass around it: its maps (`SCREEN_MAPS`), and their tile.

    Parameters
    ----------
    engine : Engine
    planes : (3, H, W) float32
    """
    canvas, tile = lone_tile(planes, halo=_FIELD_HALO_PX, align=SCREEN_STRIDE_PX)
    return engine.screen(canvas)[0], tile


def on_canvas(side_px: int) -> int:
    """Side of the network's canvas that holds as many pixels."""
    return -(-side_px // SCREEN_CANVAS_PX) * SCREEN_CANVAS_PX


def _candidates(maps: torch.Tensor, tile: Tile, threshold: float) -> FloatArray:
    return core_peaks(candidate_logits(maps), tile, threshold, CANDIDATE_APART_PX)


def _promising(threshold: float, tile: Tile, greatest: torch.Tensor) -> BoolArray:
    """Cells of a tile's core in which a glance (`Engine.glance`) comes near to a candidate."""
    rows, columns, first = -(-tile.height // CELL_PX), -(-tile.width // CELL_PX), tile.halo // CELL_PX
    near = candidate_logits(greatest) >= logit(threshold) - _GLANCE_MARGIN
    return np.asarray(near[first : first + rows, first : first + columns].numpy())


def _candidates_in(engine: Engine, tile: Tile, planes: FloatArray, asked: BoolArray, threshold: float) -> FloatArray:
    """Candidates in and near the cells of a tile's core that ask, as float32 sees them on the whole tile."""
    found = [np.zeros((0, 3), np.float32)]
    for window in plan_windows(asked, largest=max(tile.width, tile.height), halo=SCREEN_REACH_PX):
        width, height = min(window.width, tile.width - window.x), min(window.height, tile.height - window.y)
        across, down = (on_canvas(side + 2 * window.halo) for side in (window.width, window.height))
        view = np.zeros((1, PLANES, down, across), np.float32)
        part = planes[:, window.y : window.y + down, window.x : window.x + across]
        view[0, :, : part.shape[1], : part.shape[2]] = part
        place = Tile(tile.x + window.x, tile.y + window.y, width, height, window.halo)
        found.append(_candidates(engine.screen(view)[0], place, threshold))
    return np.concatenate(found)


def stained_cells(ck: FloatArray, tile: Tile) -> BoolArray:
    """Where there is enough cytokeratin for a candidate: what has less needs no second look.

    Parameters
    ----------
    ck : (H, W) float32
        Cytokeratin plane of the tile with its halo; H and W are multiples of `CELL_PX`.
    tile : Tile
        Starts on a multiple of `CELL_PX`, and so its halo is one.

    Returns
    -------
    (rows, cols) bool
        Cells of the tile's core in or beside which there is enough.
    """
    rows = ck[:-2] + ck[1:-1] + ck[2:]
    traces = np.zeros(ck.shape, bool)
    np.greater_equal(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:], np.float32(9 * _CK_TRACE), out=traces[1:-1, 1:-1])
    down, across = (side // CELL_PX for side in ck.shape)
    counts = traces.view(np.uint8).reshape(down, CELL_PX, across, CELL_PX).sum(axis=(1, 3), dtype=np.int32)
    enough = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:] >= _CK_TRACE_PX
    cells = np.zeros((down, across), bool)
    for dy in range(-1, 3):  # the four cells themselves, and one around them
        for dx in range(-1, 3):
            y0, x0 = max(dy, 0), max(dx, 0)
            part = enough[max(-dy, 0) : down - dy, max(-dx, 0) : across - dx]
            cells[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] |= part[: down - y0, : across - x0]
    first = tile.halo // CELL_PX
    return cells[first : first - (-tile.height // CELL_PX), first : first - (-tile.width // CELL_PX)]


def lie_in(cells: BoolArray, tile: Tile, points: FloatArray) -> BoolArray:
    """Whether points (N, 3) of a tile's core, in working pixels of the slide, lie in cells of its core."""
    columns, rows = ((points[:, i].astype(np.int64) - corner) // CELL_PX for i, corner in enumerate((tile.x, tile.y)))
    return np.asarray(cells[rows, columns])
