"""Cytokeratin-positive cells: tumour cells, destroyed ones, and the haematopoietic mimics.

What separates them follows Borgen 1999 (ISHAGE) and Naume 2004: a tumour cell has a clearly enlarged nucleus, or lies
in a cluster, or shows strong irregular stain over the nucleus; a haematopoietic cell has a nucleus of 6 to 9 µm and an
even, micro-vacuolar or paranuclear stain that leaves the nucleus free; what is destroyed cannot be interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from dtcseg_training.simulate.canvas import Canvas, FloatArray, Patch, Shape, blob, notched
from dtcseg_training.simulate.leukocytes import (
    Chromatin,
    Drawn,
    Look,
    draw_megakaryocyte,
    lobes,
    own_blur,
    paint_cd45,
    paint_cytoplasm,
    paint_nucleus,
    segmented_nucleus,
)

TEXTURES = ("granular", "fibrillar", "ring", "dotted", "solid", "patchy")
_TEXTURE_SHARES = (0.24, 0.2, 0.12, 0.1, 0.18, 0.16)
UNSEEN_TEXTURES = ("whorled", "honeycomb", "shaded")
"""Kept for slides that weights are judged on; nothing learns from them."""
TUMOUR = ("tumour_single", "tumour_pair", "tumour_cluster")
UNINTERPRETABLE = ("degenerate_smear", "degenerate_ghost", "apoptotic")
HAEMATOPOIETIC = (
    "hc_even",
    "hc_vacuolar",
    "hc_paranuclear",
    "plasma_reactive",
    "granulocyte_reactive",
    "hc_granular",
    "megakaryocyte_reactive",
    "double_positive",
)
_RAGGED = 0.15
"""Share of the tumour cells (or clusters) with a ruffled contour: two of the six that `dtcseg-7` missed on slides of
three simulators written apart from this one were large ones of such a shape."""
_GIANT, _GIANT_UM = 0.08, (28.0, 45.0)
"""Share of the tumour cells (or clusters) drawn from the upper end of sizes. Without, next to every cell of 35 µm is a
megakaryocyte, and looks that had learned more of these missed tumour cells of that size."""
_MYELOID = 0.5
"""Share of the vacuolar cells that are myeloid, with a larger and paler nucleus; granular ones are as a rule."""
_DOUBLE_UM = (10.5, 24.0)
"""Diameter of a cell that holds both cytokeratin and CD45: of leukocytes, from blast to macrophage."""


@dataclass(frozen=True)
class Style:
    """What the cells of one clone, or of one cluster, have in common.

    Attributes
    ----------
    od : float
        Mean optical density of the chromogen over the cell (relative signal in fluorescence).
    texture : str
        One of `TEXTURES` or `UNSEEN_TEXTURES`.
    cover : float
        Share of the stain that also lies over the nucleus.
    diameter_um : float
    nucleus_ratio : float
        Diameter of the nucleus over that of the cell.
    density : float
        DNA stain of the nucleus, 1 for a small lymphocyte.
    roughness : float
        Irregularity of the cell's contour.
    second : str
        Another texture that is laid over the first; none when empty.
    """

    od: float
    texture: str
    cover: float
    diameter_um: float
    nucleus_ratio: float
    density: float
    roughness: float
    second: str = ""


def draw_style(rng: np.random.Generator, strength: float, *, cluster: bool, textures: tuple[str, ...] = ()) -> Style:
    """Draw the look of one tumour cell or cluster.

    Diameter 12 to 45 µm, mostly 15 to 30; mean chromogen density 0.15 (faint) to 2 (black) around the laboratory's own
    `strength`. The texture is one of `textures`, or of `TEXTURES` when none are given.
    """
    diameter = float(np.clip(np.exp(rng.normal(np.log(18 if cluster else 20), 0.28)), 12, 45))
    if rng.random() < _GIANT:
        diameter = float(rng.uniform(*_GIANT_UM))
    nucleus = _draw_nucleus_um(rng, diameter, 0.48)
    od = float(np.clip(strength * np.exp(rng.normal(0, 0.55)), 0.15, 2.2))
    cover = rng.uniform(0.25, 1.0) if rng.random() < 0.8 else rng.uniform(0.05, 0.25)
    if nucleus < 11:
        cover = max(cover, 0.4)  # a small nucleus left free would be a haematopoietic cell
    return Style(
        od=od,
        texture=str(rng.choice(textures) if textures else rng.choice(TEXTURES, p=_TEXTURE_SHARES)),
        cover=cover,
        diameter_um=diameter,
        nucleus_ratio=nucleus / diameter,
        density=rng.uniform(0.4, 1.1),
        roughness=rng.uniform(0.13, 0.2) if rng.random() < _RAGGED else rng.uniform(0.03, 0.13),
    )


def compact(rng: np.random.Generator, style: Style) -> Style:
    """Draw a tumour cell of the same stain, hardly larger than a leukocyte, with cytokeratin over its nucleus."""
    diameter = float(rng.uniform(12, 15.5))
    nucleus = _draw_nucleus_um(rng, diameter, 0.55)
    cover = float(rng.uniform(0.4, 1.0))
    return replace(style, cover=cover, diameter_um=diameter, nucleus_ratio=float(nucleus / diameter))


def _draw_nucleus_um(rng: np.random.Generator, diameter_um: float, least_ratio: float) -> float:
    """Draw the diameter of a tumour cell's nucleus: 9.5 µm and more where the cell has room for it."""
    most = 0.82
    return max(diameter_um * rng.uniform(least_ratio, most), min(9.5, most * diameter_um))


