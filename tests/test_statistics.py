"""Exact intervals against the worked figures of the domain notes, an independent formula, and their meaning."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, poisson

from dtcseg.statistics import (
    figure,
    poisson_interval,
    poisson_lower_limit,
    poisson_upper_limit,
    rate_per_million,
)

counts = st.integers(0, 5000)


@pytest.mark.parametrize(
    ("count", "mnc", "per_million", "low", "high"),
    [(0, 2_000_000, 0.0, 0.0, 1.84), (1, 2_000_000, 0.5, 0.01, 2.79), (3, 2_000_000, 1.5, 0.31, 4.38)],
)
def test_worked_figures_two_sided(count, mnc, per_million, low, high):
    rate = rate_per_million(count, mnc)
    assert rate.per_million == per_million
    assert round(rate.low, 2) == low
    assert round(rate.high, 2) == high


@pytest.mark.parametrize(("mnc", "limit"), [(2_000_000, 1.50), (3_000_000, 1.00), (6_000_000, 0.50)])
def test_worked_figures_one_sided(mnc, limit):
    assert round(rate_per_million(0, mnc).limit, 2) == limit


def test_rule_of_three():
    assert poisson_upper_limit(0) == pytest.approx(-math.log(0.05))


@given(counts, st.floats(0.5, 0.999))
def test_same_as_the_chi_square_form(count, confidence):
    tail = (1 - confidence) / 2
    low, high = poisson_interval(count, confidence)
    assert low == pytest.approx(chi2.ppf(tail, 2 * count) / 2 if count else 0.0, rel=1e-9)
    assert high == pytest.approx(chi2.ppf(1 - tail, 2 * count + 2) / 2, rel=1e-9)


@given(counts)
def test_limits_leave_their_tails(count):
    low, high = poisson_interval(count)
    assert poisson.cdf(count, high) == pytest.approx(0.025, rel=1e-6)
    if count:
        assert poisson.sf(count - 1, low) == pytest.approx(0.025, rel=1e-6)
    assert poisson_lower_limit(count) <= count <= poisson_upper_limit(count)


@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0, 10.0])
def test_coverage_is_at_least_what_is_said(mean):
    seen = range(200)
    covered = sum(poisson.pmf(k, mean) for k in seen if poisson_interval(k)[0] <= mean <= poisson_interval(k)[1])
    assert covered >= 0.95


@pytest.mark.parametrize(
    ("count", "mnc", "text"),
    [
        (0, 2_000_000, "< 1.50"),
        (1, 2_000_000, "0.50 (0.01\N{EN DASH}2.79)"),
        (3, 2_000_000, "1.50 (0.31\N{EN DASH}4.38)"),
        (0, 1000, "< 2996"),
        (1, 4_000_000, "0.25 (0.0063\N{EN DASH}1.39)"),
    ],
)
def test_said_as_it_is_quoted(count, mnc, text):
    assert str(rate_per_million(count, mnc)) == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.00"), (0.0063, "0.0063"), (99.5, "99.50"), (1234.5, "1234")])
def test_figure(value, text):
    assert figure(value) == text


@pytest.mark.parametrize("mnc", [0, -1])
def test_no_rate_without_cells(mnc):
    with pytest.raises(ValueError, match="no rate"):
        rate_per_million(0, mnc)


def test_refuses_nonsense():
    with pytest.raises(ValueError, match="negative"):
        poisson_interval(-1)
    with pytest.raises(ValueError, match="confidence"):
        poisson_upper_limit(1, 1.0)
