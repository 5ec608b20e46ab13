"""The ordinary inhabitants of marrow: leukocytes, erythroblasts, megakaryocytes, red cells, platelets.

Sizes are those of haematology atlases for flattened cells on a slide: small lymphocyte 7 to 10 µm, myelocytes and
promyelocytes 12 to 20 µm, megakaryocytes 30 to 60 µm. A haematopoietic nucleus is 6 to 9 µm in the sense of
Borgen 1999.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dtcseg_training.simulate.canvas import ANGLES, Canvas, FloatArray, Patch, blob, notched

_SPREAD_LOBES = 0.35
"""Share of the granulocytes whose lobes lie wide apart, as in flat cells: `dtcseg-7` counted many of them twice on
slides made of real ones."""


@dataclass(frozen=True)
class Look:
    """How one laboratory's cells look, the same for all cells of a field.

    Attributes
    ----------
    chromatin : float
        Contrast of the chromatin texture, around 1.
    rim : float
        Darkening of the nuclear membrane, around 1.
    thickness_um : float
        Spread of the cells' own blur (cells do not all lie in one plane).
    lifted : float
        Share of cells that lie far above the others, out of focus.
    dome : float
        How much thicker a nucleus is in its middle than at its edge.
    irregular : float
        Irregularity of nuclear contours, around 1.
    spread : float
        Spread (standard deviation of the logarithm) of DNA stain from cell to cell.
    cytoplasm : float
        How much of the counterstain the cytoplasm takes, relative to the nucleus.
    granules : (3,) tuple of float
        Optical density vector of eosinophil granules and red cells.
    eosin, red_cells : float
        Optical density of eosinophil granules and of a red cell.
    """

    chromatin: float = 1.0
    rim: float = 1.0
    thickness_um: float = 0.4
    lifted: float = 0.02
    dome: float = 0.25
    irregular: float = 1.0
    spread: float = 0.2
    cytoplasm: float = 0.08
    granules: tuple[float, float, float] = (0.25, 0.75, 0.61)
    eosin: float = 0.08
    red_cells: float = 0.1


@dataclass(frozen=True)
class Drawn:
    """What a drawing routine left on the canvas.

    Attributes
    ----------
    ring_um : (N, 2) float64
        Closed outline of the cell, empty for ordinary cells.
    nucleus_um : (x, y) or None
        Centre of the nucleus, None where there is none to be seen.
    nucleus_area_um2, diameter_um, ck_od : float
        The density is that of the chromogen, or for an artefact with a colour of its own that of the artefact.
    call, texture : str
    colour : (3,) tuple of float or None
        Optical density vector of an artefact that is not stained by the chromogen.
    glow : (3,) tuple of float or None
        Its light in the fluorescence channels, per unit of `ck_od`.
    """

    diameter_um: float
    nucleus_um: tuple[float, float] | None = None
    nucleus_area_um2: float = 0.0
    ck_od: float = 0.0
    call: str = ""
    texture: str = ""
    ring_um: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    colour: tuple[float, float, float] | None = None
    glow: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Chromatin:
    """Texture of a nucleus.

    Attributes
    ----------
    density : float
        1 is a small lymphocyte.
    clumps : float
        Relative contrast of the chromatin.
    grain : str
        One of the grain sizes of the noise bank.
    rim : float
        Relative darkening of the membrane.
    nucleoli : int
        Number of pale or dark round bodies.
    """

    density: float = 1.0
    clumps: float = 0.15
    grain: str = "mid"
    rim: float = 0.2
    nucleoli: int = 0


def own_blur(look: Look, rng: np.random.Generator) -> float:
    """Blur of one cell in µm (edge width), from its own height above the glass."""
    blur = 0.35 + abs(rng.standard_normal()) * look.thickness_um
    return blur + rng.uniform(1.0, 4.0) if rng.random() < look.lifted else blur


def paint_nucleus(
    patch: Patch,
    depth: FloatArray,
    relative: FloatArray,
    chromatin: Chromatin,
    look: Look,
    rng: np.random.Generator,
    edge_um: float,
    number: int,
) -> FloatArray:
    """Lay down a nucleus and return its membership (0..1) over the window."""
    inside = patch.soft(depth, edge_um)
    sharp = 1.0 / (1.0 + 0.6 * edge_um**2)
    body = np.float32(1 + 0.4 * look.dome) - np.float32(look.dome) * np.minimum(relative * relative, 1)
    contrast = chromatin.clumps * look.chromatin * sharp * 1.5
    grain = patch.noise(chromatin.grain, rng)
    texture = np.maximum(grain - np.float32(0.8), 0)
    texture *= np.float32(0.35)
    texture += grain
    texture += np.float32(0.5) * patch.noise("fine", rng)
    texture *= np.float32(contrast)
    body += texture
    if rng.random() < 0.15 * look.irregular:
        body -= np.float32(1.6 * contrast + 0.1) * _cleft(patch, depth, rng)
    if chromatin.rim > 0:
        width = 0.3 + 0.5 * edge_um
        near = (depth - np.float32(width)) * np.float32(1 / width)
        body += np.float32(chromatin.rim * look.rim * sharp) * np.exp(-near * near)
    for _ in range(chromatin.nucleoli):
        _nucleolus(patch, body, depth, rng)
    amount = chromatin.density * np.exp(rng.standard_normal() * look.spread)
    patch.add(patch.canvas.dna, np.maximum(body, 0.08) * inside * np.float32(amount))
    patch.mark(patch.canvas.nuclei, inside > 0.5, number)
    return inside


def _cleft(patch: Patch, depth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw a fold or cleft across the nucleus: a thin, slightly bent line, 0 to 1."""
    middle = np.unravel_index(int(np.argmax(depth)), depth.shape)
    angle = rng.random() * np.pi
    dx, dy = patch.x_um - patch.x_um[0, middle[1]], patch.y_um - patch.y_um[middle[0], 0]
    along = dx * np.float32(np.cos(angle)) + dy * np.float32(np.sin(angle))
    across = dy * np.float32(np.cos(angle)) - dx * np.float32(np.sin(angle)) - np.float32(rng.normal(0, 1.2))
    line = (across - np.float32(rng.normal(0, 0.06)) * along * along) / np.float32(rng.uniform(0.25, 0.5))
    cleft: FloatArray = np.exp(-(line * line)) * (along > np.float32(rng.uniform(-4, 0)))
    return cleft