def mixed(rng: np.random.Generator, style: Style) -> Style:
    """Draw the same cells with another texture laid over theirs."""
    return replace(style, second=str(rng.choice([t for t in TEXTURES if t != style.texture])))


def stain_texture(patch: Patch, texture: str, depth: FloatArray, radius: float, rng: np.random.Generator) -> FloatArray:
    """Relative amount of cytokeratin over the window, around 1, float32."""
    fine, mid = patch.noise("fine", rng), patch.noise("mid", rng)
    amount: FloatArray
    if texture == "granular":
        amount = np.maximum(0.75 + 0.5 * fine + 0.35 * mid, 0.05)
    elif texture == "fibrillar":
        net = np.exp(-((patch.noise("coarse", rng) / np.float32(0.3)) ** 2))
        fibres = np.exp(-((mid / np.float32(0.4)) ** 2))
        amount = np.float32(0.35) + np.float32(0.9) * net + np.float32(0.5) * fibres
    elif texture == "ring":
        width = np.float32(rng.uniform(0.12, 0.3) * radius)
        ring = np.exp(-(((depth - width) / width) ** 2))
        amount = (np.float32(0.2) + ring * np.float32(1.4)) * np.maximum(1 + 0.3 * mid, 0.1)
    elif texture == "dotted":
        dots = patch.noise("coarse" if rng.random() < 0.5 else "mid", rng)
        amount = np.float32(0.3) + np.maximum(dots - np.float32(0.7), 0) * np.float32(2.2) + 0.2 * np.maximum(fine, 0)
    elif texture in UNSEEN_TEXTURES:
        amount = _unseen_texture(patch, texture, radius, rng)
    elif texture == "patchy":
        amount = np.maximum(0.8 + 0.75 * patch.noise("large", rng) + 0.25 * mid, 0.08)
    else:
        amount = np.float32(1.0) + np.float32(0.12) * mid + np.float32(0.06) * fine
    return amount


def _unseen_texture(patch: Patch, texture: str, radius: float, rng: np.random.Generator) -> FloatArray:
    """Textures made by other means than grains of noise: bundles around a pole, a net of vesicles, one dark side."""
    x, y = patch.x_um - patch.x_um.mean(), patch.y_um - patch.y_um.mean()
    angle = rng.random() * 2 * np.pi
    amount: FloatArray
    if texture == "whorled":
        pole = rng.uniform(-0.5, 0.5, 2) * radius
        away = np.hypot(x - np.float32(pole[0]), y - np.float32(pole[1]))
        turn = np.arctan2(y - np.float32(pole[1]), x - np.float32(pole[0]))
        phase = away * np.float32(2 * np.pi / rng.uniform(1.6, 3.0)) + int(rng.integers(1, 4)) * turn
        amount = np.float32(0.75) + np.float32(0.5) * np.sin(phase + np.float32(1.3) * patch.noise("large", rng))
    elif texture == "honeycomb":
        number = int(np.clip(radius**2 / rng.uniform(1.5, 4.0), 8, 120))
        middles = rng.uniform(-1.3 * radius, 1.3 * radius, (number, 2))
        places = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
        near = cKDTree(middles).query(places, k=2)[0]
        walls = np.exp(-(((near[:, 1] - near[:, 0]) / rng.uniform(0.6, 1.2)) ** 2)).reshape(patch.shape)
        amount = (np.float32(0.3) + np.float32(1.2) * walls).astype(np.float32)
    else:
        along = (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) / np.float32(radius)
        amount = np.clip(np.float32(0.9) + np.float32(rng.uniform(0.5, 1.0)) * along, 0.05, 2.0)
    return np.maximum(amount * (1 + np.float32(0.1) * patch.noise("fine", rng)), np.float32(0.05))


