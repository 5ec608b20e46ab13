"""The second look: each candidate at 0.5 µm/px. Gives its outline, its nucleus, its call and its measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.filters import threshold_otsu
from skimage.measure import find_contours

from dtcseg.cells import CALLS, Candidate
from dtcseg.company import scores_in_company, weighed
from dtcseg.cutoff import positivity
from dtcseg.errors import UnreadableRegion
from dtcseg.giants import giant_odds
from dtcseg.leukocyte_ring import RING, RING_ODDS, leukocyte_ring
from dtcseg.network.model import LOOK_CLASSES, LOOK_MASKS, LOOK_PX
from dtcseg.parallel import ordered_map
from dtcseg.screen import SlideHandles, SlideProfile, read_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg.cells import Call
    from dtcseg.network.engine import Engine
    from dtcseg.slide import Slide
    from dtcseg.working import WorkingGrid

FloatArray = npt.NDArray[np.float32]

_CROPS_A_TASK = 16
NEIGHBOURHOOD_UM = 50.0
_TOUCHING_UM = 2.0
"""Outlines this close belong to one cluster: about the error of both outlines together."""
_SAME_OBJECT, _SAME_WHATEVER = 0.4, 0.6
"""Two outlines are of one object where they share more than this part of the smaller one: the first where the middle of
one lies in the other, the second (cells of a pair over one another do) wherever it lies."""
_MIN_CELL_UM2 = 12.0
"""Smaller than a 4 µm disc: no cell, but a grain; kept as a disc of this area, so that it can be seen and judged."""
_COVERED_OD = 0.5
"""A nuclear pixel is covered where its cytokeratin is at least this share of the cell's mean."""
_NEIGHBOUR_NUCLEUS_UM2 = (20.0, 160.0)
"""Areas of single nuclei around a candidate: discs of 5 to 14 µm; less is dirt, more are several nuclei in one."""
_FEWEST_NEIGHBOURS = 4
_GRAIN_SIGMA_PX = 2.0
_OUTLINE_TOLERANCE_PX = 0.35
_HIDES_NO_NUCLEUS_OD = 0.3
"""A nucleus (0.6 OD typically) shows through fainter stain: what shows none there is no cell, and so no tumour cell
(readers judge the nucleus: Borgen 1999, Cytotherapy 1:377). Under stronger stain a tumour cell may show none."""
_CK_POSITIVE = 0.10
"""An object of which not even a quarter reaches this (cytokeratin plane averaged over 1.5 µm) is not
cytokeratin-positive and no candidate: two thirds of the faintest tumour cells' mean, twice the faintest cytoplasm.
Of the screen's candidates on held-out fields it cuts 10 % of what is no tumour cell, and 0.3 % of the tumour cells."""


@dataclass(frozen=True)
class _Seen:
    """One cytokeratin-positive candidate after the look, in look pixels of the slide."""

    ring: npt.NDArray[np.float64]
    probabilities: FloatArray
    nucleus_px: int
    ck_od: float
    ck_over_nucleus: float
    nucleus_ratio: float
    ck_granularity: float
    cd45_ring: float

    @property
    def tumour(self) -> float:
        """Probability to be a tumour cell."""
        return float(self.probabilities[LOOK_CLASSES.index("tumour")])

    def scored(self, tumour: float) -> _Seen:
        """Give it another probability to be a tumour cell; the others keep their shares of the rest."""
        rest = self.probabilities * np.float32((1 - tumour) / max(1 - self.tumour, 1e-9))
        rest[LOOK_CLASSES.index("tumour")] = tumour
        return replace(self, probabilities=rest)


