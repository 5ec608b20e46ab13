"""Tests of what a candidate is measured by: its nucleus against its neighbours', the grain of its stain."""

import numpy as np
import pytest

from dtcseg.look import _measure
from dtcseg.network.model import LOOK_PX

MPP_UM = 0.5
CORNER = (0, 0)
CALL = np.array([0.7, 0.1, 0.1, 0.1], np.float32)


def disc(x, y, radius_px):
    ys, xs = np.mgrid[:LOOK_PX, :LOOK_PX]
    return np.hypot(xs - x, ys - y) <= radius_px


def scene(neighbours, grain=0.0):
    """Crop and masks: a tumour cell of 24 µm with a nucleus of 14 µm in the middle, leukocytes of 7 µm around it."""
    crop = np.zeros((3, LOOK_PX, LOOK_PX), np.float32)
    cell, nucleus = disc(63.5, 63.5, 24), disc(63.5, 63.5, 14)
    rng = np.random.default_rng(0)
    crop[1][cell] = 0.8 + grain * rng.choice([-1, 1], size=int(cell.sum()))
    crop[0][nucleus] = 0.7
    for x, y in neighbours:
        crop[0][disc(x, y, 7)] = 1.0
    return crop, np.stack([cell, nucleus]).astype(np.float32)


FAR = [(20, 20), (64, 18), (108, 20), (20, 108), (108, 108), (64, 112)]


def test_the_nucleus_is_compared_with_those_around_it():
    seen = _measure(*scene(FAR), CALL, CORNER, MPP_UM)
    assert seen.nucleus_ratio == pytest.approx((14 / 7) ** 2, rel=0.1)


def test_pieces_at_the_rim_and_clumps_are_no_neighbours():
    rim_and_clump = [(2, 64), (126, 30), (20, 20), (26, 20), (20, 26), (26, 26), (32, 23)]
    assert _measure(*scene(rim_and_clump), CALL, CORNER, MPP_UM).nucleus_ratio == 0
    assert _measure(*scene([]), CALL, CORNER, MPP_UM).nucleus_ratio == 0


def test_grain_of_the_stain():
    smooth, grainy = (_measure(*scene(FAR, grain), CALL, CORNER, MPP_UM).ck_granularity for grain in (0.0, 0.3))
    assert smooth < 0.2  # only the rim, where the blur reaches out of the cell
    assert grainy == pytest.approx(0.3 / 0.8, abs=0.1)
