"""Control slides: exact comparison, limits of blank and detection, the gate for probable cells."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, poisson

from dtcseg.trial.controls import blank_probabilities, detection_limits, exceeds, isotype_gate


@pytest.mark.parametrize(("k", "n", "c", "m"), [(5, 2e6, 0, 2e6), (3, 2e6, 1, 1e6), (7, 3e6, 2, 5e6), (0, 2e6, 4, 2e6)])
def test_exceeds_is_the_binomial_test(k, n, c, m):
    tested = binomtest(k, k + c, n / (n + m), alternative="greater")
    said = exceeds(k, n, c, m)
    assert said.p_value == pytest.approx(tested.pvalue, rel=1e-9)
    low, high = binomtest(k, k + c).proportion_ci(0.95, "exact")
    assert said.low == pytest.approx(low / (1 - low) * m / n, rel=1e-6)
    assert said.high == (pytest.approx(high / (1 - high) * m / n, rel=1e-6) if c else math.inf)


def test_nothing_in_sample_and_control():
    said = exceeds(0, 2e6, 0, 2e6)
    assert said.p_value == 1.0
    assert math.isnan(said.ratio)
    assert (said.low, said.high) == (0.0, math.inf)


def test_the_test_keeps_its_size():
    size = 0.0
    for k in range(40):
        for c in range(40):
            if exceeds(k, 2e6, c, 1e6).p_value < 0.05:
                size += poisson.pmf(k, 6.0) * poisson.pmf(c, 3.0)
    assert 0.01 < size <= 0.05


def test_clean_controls_allow_one_cell_to_mean_something():
    limits = detection_limits([0] * 10, [2e6] * 10, 2e6)
    assert limits.blank_count == 0
    assert round(limits.detection_per_million, 2) == 1.50  # the rule of three


def test_few_controls_allow_less():
    assert detection_limits([0], [2e6], 2e6).blank_count > detection_limits([0] * 3, [2e6] * 3, 2e6).blank_count >= 1


def test_depth_of_the_sample_counts():
    deep = detection_limits([2] * 8, [2e6] * 8, 8e6)
    shallow = detection_limits([2] * 8, [2e6] * 8, 5e5)
    assert deep.blank_count > shallow.blank_count
    assert deep.detection_per_million < shallow.detection_per_million


def test_controls_that_differ_raise_the_limit():
    even = detection_limits([5] * 8, [2e6] * 8, 2e6)
    uneven = detection_limits([0, 18, 1, 0, 14, 2, 4, 1], [2e6] * 8, 2e6)
    assert even.control_count == uneven.control_count == 40
    assert uneven.blank_count > even.blank_count


def test_detection_is_with_the_confidence_said():
    limits = detection_limits([1] * 6, [2e6] * 6, 2e6)
    missed = poisson.cdf(limits.blank_count, limits.detection_per_million * 2)
    assert missed == pytest.approx(0.05, rel=1e-6)
    half = detection_limits([1] * 6, [2e6] * 6, 2e6, recall=0.5)
    assert half.detection_per_million == pytest.approx(2 * limits.detection_per_million)


def test_blanks_stay_below_the_limit_as_often_as_said():
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(300):
        rates = rng.gamma(4.0, 1.0 / 4.0, 11) * 1.5  # relative SD 0.5
        found = rng.poisson(rates * 2)
        below += found[-1] <= detection_limits(found[:-1].tolist(), [2e6] * 10, 2e6).blank_count
    assert below / 300 >= 0.93


def test_probabilities_of_a_blank_add_up():
    assert blank_probabilities([1, 0, 2], [2e6] * 3, 2e6, 500).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("isotype", "count", "counted"),
    [
        ((0, 2e6), 5, True),
        ((1, 2e6), 2, False),
        ((0, 1e6), 2, False),
        ((None, None), 2, False),
    ],
)
def test_probable_cells_count_where_the_isotype_control_is_negative(isotype, count, counted):
    gated = isotype_gate(2, 3, 2e6, *isotype)
    assert (gated.count, gated.probable_counted) == (count, counted)
    assert ("do not count" in gated.reason) is not counted


@pytest.mark.parametrize(
    "make",
    [
        lambda: exceeds(-1, 2e6, 0, 2e6),
        lambda: exceeds(1, 2e6, 0, 0),
        lambda: exceeds(1, float("nan"), 0, 2e6),
        lambda: detection_limits([], [], 2e6),
        lambda: detection_limits([1], [2e6, 2e6], 2e6),
        lambda: detection_limits([1], [2e6], 0),
        lambda: detection_limits([1], [2e6], 2e6, recall=0.0),
        lambda: isotype_gate(1, 1, 2e6, 0, None),
        lambda: isotype_gate(1, -1, 2e6, 0, 2e6),
        lambda: isotype_gate(1, 1, 0, 0, 2e6),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|needed|needs"):
        make()