def look_at(
    slide: Slide,
    grid: WorkingGrid,
    profile: SlideProfile,
    engine: Engine,
    centres_px: npt.NDArray[np.float64],
    nuclei_around: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float32]],
    *,
    threads: int,
    on_progress: Callable[[float], None],
) -> tuple[Candidate, ...]:
    """Outline, call and measure candidates.

    Parameters
    ----------
    slide : Slide
    grid : WorkingGrid
        Of about 0.5 µm/px.
    profile : SlideProfile
    engine : Engine
    centres_px : (N, 2) float64
        Level-0 (x, y) of the candidates.
    nuclei_around : callable
        From places (N, 2), level-0 pixels, to all nuclei (M, 2) float32 within `NEIGHBOURHOOD_UM` of them at least, for
        the number of neighbours.
    threads : int
    on_progress : callable

    Returns
    -------
    tuple of Candidate
        Sorted by falling score, then y, then x; one for each object, even where several centres fell on it. Objects
        without cytokeratin are left out.
    """
    middles = np.round((centres_px + 0.5) / grid.downsample - 0.5).astype(np.int64)
    tasks = [middles[i : i + _CROPS_A_TASK] for i in range(0, len(middles), _CROPS_A_TASK)]
    handles = SlideHandles(slide)

    def work(part: npt.NDArray[np.int64]) -> list[_Seen | None]:
        return _look_group(handles.get(), grid, profile, engine, part)

    seen: list[_Seen | None] = []
    try:
        for results in ordered_map(work, tasks, threads):
            seen.extend(results)
            on_progress(min(len(seen) / len(middles), 1.0))
    finally:
        handles.close()
    threshold = engine.info.card.tumour_threshold
    objects = [s for s in seen if s is not None]
    candidates = [_candidate(s, grid, threshold) for s in objects]
    kept = _distinct(candidates)
    objects, candidates = [objects[i] for i in kept], [candidates[i] for i in kept]
    scores = scores_in_company(
        _by_size(objects, candidates),
        _standing(objects, profile),
        np.array([c.ck_od for c in candidates]),
        np.array([c.diameter_um for c in candidates]),
        threshold,
    )
    rescored = [
        _rescored(c, s.scored(score), threshold) for c, s, score in zip(candidates, objects, scores, strict=True)
    ]
    distinct = sorted(rescored, key=_order)
    centres = np.array([(c.x_px, c.y_px) for c in distinct]).reshape(-1, 2)
    return _related(distinct, nuclei_around(centres), grid.mpp_um / grid.downsample)


