"""Corrections of an outline, as functions of rings: pulled, painted, cut in two, joined.

A ring is a closed sequence of (x, y) level-0 pixels, as in the log. Distances are in the same pixels; the caller knows
how many µm they are. What comes back is a simple ring of two decimals. Where a correction leaves nothing that could be
an outline, `NotPossible` says so and nothing has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon
from shapely.ops import split as cut_apart

from dtcseg.errors import NotPossible
from dtcseg.verdicts.cells import Ring, ring_of

if TYPE_CHECKING:
    import numpy.typing as npt

Point = tuple[float, float]

_SPACING_SHARE = 0.25
"""A pulled outline has points at least as close as this share of the reach, so that it bends smoothly."""
_SMALLEST_PART = 0.05
"""A piece smaller than this share of the cell is a slip of the hand, not a cell."""


def circle(centre: Point, radius_px: float) -> Ring:
    """Make a round outline."""
    return _ring(shapely.Point(centre).buffer(radius_px, quad_segs=8))


def centre_of(ring: Ring) -> Point:
    """Find the centroid of an outline."""
    middle = _polygon(ring).centroid
    return round(float(middle.x), 2), round(float(middle.y), 2)


def area_px(ring: Ring) -> float:
    """Measure the area in square pixels."""
    return float(_polygon(ring).area)


def pull(ring: Ring, start: Point, end: Point, reach_px: float) -> Ring:
    """Pull the part of an outline that is nearest to `start` by the way to `end`.

    Parameters
    ----------
    ring : Ring
    start, end : (x, y)
        Where the drag began and where it is now.
    reach_px : float
        Points this far along the outline from the place that was taken move by 0.6 of the way (a Gaussian).
    """
    line = LineString(_polygon(ring).exterior.coords).segmentize(max(reach_px * _SPACING_SHARE, 0.2))
    points: npt.NDArray[np.float64] = np.asarray(line.coords)[:-1]
    steps = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    along = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    taken = int(np.argmin(np.hypot(*(points - start).T)))
    gap = np.abs(along - along[taken])
    gap = np.minimum(gap, float(steps.sum()) - gap)
    weight = np.exp(-0.5 * (gap / reach_px) ** 2)
    return _ring(Polygon(points + weight[:, None] * (np.subtract(end, start))[None, :]))


def paint(ring: Ring, stroke: Sequence[Point], radius_px: float) -> Ring:
    """Correct an outline by one stroke of a round brush.

    A stroke that begins inside the outline adds what it covers, one that begins outside takes it away.
    """
    shape = _polygon(ring)
    brush = (LineString(stroke) if len(stroke) > 1 else shapely.Point(stroke[0])).buffer(radius_px, quad_segs=8)
    adds = shape.contains(shapely.Point(stroke[0]))
    return _ring(shape.union(brush) if adds else shape.difference(brush))


def split(ring: Ring, stroke: Sequence[Point]) -> tuple[Ring, Ring]:
    """Cut an outline in two along a line that is drawn across it.

    Raises
    ------
    NotPossible
        The line does not cross the whole cell.
    """
    shape = _polygon(ring)
    if len(stroke) < 2:
        raise NotPossible("draw a line across the whole cell to split it")
    parts = sorted(_parts(cut_apart(shape, _longer(stroke, shape))), key=lambda part: -part.area)
    parts = [part for part in parts if part.area >= _SMALLEST_PART * shape.area]
    if len(parts) < 2:
        raise NotPossible("the line does not cross the cell; draw it from one side of the outline to the other")
    return _ring(parts[0]), _ring(parts[1])


def join(rings: Sequence[Ring], bridge_px: float) -> Ring:
    """Make one outline of several.

    Parameters
    ----------
    rings : sequence of Ring
        At least two.
    bridge_px : float
        Gaps narrower than this are closed.

    Raises
    ------
    NotPossible
        They are farther apart.
    """
    reach = bridge_px / 2
    grown = shapely.unary_union([_polygon(ring).buffer(reach, quad_segs=8) for ring in rings])
    if len(_parts(grown)) > 1:
        raise NotPossible("the cells are too far apart to be one; nothing was joined")
    whole = grown.buffer(-reach, quad_segs=8).union(shapely.unary_union([_polygon(ring) for ring in rings]))
    if len(_parts(whole)) > 1:  # a bridge thinner than what the shrinking takes away
        whole = whole.convex_hull
    return _ring(whole)


def _longer(stroke: Sequence[Point], shape: Polygon) -> LineString:
    """Let the ends of a stroke reach out of a cell that it nearly crosses: hands stop short of the far side."""
    points = np.asarray(stroke, np.float64)
    extra = 0.15 * float(np.sqrt(shape.area))
    ends = []
    for tip, before in ((points[0], points[1]), (points[-1], points[-2])):
        way = tip - before
        ends.append(tip + way / max(float(np.hypot(*way)), 1e-9) * extra)
    return LineString([ends[0], *points, ends[1]])


def _polygon(ring: Ring) -> Polygon:
    shape = shapely.make_valid(Polygon(ring))
    parts = _parts(shape)
    if not parts:
        raise NotPossible("the outline has no area; draw it again")
    return max(parts, key=lambda part: float(part.area))


def _parts(shape: Any) -> list[Any]:
    """Polygons of a geometry, also of a collection that holds multipolygons."""
    parts = shapely.get_parts(shapely.get_parts(shape)).tolist()
    return [part for part in parts if isinstance(part, Polygon) and part.area > 0]


def _ring(shape: Any) -> Ring:
    """Take the outer border of the largest part, snapped to two decimals."""
    snapped = shapely.set_precision(Polygon(_largest(shape).exterior), 0.01)
    return ring_of(_largest(snapped).exterior.coords)


def _largest(shape: Any) -> Any:
    parts = _parts(shapely.make_valid(shape))
    if not parts:
        raise NotPossible("nothing would be left of the outline; delete the cell instead")
    return max(parts, key=lambda part: float(part.area))
