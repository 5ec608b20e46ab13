"""A working pixel depends on its place on the slide alone."""

import numpy as np
import pytest
from dtcseg_training.fields import ArraySlide

from dtcseg.slide import Level
from dtcseg.working import plan_grid, read_working

RNG = np.random.default_rng(5)


def random_slide(dtype=np.uint8, size=(233, 307), channels=3):
    return ArraySlide(RNG.integers(0, np.iinfo(dtype).max, (*size, channels)).astype(dtype), 0.5)


@pytest.mark.parametrize("mpp", [0.1, 0.23, 0.25, 0.325, 0.5, 0.65, 0.78, 1.0, 1.1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_cut_gives_the_same_pixels(mpp, dtype):
    slide = random_slide(dtype)
    grid = plan_grid(slide, mpp, 1.0 if mpp > 0.2 else 0.5)
    whole = read_working(slide, grid, 0, 0, grid.width_px, grid.height_px)
    assert whole.shape[:2] == (grid.height_px, grid.width_px)
    assert whole.dtype == dtype
    x0, y0 = grid.width_px // 3, grid.height_px // 2
    for x, y, w, h in [(0, 0, x0, y0), (x0, y0, grid.width_px - x0, grid.height_px - y0), (x0, 1, 5, 7)]:
        np.testing.assert_array_equal(read_working(slide, grid, x, y, w, h), whole[y : y + h, x : x + w])


def test_whole_factors_average_blocks():
    slide = random_slide()
    grid = plan_grid(slide, 0.25, 1.0)
    assert grid.factor == 4
    got = read_working(slide, grid, 3, 2, 1, 1)[0, 0]
    block = slide.read(0, 12, 8, 4, 4).reshape(16, 3).astype(float)
    np.testing.assert_allclose(got, block.mean(0), atol=0.51)


def test_fractional_factors_keep_the_mean_and_flat_ground():
    slide = random_slide()
    grid = plan_grid(slide, 0.65, 1.0)
    assert grid.factor == pytest.approx(1 / 0.65)
    whole = read_working(slide, grid, 0, 0, grid.width_px, grid.height_px)
    assert whole.mean() == pytest.approx(slide.read(0, 0, 0, 307, 233).mean(), rel=0.01)
    flat = ArraySlide(np.full((100, 100, 3), 77, np.uint8), 0.65)
    assert (read_working(flat, plan_grid(flat, 0.65, 1.0), 0, 0, 60, 60) == 77).all()


def test_near_whole_factors_are_taken_as_whole():
    """0.2521 µm/px at 1 µm: 3.97 pixels become 4, and the true pixel size is kept for measuring."""
    grid = plan_grid(random_slide(), 0.2521, 1.0)
    assert grid.factor == 4
    assert grid.mpp_um == pytest.approx(4 * 0.2521)


def test_the_coarsest_level_that_suffices_is_read():
    slide = random_slide()
    slide.levels = (Level(4000, 4000, 1.0), Level(2000, 2000, 2.0), Level(1000, 1000, 4.0), Level(250, 250, 16.0))
    assert plan_grid(slide, 0.25, 1.0).level == 2
    assert plan_grid(slide, 0.25, 0.5).level == 1
    assert plan_grid(slide, 0.5, 0.5).level == 0
    assert plan_grid(slide, 1.1, 0.5).level == 0
    assert plan_grid(slide, 1.1, 0.5).downsample == pytest.approx(0.5 / 1.1)