def _nucleolus(patch: Patch, body: FloatArray, depth: FloatArray, rng: np.random.Generator) -> None:
    """Change the stain in one round body: usually darker with a pale ring, sometimes pale."""
    deep = np.argwhere(depth > 0.35 * max(float(depth.max()), 0.5))
    if not len(deep):
        return
    row, column = deep[rng.integers(len(deep))]
    size = rng.uniform(0.5, 1.3)
    away = ((patch.y_um - patch.y_um[row, 0]) ** 2 + (patch.x_um - patch.x_um[0, column]) ** 2) / np.float32(size**2)
    strength = rng.uniform(0.15, 0.6) * (1 if rng.random() < 0.6 else -0.8)
    body += np.float32(strength) * np.exp(-away) - np.float32(0.1) * np.exp(-away / 4)


def paint_cytoplasm(
    patch: Patch,
    polar: tuple[FloatArray, FloatArray],
    rng: np.random.Generator,
    edge: float,
    od: float,
    granular: float,
) -> FloatArray:
    """Lay down pale cytoplasm, a little denser near the membrane; returns membership (0..1)."""
    depth, relative = polar
    inside = patch.soft(depth, edge)
    body = np.float32(granular) * patch.noise("fine", rng)
    body += np.float32(0.9)
    body += np.float32(0.3) * (relative > 0.8)
    patch.add(patch.canvas.cytoplasm, np.maximum(body, 0) * inside * np.float32(od))
    return inside


def paint_cd45(patch: Patch, depth: FloatArray, inside: FloatArray, rng: np.random.Generator, amount: float) -> None:
    """Lay down the leukocyte marker: a membrane, brighter at the edge, patchy; only fluorescence shows it."""
    if not patch.canvas.fluorescent:
        return
    membrane = np.float32(0.45) + np.exp(-((depth / np.float32(0.9)) ** 2)) * np.float32(0.9)
    patchy = np.maximum(1 + np.float32(0.3) * patch.noise("coarse", rng), 0)
    patch.add(patch.canvas.leukocyte, membrane * inside * patchy * np.float32(amount * np.exp(rng.normal(0, 0.35))))


