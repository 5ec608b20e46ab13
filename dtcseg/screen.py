"""The first look at 1 µm/px: finds nuclei and candidates, measures quality.

`screen_tiles` looks at tiles, and `gather` lays together what they show. Where the network need not see all of a
slide, they do the cheap half without (quality, and where there is cytokeratin), and `search_windows` the dear one, only
where it is asked to. What is found at a place is the same either way, bit for bit.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dtcseg.errors import UnreadableRegion
from dtcseg.memory import give_back
from dtcseg.network.model import PLANES, SCREEN_REACH_PX, SCREEN_STRIDE_PX
from dtcseg.parallel import ordered_map
from dtcseg.quality import BLOCK_PX, BlockGrid, BlockStats, block_statistics
from dtcseg.search import find_centres, on_canvas, stained_cells
from dtcseg.tiles import Tile, plan_tiles
from dtcseg.windows import CELL_PX, cost_px, plan_windows
from dtcseg.working import WorkingGrid, read_working

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dtcseg.network.engine import Engine
    from dtcseg.slide import Slide
    from dtcseg.slide._base import Kind

FloatArray = npt.NDArray[np.float32]
_Result = TypeVar("_Result")

_TIDY_TILES = 16
"""Freed memory goes back after as many tiles: about 3 % of the time, and the peak no longer grows with the slide."""


class Profile(Protocol):
    """What turns the pixels of one slide into planes."""

    def planes(self, pixels: npt.NDArray[np.uint8]) -> FloatArray:
        """(H, W, C) pixels to (3, H, W) float32 planes."""
        ...


class SlideProfile(Profile, Protocol):
    """A profile estimated on the slide's own cells (`BrightfieldProfile`, `FluorescenceProfile`)."""

    @property
    def signature(self) -> tuple[float, ...]:
        """How the slide is stained (`dtcseg.network.laboratory.Signature`)."""
        ...

    @property
    def ck_spread(self) -> float:
        """How far the cytokeratin of this slide's ordinary cells spreads, on the plane."""
        ...

    @property
    def ck_background(self) -> float:
        """What its ordinary cells show of cytokeratin and the plane leaves out."""
        ...

    @property
    def ck_cutoff(self) -> float:
        """Cytokeratin from which on a cell of this slide is positive (`dtcseg.cutoff`); 0 where not known."""
        ...

    @property
    def marks_leukocytes(self) -> bool:
        """Whether the third plane is a marker of leukocytes (CD45)."""
        ...


@dataclass(frozen=True)
class Screening:
    """What the first look found.

    Attributes
    ----------
    nuclei, candidates : (N, 3) float32
        x, y in working pixels and logit, sorted by y, then x.
    blocks : BlockGrid
        Blocks of 64 x 64 working pixels.
    stats : BlockStats
        Quality measurements of every block looked at.
    unreadable : (rows, cols) bool
        Blocks that could not be decoded.
    stained : (rows, cols) bool
        Cells of 8 x 8 working pixels in and around which there is enough cytokeratin for a candidate.
    """

    nuclei: FloatArray
    candidates: FloatArray
    blocks: BlockGrid
    stats: BlockStats
    unreadable: npt.NDArray[np.bool_]
    stained: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """What one tile shows; `gather` lays them together."""

    tile: Tile
    nuclei: FloatArray
    candidates: FloatArray
    first_block: tuple[int, int]
    stats: BlockStats
    unreadable: list[tuple[int, int]]
    stained: npt.NDArray[np.bool_]


class SlideHandles:
    """One handle of a slide for each thread that asks; closed together."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._local = threading.local()
        self._all: list[Slide] = []
        self._lock = threading.Lock()

    def get(self) -> Slide:
        """Return the calling thread's own handle."""
        handle: Slide | None = getattr(self._local, "slide", None)
        if handle is None:
            handle = self._slide.clone()
            self._local.slide = handle
            with self._lock:
                self._all.append(handle)
        return handle

    def close(self) -> None:
        """Close every handle."""
        for handle in self._all:
            handle.close()