def paint_stain(patch: Patch, amount: FloatArray, inside: FloatArray, od: float, number: int) -> float:
    """Lay down cytokeratin of a given mean density over the cell; returns that mean as drawn."""
    seen = inside > 0.5
    if not seen.any():
        return 0.0
    mean = float(amount[seen].mean())
    amount = np.minimum(amount * np.float32(od / max(mean, 1e-3)), np.float32(max(3.5 * od, 0.6)))
    patch.add(patch.canvas.cytokeratin, amount)
    patch.mark(patch.canvas.objects, seen, number)
    return float(amount[seen].mean())


def _coverage(patch: Patch, cover: float, rng: np.random.Generator) -> FloatArray:
    """Share of the stain that lies over each place of the nucleus: uneven, `cover` on average."""
    uneven = 1 + np.float32(0.8) * np.tanh(patch.noise("large", rng))
    share: FloatArray = np.clip(np.float32(cover) * uneven, 0, 1)
    return share


def draw_tumour(
    canvas: Canvas,
    x: float,
    y: float,
    rng: np.random.Generator,
    look: Look,
    number: int,
    style: Style,
    cd45: float = 0.0,
) -> Drawn:
    """Draw one tumour cell; in a cluster its neighbours share the style. Only a mimic of one holds CD45."""
    radius = style.diameter_um / 2 * np.exp(rng.normal(0, 0.06))
    cell = blob(rng, x, y, radius, elongation=rng.uniform(1, 1.6), roughness=style.roughness, harmonics=8)
    nuclear_radius = radius * style.nucleus_ratio * np.exp(rng.normal(0, 0.05))
    room = max(float(cell.radii_um.min()) - nuclear_radius, 0.15 * radius)
    way, angle = room * rng.random() ** 0.7, rng.random() * 2 * np.pi
    nx, ny = x + way * np.cos(angle), y + way * np.sin(angle)
    nucleus = blob(rng, nx, ny, nuclear_radius, elongation=rng.uniform(1, 1.5), roughness=rng.uniform(0.02, 0.09))
    inner = np.minimum(nucleus.radii_um, 0.97 * (cell.radii_um + 0.5) + 0 * nucleus.radii_um)
    nucleus = Shape(nx, ny, inner)
    patch = canvas.patch(x, y, cell.reach_um + 3)
    drawn = Drawn(
        2 * float(np.sqrt(cell.area_um2 / np.pi)), (nx, ny), nucleus.area_um2, 0.0, "tumour", style.texture, cell.ring()
    )
    if patch is None:
        return drawn
    edge = own_blur(look, rng)
    depth, from_middle = patch.polar(cell)
    inside = paint_cytoplasm(patch, (depth, from_middle), rng, edge, 1.5 * look.cytoplasm, 0.2)
    if cd45:
        paint_cd45(patch, depth, inside, rng, cd45)
    nuclear_depth, relative = patch.polar(nucleus)
    coarse = str(rng.choice(["fine", "mid", "coarse"], p=[0.2, 0.5, 0.3]))
    chromatin = Chromatin(
        style.density, rng.uniform(0.1, 0.28), coarse, rng.uniform(0.1, 0.35), int(rng.integers(0, 4))
    )
    over = paint_nucleus(patch, nuclear_depth, relative, chromatin, look, rng, edge, number)
    amount = stain_texture(patch, style.texture, depth, radius, rng)
    if style.second:
        share = np.float32(rng.uniform(0.3, 0.7))
        amount = share * amount + (1 - share) * stain_texture(patch, style.second, depth, radius, rng)
    thick = np.sqrt(np.clip(depth / np.float32(0.35 * radius), 0, 1)) * np.float32(0.6) + np.float32(0.4)
    free = 1 - over * (1 - _coverage(patch, style.cover, rng))
    ck = paint_stain(patch, amount * thick * free * inside, inside, style.od, number)
    _blebs(patch, cell, style.od, rng)
    return Drawn(drawn.diameter_um, (nx, ny), nucleus.area_um2, ck, "tumour", style.texture, cell.ring())


