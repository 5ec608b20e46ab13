"""Cells to screen: the worked figures, power against simulation, and what depth alone can explain."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from dtcseg.trial.adviser import (
    cells_for_power,
    cells_to_exclude,
    more_slides_to_clear,
    more_slides_to_exclude,
    more_slides_to_measure,
    most_positivity,
    positivity,
    power,
)
from dtcseg.trial.clearance import change, p_value_reduced
from dtcseg.trial.rates import result


def test_three_million_cells_for_one_per_million():
    assert cells_to_exclude(1.0) == pytest.approx(2.996e6, rel=1e-3)
    assert result(0, cells_to_exclude(0.7)).limit == pytest.approx(0.7)
    assert cells_to_exclude(1.0, recall=0.5) == pytest.approx(2 * cells_to_exclude(1.0))


@pytest.mark.parametrize(("per_million", "ratio"), [(5.0, 0.2), (2.5, 0.0), (2.0, 4.0)])
def test_power_is_what_simulation_gives(per_million, ratio):
    rng = np.random.default_rng(0)
    pairs = zip(rng.poisson(2 * per_million, 4000), rng.poisson(3 * per_million * ratio, 4000), strict=True)
    if ratio < 1:
        seen = [p_value_reduced(int(a), 2e6, int(b), 3e6) < 0.05 for a, b in pairs]
    else:
        seen = [p_value_reduced(int(b), 3e6, int(a), 2e6) < 0.05 for a, b in pairs]
    assert power(per_million, ratio, 2e6, 3e6) == pytest.approx(np.mean(seen), abs=0.025)


def test_cells_for_power_give_that_power():
    depth = cells_for_power(1.0, 0.2)
    assert power(1.0, 0.2, depth, depth) >= 0.8 > power(1.0, 0.2, depth * 0.9, depth * 0.9)


def test_no_follow_up_makes_up_for_a_thin_start():
    assert cells_for_power(1.0, 0.2, mnc_1=2e6) == math.inf


def test_slides_to_exclude():
    advice = more_slides_to_exclude(0, 2e6, 5e5, 1.0)
    assert (advice.worth, advice.slides) == (True, 2)
    assert round(advice.limit_now, 2) == 1.50
    assert not more_slides_to_exclude(0, 3e6, 5e5, 1.0).worth
    assert not more_slides_to_exclude(1, 2e6, 5e5, 1.0).worth


def test_slides_to_clear_are_enough_and_not_too_many():
    for before in (1, 3, 4):
        slides = more_slides_to_clear(before, 2e6, 0, 2e6, 5e5).slides
        assert change(before, 2e6, 0, 2e6 + slides * 5e5).word == "cleared"
        assert change(before, 2e6, 0, 2e6 + (slides - 1) * 5e5).word == "cannot be told"
    assert more_slides_to_clear(6, 2e6, 0, 2e6, 5e5).slides == 0
    assert more_slides_to_clear(3, 2e6, 1, 2e6, 5e5).slides == math.inf
    assert more_slides_to_clear(5, 2e6, 0, 0.0, 5e5).slides == 4


def test_slides_to_measure():
    advice = more_slides_to_measure(3, 2e6, 5e5, 4.0)
    assert advice.worth
    grown = result(round(3 * (2e6 + advice.slides * 5e5) / 2e6), 2e6 + advice.slides * 5e5)
    assert grown.high / grown.low <= 4.2
    assert not more_slides_to_measure(0, 2e6, 5e5, 4.0).worth
    assert not more_slides_to_measure(100, 2e6, 5e5, 4.0).worth


def test_chance_of_the_next_slide():
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.5, 1 / 2.0, 400_000)
    found = (rng.poisson(rates * 0.5) > 0).mean()
    assert more_slides_to_exclude(1, 2e6, 5e5, 1.0).p_finds == pytest.approx(found, abs=0.003)


def test_positivity_with_one_rate_is_poisson():
    assert positivity(1.0, 0.0, 3e6) == pytest.approx(1 - math.exp(-3))
    assert positivity(1.0, 1e-9, 3e6) == pytest.approx(1 - math.exp(-3))
    assert positivity(1.0, 2.0, 3e6) < positivity(1.0, 0.5, 3e6)


def test_the_97_patients_grew_positive_faster_than_depth_alone_allows():
    """22, 46 and 52 positive at 2, 4 and 6 x 10^6 cells: the first step is too steep for any spread of rates."""
    assert most_positivity(22 / 97, 2.0) == pytest.approx(0.402, abs=0.001)
    assert most_positivity(22 / 97, 2.0) < 46 / 97
    assert most_positivity(46 / 97, 1.5) > 52 / 97
    steps = np.array([22, 24, 6, 45])  # first found in the first, second, third part; never

    def expected(point):
        shares = [positivity(math.exp(point[0]), math.exp(point[1]), depth) for depth in (2e6, 4e6, 6e6)]
        return 97 * np.diff([0.0, *shares, 1.0])

    best = minimize(lambda point: -steps @ np.log(expected(point)), [0.0, -1.0], method="Nelder-Mead").x
    assert np.round(np.cumsum(expected(best))[:3]).tolist() == [25, 41, 52]
    deviance = 2 * steps @ np.log(steps / expected(best))
    assert deviance == pytest.approx(6.5, abs=0.1)  # chi-square with 1 degree of freedom: p = 0.011


@pytest.mark.parametrize(
    "make",
    [
        lambda: cells_to_exclude(0.0),
        lambda: cells_to_exclude(1.0, recall=1.5),
        lambda: cells_to_exclude(1.0, confidence=1.0),
        lambda: power(1.0, 1.0, 2e6, 2e6),
        lambda: power(float("nan"), 0.2, 2e6, 2e6),
        lambda: power(1.0, -0.2, 2e6, 2e6),
        lambda: more_slides_to_exclude(0, 0.0, 5e5, 1.0),
        lambda: more_slides_to_measure(1, 2e6, 5e5, 1.0),
        lambda: more_slides_to_clear(1, 2e6, 0, -1.0, 5e5),
        lambda: positivity(1.0, -1.0, 2e6),
        lambda: most_positivity(0.2, 0.5),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|no change"):
        make()