@dataclass(frozen=True)
class Recipe:
    """How a leukocyte with one simple nucleus is made; ranges are (low, high) of a uniform draw.

    Attributes
    ----------
    nucleus_um : diameter of the nucleus
    cell_ratio : diameter of the cell over that of the nucleus
    density : DNA stain, 1 for a small lymphocyte
    offset : how far off centre the nucleus lies, share of the room there is
    notch : how deep one side is pushed in, share of the radius
    cytoplasm : counterstain of the cytoplasm, relative to the laboratory's
    """

    nucleus_um: tuple[float, float]
    cell_ratio: tuple[float, float]
    density: tuple[float, float]
    clumps: float
    grain: str = "mid"
    rim: float = 0.2
    nucleoli: tuple[int, int] = (0, 0)
    offset: tuple[float, float] = (0.0, 0.5)
    notch: tuple[float, float] = (0.0, 0.0)
    cytoplasm: float = 1.0
    granular: float = 0.1
    roughness: float = 0.03
    elongation: float = 1.25
    cd45: float = 1.0


SIMPLE: dict[str, Recipe] = {
    "lymphocyte": Recipe((6.2, 8.8), (1.08, 1.3), (0.85, 1.15), 0.14, "coarse", 0.18, (0, 0), notch=(0.0, 0.18)),
    "blast": Recipe((9.5, 14), (1.12, 1.35), (0.55, 0.8), 0.1, "fine", 0.12, (1, 3), cytoplasm=1.8, cd45=0.5),
    "promyelocyte": Recipe((9, 13), (1.3, 1.6), (0.5, 0.8), 0.13, "mid", 0.12, (0, 2), (0.3, 1.0), granular=0.45),
    "myelocyte": Recipe((7.5, 11), (1.35, 1.7), (0.6, 0.9), 0.16, "coarse", 0.14, (0, 1), (0.3, 1.0), granular=0.3),
    "monocyte": Recipe((9, 13), (1.25, 1.6), (0.5, 0.75), 0.12, "mid", 0.15, (0, 1), notch=(0.2, 0.6), roughness=0.06),
    "erythroblast": Recipe((5, 8), (1.2, 1.7), (1.05, 1.45), 0.12, "coarse", 0.1, (0, 0), cytoplasm=0.8, cd45=0.1),
    "plasma_cell": Recipe((7, 9), (1.5, 2), (0.85, 1.1), 0.3, "coarse", 0.2, (0, 0), (0.7, 1), cytoplasm=2.2, cd45=0.2),
    "macrophage": Recipe((8, 11), (1.8, 2.8), (0.4, 0.65), 0.14, "mid", 0.18, (0, 1), (0.3, 1.0), granular=0.6),
    "stromal": Recipe((9, 13), (1.5, 2.0), (0.45, 0.7), 0.1, "mid", 0.15, (1, 2), elongation=2.0, cd45=0.0),
}  # fmt: skip


def draw_simple(canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int) -> Drawn:
    """Draw a cell with one round, oval or bean-shaped nucleus."""
    recipe = SIMPLE[kind]
    radius = rng.uniform(*recipe.nucleus_um) / 2
    roughness = recipe.roughness * look.irregular * rng.uniform(0.6, 1.8)
    nucleus = blob(rng, x, y, radius, elongation=rng.uniform(1, recipe.elongation), roughness=roughness)
    if recipe.notch[1] > 0:
        nucleus = notched(nucleus, rng, rng.uniform(*recipe.notch), rng.uniform(0.35, 0.8))
    cell_radius = radius * rng.uniform(*recipe.cell_ratio)
    way, angle = rng.uniform(*recipe.offset) * (cell_radius - radius), rng.random() * 2 * np.pi
    stretched = rng.uniform(1, 1 + (recipe.elongation - 1) * 0.8)
    around = blob(rng, x, y, cell_radius * 1.03, elongation=stretched, roughness=0.05).radii_um
    cell = around + way * np.cos(ANGLES - angle)  # its contour as seen from the centre of the nucleus
    patch = canvas.patch(x, y, float(cell.max()) + 2)
    drawn = Drawn(2 * cell_radius, (x, y), nucleus.area_um2)
    if patch is None:
        return drawn
    edge = own_blur(look, rng)
    polar = patch.around(x, y)
    depth, relative = polar(cell)
    od = recipe.cytoplasm * look.cytoplasm
    inside = paint_cytoplasm(patch, (depth, relative), rng, edge, od, recipe.granular)
    if recipe.cd45:
        paint_cd45(patch, depth, inside, rng, recipe.cd45)
    nucleoli = int(rng.integers(recipe.nucleoli[0], recipe.nucleoli[1] + 1))
    chromatin = Chromatin(rng.uniform(*recipe.density), recipe.clumps, recipe.grain, recipe.rim, nucleoli)
    paint_nucleus(patch, *polar(nucleus.radii_um), chromatin, look, rng, edge, n)
    return drawn