def _blebs(patch: Patch, cell: Shape, od: float, rng: np.random.Generator) -> None:
    """Now and then a few shed granules just outside the contour."""
    if rng.random() > 0.25:
        return
    for _ in range(int(rng.integers(1, 6))):
        angle = rng.random() * 2 * np.pi
        away = cell.radius_at(angle) + rng.uniform(0.3, 2.0)
        spot = blob(rng, cell.x_um + away * np.cos(angle), cell.y_um + away * np.sin(angle), rng.uniform(0.3, 0.9))
        patch.add(
            patch.canvas.cytokeratin, patch.soft(patch.polar(spot)[0], 0.5) * np.float32(od * rng.uniform(0.4, 1))
        )


def draw_uninterpretable(
    canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, number: int, strength: float
) -> Drawn:
    """Draw a destroyed or degenerated CK+ cell: smeared, a ghost with a blurred nucleus, or apoptotic fragments."""
    od = float(np.clip(strength * np.exp(rng.normal(-0.1, 0.6)), 0.12, 2.0))
    if kind == "apoptotic":
        return _draw_apoptotic(canvas, x, y, rng, number, od)
    radius = rng.uniform(5, 13)
    ghost = kind == "degenerate_ghost"
    ragged = rng.uniform(0.05, 0.15) if ghost else rng.uniform(0.12, 0.25)
    long = rng.uniform(1, 1.5 if ghost else 2.6)
    cell = blob(rng, x, y, radius, elongation=long, roughness=ragged, harmonics=14)
    diameter = 2 * float(np.sqrt(cell.area_um2 / np.pi))
    patch = canvas.patch(x, y, cell.reach_um + 4)
    if patch is None:
        return Drawn(diameter, call="uninterpretable", ring_um=cell.ring())
    depth, _ = patch.polar(cell)
    inside = patch.soft(depth + np.float32(0.7) * patch.noise("coarse", rng), rng.uniform(1.0, 3.0))
    holes = np.clip(1.2 - np.maximum(patch.noise("large", rng), 0) * np.float32(rng.uniform(0.3, 1.0)), 0.1, 1.2)
    textures = ("patchy", "solid", "solid") if ghost else ("granular", "patchy", "dotted")
    amount = stain_texture(patch, str(rng.choice(textures)), depth, radius, rng)
    smudge = blob(
        rng, x, y, radius * rng.uniform(0.4, 0.75), elongation=rng.uniform(1, 1.8), roughness=0.2, harmonics=10
    )
    veil = patch.soft(patch.polar(smudge)[0], rng.uniform(2, 4)) * np.float32(
        rng.uniform(0.1, 0.35) * (1 if ghost else 0.5)
    )
    patch.add(canvas.dna, veil * np.maximum(1 + 0.3 * patch.noise("coarse", rng), 0))
    ck = paint_stain(patch, amount * holes * inside, patch.soft(depth, 0.1), od, number)
    return Drawn(diameter, ck_od=ck, call="uninterpretable", ring_um=cell.ring())


