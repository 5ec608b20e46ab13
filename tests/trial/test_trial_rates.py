"""Results of slides and patients: worked figures, the denominator's error carried through, what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcseg.statistics import poisson_interval, rate_per_million, share_interval
from dtcseg.trial.rates import Screened, add_screened, pool, result, screened


@pytest.mark.parametrize(
    ("count", "per_million", "low", "high"), [(0, 0.0, 0.0, 1.84), (1, 0.5, 0.01, 2.79), (3, 1.5, 0.31, 4.38)]
)
def test_worked_figures(count, per_million, low, high):
    found = result(count, 2_000_000)
    assert found.per_million == per_million
    assert (round(found.low, 2), round(found.high, 2)) == (low, high)


@given(st.integers(0, 300), st.integers(1, 10**7))
def test_a_known_denominator_gives_exactly_garwood(count, mnc):
    found, plain = result(count, mnc), rate_per_million(count, mnc)
    assert found.low == pytest.approx(plain.low, rel=1e-14)
    assert found.high == pytest.approx(plain.high, rel=1e-14)
    assert found.limit == pytest.approx(plain.limit, rel=1e-14)


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_a_vanishing_error_of_the_denominator_goes_to_garwood(count):
    found = result(count, Screened(2e6, 2e6 * (1 - 1e-7), 2e6 * (1 + 1e-7)))
    low, high = poisson_interval(count)
    assert found.low == pytest.approx(low / 2, abs=1e-9)
    assert found.high == pytest.approx(high / 2, rel=1e-9)


def test_error_of_the_denominator_widens_the_interval_more_where_more_was_found():
    def wider(count):
        plain, unsure = result(count, 2e6), result(count, Screened(2e6, 1.6e6, 2.4e6))
        return (unsure.high - unsure.low) / (plain.high - plain.low)

    assert 1.0 < wider(1) < wider(10) < wider(1000)


def test_many_cells_leave_the_error_of_the_denominator_only():
    found = result(10**8, Screened(2e6, 1.8e6, 2.2e6))
    assert math.log(found.high / found.per_million) == pytest.approx(1.96 * 0.051, abs=0.002)


def test_limits_leave_their_tails_on_simulated_denominators():
    cells = Screened(2e6, 1.4e6, 2.6e6)
    found = result(2, cells)
    rng = np.random.default_rng(1)
    true_cells = 2e6 * np.exp(cells.log_sd * rng.standard_normal(400_000))
    assert (rng.poisson(found.high / 1e6 * true_cells) <= 2).mean() == pytest.approx(0.025, abs=0.001)
    assert (rng.poisson(found.low / 1e6 * true_cells) >= 2).mean() == pytest.approx(0.025, abs=0.001)


def test_slides_add_up_with_their_errors_going_the_same_way():
    slide = Screened(500_000, 480_000, 520_000)
    four = add_screened([slide] * 4)
    assert four == Screened(2_000_000, 1_920_000, 2_080_000)
    assert four.log_sd == slide.log_sd
    assert pool([(0, slide), (1, slide), (0, slide), (0, slide)]) == result(1, four)


def test_nothing_found_is_never_zero():
    assert str(result(0, 2_000_000)) == "not detected, < 1.50 per 10^6 (95 %)"
    assert str(result(1, 2_000_000)) == "0.50 per 10^6 (0.01\N{EN DASH}2.79)"


def test_per_ml():
    found = result(2, 2_000_000, mnc_per_ml=5e6)
    assert found.per_ml is not None
    assert found.per_ml[0] == 5.0
    assert found.per_ml[2] == pytest.approx(found.high * 5)
    assert result(2, 2_000_000).per_ml is None
    slide = screened(1_000_000)
    assert pool([(1, slide), (1, slide)], mnc_per_ml=5e6).per_ml == found.per_ml


def test_an_interval_that_reaches_zero_is_no_obstacle():
    assert result(0, Screened(40, 0, 90)).limit > result(0, 40).limit


@pytest.mark.parametrize(
    "make",
    [
        lambda: result(-1, 2e6),
        lambda: result(1.5, 2e6),
        lambda: result(float("nan"), 2e6),
        lambda: result(1, 0),
        lambda: result(1, float("nan")),
        lambda: result(1, 2e6, confidence=1.0),
        lambda: result(1, 2e6, mnc_per_ml=0.0),
        lambda: Screened(10, 11, 12),
        lambda: Screened(10, -1, 12),
        lambda: pool([]),
        lambda: screened(-1),
        lambda: share_interval(3, 2),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must be|must lie|outside|exceed"):
        make()