def look_closely(
    slide: Slide, grid: WorkingGrid, profile: SlideProfile, engine: Engine, x_px: float, y_px: float
) -> tuple[Candidate, npt.NDArray[np.float64] | None]:
    """Outline, call and measure what lies at one place that a person points at, whatever it holds.

    Parameters
    ----------
    slide : Slide
    grid : WorkingGrid
        Of about 0.5 µm/px.
    profile : SlideProfile
    engine : Engine
    x_px, y_px : float
        Level-0 pixels.

    Returns
    -------
    candidate : Candidate
        As `look_at` gives it, but without neighbours and cluster, and also where no cytokeratin is seen.
    nucleus_px : (N, 2) float64 or None
        Closed outline of its nucleus in level-0 pixels; None where no nucleus is seen.

    Raises
    ------
    UnreadableRegion
        The place cannot be decoded.
    """
    left, top = (round((v + 0.5) / grid.downsample - 0.5) - LOOK_PX // 2 for v in (x_px, y_px))
    crop = read_planes(slide, grid, profile, left, top, LOOK_PX, LOOK_PX)
    masks, calls = engine.look(crop[None], profile.ck_spread, profile.signature)
    middle = _middle_object(masks[0][LOOK_MASKS.index("cell")])
    seen = _measured(crop, masks[0], calls[0], (left, top), grid.mpp_um, middle, profile.marks_leukocytes)
    threshold = engine.info.card.tumour_threshold
    candidate = _candidate(seen, grid, threshold)
    score = float(weighed(_by_size([seen], [candidate]), _standing([seen], profile))[0])
    nucleus = _own_nucleus(masks[0], middle[0])
    ring = _ring(nucleus.astype(np.float32)) + np.array([left, top]) if nucleus.any() else None
    outline = None if ring is None else np.round((ring + 0.5) * grid.downsample - 0.5, 2)
    return _rescored(candidate, seen.scored(score), threshold), outline


def _look_group(
    slide: Slide, grid: WorkingGrid, profile: SlideProfile, engine: Engine, middles: npt.NDArray[np.int64]
) -> list[_Seen | None]:
    crops, corners = [], []
    for x, y in middles:
        left, top = int(x) - LOOK_PX // 2, int(y) - LOOK_PX // 2
        try:
            crops.append(read_planes(slide, grid, profile, left, top, LOOK_PX, LOOK_PX))
        except UnreadableRegion:
            continue  # its block is marked unreadable by the first look, or it lies at the rim of one
        corners.append((left, top))
    if not crops:
        return []
    masks, calls = engine.look(np.stack(crops), profile.ck_spread, profile.signature)
    return [
        _measure(crop, mask, call, corner, grid.mpp_um, profile.marks_leukocytes)
        for crop, mask, call, corner in zip(crops, masks, calls, corners, strict=True)
    ]


def _measure(
    crop: FloatArray,
    masks: FloatArray,
    call: FloatArray,
    corner: tuple[int, int],
    mpp_um: float,
    marks_leukocytes: bool = False,
) -> _Seen | None:
    """Measure the object in the middle; None where it holds no cytokeratin."""
    middle = _middle_object(masks[LOOK_MASKS.index("cell")])
    if float(np.percentile(ndimage.uniform_filter(crop[1], 3)[middle[0]], 75)) < _CK_POSITIVE:
        return None
    return _measured(crop, masks, call, corner, mpp_um, middle, marks_leukocytes)


def _measured(
    crop: FloatArray,
    masks: FloatArray,
    call: FloatArray,
    corner: tuple[int, int],
    mpp_um: float,
    middle: tuple[npt.NDArray[np.bool_], FloatArray],
    marks_leukocytes: bool,
) -> _Seen:
    """Measure an object, whatever it is, from its mask and probability map (`_middle_object`)."""
    cell, cell_probability = middle
    ring = _ring(cell_probability) + np.asarray(corner, np.float64)
    nucleus = _own_nucleus(masks, cell)
    ck = crop[1]
    ck_od = float(ck[cell].mean())
    covered = ck[nucleus] >= max(_COVERED_OD * ck_od, 0.05)
    return _Seen(
        ring=ring,
        probabilities=call,
        nucleus_px=int(nucleus.sum()),
        ck_od=ck_od,
        ck_over_nucleus=float(covered.mean()) if covered.size else 0.0,
        nucleus_ratio=_nucleus_ratio(crop[0], nucleus, mpp_um),
        ck_granularity=float((ck - ndimage.gaussian_filter(ck, _GRAIN_SIGMA_PX))[cell].std()) / max(ck_od, 0.05),
        cd45_ring=leukocyte_ring(crop[2], cell, mpp_um) if marks_leukocytes else 0.0,
    )


def _by_size(seen: Sequence[_Seen], candidates: Sequence[Candidate]) -> npt.NDArray[np.float64]:
    """Probability of each to be a tumour cell, with what its size says against it."""
    scores = np.array([s.tumour for s in seen], np.float64)
    measures = np.array([(c.diameter_um, c.ck_od, c.ck_over_nucleus) for c in candidates], np.float64).reshape(-1, 3)
    return weighed(scores, giant_odds(*measures.T))


def _standing(seen: Sequence[_Seen], profile: SlideProfile) -> npt.NDArray[np.float64]:
    """Part of the odds of a tumour cell that each keeps for what the slide tells of its stain (`scores_in_company`)."""
    ring = np.array([s.cd45_ring >= RING for s in seen], bool)
    above = positivity(np.array([s.ck_od for s in seen], np.float64), profile.ck_cutoff)
    return above * np.where(ring, RING_ODDS, 1.0)


def _middle_object(probability: FloatArray) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Mask and probability map of the object nearest to the crop's middle; a small disc where there is none."""
    distance = _from_middle()
    labels, count = ndimage.label(probability > 0.5)
    if count:
        nearest = ndimage.minimum(distance, labels, np.arange(1, count + 1))
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        allowed = np.where(areas * 0.25 >= _MIN_CELL_UM2, nearest, np.inf)
        best = int(np.argmin(allowed)) + 1
        if allowed[best - 1] < LOOK_PX / 8:
            mask = ndimage.binary_fill_holes(labels == best)
            near = ndimage.binary_dilation(mask, iterations=2)
            own = np.where(near & ((labels == best) | (labels == 0) | mask), probability, 0)
            return mask, np.where(mask, np.maximum(own, 0.501), own).astype(np.float32)
    radius = float(np.sqrt(_MIN_CELL_UM2 / 0.25 / np.pi))
    disc = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    return disc > 0.5, disc


@cache
def _from_middle() -> npt.NDArray[np.float64]:
    """Distance of each pixel of a crop from its middle."""
    axis = np.arange(LOOK_PX) - (LOOK_PX - 1) / 2
    return np.asarray(np.hypot(axis[:, None], axis[None, :]))


def _ring(probability: FloatArray) -> npt.NDArray[np.float64]:
    """Trace the longest contour at probability one half: a closed simple ring (N, 2) of (x, y)."""
    padded = np.pad(probability, 1)
    contours = find_contours(padded.astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    longest = max(contours, key=len)[:, ::-1] - 1
    shape = shapely.make_valid(shapely.Polygon(longest).simplify(_OUTLINE_TOLERANCE_PX))
    parts = [g for g in shapely.get_parts(shape) if g.geom_type == "Polygon"]
    largest = max(parts, key=lambda g: g.area)
    return np.asarray(largest.exterior.coords)


def _own_nucleus(masks: FloatArray, cell: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Nuclear pixels of the pieces that lie for the most part in the cell."""
    nuclear: npt.NDArray[np.bool_] = masks[LOOK_MASKS.index("nucleus")] > 0.5
    labels, count = ndimage.label(nuclear)
    if not count:
        return nuclear & cell
    inside = np.bincount(labels[cell], minlength=count + 1)
    own = inside > 0.5 * np.bincount(labels.ravel(), minlength=count + 1)
    own[0] = False
    return cast("npt.NDArray[np.bool_]", own[labels])


def _nucleus_ratio(nuclear: FloatArray, own: npt.NDArray[np.bool_], mpp_um: float) -> float:
    """Area of the own nucleus over the median of the others in the crop (Otsu's threshold, pieces of one size)."""
    if not own.any() or not float(np.ptp(nuclear)) > 0:
        return 0.0
    smooth = ndimage.gaussian_filter(nuclear, 1.0)
    labels, count = ndimage.label(smooth > threshold_otsu(smooth))  # type: ignore[no-untyped-call]
    areas_um2 = np.bincount(labels.ravel(), minlength=count + 1).astype(float) * mpp_um**2
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[own]]))
    areas_um2[cut] = 0  # at the rim, or its own
    areas_um2[0] = 0
    low, high = _NEIGHBOUR_NUCLEUS_UM2
    others = areas_um2[(areas_um2 >= low) & (areas_um2 <= high)]
    if len(others) < _FEWEST_NEIGHBOURS:
        return 0.0
    return float(own.sum()) * mpp_um**2 / float(np.median(others))


def _candidate(seen: _Seen, grid: WorkingGrid, tumour_threshold: float) -> Candidate:
    """Level-0 record of one candidate; neighbours and clusters come later."""
    ring = (seen.ring + 0.5) * grid.downsample - 0.5
    polygon = shapely.Polygon(ring)
    area_um2 = float(shapely.Polygon(seen.ring).area) * grid.mpp_um**2
    centre = polygon.centroid
    return Candidate(
        x_px=round(float(centre.x), 2),
        y_px=round(float(centre.y), 2),
        score=round(seen.tumour, 4),
        call=_call(seen, tumour_threshold),
        outline_px=np.round(ring, 2),
        diameter_um=round(2 * float(np.sqrt(area_um2 / np.pi)), 2),
        area_um2=round(area_um2, 1),
        nucleus_area_um2=round(seen.nucleus_px * grid.mpp_um**2, 1),
        ck_od=round(seen.ck_od, 3),
        ck_over_nucleus=round(seen.ck_over_nucleus, 3),
        neighbours=0,
        cluster_id=0,
        nucleus_ratio=round(seen.nucleus_ratio, 2),
        ck_granularity=round(seen.ck_granularity, 3),
        cd45_ring=round(seen.cd45_ring, 2),
    )


def _rescored(candidate: Candidate, seen: _Seen, tumour_threshold: float) -> Candidate:
    """Give a candidate the score and the call of what was seen, scored anew."""
    return replace(candidate, score=round(seen.tumour, 4), call=_call(seen, tumour_threshold))


def _call(seen: _Seen, tumour_threshold: float) -> Call:
    least = math.inf if _is_anucleate(seen.nucleus_px, seen.ck_od) else tumour_threshold
    return call_of(seen.probabilities, least)


def _is_anucleate(nucleus_px: int, ck_od: float) -> bool:
    return not nucleus_px and ck_od < _HIDES_NO_NUCLEUS_OD


def is_anucleate(crop: FloatArray, masks: FloatArray) -> bool:
    """Tell whether scoring never calls what lies in the middle of a crop tumour, for want of a nucleus.

    Parameters
    ----------
    crop : (3, 128, 128) float32
        Planes.
    masks : (2, 128, 128) float32
        Of the look at it (`LOOK_MASKS`).
    """
    cell, _ = _middle_object(masks[LOOK_MASKS.index("cell")])
    nucleus = _own_nucleus(masks, cell)
    return _is_anucleate(int(nucleus.sum()), float(crop[1][cell].mean()))


def call_of(probabilities: FloatArray, tumour_threshold: float) -> Call:
    """Call a cell by the probabilities of `LOOK_CLASSES`: tumour from the threshold on, else the likeliest other."""
    if float(probabilities[LOOK_CLASSES.index("tumour")]) >= tumour_threshold:
        return "tumour"
    others = [c for c in CALLS if c != "tumour"]
    return max(others, key=lambda c: float(probabilities[LOOK_CLASSES.index(c)]))


def _order(candidate: Candidate) -> tuple[float, float, float]:
    return -candidate.score, candidate.y_px, candidate.x_px


def _distinct(candidates: Sequence[Candidate]) -> list[int]:
    """Leave out what outlines the same object as a candidate of higher score; gives the others' places, best first."""
    ordered = sorted(range(len(candidates)), key=lambda i: _order(candidates[i]))
    outlines = [candidates[i].outline_px for i in ordered]
    shapes = np.array([shapely.make_valid(shapely.Polygon(outline)) for outline in outlines], dtype=object)
    tree = shapely.STRtree(shapes)
    kept: list[int] = []
    taken: set[int] = set()
    for i, shape in enumerate(shapes):
        rivals = [int(j) for j in tree.query(shape) if int(j) in taken]
        if any(_are_one(shape, shapes[j]) for j in rivals):
            continue
        kept.append(ordered[i])
        taken.add(i)
    return kept


def _are_one(a: shapely.Geometry, b: shapely.Geometry) -> bool:
    """Tell whether two outlines are those of one object."""
    within = a.contains(b.centroid) or b.contains(a.centroid)
    return _shared(a, b) > (_SAME_OBJECT if within else _SAME_WHATEVER)


def _shared(a: shapely.Geometry, b: shapely.Geometry) -> float:
    """Share of the smaller outline that lies in the other."""
    return float(a.intersection(b).area) / max(min(float(a.area), float(b.area)), 1e-9)


def _related(
    candidates: Sequence[Candidate], nuclei_px: npt.NDArray[np.float32], mpp_um: float
) -> tuple[Candidate, ...]:
    """Fill in what depends on other cells: neighbours and clusters."""
    if not candidates:
        return ()
    centres = np.array([(c.x_px, c.y_px) for c in candidates])
    if len(nuclei_px):
        near = cKDTree(nuclei_px).query_ball_point(centres, NEIGHBOURHOOD_UM / mpp_um)
    else:
        near = [[] for _ in candidates]
    clusters = _clusters(candidates, mpp_um)
    related = []
    for candidate, indices, cluster in zip(candidates, near, clusters, strict=True):
        around = nuclei_px[sorted(indices)]
        own = shapely.contains_xy(shapely.Polygon(candidate.outline_px), around) if len(around) else np.zeros(0, bool)
        values = {**candidate.__dict__, "neighbours": int((~own).sum()), "cluster_id": cluster}
        related.append(Candidate(**values))
    return tuple(related)


def _clusters(candidates: Sequence[Candidate], mpp_um: float) -> list[int]:
    """Give each group of touching tumour or uninterpretable cells a number, best first; 0 to single ones."""
    members = [i for i, c in enumerate(candidates) if c.call in ("tumour", "uninterpretable")]
    if not members:
        return [0] * len(candidates)
    grown = [shapely.Polygon(candidates[i].outline_px).buffer(_TOUCHING_UM / 2 / mpp_um) for i in members]
    leader = list(range(len(members)))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in shapely.STRtree(grown).query(grown, predicate="intersects").T:
        first, second = sorted((find(int(a)), find(int(b))))
        leader[second] = first
    sizes = np.bincount([find(i) for i in range(len(members))], minlength=len(members))
    numbers: dict[int, int] = {}
    result = [0] * len(candidates)
    for position, index in enumerate(members):
        root = find(position)
        if sizes[root] > 1:
            result[index] = numbers.setdefault(root, len(numbers) + 1)
    return result
