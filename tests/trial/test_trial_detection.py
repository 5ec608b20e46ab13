"""Cells missed: recall, capture and recapture, corrected rates; coverage where it is claimed."""

import math

import numpy as np
import pytest
from scipy.stats import beta, hypergeom

from dtcseg.trial.detection import (
    Recall,
    _hypergeometric,
    audited_recall,
    captured,
    corrected,
    recall_posterior,
)
from dtcseg.trial.rates import Screened, result


def test_recall():
    recall = recall_posterior(97, 100)
    assert (recall.a, recall.b) == (97.5, 3.5)
    assert recall.interval() == pytest.approx(beta.ppf((0.025, 0.975), 97.5, 3.5))


def test_a_complete_audit_without_a_miss_is_plain_recall():
    audited = audited_recall(20, 5000, 0, 5000)
    assert (audited.a, audited.b) == pytest.approx((20.5, 0.5), rel=1e-6)
    missed = audited_recall(20, 5000, 4, 5000)
    assert (missed.a, missed.b) == pytest.approx((20.5, 4.5), rel=1e-6)


def test_a_partial_audit_knows_less():
    whole, part = audited_recall(50, 10_000, 0, 10_000), audited_recall(50, 500, 0, 10_000)
    assert part.mean < whole.mean
    assert part.interval()[0] < 0.8 < whole.interval()[0]


def test_corrected_stands_beside_raw():
    recall = recall_posterior(90, 100)
    both = corrected(3, 2_000_000, recall)
    assert both.raw == result(3, 2_000_000)
    assert both.per_million == pytest.approx(1.5 / 0.9, rel=0.02)
    assert both.low < both.raw.per_million < both.high
    assert both.high > both.raw.high
    assert corrected(0, 2_000_000, recall).limit > result(0, 2_000_000).limit


def test_perfect_recall_corrects_nothing():
    cells = Screened(2e6, 1.9e6, 2.1e6)
    both = corrected(3, cells, Recall(1e9, 1e-3))
    assert both.low == pytest.approx(both.raw.low, rel=1e-4)
    assert both.high == pytest.approx(both.raw.high, rel=1e-4)


def test_corrected_intervals_cover():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        recall = recall_posterior(int(rng.binomial(40, 0.8)), 40)
        said = corrected(int(rng.poisson(8.0 * 0.8)), 2e6, recall)
        covered += said.low <= 4.0 <= said.high
    assert covered >= 186  # 0.93 of 200


@pytest.mark.parametrize(("total", "first", "second"), [(10, 4, 5), (40, 12, 20)])
def test_hypergeometric(total, first, second):
    for both in range(min(first, second) + 1):
        expected = hypergeom.cdf(both, total, first, second)
        assert _hypergeometric(total, first, second, range(both + 1)) == pytest.approx(expected, abs=1e-10)


def test_chapman():
    assert captured(50, 60, 40).total == pytest.approx(51 * 61 / 41 - 1)
    assert captured(3, 2, 2).missed == 0.0


def test_nothing_found_twice_has_no_upper_end():
    said = captured(1, 1, 0)
    assert (said.total, said.low, said.high) == (3.0, 2.0, math.inf)
    assert captured(0, 0, 0).high == math.inf
    assert math.isnan(captured(0, 3, 0).recall_2[0])


@pytest.mark.parametrize("there", [3, 8, 30])
@pytest.mark.parametrize("recalls", [(0.9, 0.8), (0.5, 0.4)])
def test_capture_intervals_cover_even_tiny_counts(there, recalls):
    rng = np.random.default_rng(there)
    covered = 0
    for _ in range(500):
        first, second = (rng.random(there) < recall for recall in recalls)
        said = captured(int(first.sum()), int(second.sum()), int((first & second).sum()))
        covered += said.low <= there <= said.high
    # given the two counts the tails are exact; a cell that neither saw leaves no trace in the smallest tables
    assert covered / 500 >= 0.94


@pytest.mark.parametrize(
    "make",
    [
        lambda: recall_posterior(3, 2),
        lambda: recall_posterior(-1, 2),
        lambda: recall_posterior(1, 2, prior=(0.0, 1.0)),
        lambda: Recall(float("nan"), 1.0),
        lambda: audited_recall(5, 10, 11, 20),
        lambda: audited_recall(0, 10, 1, 20),
        lambda: captured(1, 2, 2),
        lambda: captured(1, -2, 0),
        lambda: corrected(1, 2e6, recall_posterior(0, 3)),
        lambda: corrected(1, 0, recall_posterior(9, 10)),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|cannot|more cells|too few"):
        make()