@dataclass(frozen=True)
class Disc:
    """An ellipse, cheaper to draw than a `Shape`; `cosine` and `sine` are those of its long axis."""

    x_um: float
    y_um: float
    radius_um: float
    elongation: float
    cosine: float
    sine: float

    def polar(self, patch: Patch) -> tuple[FloatArray, FloatArray]:
        """Depth below the edge (µm, roughly) and relative radius, float32."""
        dx, dy = patch.x_um - np.float32(self.x_um), patch.y_um - np.float32(self.y_um)
        along = dx * np.float32(self.cosine / self.elongation) + dy * np.float32(self.sine / self.elongation)
        across = dy * np.float32(self.cosine) - dx * np.float32(self.sine)
        ratio = np.sqrt(along * along + across * across)
        ratio *= np.float32(np.sqrt(self.elongation) / self.radius_um)
        return (1 - ratio) * np.float32(self.radius_um), ratio


def lobes(patch: Patch, parts: list[Disc]) -> tuple[FloatArray, FloatArray]:
    """Union of discs: depth of the deepest, relative radius of the nearest centre."""
    depth, relative = parts[0].polar(patch)
    for part in parts[1:]:
        other, ratio = part.polar(patch)
        depth, relative = np.maximum(depth, other), np.minimum(relative, ratio)
    return depth, relative


def disc(rng: np.random.Generator, x: float, y: float, radius: float, elongation: float) -> Disc:
    """Draw a small ellipse, turned at random."""
    angle = rng.random() * np.pi
    return Disc(x, y, radius, elongation, float(np.cos(angle)), float(np.sin(angle)))


def segmented_nucleus(rng: np.random.Generator, x: float, y: float, pieces: int, band: bool) -> list[Disc]:
    """Lobes of a neutrophil or eosinophil, or the overlapping discs of a band form, along an arc."""
    reach = rng.uniform(3.0, 4.3) if rng.random() < _SPREAD_LOBES else rng.uniform(2.2, 3.2)
    sweep = rng.uniform(2.6, 4.4) if pieces > 2 or band else rng.uniform(1.8, 3.0)
    start = rng.random() * 2 * np.pi
    angles = start + np.linspace(0, sweep, pieces)
    middle = start + sweep / 2
    size = rng.uniform(1.3, 1.7) if band else rng.uniform(3.0 if reach > 3.2 else 3.4, 4.4) / np.sqrt(pieces)
    shapes = []
    for angle in angles:
        jitter = 0.0 if band else rng.normal(0, 0.3)
        distance = reach + jitter
        px = x + distance * np.cos(angle) - 0.4 * reach * np.cos(middle)
        py = y + distance * np.sin(angle) - 0.4 * reach * np.sin(middle)
        shapes.append(disc(rng, px, py, size if band else size * rng.uniform(0.85, 1.15), rng.uniform(1.0, 1.45)))
    return shapes


def draw_granulocyte(
    canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int
) -> Drawn:
    """Draw a neutrophil, band form or eosinophil."""
    band = kind == "band"
    pieces = 11 if band else int(rng.choice([2, 3, 4, 5], p=[0.2, 0.45, 0.25, 0.1]))
    if kind == "eosinophil":
        pieces = 2 if rng.random() < 0.8 else 3
    parts = segmented_nucleus(rng, x, y, pieces, band)
    lobes_reach = max(np.hypot(part.x_um - x, part.y_um - y) + 0.8 * part.radius_um for part in parts)
    cell_radius = max(rng.uniform(5.2, 7.0), float(lobes_reach))
    cell = blob(rng, x, y, cell_radius, elongation=rng.uniform(1, 1.2), roughness=0.04)
    patch = canvas.patch(x, y, cell.reach_um + 2.5)
    if patch is None:
        return Drawn(2 * cell_radius, (x, y), 30.0)
    edge = own_blur(look, rng)
    depth, relative = patch.polar(cell)
    inside = paint_cytoplasm(patch, (depth, relative), rng, edge, 0.7 * look.cytoplasm, 0.25)
    paint_cd45(patch, depth, inside, rng, 0.6)
    if kind == "eosinophil":
        grains = np.maximum(patch.noise("fine", rng) + 0.6, 0) * inside
        patch.add_colour(grains * np.float32(look.eosin * rng.uniform(0.5, 1.5)), look.granules)
        patch.add_glow(grains * np.float32(rng.uniform(0.02, 0.12)), (0.15, 1.0, 0.5))
    chromatin = Chromatin(rng.uniform(0.8, 1.15), 0.16, "mid", 0.15)
    nucleus = paint_nucleus(patch, *lobes(patch, parts), chromatin, look, rng, edge, n)
    return Drawn(2 * cell_radius, _middle(patch, nucleus, x, y), float((nucleus > 0.5).sum() * patch.mpp_um**2))


