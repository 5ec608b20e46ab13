"""Corrections of outlines, held against areas that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from dtcseg.errors import NotPossible
from dtcseg.review import outlines
from dtcseg.verdicts import ring_of

SQUARE = ring_of([(0, 0), (100, 0), (100, 100), (0, 100)])


def polygon(ring):
    shape = shapely.Polygon(ring)
    assert shape.is_valid
    assert ring[0] == ring[-1]
    return shape


def test_a_stroke_from_inside_adds_a_capsule():
    ring = outlines.paint(SQUARE, [(90, 50), (140, 50)], 10)
    added = 40 * 20 + math.pi * 100 / 2
    assert polygon(ring).area == pytest.approx(10_000 + added, rel=0.002)


def test_a_stroke_from_outside_takes_away():
    ring = outlines.paint(SQUARE, [(120, 50), (80, 50)], 10)
    taken = 20 * 20 + math.pi * 100 / 2
    assert polygon(ring).area == pytest.approx(10_000 - taken, rel=0.002)


def test_one_click_inside_adds_a_disc_at_the_border():
    assert polygon(outlines.paint(SQUARE, [(99.9, 50)], 10)).area == pytest.approx(10_000 + math.pi * 50, rel=0.002)


def test_a_cut_off_piece_is_dropped_and_holes_are_filled():
    ring = outlines.paint(SQUARE, [(-20, 50), (30, 50), (30, -20)], 5)
    assert polygon(ring).area < 10_000 - 300
    assert not polygon(ring).contains(shapely.Point(10, 10)), "the corner that was cut off is gone"


def test_nothing_left_is_refused():
    with pytest.raises(NotPossible, match="nothing would be left"):
        outlines.paint(SQUARE, [(-30, 50), (130, 50)], 300)


def test_a_pull_moves_the_border_where_it_was_taken_and_little_elsewhere():
    ring = outlines.pull(SQUARE, (100, 50), (120, 50), reach_px=10)
    shape = polygon(ring)
    assert shape.bounds[2] == pytest.approx(120, abs=0.5)
    assert shape.contains(shapely.Point(115, 50))
    assert not shape.contains(shapely.Point(103, 90))
    assert shape.bounds[0] == pytest.approx(0, abs=0.1)


def test_a_line_across_cuts_in_two_that_make_the_whole():
    one, other = outlines.split(SQUARE, [(30, -5), (30, 105)])
    assert [round(polygon(ring).area) for ring in (one, other)] == [7000, 3000]
    assert polygon(one).intersection(polygon(other)).area == pytest.approx(0, abs=1)


def test_a_stroke_that_stops_a_little_short_still_cuts():
    one, other = outlines.split(SQUARE, [(50, 4), (50, 96)])
    assert polygon(one).area == pytest.approx(5000, abs=20)
    assert polygon(other).area == pytest.approx(5000, abs=20)


@pytest.mark.parametrize("stroke", [[(50, 50)], [(200, 0), (200, 100)], [(40, 50), (60, 50)], [(99, -10), (99, 110)]])
def test_a_line_that_does_not_cut_the_cell_is_refused(stroke):
    with pytest.raises(NotPossible, match=r"across|cross"):
        outlines.split(SQUARE, stroke)


def test_close_cells_become_one():
    other = ring_of([(103, 0), (200, 0), (200, 100), (103, 100)])
    assert polygon(outlines.join([SQUARE, other], 8)).area == pytest.approx(20_000, rel=0.01)
    with pytest.raises(NotPossible, match="too far apart"):
        outlines.join([SQUARE, other], 2)


def test_a_corner_that_touches_a_corner_still_makes_one_outline():
    other = ring_of([(102, 102), (200, 102), (200, 200), (102, 200)])
    shape = polygon(outlines.join([SQUARE, other], 6))
    assert shape.contains(shapely.Point(50, 50))
    assert shape.contains(shapely.Point(150, 150))


def test_whatever_the_hand_does_is_a_simple_outline_or_refused():
    rng = np.random.default_rng(3)
    drawn = 0
    for _ in range(300):
        stroke = [tuple(point) for point in rng.uniform(-50, 150, (rng.integers(1, 7), 2)).tolist()]
        try:
            rings = [
                outlines.paint(SQUARE, stroke, float(rng.uniform(0.5, 40))),
                outlines.pull(SQUARE, stroke[0], stroke[-1], float(rng.uniform(1, 60))),
            ]
        except NotPossible:
            continue
        drawn += 1
        assert all(polygon(ring).area > 0 for ring in rings)
    assert drawn > 280
