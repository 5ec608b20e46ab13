"""Whether a ring of leukocyte marker is the cell's own."""

import numpy as np
import pytest

from dtcseg.leukocyte_ring import RING, leukocyte_ring

MPP_UM = 0.5
SIDE_PX = 128


def disc(x, y, radius_px):
    ys, xs = np.mgrid[:SIDE_PX, :SIDE_PX]
    return np.hypot(xs - x, ys - y) <= radius_px


def membrane(x, y, radius_px):
    return disc(x, y, radius_px) & ~disc(x, y, radius_px - 2)


CELL = disc(63.5, 63.5, 16)


def test_a_ring_all_round_is_the_cell_s_own():
    plane = np.where(membrane(63.5, 63.5, 16), 0.6, 0.05).astype(np.float32)
    assert leukocyte_ring(plane, CELL, MPP_UM) == pytest.approx(1.0, abs=0.05)


def test_leukocytes_that_touch_it_make_no_ring():
    plane = np.full((SIDE_PX, SIDE_PX), 0.03, np.float32)
    for turn in (0.0, 1.5, 3.0):  # three beside it, brighter than most
        plane[membrane(63.5 + 27 * np.cos(turn), 63.5 + 27 * np.sin(turn), 12)] = 0.9
    assert leukocyte_ring(plane, CELL, MPP_UM) < RING


@pytest.mark.parametrize("seed", range(8))
def test_leukocytes_packed_around_and_upon_it_make_no_ring(seed):
    rng = np.random.default_rng(seed)
    plane = np.full((SIDE_PX, SIDE_PX), 0.03, np.float32)
    for distance_px, count in ((26, 8), (44, 12)):
        for turn in np.arange(count) * 2 * np.pi / count + rng.uniform(-0.3, 0.3, count):
            away = distance_px + rng.uniform(-6, 6)
            place = 63.5 + away * np.cos(turn), 63.5 + away * np.sin(turn)
            plane[membrane(*place, rng.uniform(9, 13))] = rng.uniform(0.5, 0.9)
    assert leukocyte_ring(plane, CELL, MPP_UM) < RING


def test_a_marker_that_failed_makes_no_ring():
    plane = np.random.default_rng(0).normal(0.05, 0.04, (SIDE_PX, SIDE_PX)).astype(np.float32)
    assert leukocyte_ring(plane, CELL, MPP_UM) < RING


def test_a_gap_of_a_quarter_makes_no_ring():
    plane = np.where(membrane(63.5, 63.5, 16), 0.6, 0.05).astype(np.float32)
    plane[:64, :64] = 0.05
    assert leukocyte_ring(plane, CELL, MPP_UM) < RING


def test_a_cell_that_fills_the_picture_is_measured_too():
    assert leukocyte_ring(np.zeros((16, 16), np.float32), np.ones((16, 16), bool), MPP_UM) == 0
