"""Tests of what more slides would tell, and of rates corrected for the cells missed."""

import csv
import io

import pytest

from dtcseg.report.changes import key_of
from dtcseg.report.tables import patients_csv
from dtcseg.trial.detection import corrected, recall_posterior
from dtcseg.trial.quick import corrected_of
from dtcseg.trial.rates import screened

RECALL = {"recall": {"found": 96, "total": 100}}


def depth_of(study, timepoint):
    one = next(s for s in study.specimens if s.timepoint == timepoint)
    return study.depths[key_of(one)]


def test_a_negative_sample_is_told_how_much_excludes_a_rate(cohort):
    cohort.slide(timepoint="baseline")
    advice = depth_of(cohort.study(), "baseline").advice
    assert advice.slides == 1  # 3.00 x 10^6 exclude 1 per 10^6, a slide holds 2
    assert "exclude" in advice.reason


def test_after_a_find_it_is_told_when_cleared_may_be_said(cohort):
    cohort.slide(timepoint="baseline", tumours=3)
    cohort.slide(timepoint="C3")
    study = cohort.study()
    assert "cleared" in depth_of(study, "C3").advice.reason
    assert depth_of(study, "C3").advice.slides == 1
    assert "factor" in depth_of(study, "baseline").advice.reason


@pytest.mark.parametrize(("count", "low", "high"), [(0, 1e6, 1e6), (3, 1.8e6, 2.2e6)])
def test_quick_corrections_are_the_exact_ones(count, low, high):
    cells = screened(2e6 if low != high else 1e6, low, high)
    exact = corrected(count, cells, recall_posterior(96, 100))
    quick = corrected_of(count, cells, 96, 100)
    assert quick == pytest.approx((exact.per_million, exact.low, exact.high), rel=2e-3)


def test_a_rate_is_corrected_by_the_recall_of_its_weights(cohort):
    cohort.slide(timepoint="baseline", tumours=3, details=RECALL)
    study = cohort.study()
    rate, low, high = depth_of(study, "baseline").corrected
    raw = study.specimens[0].rate
    assert rate > raw.per_million
    assert low < rate < high
    (row,) = csv.DictReader(io.StringIO(patients_csv(study).decode("utf-8-sig")))
    assert row["recall"] == "0.9600"
    assert float(row["corrected_per_million"]) == pytest.approx(rate, rel=1e-4)
    assert row["more_slides"] == "1"  # the interval of four cells spans a factor of 9.4


def test_without_a_recall_nothing_is_corrected(cohort):
    cohort.slide(timepoint="baseline", tumours=3)
    depth = depth_of(cohort.study(), "baseline")
    assert depth.recall is None
    assert depth.corrected is None
