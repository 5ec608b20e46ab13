"""Agreement of two assays: worked figures, published ones, and intervals that hold."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from dtcseg.trial.agreement import Table, agreement, cohen_kappa, gwet_ac1, mcnemar, table


def test_two_sites():
    """Naume 2003: anterior 37, posterior 30, both 21 of 97."""
    said = agreement(table(37, 30, 21, 97))
    assert round(said.agreement.value, 2) == 0.74
    assert round(said.kappa.value, 2) == 0.43


def test_two_readings():
    """Bauer 2000: both 9, program only 17, reader only 3, neither 10."""
    said = agreement(Table(9, 17, 3, 10))
    assert round(said.kappa.value, 2) == 0.09
    assert said.mcnemar == pytest.approx(binomtest(3, 20).pvalue, rel=1e-9)


def test_kappa_falls_where_nearly_all_are_negative_and_ac1_does_not():
    rare = Table(1, 2, 2, 95)
    assert cohen_kappa(rare).value < 0.4
    assert gwet_ac1(rare).value > 0.9


def test_interval_of_kappa_is_the_large_sample_one_in_a_large_sample():
    """The variance of Fleiss, Cohen and Everitt 1969, written out in its own terms."""
    counts = Table(4000, 900, 600, 4500)
    share = np.array([[0.40, 0.09], [0.06, 0.45]])
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    same, chance = np.trace(share), rows @ columns
    kappa = (same - chance) / (1 - chance)
    first = sum(share[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(2))
    second = (1 - kappa) ** 2 * sum(share[i, 1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in range(2))
    variance = (first + second - (kappa - chance * (1 - kappa)) ** 2) / (10_000 * (1 - chance) ** 2)
    said = cohen_kappa(counts)
    assert said.value == pytest.approx(kappa)
    assert (said.high - said.low) / 2 == pytest.approx(1.96 * math.sqrt(variance), rel=0.03)


@pytest.mark.parametrize("figure", [cohen_kappa, gwet_ac1])
@pytest.mark.parametrize("shares", [(0.22, 0.16, 0.09, 0.53), (0.03, 0.04, 0.04, 0.89)])
def test_intervals_hold_for_fifty_patients(figure, shares):
    exact = figure(Table(*(round(1e6 * share) for share in shares))).value
    drawn = np.random.default_rng(0).multinomial(50, shares, 300)
    said = [figure(Table(*(int(n) for n in row))) for row in drawn]
    assert np.mean([s.low <= exact <= s.high for s in said]) >= 0.92


def test_perfect_agreement_of_few_is_not_certain():
    said = cohen_kappa(Table(2, 0, 0, 8))
    assert said.value == said.high == 1.0
    assert said.low < 0.7


@pytest.mark.parametrize(("more", "fewer"), [(6, 0), (5, 5), (12, 3), (1, 0)])
def test_mcnemar_is_the_fair_coin(more, fewer):
    assert mcnemar(Table(3, more, fewer, 8)) == pytest.approx(binomtest(fewer, more + fewer).pvalue, rel=1e-9)
    assert mcnemar(Table(3, fewer, more, 8)) == mcnemar(Table(3, more, fewer, 8))


def test_all_negative_defines_no_kappa():
    said = agreement(Table(0, 0, 0, 5))
    assert math.isnan(said.kappa.value)
    assert said.ac1.value == 1.0
    assert said.mcnemar == 1.0


@pytest.mark.parametrize(
    "make",
    [lambda: Table(0, 0, 0, 0), lambda: Table(-1, 2, 3, 4), lambda: table(3, 3, 5, 10), lambda: Table(1, 0.5, 0, 0)],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|no patient"):
        make()