def _draw_apoptotic(canvas: Canvas, x: float, y: float, rng: np.random.Generator, number: int, od: float) -> Drawn:
    """Draw round CK+ bodies with dense pyknotic fragments in some of them."""
    radius = rng.uniform(5, 10)
    hull = blob(rng, x, y, radius, elongation=rng.uniform(1, 1.4), roughness=0.08)
    diameter = 2 * float(np.sqrt(hull.area_um2 / np.pi))
    patch = canvas.patch(x, y, hull.reach_um + 4)
    if patch is None:
        return Drawn(diameter, call="uninterpretable", ring_um=hull.ring())
    total = np.zeros(patch.shape, np.float32)
    for _ in range(int(rng.integers(4, 10))):
        angle, size = rng.random() * 2 * np.pi, rng.uniform(1.2, 3.6)
        away = rng.random() ** 0.6 * max(hull.radius_at(angle) - size, 0)
        body = blob(rng, x + away * np.cos(angle), y + away * np.sin(angle), size, roughness=0.04)
        depth, relative = patch.polar(body)
        total = np.maximum(total, patch.soft(depth, 0.5) * (np.float32(0.5) + 0.5 * np.minimum(relative, 1)))
        if rng.random() < 0.6:
            pyknotic = blob(rng, body.x_um, body.y_um, size * rng.uniform(0.3, 0.7), roughness=0.05)
            patch.add(canvas.dna, patch.soft(patch.polar(pyknotic)[0], 0.5) * np.float32(rng.uniform(1.0, 1.9)))
    veil = patch.soft(patch.polar(hull)[0], 1.5)
    amount = (np.float32(0.25) + total) * veil * np.maximum(1 + 0.25 * patch.noise("fine", rng), 0)
    ck = paint_stain(patch, amount, patch.soft(patch.polar(hull)[0], 0.1), od, number)
    return Drawn(diameter, ck_od=ck, call="uninterpretable", ring_um=hull.ring())


def draw_haematopoietic(
    canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, number: int, strength: float
) -> Drawn:
    """Draw a CK+ haematopoietic cell: a nucleus of 6 to 9 µm left free by an even, vacuolar or paranuclear stain.

    Myeloid cells have a paler nucleus of up to 11.4 µm, often bent. Megakaryocytes, and in fluorescence whatever holds
    CD45, are haematopoietic whatever they look like otherwise.
    """
    if kind == "megakaryocyte_reactive":
        return _draw_reactive_megakaryocyte(canvas, kind, x, y, rng, look, number, strength)
    if kind == "double_positive":
        return _draw_double_positive(canvas, kind, x, y, rng, look, number, strength)
    wide = kind in ("plasma_reactive", "granulocyte_reactive")
    myeloid = kind == "hc_granular" or (kind == "hc_vacuolar" and rng.random() < _MYELOID)
    nuclear_radius = rng.uniform(3.7, 5.7) if myeloid else rng.uniform(3.0, 4.5)
    if myeloid:
        radius = nuclear_radius * rng.uniform(1.3, 1.75)
    else:
        radius = rng.uniform(5.5, 8.0) if wide else max(rng.uniform(4.6, 6.6), 1.22 * nuclear_radius)
    cell = blob(rng, x, y, radius, elongation=rng.uniform(1, 1.3), roughness=0.04)
    out = (radius - nuclear_radius) * (rng.uniform(0.6, 0.95) if kind != "hc_even" else rng.uniform(0.1, 0.8))
    angle = rng.random() * 2 * np.pi
    nx, ny = x + out * np.cos(angle), y + out * np.sin(angle)
    patch = canvas.patch(x, y, cell.reach_um + 3)
    area = float(np.pi * nuclear_radius**2)
    diameter = 2 * float(np.sqrt(cell.area_um2 / np.pi))
    if patch is None:
        return Drawn(diameter, (nx, ny), area, 0.0, "haematopoietic", kind, cell.ring())
    edge = own_blur(look, rng)
    depth, from_middle = patch.polar(cell)
    inside = paint_cytoplasm(patch, (depth, from_middle), rng, edge, 1.3 * look.cytoplasm, 0.15)
    paint_cd45(patch, depth, inside, rng, 0.25 if kind == "plasma_reactive" else 1.0)
    if kind == "granulocyte_reactive":
        nuclear_depth, relative = lobes(patch, segmented_nucleus(rng, nx, ny, int(rng.integers(2, 4)), band=False))
    else:
        nucleus = blob(rng, nx, ny, nuclear_radius, elongation=rng.uniform(1, 1.2), roughness=0.03)
        if myeloid:
            nucleus = notched(nucleus, rng, rng.uniform(0, 0.4), rng.uniform(0.35, 0.8))
        nuclear_depth, relative = patch.polar(nucleus)
    density = rng.uniform(0.5, 0.9) if myeloid else rng.uniform(0.8, 1.15)
    chromatin = Chromatin(density, 0.3 if kind == "plasma_reactive" else 0.15, "coarse", 0.2)
    over = paint_nucleus(patch, nuclear_depth, relative, chromatin, look, rng, edge, number)
    amount = _mimic_stain(patch, kind, cell, (nx, ny), rng)
    free = 1 - over * np.float32(1 - rng.uniform(0, 0.15))
    strong = wide or kind == "hc_granular"
    od = float(np.clip(strength * np.exp(rng.normal(-0.15 if strong else -0.6, 0.5)), 0.1, 1.4))
    ck = paint_stain(patch, amount * free * inside, inside, od * 0.8, number)
    return Drawn(diameter, (nx, ny), area, ck, "haematopoietic", kind, cell.ring())


