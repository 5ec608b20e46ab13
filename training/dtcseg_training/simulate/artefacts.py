"""What is on a slide and is no marrow cell: squames, precipitate, pigment, debris, fibres, bubbles, ink and more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from dtcseg_training.simulate.canvas import Canvas, FloatArray, Patch, Shape, blob, polygon
from dtcseg_training.simulate.leukocytes import Drawn, Look

Colour = tuple[float, float, float]


def random_colour(rng: np.random.Generator, choices: tuple[Colour, ...]) -> Colour:
    """Pick a colour and jitter it; unit optical density vector in R, G, B."""
    vector = np.maximum(np.array(choices[rng.integers(len(choices))]) + rng.normal(0, 0.06, 3), 0.02)
    vector /= np.linalg.norm(vector)
    return float(vector[0]), float(vector[1]), float(vector[2])


def _finish(patch: Patch, amount: FloatArray, number: int, hull: Shape) -> Drawn:
    """Mark an artefact of the chromogen's colour where it is seen."""
    seen = amount > 0.12
    patch.mark(patch.canvas.objects, seen, number)
    mean = float(amount[seen].mean()) if seen.any() else 0.0
    return Drawn(2 * float(np.sqrt(hull.area_um2 / np.pi)), ck_od=mean, call="artefact", ring_um=hull.ring())


def _coloured(
    patch: Patch, amount: FloatArray, number: int, hull: Shape, colour: Colour, glow: Colour = (0.0, 0.0, 0.0)
) -> Drawn:
    """Lay down an artefact that has a colour (and a light) of its own, and mark it."""
    patch.add_colour(amount, colour)
    patch.add_glow(amount, glow)
    return replace(_finish(patch, amount, number, hull), colour=colour, glow=glow)


def _unseen(hull: Shape) -> Drawn:
    """Describe an artefact that lies off the canvas."""
    return Drawn(2 * float(np.sqrt(hull.area_um2 / np.pi)), call="artefact", ring_um=hull.ring())


def _light(rng: np.random.Generator, strongest: float) -> Colour:
    """Draw how brightly something glows in the three channels."""
    glow = rng.uniform(0, 1, 3) * rng.random() * strongest
    return float(glow[0]), float(glow[1]), float(glow[2])


