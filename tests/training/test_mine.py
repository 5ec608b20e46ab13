"""Tests of the truth of a candidate on a simulated field."""

from collections import Counter

import numpy as np
import pytest
from dtcseg_training.fields import ArraySlide, _mask_crop, draw_dirty_field, draw_field
from dtcseg_training.mine import _truth_at
from dtcseg_training.simulate import Field, TruthCell
from dtcseg_training.simulate.cytokeratin import TUMOUR

from dtcseg.working import plan_grid

SIDE = 120


def square(x, y, half):
    corners = [(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)]
    return np.array([(x + dx, y + dy) for dx, dy in corners], np.float32)


def disc(labels, x, y, radius, value):
    ys, xs = np.mgrid[:SIDE, :SIDE]
    labels[np.hypot(xs - x, ys - y) <= radius] = value


@pytest.fixture
def field():
    """A tumour cell under a fibre, a leukocyte beside it, and a cell whose centre lies outside, at 0.5 µm/px."""
    ck, nuclei = np.zeros((SIDE, SIDE), np.int32), np.zeros((SIDE, SIDE), np.int32)
    ck[40:80, 40:80] = 1
    ck[:, 58:63] = 2
    disc(nuclei, 95, 60, 8, 3)
    ck[:10, 100:] = -1
    cells = (
        TruthCell(60, 60, "tumour_single", "tumour", True, 22, 100, 0.6, square(60, 60, 20)),
        TruthCell(60, 60, "fibre", "artefact", False, 60, 0, 0.5, square(60, 60, 2.5)),
        TruthCell(95, 60, "lymphocyte", "", True, 8, 50, 0, np.zeros((0, 2), np.float32)),
    )
    image = np.full((SIDE, SIDE, 3), 255, np.uint8)
    return Field(image, ("R", "G", "B"), 0.5, cells, nuclei, ck, np.zeros((2, 3), np.float32))


def test_a_tumour_cell_under_a_fibre_is_one(field):
    assert _truth_at(field, 60, 60) == (1, "tumour")
    assert _truth_at(field, 60, 20) == (2, "artefact")


def test_a_leukocyte_beside_it_is_one(field):
    assert _truth_at(field, 95, 60) == (3, "haematopoietic")


def test_what_is_centred_outside_is_left_out(field):
    assert _truth_at(field, 110, 5) is None
    assert _truth_at(field, 15, 100) == (0, "artefact")


def test_the_mask_is_the_whole_cell(field):
    grid = plan_grid(ArraySlide(field.image, 0.5), 0.5, 0.5)
    cell, nucleus = _mask_crop(field, grid, 0, 0, SIDE, 1)
    assert cell[45:75, 45:75].all()
    assert abs(int(cell.sum()) - 1600) < 100
    assert not nucleus.any()


def test_a_dirty_field_is_full_of_what_is_no_tumour_cell():
    kinds = [Counter(c.kind for c in draw(np.random.default_rng(5)).cells) for draw in (draw_field, draw_dirty_field)]
    dirt = [sum(found[kind] for kind in ("debris", "squame", "precipitate", "pigment")) for found in kinds]
    assert dirt[1] > 2 * dirt[0]
    assert sum(kinds[0][kind] for kind in TUMOUR) > 0
    assert sum(kinds[1][kind] for kind in TUMOUR) == 0
