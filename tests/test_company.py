"""What the other candidates of a slide make of a score."""

import numpy as np
import pytest

from dtcseg.company import scores_in_company


def company(scores, ck_od, diameter_um):
    arrays = (np.broadcast_to(np.asarray(v, float), np.shape(scores)) for v in (scores, 1, ck_od, diameter_um))
    return scores_in_company(*arrays, 0.5)


@pytest.fixture
def population():
    """Scores, cytokeratin and diameters of sixty cells alike that the look doubts and does not call."""
    rng = np.random.default_rng(1)
    return rng.uniform(0.02, 0.45, 60), rng.normal(0.14, 0.02, 60), rng.normal(12, 1, 60)


def test_the_likeliest_of_many_alike_is_not_called(population):
    scores, ck, size = (np.append(v, new) for v, new in zip(population, (0.85, 0.14, 12), strict=True))
    assert company(scores, ck, size)[-1] < 0.5


@pytest.mark.parametrize(("ck_od", "diameter_um"), [(0.5, 12), (0.14, 30)])
def test_what_differs_from_them_keeps_its_score(population, ck_od, diameter_um):
    scores, ck, size = (np.append(v, new) for v, new in zip(population, (0.85, ck_od, diameter_um), strict=True))
    assert company(scores, ck, size)[-1] == pytest.approx(0.85, abs=0.001)


def test_a_sure_tumour_cell_stays_one_among_them(population):
    scores, ck, size = (np.append(v, new) for v, new in zip(population, (0.999, 0.14, 12), strict=True))
    assert company(scores, ck, size)[-1] > 0.7


def test_what_the_look_is_sure_of_casts_no_doubt(population):
    _, ck, size = (np.append(v, new) for v, new in zip(population, (0.85, 0.14, 12), strict=True))
    assert company(np.append(np.full(60, 0.009), 0.85), ck, size)[-1] == 0.85


def test_called_cells_stand_by_those_like_them(population):
    scores, ck, size = population
    many = np.concatenate([np.full(60, 0.85), scores])
    alone = np.append(scores, 0.85)
    among = company(many, np.tile(ck, 2), np.tile(size, 2))[:60].mean()
    assert among > company(alone, np.append(ck, 0.14), np.append(size, 12))[-1] + 0.3


def test_no_score_rises_and_their_order_among_equals_stays():
    rng = np.random.default_rng(2)
    scores = rng.uniform(0, 1, 600)
    made = company(scores, rng.uniform(0, 1, 600), rng.uniform(4, 40, 600))
    assert (made <= scores).all()
    assert (made < scores).any()
    twins = company(np.append(scores, [0.6, 0.7]), 0.2, 15)
    assert twins[-2] < twins[-1]


def test_the_order_of_candidates_changes_nothing():
    rng = np.random.default_rng(3)
    values = [rng.uniform(0.02, 0.98, 700), rng.uniform(0.05, 1, 700), rng.uniform(5, 40, 700)]
    order = rng.permutation(700)
    np.testing.assert_allclose(company(*(v[order] for v in values)), company(*values)[order], rtol=1e-12)


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_a_candidate_alone_keeps_its_score(score):
    assert company([score], 0.2, 15).tolist() == [score]
    assert company([], 0.2, 15).tolist() == []
    assert company([1.0, 0.4, 0.4], 0.2, 15)[0] == 1.0
