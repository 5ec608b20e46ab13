"""Two time points: worked figures, exact posteriors against simulation, words that do not promise too much."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from dtcseg.trial.clearance import (
    JEFFREYS,
    UNIFORM,
    Prior,
    change,
    fit_prior,
    luck_averaged,
    luck_plug_in,
    p_ratio_below,
    p_value_reduced,
    ratio_quantiles,
)

counts = st.integers(0, 60)
cells = st.floats(1e5, 1e7)


@pytest.mark.parametrize(("count", "percent"), [(1, 37), (2, 14), (3, 5)])
def test_an_unchanged_patient_looks_cleared(count, percent):
    assert round(100 * luck_plug_in(count, 2e6, 2e6)) == percent


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_from_k_to_none_at_equal_depth_is_half_to_the_k(count):
    assert p_value_reduced(count, 2e6, 0, 2e6) == pytest.approx(0.5**count, rel=1e-12)


def test_five_cells_are_needed_for_five_percent():
    assert p_value_reduced(4, 2e6, 0, 2e6) > 0.05 > p_value_reduced(5, 2e6, 0, 2e6)


@given(counts, cells, counts, cells)
def test_the_test_is_the_binomial_one(k1, n1, k2, n2):
    expected = binom.cdf(k2, k1 + k2, n2 / (n1 + n2)) if k1 + k2 else 1.0
    assert p_value_reduced(k1, n1, k2, n2) == pytest.approx(expected, rel=1e-7, abs=1e-14)


@pytest.mark.parametrize("prior", [JEFFREYS, UNIFORM, Prior("cohort", 0.7, 0.4)])
def test_posterior_of_the_ratio_is_the_one_drawn(prior):
    rng = np.random.default_rng(0)
    first = rng.gamma(prior.shape + 6, 1 / (prior.millions + 2.0), 400_000)
    second = rng.gamma(prior.shape + 1, 1 / (prior.millions + 3.5), 400_000)
    ratio = second / first
    for limit in (0.05, 0.2, 1.0):
        said = p_ratio_below(limit, 6, 2e6, 1, 3.5e6, prior=prior)
        assert said == pytest.approx((ratio < limit).mean(), abs=0.003)
    drawn = np.quantile(ratio, (0.025, 0.5, 0.975))
    assert ratio_quantiles(6, 2e6, 1, 3.5e6, prior=prior) == pytest.approx(drawn, rel=0.03)


@given(counts, cells, counts, cells)
def test_quantiles_and_probabilities_agree(k1, n1, k2, n2):
    low, middle, high = ratio_quantiles(k1, n1, k2, n2)
    assert low < middle < high
    assert p_ratio_below(middle, k1, n1, k2, n2) == pytest.approx(0.5, abs=1e-6)
    assert p_ratio_below(high, k1, n1, k2, n2) == pytest.approx(0.975, abs=1e-6)


def test_averaged_luck_is_what_simulation_gives():
    rng = np.random.default_rng(0)
    rates = rng.gamma(3.5, 1 / 2.0, 400_000)
    assert luck_averaged(3, 2e6, 3e6) == pytest.approx((rng.poisson(rates * 3.0) == 0).mean(), abs=0.002)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ((1, 2e6), (0, 2e6), "cannot be told"),
        ((4, 2e6), (0, 2e6), "cannot be told"),
        ((5, 2e6), (0, 2e6), "cleared"),
        ((5, 2e6), (0, 5e5), "cannot be told"),
        ((1, 2e6), (0, 5e7), "cleared"),
        ((0, 2e6), (0, 2e6), "cannot be told"),
        ((20, 2e6), (3, 4e6), "reduced"),
        ((0, 2e6), (2, 2e6), "cannot be told"),
        ((2, 2e6), (15, 2e6), "risen"),
        ((200, 2e6), (190, 2e6), "unchanged"),
        ((10, 2e6), (9, 2e6), "cannot be told"),
    ],
)
def test_words(first, second, word):
    assert change(*first, *second).word == word


def test_nothing_before_and_nothing_now_says_nothing():
    said = change(0, 2e6, 0, 2e6)
    assert said.p_reduced == pytest.approx(0.5)
    assert said.luck_plug_in == 1.0
    assert said.low < 0.01
    assert said.high > 100


@pytest.mark.parametrize("mean", [1.0, 3.0, 5.0, 10.0])
def test_unchanged_patients_are_seldom_called_cleared_or_reduced(mean):
    rng = np.random.default_rng(3)
    pairs = rng.poisson(mean, (2, 2000))
    words = [change(int(a), 2e6, int(b), 2e6).word for a, b in pairs.T]
    assert sum(word in ("cleared", "reduced") for word in words) / len(words) < 0.05


def test_a_prior_is_fitted_to_a_cohort():
    rng = np.random.default_rng(5)
    millions = rng.uniform(1, 4, 3000)
    found = rng.poisson(rng.gamma(0.6, 1 / 0.3, 3000) * millions)
    prior = fit_prior(found.tolist(), (1e6 * millions).tolist())
    assert prior.shape == pytest.approx(0.6, rel=0.1)
    assert prior.millions == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize(
    "make",
    [
        lambda: change(-1, 2e6, 0, 2e6),
        lambda: change(1, 0, 0, 2e6),
        lambda: change(1, 2e6, 0, float("nan")),
        lambda: change(1, 2e6, 0.5, 2e6),
        lambda: change(1, 2e6, 0, 2e6, confidence=0.0),
        lambda: p_ratio_below(0.0, 1, 2e6, 0, 2e6),
        lambda: Prior("none", 0.0, 1.0),
        lambda: Prior("none", 1.0, -1.0),
        lambda: fit_prior([1, 2], [1e6, 1e6]),
        lambda: fit_prior([0] * 20, [1e6] * 20),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|needs"):
        make()