def _draw_reactive_megakaryocyte(
    canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, number: int, strength: float
) -> Drawn:
    """Draw a megakaryocyte whose whole cytoplasm has taken some of the chromogen."""
    od = float(np.clip(strength * np.exp(rng.normal(-1.1, 0.5)), 0.08, 0.5))
    cover = rng.uniform(0, 0.25)
    dots = np.float32(rng.uniform(0.5, 3) if rng.random() < 0.4 else 0)

    def stained(patch: Patch, depth: FloatArray, inside: FloatArray, nucleus: FloatArray) -> float:
        fine, mid = patch.noise("fine", rng), patch.noise("mid", rng)
        grain = np.float32(0.2) * mid + np.float32(0.15) * fine + dots * np.maximum(mid - np.float32(0.8), 0)
        free = 1 - nucleus * np.float32(1 - cover)
        return paint_stain(patch, np.maximum(1 + grain, 0) * free * inside, inside, od, number)

    drawn = draw_megakaryocyte(canvas, kind, x, y, rng, look, number, stained)
    return replace(drawn, call="haematopoietic", texture=kind)


def _draw_double_positive(
    canvas: Canvas, kind: str, x: float, y: float, rng: np.random.Generator, look: Look, number: int, strength: float
) -> Drawn:
    """Draw a leukocyte stained like a tumour cell: only its CD45 tells it."""
    style = draw_style(rng, 0.8 * strength, cluster=False)
    cover = rng.uniform(0, 0.25) if rng.random() < 0.5 else style.cover
    size, ratio = float(rng.uniform(*_DOUBLE_UM)), float(rng.uniform(0.5, 0.8))
    style = replace(style, cover=cover, diameter_um=size, nucleus_ratio=ratio)
    drawn = draw_tumour(canvas, x, y, rng, look, number, style, cd45=float(rng.uniform(0.5, 1.4)))
    return replace(drawn, call="haematopoietic", texture=kind)


def _mimic_stain(
    patch: Patch, kind: str, cell: Shape, nucleus: tuple[float, float], rng: np.random.Generator
) -> FloatArray:
    """Relative stain of the cytoplasm of a mimic."""
    amount: FloatArray
    if kind == "hc_vacuolar":
        holes = np.clip(1.1 - np.float32(1.3) * np.maximum(patch.noise("coarse", rng), 0), 0.05, 1.2)
        amount = holes + np.maximum(patch.noise("fine", rng) - np.float32(1.2), 0)
        return amount
    if kind == "granulocyte_reactive":
        amount = np.maximum(np.float32(0.6) + np.float32(0.9) * patch.noise("fine", rng), 0.05)
        return amount
    if kind == "hc_granular":  # grains with an edge, few or many, on next to nothing
        grains = patch.noise("fine" if rng.random() < 0.6 else "mid", rng) - np.float32(rng.uniform(-0.2, 0.9))
        amount = np.float32(rng.uniform(0.02, 0.25)) + np.clip(grains * np.float32(rng.uniform(1.5, 4)), 0, 1.2)
        return amount
    away_x, away_y = cell.x_um - nucleus[0], cell.y_um - nucleus[1]
    length = max(float(np.hypot(away_x, away_y)), 0.3)
    spot = (cell.x_um + 2.0 * away_x / length, cell.y_um + 2.0 * away_y / length)
    near = (patch.x_um - np.float32(spot[0])) ** 2 + (patch.y_um - np.float32(spot[1])) ** 2
    if kind == "hc_paranuclear":
        amount = np.float32(0.15) + np.float32(2.0) * np.exp(-near / np.float32(rng.uniform(1.5, 5.0)))
        return amount
    amount = 1 + np.float32(0.1) * patch.noise("mid", rng)
    if kind == "plasma_reactive":
        amount *= 1 - np.float32(rng.uniform(0.2, 0.7)) * np.exp(-near / np.float32(4.0))
    return amount