@dataclass(frozen=True)
class Road:
    """How the first look goes over a slide; the result depends on none of it.

    Attributes
    ----------
    tile_px, batch, threads : int
    shift_px : (int, int)
        Moves the tile grid, for tests.
    """

    tile_px: int
    batch: int
    threads: int
    shift_px: tuple[int, int] = (0, 0)


def tiles_of(grid: WorkingGrid, road: Road) -> Iterator[Tile]:
    """Cut a slide into the tiles of the first look."""
    return plan_tiles(
        grid.width_px,
        grid.height_px,
        tile=road.tile_px,
        halo=SCREEN_REACH_PX,
        align=SCREEN_STRIDE_PX,
        shift=road.shift_px,
    )


def screen_tiles(
    slide: Slide,
    grid: WorkingGrid,
    profile: SlideProfile,
    engine: Engine | None,
    road: Road,
    tiles: Sequence[Tile],
    on_progress: Callable[[float], None],
) -> Iterator[Found]:
    """Look at tiles once; what is found comes in their order.

    Parameters
    ----------
    slide : Slide
    grid : WorkingGrid
        Of about 1 µm/px.
    profile : SlideProfile
    engine : Engine or None
        None: only measure; no nuclei and no candidates are found.
    road : Road
    tiles : sequence of Tile
        Some of `tiles_of`.
    on_progress : callable
        Told the share of tiles done, 0..1.
    """
    view = _View(grid, profile, slide.kind, block_grid(grid))

    def work(handle: Slide, group: Sequence[Tile]) -> list[Found]:
        return _screen_group(handle, view, engine, group)

    yield from _each(slide, work, tiles, road, on_progress)


