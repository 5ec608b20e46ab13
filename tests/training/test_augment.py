"""What is learned from is laid the same way in planes and targets, and the same state gives the same example."""

import numpy as np
import pytest
from dtcseg_training.augment import Augment
from scipy.ndimage import gaussian_filter


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(1)
    planes = gaussian_filter(rng.normal(0.05, 4, (3, 64, 64)), (0, 3, 3)).astype(np.float32)
    return planes, (planes > 0.6).astype(np.float32)


def test_the_same_state_gives_the_same_change(example):
    one, two = (Augment()(*example, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    augment = Augment()
    augment(*example, np.random.default_rng(9))  # what came before does not matter
    np.testing.assert_array_equal(augment(*example, np.random.default_rng(5))[0], one[0])


def test_planes_and_targets_stay_together(example):
    planes, targets = example
    augment, rng = Augment(), np.random.default_rng(3)
    laid = set()
    for _ in range(60):
        changed, moved = augment(planes, targets, rng)
        assert changed.shape == planes.shape
        assert changed.dtype == moved.dtype == np.float32
        np.testing.assert_array_equal(np.unique(moved), [0, 1])
        assert moved.sum() == targets.sum()
        assert changed[moved > 0].mean() > changed[moved == 0].mean() + 0.4
        laid.add(moved.tobytes())
    assert len(laid) == 8


def test_strong_stain_and_dark_corners_are_not_cut_off():
    planes = np.full((3, 32, 32), 2.6, np.float32)
    planes[:, :16] = -0.3
    augment, rng = Augment(), np.random.default_rng(3)
    changed = [augment(planes, planes, rng)[0] for _ in range(20)]
    assert np.mean([c.max() for c in changed]) > 2.4
    assert np.mean([c.min() for c in changed]) < -0.25
