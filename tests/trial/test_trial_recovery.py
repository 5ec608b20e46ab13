"""Spiked controls: recovery, batches, Westgard's rules and how often they cry wolf."""

import numpy as np
import pytest
from scipy.stats import poisson

from dtcseg.statistics import poisson_interval
from dtcseg.trial.recovery import judge_batch, recovery, scores, westgard


def test_recovery_is_garwood_over_expected():
    low, high = poisson_interval(45)
    said = recovery(45, 51.0)
    assert said.share == pytest.approx(45 / 51)
    assert (said.low, said.high) == (low / 51, high / 51)
    assert recovery(0, 4.0).low == 0.0


def test_batches():
    assert judge_batch(48, 51.0).accepted
    low = judge_batch(20, 51.0)
    assert not low.accepted
    assert "below" in low.reason
    assert "above" in judge_batch(100, 51.0).reason


def test_a_good_batch_at_the_edge_is_rejected_in_at_most_five_percent():
    rejected = sum(poisson.pmf(k, 0.7 * 51) for k in range(200) if judge_batch(k, 51.0).p_low < 0.05)
    assert 0.02 < rejected <= 0.05


def test_a_control_too_small_to_reject_says_so():
    assert judge_batch(0, 4.0).sees_half == 0.0
    assert judge_batch(0, 51.0).sees_half > 0.9


def test_power_to_reject_is_what_it_says():
    expected = sum(poisson.pmf(k, 0.35 * 20) for k in range(60) if judge_batch(k, 20.0).p_low < 0.05)
    assert judge_batch(14, 20.0).sees_half == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mean", [5.0, 20.0, 100.0])
def test_scores_have_a_standard_deviation_of_one(mean):
    found = np.random.default_rng(0).poisson(mean, 20_000)
    values = np.array(scores(found.tolist(), [mean] * len(found)))
    assert values.std() == pytest.approx(1.0, abs=0.05)
    assert values.mean() == pytest.approx(0.0, abs=0.15)


def test_known_differences_between_batches_widen_the_scale():
    rng = np.random.default_rng(0)
    found = rng.poisson(50 * rng.gamma(25, 1 / 25, 20_000))  # relative SD 0.2
    values = np.array(scores(found.tolist(), [50.0] * len(found), batch_cv=0.2))
    assert values.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ([0.1, 3.2], ["1-3s"]),
        ([2.1, 2.2], ["2-2s"]),
        ([2.1, -2.2], ["R-4s"]),
        ([1.1, 1.2, 1.3, 1.4], ["4-1s"]),
        ([-1.1, -1.2, -1.3, -1.4], ["4-1s"]),
        ([0.1] * 10, ["10-x"]),
        ([0.1] * 9 + [-0.1], []),
        ([2.1, 1.9, 0.2, -1.1], []),
        ([], []),
    ],
)
def test_rules(values, rules):
    assert [violation.rule for violation in westgard(values)] == rules


def test_a_rule_names_the_batch_that_broke_it():
    assert westgard([0.0, 0.1, -3.5, 0.1])[0].batch == 2


def test_a_stable_series_seldom_breaks_the_strict_rule():
    found = np.random.default_rng(1).poisson(50.0, 5000).tolist()
    broken = [v.batch for v in westgard(scores(found, [50.0] * 5000)) if v.rule == "1-3s"]
    assert len(broken) / 5000 < 0.006


@pytest.mark.parametrize(
    "make",
    [
        lambda: recovery(-1, 5.0),
        lambda: recovery(1, 0.0),
        lambda: judge_batch(1, 5.0, least=1.5, most=1.0),
        lambda: judge_batch(1, float("nan")),
        lambda: scores([1], [1.0, 2.0]),
        lambda: scores([1], [1.0], batch_cv=-1.0),
        lambda: westgard([float("nan")]),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|expected"):
        make()
