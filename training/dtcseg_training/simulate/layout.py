"""Where cells lie: densities, clumps, mutual displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from dtcseg_training.simulate.cytokeratin import HAEMATOPOIETIC, TUMOUR, UNINTERPRETABLE, draw_style
from dtcseg_training.simulate.imaging import Waves

if TYPE_CHECKING:
    from dtcseg_training.simulate.canvas import FloatArray
    from dtcseg_training.simulate.spec import FieldSpec

Points = npt.NDArray[np.float64]

# Room that a cell takes up among the others. Tumour cells take theirs by their own size; artefacts lie over the cells.
RADIUS_UM: dict[str, float] = {
    "lymphocyte": 4.5,
    "blast": 7.0,
    "promyelocyte": 8.0,
    "myelocyte": 7.0,
    "monocyte": 8.0,
    "erythroblast": 4.5,
    "plasma_cell": 7.0,
    "macrophage": 10.0,
    "stromal": 9.0,
    "neutrophil": 6.0,
    "band": 6.0,
    "eosinophil": 6.0,
    "megakaryocyte": 20.0,
    "mitosis": 7.0,
    "naked_nucleus": 5.5,
    "smudge": 8.0,
    "red_cell": 3.6,
    "platelet": 1.2,
    **dict.fromkeys(UNINTERPRETABLE, 7.0),
    **dict.fromkeys(HAEMATOPOIETIC, 5.5),
    "double_positive": 7.0,
    "megakaryocyte_reactive": 20.0,
}
_NO_ROOM_UM = 0.1


@dataclass(frozen=True)
class Placed:
    """One thing to draw, before it is drawn.

    Attributes
    ----------
    kind : str
    x_um, y_um : float
    seed : int
        Of everything random about it, so that it looks the same in every block that shows a part of it.
    style_seed : int
        Shared by the cells of a cluster.
    cluster : int
        Number of the cluster, 0 for a single object.
    """

    kind: str
    x_um: float
    y_um: float
    seed: int
    style_seed: int = 0
    cluster: int = 0


@dataclass(frozen=True)
class Box:
    """A rectangle in µm."""

    x_um: float
    y_um: float
    width_um: float
    height_um: float

    def grown(self, by_um: float) -> Box:
        """Return the rectangle with a margin on all sides."""
        return Box(self.x_um - by_um, self.y_um - by_um, self.width_um + 2 * by_um, self.height_um + 2 * by_um)

    def holds(self, x_um: float, y_um: float) -> bool:
        """Whether a point lies inside (left and top edges count, right and bottom do not)."""
        return 0 <= x_um - self.x_um < self.width_um and 0 <= y_um - self.y_um < self.height_um

    @property
    def area_mm2(self) -> float:
        """Area."""
        return self.width_um * self.height_um * 1e-6


class Spot:
    """Round spots of cells on glass: full density inside, thinning out over a ragged edge.

    Parameters
    ----------
    rng : numpy.random.Generator
    circles : tuple of (x_um, y_um, radius_um)
    """

    def __init__(self, rng: np.random.Generator, circles: tuple[tuple[float, float, float], ...]) -> None:
        self.circles = circles
        self._ragged = Waves(rng, 60, 700)
        self._density = Waves(rng, 400, 4000)
        self._fall = float(rng.uniform(0.03, 0.12))

    def cover(self, y_um: Points, x_um: Points) -> FloatArray:
        """Share of the full density on the grid of two axes, 0 to 1, float32."""
        return self._cover(y_um[:, None], x_um[None, :])

    def cover_at(self, x_um: float, y_um: float) -> float:
        """Share of the full density at one place."""
        return float(self._cover(np.array([[y_um]]), np.array([[x_um]]))[0, 0])

    def _cover(self, y: Points, x: Points) -> FloatArray:
        total = np.zeros(np.broadcast(y, x).shape)
        for centre_x, centre_y, radius in self.circles:
            inside = 1 - np.hypot(x - centre_x, y - centre_y) / radius
            inside = inside / self._fall + 0.25 * self._ragged.exact(y, x)
            total = np.maximum(total, np.clip(inside, 0, 1))
        return (total * np.clip(0.85 + 0.15 * self._density.exact(y, x), 0.4, 1)).astype(np.float32)


def scatter(rng: np.random.Generator, box: Box, number: int, clumping: float) -> Points:
    """Place points at random, a share of them in clumps; shape (number, 2), x and y in µm."""
    points = rng.random((number, 2))
    points[:, 0] = box.x_um + points[:, 0] * box.width_um
    points[:, 1] = box.y_um + points[:, 1] * box.height_um
    clumped = int(clumping * number)
    if clumped > 3:
        parents = rng.integers(0, number, max(clumped // int(rng.integers(4, 15)), 1))
        chosen = parents[rng.integers(0, len(parents), clumped)]
        moved = points[chosen] + rng.normal(0, rng.uniform(8, 22), (clumped, 2))
        moved[:, 0] = box.x_um + (moved[:, 0] - box.x_um) % box.width_um
        moved[:, 1] = box.y_um + (moved[:, 1] - box.y_um) % box.height_um
        points[:clumped] = moved
    return points


def push_apart(points: Points, radii: Points, fixed: Points, fixed_radii: Points, overlap: float) -> Points:
    """Move points until most no longer overlap more than allowed; the fixed ones stay where they are."""
    if not len(points):
        return points
    moving = len(points)
    everything = np.concatenate([points, fixed])
    sizes = np.concatenate([radii, fixed_radii])
    reach = 2 * float(np.percentile(sizes, 95)) if len(sizes) > 20 else 2 * float(sizes.max())
    big = max(reach, float(fixed_radii.max()) + 6.0 if len(fixed_radii) else 0.0)
    for _ in range(7):
        pairs = cKDTree(everything).query_pairs(big, output_type="ndarray")
        first, second = pairs[:, 0], pairs[:, 1]
        apart = everything[first] - everything[second]
        distance = np.hypot(apart[:, 0], apart[:, 1]) + 1e-6
        lacking = (sizes[first] + sizes[second]) * (1 - overlap) - distance
        near = lacking > 0
        shift = apart[near] / distance[near, None] * (0.5 * lacking[near])[:, None]
        np.add.at(everything, first[near], shift)
        np.add.at(everything, second[near], -shift)
        everything[moving:] = fixed
    return everything[:moving]


def place_ordinary(
    rng: np.random.Generator, spec: FieldSpec, box: Box, fixed: list[Placed], spot: Spot | None = None
) -> list[Placed]:
    """Place the ordinary cells of a rectangle around the special ones already there."""
    kinds = [kind for kind, _ in spec.composition]
    shares = np.array([share for _, share in spec.composition])
    number = int(rng.poisson(spec.density_per_mm2 * box.area_mm2))
    drawn = [kinds[i] for i in rng.choice(len(kinds), number, p=shares / shares.sum())]
    drawn += ["red_cell"] * int(rng.poisson(spec.red_cells_per_mm2 * box.area_mm2))
    drawn += ["platelet"] * int(rng.poisson(spec.platelets_per_mm2 * box.area_mm2))
    points = scatter(rng, box, len(drawn), spec.clumping)
    order = rng.permutation(len(drawn))
    drawn = [drawn[i] for i in order]
    if spot is not None:
        kept = [rng.random() < spot.cover_at(x, y) for x, y in points] if len(points) else []
        drawn, points = [kind for kind, keep in zip(drawn, kept, strict=True) if keep], points[np.array(kept, bool)]
    radii = np.array([RADIUS_UM[kind] for kind in drawn])
    centres = np.array([(item.x_um, item.y_um) for item in fixed]).reshape(-1, 2)
    sizes = np.array([radius_of(item) for item in fixed])
    points = push_apart(points, radii, centres, sizes, spec.overlap)
    seeds = rng.integers(0, 2**62, len(drawn))
    return [
        Placed(kind, float(x), float(y), int(seed)) for kind, (x, y), seed in zip(drawn, points, seeds, strict=True)
    ]


def radius_of(item: Placed) -> float:
    """Room that a special object takes up among the cells, in µm; artefacts lie over the cells and take none."""
    if item.kind in TUMOUR:
        return 0.42 * draw_style(np.random.default_rng(item.style_seed), 0.6, cluster=item.cluster > 0).diameter_um
    return RADIUS_UM.get(item.kind, _NO_ROOM_UM)


def place_special(rng: np.random.Generator, kind: str, x_um: float, y_um: float, cluster: int) -> list[Placed]:
    """Place one special object; pairs and clusters become several tumour cells that touch."""
    seeds = rng.integers(1, 2**62, 64)
    if kind not in ("tumour_pair", "tumour_cluster"):
        return [Placed(kind, x_um, y_um, int(seeds[0]), int(seeds[1]))]
    members = 2 if kind == "tumour_pair" else int(rng.integers(3, 12))
    diameter = draw_style(np.random.default_rng(int(seeds[1])), 0.6, cluster=True).diameter_um
    points = rng.normal(0, 0.25 * diameter * np.sqrt(members), (members, 2))
    points[0] = 0
    free = np.zeros((0, 2))
    points = push_apart(points, np.full(members, diameter / 2), free, free[:, 0], rng.uniform(0.05, 0.3))
    points = _drawn_together(points, 0.9 * diameter)
    return [
        Placed(kind, x_um + float(p[0]), y_um + float(p[1]), int(seeds[2 + i]), int(seeds[1]), cluster)
        for i, p in enumerate(points)
    ]


def _drawn_together(points: Points, reach_um: float) -> Points:
    """Pull each point towards the nearest earlier one until they touch."""
    points = points[np.argsort(np.hypot(points[:, 0], points[:, 1]))]
    for i in range(1, len(points)):
        away = points[:i] - points[i]
        distance = np.hypot(away[:, 0], away[:, 1])
        nearest = int(np.argmin(distance))
        if distance[nearest] > reach_um:
            points[i] += away[nearest] * (1 - reach_um / distance[nearest])
    centred: Points = points - points.mean(axis=0)
    return centred


def place_field(rng: np.random.Generator, spec: FieldSpec, box: Box, margin_um: float) -> list[Placed]:
    """Place everything of one field, and as much around it as the margin shows."""
    around = box.grown(margin_um)
    special: list[Placed] = []
    cluster = 0
    ratio = around.area_mm2 / box.area_mm2 - 1.0
    for kind, number in spec.counts:
        outside = int(rng.poisson(number * min(ratio, 2.0)))
        for index in range(number + outside):
            where = box if index < number else around
            x, y = where.x_um + rng.random() * where.width_um, where.y_um + rng.random() * where.height_um
            if index >= number and box.holds(x, y):
                continue
            cluster += 1
            special += place_special(rng, kind, x, y, cluster)
    return place_ordinary(rng, spec, around, special) + special