def _middle(patch: Patch, inside: FloatArray, x: float, y: float) -> tuple[float, float]:
    """Centre of mass of a membership, in µm, or the fallback where nothing is there."""
    total = float(inside.sum())
    if total < 1:
        return x, y
    return float((inside * patch.x_um).sum() / total), float((inside * patch.y_um).sum() / total)


def draw_megakaryocyte(
    canvas: Canvas,
    kind: str,
    x: float,
    y: float,
    rng: np.random.Generator,
    look: Look,
    n: int,
    stained: Callable[[Patch, FloatArray, FloatArray, FloatArray], float] | None = None,
) -> Drawn:
    """Draw a megakaryocyte: 30 to 60 µm, granular cytoplasm, one nucleus of many lobes or (two in five) few bulges.

    `stained` lays cytokeratin over the cell (patch, depth, memberships of cell and nucleus) and returns its mean
    density; the cell has an outline then.
    """
    cell_radius = rng.uniform(13, 30)
    cell = blob(rng, x, y, cell_radius, elongation=rng.uniform(1, 1.3), roughness=0.07)
    patch = canvas.patch(x, y, cell.reach_um + 3)
    nucleus_radius = cell_radius * rng.uniform(0.4, 0.62)
    ring = cell.ring() if stained else np.zeros((0, 2))
    if patch is None:
        return Drawn(2 * cell_radius, (x, y), np.pi * nucleus_radius**2, ring_um=ring)
    edge = own_blur(look, rng) + 0.3
    depth, relative = patch.polar(cell)
    inside = paint_cytoplasm(patch, (depth, relative), rng, edge, 1.4 * look.cytoplasm, 0.5)
    paint_cd45(patch, depth, inside, rng, 0.25)
    if rng.random() < 0.4:
        bulging = blob(rng, x, y, nucleus_radius, elongation=rng.uniform(1, 1.4), roughness=rng.uniform(0.08, 0.2))
        shape = patch.polar(bulging)
    else:
        parts = [disc(rng, x, y, 0.55 * nucleus_radius, rng.uniform(1, 1.3))]
        for angle in rng.random() * 6 + np.linspace(0, 2 * np.pi, int(rng.integers(2, 9)), endpoint=False):
            away = rng.uniform(0.4, 0.65) * nucleus_radius
            size = rng.uniform(0.35, 0.55) * nucleus_radius
            parts.append(disc(rng, x + away * np.cos(angle), y + away * np.sin(angle), size, rng.uniform(1, 1.4)))
        shape = lobes(patch, parts)
    chromatin = Chromatin(rng.uniform(0.4, 1.0), rng.uniform(0.1, 0.3), "coarse", 0.1)
    nucleus = paint_nucleus(patch, *shape, chromatin, look, rng, edge, n)
    ck_od = stained(patch, depth, inside, nucleus) if stained else 0.0
    area_um2 = float((nucleus > 0.5).sum() * patch.mpp_um**2)
    return Drawn(2 * cell_radius, _middle(patch, nucleus, x, y), area_um2, ck_od, ring_um=ring)


def draw_mitosis(canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int) -> Drawn:
    """Draw a metaphase plate or an early anaphase in a rounded cell."""
    cell_radius = rng.uniform(6, 9)
    cell = blob(rng, x, y, cell_radius, roughness=0.03)
    patch = canvas.patch(x, y, cell.reach_um + 2)
    if patch is None:
        return Drawn(2 * cell_radius, (x, y), 30.0)
    edge = own_blur(look, rng)
    depth, relative = patch.polar(cell)
    inside = paint_cytoplasm(patch, (depth, relative), rng, edge, 1.2 * look.cytoplasm, 0.2)
    paint_cd45(patch, depth, inside, rng, 0.5)
    angle = rng.random() * np.pi
    gap = rng.choice([0.0, rng.uniform(1.6, 3.0)])
    parts = []
    for side in (-1, 1) if gap else (0,):
        centre = (x + side * gap * np.cos(angle), y + side * gap * np.sin(angle))
        for step in np.linspace(-1, 1, 7):
            shift = step * rng.uniform(3.0, 4.2)
            px = centre[0] - shift * np.sin(angle) + rng.normal(0, 0.3)
            py = centre[1] + shift * np.cos(angle) + rng.normal(0, 0.3)
            parts.append(disc(rng, px, py, rng.uniform(0.9, 1.6), rng.uniform(1, 1.8)))
    chromatin = Chromatin(rng.uniform(1.2, 1.6), 0.1, "mid", 0.0)
    nucleus = paint_nucleus(patch, *lobes(patch, parts), chromatin, look, rng, edge, n)
    return Drawn(2 * cell_radius, _middle(patch, nucleus, x, y), float((nucleus > 0.5).sum() * patch.mpp_um**2))