def gather(grid: WorkingGrid, parts: Iterable[Found]) -> Screening:
    """Lay together what all tiles of a slide showed; their order does not matter."""
    blocks = block_grid(grid)
    stats = BlockStats.empty(blocks.rows, blocks.cols)
    unreadable = np.zeros((blocks.rows, blocks.cols), bool)
    stained = np.zeros((-(-grid.height_px // CELL_PX), -(-grid.width_px // CELL_PX)), bool)
    nuclei, candidates = [], []
    for found in parts:
        nuclei.append(found.nuclei)
        candidates.append(found.candidates)
        stats.put(*found.first_block, found.stats)
        for row, column in found.unreadable:
            unreadable[row, column] = True
        row, column = found.tile.y // CELL_PX, found.tile.x // CELL_PX
        stained[row : row + found.stained.shape[0], column : column + found.stained.shape[1]] = found.stained
    return Screening(_sorted(nuclei), _sorted(candidates), blocks, stats, unreadable, stained)


def search_windows(
    slide: Slide,
    grid: WorkingGrid,
    profile: SlideProfile,
    engine: Engine,
    road: Road,
    *,
    asked: npt.NDArray[np.bool_],
    on_progress: Callable[[float], None],
) -> tuple[FloatArray, FloatArray]:
    """Look at parts of a slide.

    Parameters
    ----------
    slide, grid, profile, engine, road
        As `screen_tiles`.
    asked : (rows, cols) bool
        Cells of `CELL_PX` working pixels to be looked at.
    on_progress : callable

    Returns
    -------
    nuclei, candidates : (N, 3) float32
        As in `Screening`; all that lie in the cells asked for, and some around them.
    """
    windows = [
        replace(one, width=min(one.width, grid.width_px - one.x), height=min(one.height, grid.height_px - one.y))
        for one in _windows(asked, road.tile_px)
    ]
    view = _View(grid, profile, slide.kind, block_grid(grid))

    def work(handle: Slide, group: Sequence[Tile]) -> list[tuple[FloatArray, FloatArray]]:
        return [(nuclei, found) for _, _, _, nuclei, found, _ in _looked_at(handle, view, engine, group)]

    both = list(_each(slide, work, windows, road, on_progress))
    return _sorted([nuclei for nuclei, _ in both]), _sorted([found for _, found in both])


def network_share(asked: npt.NDArray[np.bool_], everything: npt.NDArray[np.bool_], tile_px: int) -> float:
    """Work of the network on what asks over that on everything, both as `search_windows` would do it; halos count."""
    return cost_px(_windows(asked, tile_px)) / max(cost_px(_windows(everything, tile_px)), 1)


def _windows(asked: npt.NDArray[np.bool_], tile_px: int) -> list[Tile]:
    return plan_windows(asked, largest=tile_px, halo=SCREEN_REACH_PX)


def _each(
    slide: Slide,
    work: Callable[[Slide, Sequence[Tile]], list[_Result]],
    tiles: Sequence[Tile],
    road: Road,
    on_progress: Callable[[float], None],
) -> Iterator[_Result]:
    """Work on tiles in threads, each with a handle of its own; results come in the order of the tiles."""
    handles, done = SlideHandles(slide), 0
    try:
        for results in ordered_map(lambda group: work(handles.get(), group), _groups(tiles, road.batch), road.threads):
            yield from results
            done += len(results)
            on_progress(done / len(tiles))
            if done // _TIDY_TILES > (done - len(results)) // _TIDY_TILES:
                give_back()
    finally:
        handles.close()


def block_grid(grid: WorkingGrid) -> BlockGrid:
    """Lay the blocks of the quality map on a working grid: 64 x 64 working pixels each."""
    return BlockGrid.covering(grid.width_px * grid.mpp_um, grid.height_px * grid.mpp_um, BLOCK_PX * grid.mpp_um)


def read_planes(
    slide: Slide, grid: WorkingGrid, profile: Profile, x: int, y: int, width: int, height: int
) -> FloatArray:
    """Read a region as planes; beyond the slide's edge it is empty glass (zero).

    Returns
    -------
    (3, height, width) float32

    Raises
    ------
    UnreadableRegion
        As `Slide.read`.
    """
    planes = np.zeros((PLANES, height, width), np.float32)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, grid.width_px), min(y + height, grid.height_px)
    if right > left and bottom > top:
        pixels = read_working(slide, grid, left, top, right - left, bottom - top)
        planes[:, top - y : bottom - y, left - x : right - x] = profile.planes(pixels)  # type: ignore[arg-type]
    return planes


@dataclass(frozen=True)
class _View:
    """How a slide is looked at: the same for every tile."""

    grid: WorkingGrid
    profile: SlideProfile
    kind: Kind
    blocks: BlockGrid


def _screen_group(slide: Slide, view: _View, engine: Engine | None, tiles: Sequence[Tile]) -> list[Found]:
    """Read, measure and search a few tiles."""
    results = []
    for tile, planes, unreadable, nuclei, candidates, stained in _looked_at(slide, view, engine, tiles):
        first, stats = _tile_blocks(slide, view, tile, planes)
        results.append(Found(tile, nuclei, candidates, first, stats, unreadable, stained))
    return results


_Looked = tuple[Tile, FloatArray, list[tuple[int, int]], FloatArray, FloatArray, npt.NDArray[np.bool_]]


def _looked_at(slide: Slide, view: _View, engine: Engine | None, tiles: Sequence[Tile]) -> Iterator[_Looked]:
    """Tile, planes, unreadable blocks, nuclei, candidates, stained cells; tiles of one size go through together."""
    by_size: dict[tuple[int, ...], list[tuple[Tile, FloatArray, list[tuple[int, int]]]]] = {}
    for tile in tiles:
        planes, unreadable = _tile_planes(slide, view, tile)
        by_size.setdefault(planes.shape, []).append((tile, planes, unreadable))
    none = np.zeros((0, 3), np.float32)
    for members in by_size.values():
        if engine is None:
            for tile, planes, unreadable in members:
                yield tile, planes, unreadable, none, none, stained_cells(planes[1], tile)
            continue
        together = members[0][1][None] if len(members) == 1 else np.stack([planes for _, planes, _ in members])
        threshold = engine.candidate_threshold(view.profile.signature)
        found = find_centres(engine, [tile for tile, _, _ in members], together, threshold)
        for (tile, planes, unreadable), centres in zip(members, found, strict=True):
            yield tile, planes, unreadable, centres.nuclei, centres.candidates, centres.stained


def _tile_planes(slide: Slide, view: _View, tile: Tile) -> tuple[FloatArray, list[tuple[int, int]]]:
    """Planes of a tile with its halo, filled up to the network's canvas, and the unreadable blocks (left empty)."""
    x, y = tile.x - tile.halo, tile.y - tile.halo
    width, height = (on_canvas(side + 2 * tile.halo) for side in (tile.width, tile.height))
    try:
        return read_planes(slide, view.grid, view.profile, x, y, width, height), []
    except UnreadableRegion:
        return _readable_blocks(slide, view, x, y, width, height)


def _readable_blocks(
    slide: Slide, view: _View, x: int, y: int, width: int, height: int
) -> tuple[FloatArray, list[tuple[int, int]]]:
    """Read a region block by block, so that a bad spot in the file costs no more than the blocks it touches."""
    planes = np.zeros((PLANES, height, width), np.float32)
    unreadable = []
    for row in range(max(y // BLOCK_PX, 0), min(-(-(y + height) // BLOCK_PX), view.blocks.rows)):
        for column in range(max(x // BLOCK_PX, 0), min(-(-(x + width) // BLOCK_PX), view.blocks.cols)):
            top, left = row * BLOCK_PX, column * BLOCK_PX
            try:
                part = read_planes(slide, view.grid, view.profile, left, top, BLOCK_PX, BLOCK_PX)
            except UnreadableRegion:
                unreadable.append((row, column))
                continue
            upper, lower = max(top, y), min(top + BLOCK_PX, y + height)
            first, last = max(left, x), min(left + BLOCK_PX, x + width)
            planes[:, upper - y : lower - y, first - x : last - x] = part[
                :, upper - top : lower - top, first - left : last - left
            ]
    return planes, unreadable


def _tile_blocks(slide: Slide, view: _View, tile: Tile, planes: FloatArray) -> tuple[tuple[int, int], BlockStats]:
    """Measure the blocks whose centre lies in the tile's core; returns the first one's row and column as well."""
    mpp = view.grid.mpp_um
    row0, row1, col0, col1 = view.blocks.owned(
        tile.x * mpp, tile.y * mpp, (tile.x + tile.width) * mpp, (tile.y + tile.height) * mpp
    )
    if row0 == row1 or col0 == col1:
        return (row0, col0), BlockStats.empty(max(row1 - row0, 0), max(col1 - col0, 0))
    left, right = col0 * BLOCK_PX, min(col1 * BLOCK_PX, view.grid.width_px)
    top, bottom = row0 * BLOCK_PX, min(row1 * BLOCK_PX, view.grid.height_px)
    x, y = left - (tile.x - tile.halo), top - (tile.y - tile.halo)
    if x >= 0 and y >= 0:
        part = planes[:, y : y + bottom - top, x : x + right - left]
    else:  # a narrow last tile owns a block that starts before its halo
        part, _ = _readable_blocks(slide, view, left, top, right - left, bottom - top)
    return (row0, col0), block_statistics(np.moveaxis(part, 0, -1), view.kind)


def _groups(tiles: Sequence[Tile], batch: int) -> Iterator[Sequence[Tile]]:
    for start in range(0, len(tiles), batch):
        yield tiles[start : start + batch]


def _sorted(parts: Sequence[FloatArray]) -> FloatArray:
    found = np.concatenate([np.zeros((0, 3), np.float32), *parts])
    return found[np.lexsort((found[:, 0], found[:, 1]))]
