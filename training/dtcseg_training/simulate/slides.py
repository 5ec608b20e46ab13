"""Whole slides: blocks drawn one by one, the same whatever their order, and written as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg_training.simulate.field import Scene, TruthCell, optics_margin_px
from dtcseg_training.simulate.imaging import FLUORESCENCE_QUALITY
from dtcseg_training.simulate.layout import Box, Placed, Spot, place_ordinary, place_special
from dtcseg_training.simulate.pyramid import Form, Pyramid, filled, halved, write_pyramid
from dtcseg_training.simulate.truth import Truth, sorted_truth, write_truth

if TYPE_CHECKING:
    from dtcseg_training.simulate.imaging import Pixels
    from dtcseg_training.simulate.spec import FieldSpec

BLOCK_TILES = 2
REACH_UM = {"megakaryocyte": 36.0, "macrophage": 22.0, "smudge": 34.0}
COMMON_REACH_UM = 16.0
SPECIAL_REACH_UM = 190.0


@dataclass(frozen=True)
class Block:
    """One drawn block of a slide.

    Attributes
    ----------
    image : (H, W, 3) uint8 or uint16, not yet compressed
    cells : tuple of TruthCell
        What has its centre in the block, level-0 pixels of the slide.
    """

    image: Pixels
    cells: tuple[TruthCell, ...]


class SlideScene:
    """A slide as a function from place to pixels.

    Parameters
    ----------
    spec : FieldSpec
        `size_px` is that of the slide, `counts` are those of the whole slide.
    seed : int
    block_px : int
        Side of the blocks in which cells are placed.
    spots : bool
        Whether cells lie in a round spot on glass (else everywhere).
    periodic : bool
        Whether the right border continues at the left and the bottom at the top, so that copies fit side by side.
    """

    def __init__(
        self, spec: FieldSpec, seed: int, *, block_px: int, spots: bool = True, periodic: bool = False
    ) -> None:
        self.spec = spec
        self.seed = seed
        self.block_px = block_px
        self.periodic = periodic
        self.rows = -(-spec.size_px[0] // block_px)
        self.columns = -(-spec.size_px[1] // block_px)
        rng = np.random.default_rng([seed, 0])
        self.spot = draw_spot(rng, spec) if spots else None
        self._scene = Scene(spec, seed, self.spot)
        self._special = self._place_special(rng)
        self._plans: dict[tuple[int, int], list[Placed]] = {}

    def _place_special(self, rng: np.random.Generator) -> list[Placed]:
        """Place the special objects of the slide: cells in the spot, dirt anywhere."""
        height, width = (side * self.spec.mpp_um for side in self.spec.size_px)
        placed: list[Placed] = []
        cluster = 0
        for kind, number in self.spec.counts:
            for _ in range(number):
                for _attempt in range(1000):
                    x, y = rng.random() * width, rng.random() * height
                    free = kind in ("dust", "fibre", "ink", "bubble", "debris", "flake")
                    if free or self.spot is None or self.spot.cover_at(x, y) > 0.5:
                        break
                cluster += 1
                placed += place_special(rng, kind, x, y, cluster)
        return placed

    def _box(self, row: int, column: int) -> Box:
        side, half = self.block_px * self.spec.mpp_um, 0.5 * self.spec.mpp_um
        return Box(column * side - half, row * side - half, side, side)

    def _plan(self, row: int, column: int) -> list[Placed]:
        """Ordinary cells of one block; the plans of the last few rows of blocks are kept."""
        if (row, column) not in self._plans:
            for old in [key for key in self._plans if abs(key[0] - row) > 2 and not self.periodic]:
                del self._plans[old]
            box = self._box(row, column)
            near = [item for item in self._special if box.grown(30).holds(item.x_um, item.y_um)]
            rng = np.random.default_rng([self.seed, 1, row, column])
            self._plans[row, column] = place_ordinary(rng, self.spec, box, near, self.spot)
        return self._plans[row, column]

    def _shifts(self) -> tuple[list[float], list[float]]:
        """Offsets of the copies of the specials that a periodic scene must draw, µm."""
        if not self.periodic:
            return [0.0], [0.0]
        height, width = (side * self.spec.mpp_um for side in self.spec.size_px)
        return [-height, 0.0, height], [-width, 0.0, width]

    def items(self, row: int, column: int, margin_um: float) -> list[Placed]:
        """Everything that may be seen in a block or its margin: its own cells and those of its neighbours."""
        box = self._box(row, column)
        found: list[Placed] = []
        side = self.block_px * self.spec.mpp_um
        for r in (row - 1, row, row + 1):
            for c in (column - 1, column, column + 1):
                if not self.periodic and not (0 <= r < self.rows and 0 <= c < self.columns):
                    continue
                home = self._plan(r % self.rows, c % self.columns)
                dx, dy = (c - c % self.columns) * side, (r - r % self.rows) * side
                moved = [replace(i, x_um=i.x_um + dx, y_um=i.y_um + dy) for i in home] if dx or dy else home
                found += [i for i in moved if _near(i, box, margin_um)]
        wide = box.grown(SPECIAL_REACH_UM + margin_um)
        for dy in self._shifts()[0]:
            for dx in self._shifts()[1]:
                copies = (replace(i, x_um=i.x_um + dx, y_um=i.y_um + dy) for i in self._special)
                found += [i for i in copies if wide.holds(i.x_um, i.y_um)]
        return found

    def render(self, row: int, column: int) -> Block:
        """Draw one block."""
        spec, scene = self.spec, self._scene
        top, left = row * self.block_px, column * self.block_px
        shape = min(self.block_px, spec.size_px[0] - top), min(self.block_px, spec.size_px[1] - left)
        margin = optics_margin_px(spec, scene.grid.canvas_mpp_um)
        canvas = scene.canvas(top, left, *shape)
        box = self._box(row, column)
        owned = Box(box.x_um, box.y_um, shape[1] * spec.mpp_um, shape[0] * spec.mpp_um)
        cells = scene.paint(canvas, self.items(row, column, margin * canvas.mpp_um), owned)
        rng = np.random.default_rng([self.seed, 2, row, column])
        return Block(scene.expose(scene.light(canvas, top, left, shape), rng), tuple(cells))


def _near(item: Placed, box: Box, margin_um: float) -> bool:
    reach = REACH_UM.get(item.kind, COMMON_REACH_UM) + margin_um
    return box.grown(reach).holds(item.x_um, item.y_um)


def draw_spot(rng: np.random.Generator, spec: FieldSpec) -> Spot:
    """Put one round spot in the middle of the slide, or two side by side where it is long enough."""
    height, width = (side * spec.mpp_um for side in spec.size_px)
    if max(height, width) < 1.8 * min(height, width):
        radius = rng.uniform(0.43, 0.47) * min(height, width)
        return Spot(rng, ((0.5 * width, 0.5 * height, radius),))
    radius = rng.uniform(0.42, 0.46) * min(min(height, width), 0.5 * max(height, width))
    first, second = (0.25, 0.75) if width > height else (0.5, 0.5)
    third, fourth = (0.5, 0.5) if width > height else (0.25, 0.75)
    return Spot(rng, ((first * width, third * height, radius), (second * width, fourth * height, radius)))


def form_of(spec: FieldSpec, tile_px: int) -> Form:
    """Lay out the file of a slide."""
    fluorescent = spec.stain == "if"
    bits = 16 if fluorescent and spec.fluorescence.bits > 8 else 8
    quality = spec.camera.jpeg_quality
    if fluorescent:
        quality = max(quality, FLUORESCENCE_QUALITY) if quality and bits == 8 else None
    return Form(
        height_px=spec.size_px[0],
        width_px=spec.size_px[1],
        channels=("DAPI", "CK", "CD45")[: 3 if spec.fluorescence.cd45 else 2] if fluorescent else ("R", "G", "B"),
        bits=bits,
        mpp_um=spec.mpp_um,
        tile_px=tile_px,
        jpeg_quality=quality if fluorescent else quality or 90,
        jpeg_subsampling=spec.camera.jpeg_subsampling,
    )


def write_slide(
    path: Path, spec: FieldSpec, seed: int, *, tile_px: int = 512, spots: bool = True, repeat_px: int | None = None
) -> Truth:
    """Draw a slide, write it as pyramidal OME-TIFF, and its truth beside it.

    Parameters
    ----------
    path : Path
        Should end in `.ome.tif`.
    spec : FieldSpec
        `size_px` is that of the slide and `counts` are those of the whole slide (see `draw_slide_spec`).
    seed : int
        The same seed gives the same file.
    tile_px : int
    spots : bool
        Round spots on glass; without, cells lie everywhere.
    repeat_px : int, optional
        Draw a square of this side only (`tile_px` times a power of two), and repeat its compressed tiles; `counts`
        are those of the square then. For slides of a gigapixel within a minute or two.

    Returns
    -------
    Truth
        What was also written; only objects with a call, and all nuclei.
    """
    path = Path(path)
    if repeat_px is not None:
        truth = _write_repeated(path, spec, seed, tile_px, repeat_px)
    else:
        truth = _write_blocks(path, SlideScene(spec, seed, block_px=BLOCK_TILES * tile_px, spots=spots), tile_px)
    write_truth(path, truth)
    return truth


def _write_blocks(path: Path, scene: SlideScene, tile_px: int) -> Truth:
    form = form_of(scene.spec, tile_px)
    objects: list[TruthCell] = []
    nuclei: list[tuple[float, float]] = []
    with Pyramid(path, form) as pyramid:
        for row in range(scene.rows):
            strip = np.concatenate([_keep(block, objects, nuclei) for block in _row_of(scene, row)], axis=1)
            for top in range(0, strip.shape[0], tile_px):
                pyramid.push(strip[top : top + tile_px, :, : max(form.planes, 3 if form.colour else 1)])
        pyramid.finish()
    return sorted_truth(objects, np.array(nuclei).reshape(-1, 2))


def _row_of(scene: SlideScene, row: int) -> Iterator[Block]:
    return (scene.render(row, column) for column in range(scene.columns))


def _keep(block: Block, objects: list[TruthCell], nuclei: list[tuple[float, float]]) -> Pixels:
    """Take the truth of a block and hand on its pixels."""
    objects += [cell for cell in block.cells if cell.call]
    nuclei += [(cell.nucleus_x_px, cell.nucleus_y_px) for cell in block.cells if cell.nucleated]
    return block.image


def _write_repeated(path: Path, spec: FieldSpec, seed: int, tile_px: int, repeat_px: int) -> Truth:
    tiles = repeat_px // tile_px
    if tiles < BLOCK_TILES or tiles & (tiles - 1) or repeat_px % tile_px:
        raise ValueError(f"repeat_px must be tile_px times 2, 4, 8, …, not {repeat_px}")
    quiet = replace(
        spec,
        size_px=(repeat_px, repeat_px),
        camera=replace(spec.camera, shading=0.0),
        staining=replace(spec.staining, unevenness=0.0),
        optics=replace(spec.optics, defocus_um=0.0),
    )
    scene = SlideScene(quiet, seed, block_px=BLOCK_TILES * tile_px, spots=False, periodic=True)
    objects: list[TruthCell] = []
    nuclei: list[tuple[float, float]] = []
    unit = np.concatenate(
        [np.concatenate([_keep(b, objects, nuclei) for b in _row_of(scene, row)], axis=1) for row in range(scene.rows)]
    )
    form = form_of(spec, tile_px)
    levels: list[list[list[list[bytes]]]] = []
    for _ in range(form.levels):
        levels.append(_encoded(unit[..., : max(form.planes, 3 if form.colour else 1)], form))
        unit = halved(unit)

    def source(level: int, plane: int) -> Iterator[bytes]:
        distinct = levels[level]
        rows, columns = form.tiles(level)
        for row in range(rows):
            line = distinct[row % len(distinct)]
            for column in range(columns):
                yield line[column % len(line)][plane]

    write_pyramid(path, form, source)
    return _repeated_truth(objects, np.array(nuclei).reshape(-1, 2), spec.size_px, repeat_px)


def _encoded(unit: Pixels, form: Form) -> list[list[list[bytes]]]:
    """Compress the distinct tiles of one level of a repeated square; a square smaller than a tile is repeated in it."""
    side = form.tile_px
    while unit.shape[0] < side:
        unit = np.concatenate([np.concatenate([unit, unit], axis=1)] * 2)
    steps = range(0, unit.shape[0], side)
    return [[form.encode(filled(unit[y : y + side, x : x + side], side)) for x in steps] for y in steps]


def _repeated_truth(
    objects: list[TruthCell],
    nuclei: npt.NDArray[np.float64],
    size_px: tuple[int, int],
    step: int,
) -> Truth:
    """Copy the truth of the square to all places where it is seen."""
    height, width = size_px
    all_objects: list[TruthCell] = []
    places = []
    for top in range(0, height, step):
        for left in range(0, width, step):
            moved = nuclei + np.array([left, top])
            places.append(moved[(moved[:, 0] < width - 0.5) & (moved[:, 1] < height - 0.5)])
            copies = (_moved(cell, left, top) for cell in objects)
            all_objects += [cell for cell in copies if cell.x_px < width - 0.5 and cell.y_px < height - 0.5]
    return sorted_truth(all_objects, np.concatenate(places))


def _moved(cell: TruthCell, dx: int, dy: int) -> TruthCell:
    outline = cell.outline + np.array([dx, dy], np.float32)
    return replace(
        cell,
        x_px=cell.x_px + dx,
        y_px=cell.y_px + dy,
        outline=outline,
        nucleus_x_px=cell.nucleus_x_px + dx,
        nucleus_y_px=cell.nucleus_y_px + dy,
    )
