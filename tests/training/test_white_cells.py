"""Nuclei of real white cells in simulated lessons: only where they may be learned from, each counted once."""

import numpy as np
import pytest
from dtcseg_training.fields import make_lesson
from dtcseg_training.real import real_fields, white_cell_boxes
from dtcseg_training.white_cells import white_cells, with_white_cells
from scipy import ndimage

pytestmark = pytest.mark.realdata


def test_white_cells_come_from_smears_that_may_be_learned_from(shared_data):
    allowed = [f for f in real_fields(shared_data, "smears") if not f.held_out]
    boxes = list(white_cell_boxes(shared_data))
    assert len(boxes) == len(allowed)
    for (pixels, white), field in zip(boxes, allowed, strict=True):
        level = field.slide.levels[0]
        assert pixels.shape[:2] == (level.height_px, level.width_px)
        np.testing.assert_array_equal(white[:, :2], field.centres)
    cells = white_cells(shared_data)
    assert 90 < len(cells) < sum(len(white) for _, white in boxes)
    lobes = [ndimage.label(cell.nucleus > 0.4)[1] for cell in cells]
    assert np.mean(np.array(lobes) > 1) > 0.2, "granulocytes are most of the white cells of blood"
    areas_um2 = [(cell.nucleus > 0.4).sum() * 0.25**2 for cell in cells]
    assert 25 < np.median(areas_um2) < 80


def test_laid_white_cells_are_nuclei_of_the_lessons_own_darkness(shared_data):
    lesson = make_lesson(31, 4)
    level = np.median(ndimage.maximum_filter(lesson.planes[0].astype(np.float32), 5)[_at(lesson.nuclei)])
    laid = with_white_cells(lesson, white_cells(shared_data), np.random.default_rng(3))
    again = with_white_cells(lesson, white_cells(shared_data), np.random.default_rng(3))
    np.testing.assert_array_equal(laid.planes, again.planes)
    new = laid.nuclei[len(lesson.nuclei) :]
    assert len(new) >= 4
    np.testing.assert_array_equal(laid.nuclei[: len(lesson.nuclei)], lesson.nuclei)
    np.testing.assert_array_equal(laid.planes[1:], lesson.planes[1:])
    added = laid.planes[0].astype(np.float32) - lesson.planes[0].astype(np.float32)
    strongest = ndimage.maximum_filter(added, 9)[_at(new)]
    assert np.median(strongest) == pytest.approx(level, rel=0.4)
    far = np.ones(added.shape, bool)
    far[_at(new)] = False
    assert not added[ndimage.distance_transform_edt(far) > 17].any()
    for name in ("tumour", "other", "crops", "calls"):
        np.testing.assert_array_equal(getattr(laid, name), getattr(lesson, name))


def _at(centres):
    x, y = np.clip(np.round(centres).astype(int), 0, 263).T
    return y, x