def draw_naked(canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int) -> Drawn:
    """Draw a nucleus without cytoplasm, swollen and with loosened chromatin; a person still counts it."""
    radius = rng.uniform(4.0, 7.5)
    nucleus = blob(rng, x, y, radius, elongation=rng.uniform(1, 1.4), roughness=0.08, harmonics=9)
    patch = canvas.patch(x, y, nucleus.reach_um + 2)
    if patch is not None:
        edge = own_blur(look, rng) + rng.uniform(0.2, 1.0)
        chromatin = Chromatin(rng.uniform(0.35, 0.65), 0.25, "coarse", 0.0)
        paint_nucleus(patch, *patch.polar(nucleus), chromatin, look, rng, edge, n)
    return Drawn(2 * radius, (x, y), nucleus.area_um2)


def draw_smudge(canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int) -> Drawn:
    """Draw a crushed nucleus drawn out into strands: no cell any more, and not counted."""
    long, short = rng.uniform(8, 30), rng.uniform(2, 6)
    shape = blob(rng, x, y, np.sqrt(long * short), elongation=long / short, roughness=0.15, harmonics=12)
    patch = canvas.patch(x, y, shape.reach_um + 3)
    if patch is not None:
        depth, _ = patch.polar(shape)
        strands = np.maximum(0.5 + 0.6 * patch.noise("coarse", rng) + 0.3 * patch.noise("fine", rng), 0)
        amount = patch.soft(depth, 2.5) * strands * np.float32(rng.uniform(0.1, 0.4))
        patch.add(canvas.dna, amount)
    return Drawn(2 * float(np.sqrt(long * short)))


def draw_red_cell(canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int) -> Drawn:
    """Draw a red cell: 6.5 to 8 µm, paler in the middle, often a mere ghost after density gradient and fixation."""
    radius = rng.uniform(3.2, 4.1)
    shape = blob(rng, x, y, radius, elongation=rng.uniform(1, 1.3), roughness=0.04)
    patch = canvas.patch(x, y, shape.reach_um + 1.5)
    if patch is not None:
        depth, relative = patch.polar(shape)
        hollow = np.float32(0.45) + np.float32(0.55) * np.minimum(relative, 1) ** 2
        amount = patch.soft(depth, own_blur(look, rng)) * hollow * np.float32(look.red_cells * rng.uniform(0.5, 1.3))
        patch.add_colour(amount, look.granules)
        patch.add_glow(amount * np.float32(0.15), (0.1, 0.5, 0.3))
    return Drawn(2 * radius)


def draw_platelet(canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, n: int) -> Drawn:
    """Draw a platelet: 2 to 3 µm, faint."""
    radius = rng.uniform(0.8, 1.7)
    patch = canvas.patch(x, y, 1.3 * radius + 1)
    if patch is not None:
        depth, _ = disc(rng, x, y, radius, rng.uniform(1, 1.6)).polar(patch)
        amount = patch.soft(depth, 0.8) * np.float32(rng.uniform(0.5, 2.5) * look.cytoplasm)
        patch.add(canvas.cytoplasm, amount)
    return Drawn(2 * radius)


Draw = Callable[[Canvas, str, float, float, np.random.Generator, Look, int], Drawn]
ORDINARY: dict[str, Draw] = {
    **dict.fromkeys(SIMPLE, draw_simple),
    "neutrophil": draw_granulocyte,
    "band": draw_granulocyte,
    "eosinophil": draw_granulocyte,
    "megakaryocyte": draw_megakaryocyte,
    "mitosis": draw_mitosis,
    "naked_nucleus": draw_naked,
    "smudge": draw_smudge,
    "red_cell": draw_red_cell,
    "platelet": draw_platelet,
}
