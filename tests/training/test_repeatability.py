"""A field shown again in another way: places come back to where they were, and changed calls are counted."""

import numpy as np
import pytest
from dtcseg_training.repeatability import VARIANTS, _compare, repeat
from dtcseg_training.simulate import draw_spec, render_field

from dtcseg.cells import Candidate
from dtcseg.network.weights import resolve
from dtcseg.score import load_engine


@pytest.mark.parametrize("name", list(VARIANTS))
def test_places_come_back(name):
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:24, 70:74] = 200
    shown = VARIANTS[name].image(image)
    rows, columns = np.nonzero(shown[..., 0] > 100)
    back = VARIANTS[name].back(np.array([[columns.mean(), rows.mean()]]), 60, 100)
    np.testing.assert_allclose(back, [[71.5, 21.5]], atol=0.6)


def candidate(x, y, call):
    ring = np.array([(x, y), (x + 1, y), (x, y + 1), (x, y)], float)
    return Candidate(x, y, 0.5, call, ring, 20.0, 314.0, 80.0, 0.5, 0.5, neighbours=0, cluster_id=0)


def test_changed_and_lost_calls_are_counted():
    before = [candidate(10, 10, "tumour"), candidate(50, 10, "tumour"), candidate(90, 10, "artefact")]
    after = [candidate(12, 10, "tumour"), candidate(91, 10, "tumour")]
    result = _compare(before, after, np.array([(12, 10), (91, 10)], float), 0.5)
    assert (result.same_call.count, result.same_call.total) == (1, 3)
    assert (result.same_tumour.count, result.same_tumour.total) == (1, 3)
    nothing = _compare([], [], np.zeros((0, 2)), 0.5)
    assert nothing.same_call.total == nothing.same_tumour.total == 0


def test_a_field_is_scored_in_every_way():
    rng = np.random.default_rng(3)
    field = render_field(draw_spec(rng, stain="fast_red", mpp_um=0.25, size_px=(1200, 1600), enriched=True), rng)
    results = repeat(load_engine(resolve(""), "cpu"), field.image, field.channels, 0.25)
    assert set(results) == set(VARIANTS)
    for result in results.values():
        assert result.same_call.total > 3
        assert result.same_call.value > 0.6
