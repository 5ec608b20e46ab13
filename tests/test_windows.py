"""Rectangles that cover what asks."""

import numpy as np
import pytest

from dtcseg.windows import CELL_PX, plan_windows


def covered(windows, shape):
    times = np.zeros(shape, int)
    for one in windows:
        assert one.x % CELL_PX == one.y % CELL_PX == 0
        rows, columns = (np.s_[at // CELL_PX : (at + side) // CELL_PX] for at, side in _spans(one))
        times[rows, columns] += 1
    return times


def _spans(one):
    return (one.y, one.height), (one.x, one.width)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.3, 1.0])
def test_all_that_asks_is_covered_once(share):
    asked = np.random.default_rng(2).random((301, 217)) < share
    windows = plan_windows(asked, largest=512, halo=48)
    times = covered(windows, asked.shape)
    assert times.max(initial=0) <= 1
    assert (times[asked] == 1).all()
    assert all(max(one.width, one.height) <= 512 and one.halo == 48 for one in windows)


def test_little_is_covered_beside():
    asked = np.zeros((144, 144), bool)
    asked[3:5, 4:7] = asked[140, 139] = True
    windows = plan_windows(asked, largest=1152, halo=48)
    assert [(one.x, one.y, one.width, one.height) for one in windows] == [(32, 24, 24, 16), (1112, 1120, 8, 8)]


def test_what_asks_everywhere_is_one_window():
    windows = plan_windows(np.ones((144, 144), bool), largest=1152, halo=48)
    assert [(one.width, one.height) for one in windows] == [(1152, 1152)]