def draw_squame(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw a squamous skin cell: 40 to 70 µm, polygonal, pale, folded, without a nucleus or with a pyknotic one."""
    shape = polygon(rng, x, y, rng.uniform(20, 35), int(rng.integers(4, 8)))
    patch = canvas.patch(x, y, shape.reach_um + 3)
    pyknotic = rng.random() < 0.4
    if patch is None:
        return _unseen(shape)
    depth, _ = patch.polar(shape)
    inside = patch.soft(depth, 0.8)
    folds = np.zeros(patch.shape, np.float32)
    for _ in range(int(rng.integers(0, 5))):
        angle, offset = rng.random() * np.pi, rng.uniform(-0.6, 0.6) * shape.reach_um
        bend = rng.uniform(-0.01, 0.01)
        along = (patch.x_um - x) * np.float32(np.cos(angle)) + (patch.y_um - y) * np.float32(np.sin(angle))
        across = (patch.y_um - y) * np.float32(np.cos(angle)) - (patch.x_um - x) * np.float32(np.sin(angle))
        folds += np.exp(-(((across - offset - bend * along**2) / np.float32(rng.uniform(0.5, 1.4))) ** 2))
    texture = 1 + 0.15 * patch.noise("large", rng) + 0.12 * patch.noise("mid", rng)
    strength = float(np.clip(od * rng.uniform(0.15, 0.6), 0.06, 0.6))
    edge = np.float32(0.35) * np.exp(-((depth / np.float32(0.9)) ** 2))
    amount = np.maximum(texture + 0.5 * folds + edge, 0) * inside * np.float32(strength)
    patch.add(canvas.cytokeratin, amount)
    patch.add(canvas.cytoplasm, inside * np.float32(1.5 * look.cytoplasm))
    if pyknotic:
        spot = blob(rng, x + rng.normal(0, 4), y + rng.normal(0, 4), rng.uniform(1.8, 3.2), roughness=0.05)
        patch.add(canvas.dna, patch.soft(patch.polar(spot)[0], 0.6) * np.float32(rng.uniform(0.5, 1.3)))
    patch.mark(canvas.objects, inside > 0.5, n)
    return replace(_unseen(shape), ck_od=float(amount[inside > 0.5].mean()))


def draw_precipitate(
    canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float
) -> Drawn:
    """Draw chromogen precipitate: a cloud of sharp dense granules, or one crystal-like lump."""
    hull = blob(rng, x, y, rng.uniform(2, 14), elongation=rng.uniform(1, 2), roughness=0.1)
    patch = canvas.patch(x, y, hull.reach_um + 2)
    if patch is None:
        return _unseen(hull)
    depth, relative = patch.polar(hull)
    dense = rng.random() < 0.35
    limit = np.float32(rng.uniform(-0.6, 0.2) if dense else rng.uniform(0.6, 1.3))
    grain = patch.noise(str(rng.choice(["fine", "mid"])), rng) - limit - np.float32(0.8) * relative**2
    grains: FloatArray = np.clip(grain * np.float32(2.5), 0, 1) * (depth > 0).astype(np.float32)
    if not (grains > 0.3).any():
        grains = patch.soft(patch.polar(blob(rng, x, y, 1.2))[0], 0.4)
    amount = grains * np.float32(max(od, 0.4) * rng.uniform(0.8, 2.2))
    patch.add(canvas.cytokeratin, amount)
    return _finish(patch, amount, n, hull)


BROWN_BLACK: tuple[Colour, ...] = ((0.45, 0.58, 0.68), (0.57, 0.58, 0.58), (0.35, 0.57, 0.74))
GREY: tuple[Colour, ...] = ((0.57, 0.58, 0.58), (0.5, 0.58, 0.64))
INKS: tuple[Colour, ...] = ((0.57, 0.58, 0.58), (0.8, 0.5, 0.2), (0.15, 0.75, 0.65), (0.75, 0.3, 0.6))
DIRT: tuple[Colour, ...] = ((0.5, 0.6, 0.62), (0.6, 0.65, 0.35), (0.3, 0.65, 0.6), (0.57, 0.58, 0.58))
FIBRES: tuple[Colour, ...] = ((0.75, 0.55, 0.3), (0.25, 0.75, 0.6), (0.5, 0.6, 0.62), (0.4, 0.55, 0.7), (0.3, 0.3, 0.3))


def draw_pigment(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw brown-black granules of haemosiderin, melanin or formalin pigment."""
    hull = blob(rng, x, y, rng.uniform(3, 10), elongation=rng.uniform(1, 1.6), roughness=0.1)
    patch = canvas.patch(x, y, hull.reach_um + 2)
    if patch is None:
        return _unseen(hull)
    depth, relative = patch.polar(hull)
    grain = patch.noise(str(rng.choice(["mid", "coarse"])), rng) - np.float32(rng.uniform(0.0, 0.7))
    grain = grain - np.float32(0.5) * relative**2
    amount: FloatArray = (
        np.clip(grain * np.float32(1.5), 0, 1) * patch.soft(depth, 0.5) * np.float32(rng.uniform(0.4, 1.4))
    )
    return _coloured(patch, amount, n, hull, random_colour(rng, BROWN_BLACK), _light(rng, 0.3))


def draw_debris(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw an amorphous lump of dirt, stroma or protein in some colour, often half out of focus."""
    hull = blob(
        rng, x, y, rng.uniform(2, 20), elongation=rng.uniform(1, 3), roughness=rng.uniform(0.05, 0.25), harmonics=12
    )
    patch = canvas.patch(x, y, hull.reach_um + 6)
    if patch is None:
        return _unseen(hull)
    depth, _ = patch.polar(hull)
    inside = patch.soft(depth, rng.uniform(0.5, 5.0))
    texture = np.maximum(1 + np.float32(0.4) * patch.noise("large", rng) + 0.2 * patch.noise("mid", rng), 0)
    amount = inside * texture * np.float32(rng.uniform(0.08, 0.9))
    if rng.random() < 0.3:
        patch.add(canvas.cytokeratin, amount)
        return _finish(patch, amount, n, hull)
    return _coloured(patch, amount, n, hull, random_colour(rng, DIRT), _light(rng, 0.8))


def draw_fibre(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw a textile or cellulose fibre: a bent strand with darker edges."""
    length, width = rng.uniform(40, 260), rng.uniform(2.5, 12)
    angle, bend = rng.random() * 2 * np.pi, rng.normal(0, 0.35)
    step = np.linspace(-0.5, 0.5, 200) * length
    along, across = step, bend * step**2 / length + rng.normal(0, 3) * np.sin(step / 30)
    px = x + along * np.cos(angle) - across * np.sin(angle)
    py = y + along * np.sin(angle) + across * np.cos(angle)
    patch = canvas.patch(x, y, 0.5 * length * 1.25 + width)
    if patch is None:
        return Drawn(width, call="artefact")
    line = np.ones(patch.shape, bool)
    rows = np.clip(((py - patch.y_um[0, 0]) / patch.mpp_um).astype(int), 0, patch.shape[0] - 1)
    columns = np.clip(((px - patch.x_um[0, 0]) / patch.mpp_um).astype(int), 0, patch.shape[1] - 1)
    for shift in np.linspace(0, 1, 8):
        line[
            (rows[:-1] * (1 - shift) + rows[1:] * shift).astype(int),
            (columns[:-1] * (1 - shift) + columns[1:] * shift).astype(int),
        ] = False
    depth = width / 2 - ndimage.distance_transform_edt(line).astype(np.float32) * np.float32(patch.mpp_um)
    inside = patch.soft(depth, rng.uniform(0.8, 3.0))
    rim = np.exp(-(((depth - 0.8) / np.float32(0.8)) ** 2))
    amount = inside * (np.float32(0.5) + rim) * np.float32(rng.uniform(0.1, 0.8))
    left, right = np.stack([px, py], 1), np.stack([px, py], 1)[::-1]
    normal = width / 2 * np.array([-np.sin(angle), np.cos(angle)])
    ring = np.concatenate([(left + normal)[::8], (right - normal)[::8], (left + normal)[:1]])
    drawn = _coloured(patch, amount, n, blob(rng, x, y, width / 2), random_colour(rng, FIBRES), _light(rng, 1.2))
    return replace(drawn, diameter_um=2 * float(np.sqrt(length * width / np.pi)), ring_um=ring)


def draw_bubble(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw an air bubble in the mounting medium: a dark refracting ring."""
    hull = blob(rng, x, y, rng.uniform(10, 70), elongation=rng.uniform(1, 1.2), roughness=0.02)
    patch = canvas.patch(x, y, hull.reach_um + 6)
    if patch is None:
        return _unseen(hull)
    depth, _ = patch.polar(hull)
    width = np.float32(rng.uniform(1, 5))
    ring = np.exp(-((depth / width) ** 2)) - np.float32(0.3) * np.exp(-(((depth - 2.5 * width) / width) ** 2))
    amount = ring * np.float32(rng.uniform(0.15, 0.9))
    return _coloured(patch, amount, n, hull, random_colour(rng, GREY))


def draw_ink(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw a patch of pen ink: large, strong, streaked, with a soft edge."""
    hull = blob(rng, x, y, rng.uniform(25, 90), elongation=rng.uniform(1, 3), roughness=0.15, harmonics=10)
    patch = canvas.patch(x, y, hull.reach_um + 10)
    if patch is None:
        return _unseen(hull)
    depth, _ = patch.polar(hull)
    streaks = np.maximum(1 + np.float32(0.3) * patch.noise("large", rng), 0.1)
    amount = patch.soft(depth, rng.uniform(3, 12)) * streaks * np.float32(rng.uniform(0.3, 1.6))
    return _coloured(patch, amount, n, hull, random_colour(rng, INKS), _light(rng, 0.5))


def draw_dust(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw a speck of dust on the cover slip: dark, small, far out of focus."""
    hull = blob(rng, x, y, rng.uniform(0.8, 5), elongation=rng.uniform(1, 2), roughness=0.15)
    patch = canvas.patch(x, y, hull.reach_um + 8)
    if patch is None:
        return _unseen(hull)
    amount = patch.soft(patch.polar(hull)[0], rng.uniform(1, 6)) * np.float32(rng.uniform(0.1, 0.8))
    return _coloured(patch, amount, n, hull, random_colour(rng, GREY), _light(rng, 1.5))


def draw_flake(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw a colourless refracting flake: one side brighter than the glass, the other darker."""
    hull = blob(rng, x, y, rng.uniform(3, 15), elongation=rng.uniform(1, 4), roughness=0.15, harmonics=10)
    patch = canvas.patch(x, y, hull.reach_um + 4)
    if patch is None:
        return _unseen(hull)
    inside = patch.soft(patch.polar(hull)[0] + np.float32(0.8) * patch.noise("large", rng), rng.uniform(1.0, 3.0))
    slope_y, slope_x = np.gradient(inside, patch.mpp_um)
    angle = rng.random() * 2 * np.pi
    relief = slope_x * np.float32(np.cos(angle)) + slope_y * np.float32(np.sin(angle))
    amount = (relief * rng.uniform(0.03, 0.25) + inside * rng.uniform(0, 0.04)).astype(np.float32)
    return replace(_coloured(patch, amount, n, hull, random_colour(rng, GREY)), ck_od=0.0)


def draw_glowing(canvas: Canvas, x: float, y: float, rng: np.random.Generator, look: Look, n: int, od: float) -> Drawn:
    """Draw a dead cell or granule cell that glows by itself in all channels, most in CK and CD45."""
    hull = blob(rng, x, y, rng.uniform(3.5, 9), elongation=rng.uniform(1, 1.5), roughness=rng.uniform(0.03, 0.15))
    patch = canvas.patch(x, y, hull.reach_um + 3)
    if patch is None:
        return _unseen(hull)
    depth, _ = patch.polar(hull)
    grain = patch.noise(str(rng.choice(["fine", "mid", "coarse"])), rng)
    inside = patch.soft(depth, rng.uniform(0.4, 1.5))
    amount = np.maximum(1 + np.float32(rng.uniform(0, 0.5)) * grain, 0.05) * inside * np.float32(rng.uniform(0.3, 2.0))
    glow = (float(rng.uniform(0, 0.6)), 1.0, float(rng.uniform(0.4, 1.6)))
    return _coloured(patch, amount, n, hull, random_colour(rng, BROWN_BLACK), glow)


DrawArtefact = Callable[[Canvas, float, float, np.random.Generator, Look, int, float], Drawn]
ARTEFACTS: dict[str, DrawArtefact] = {
    "squame": draw_squame,
    "precipitate": draw_precipitate,
    "pigment": draw_pigment,
    "debris": draw_debris,
    "fibre": draw_fibre,
    "bubble": draw_bubble,
    "ink": draw_ink,
    "dust": draw_dust,
    "flake": draw_flake,
    "glowing": draw_glowing,
}
