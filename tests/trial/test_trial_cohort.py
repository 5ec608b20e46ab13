"""Arms of a trial: the likelihood against plain quadrature, recovery of known effects, and the records for plots."""

import math

import numpy as np
import pytest
from scipy.stats import nbinom, norm

from dtcseg.trial import _mixed_poisson
from dtcseg.trial._importance import sample
from dtcseg.trial.cohort import Visit, dtc_free, fit_cohort, spaghetti, waterfall


def simulated(rng, arms, *, patients=40, level=2.0, spread=0.7, visits=3):
    made = []
    for arm, ratio in arms.items():
        for number in range(patients):
            rate = level * math.exp(spread * rng.standard_normal())
            for time in range(visits):
                cells = rng.uniform(1.0, 4.0)
                mean = rate * cells * (ratio if time else 1.0) * rng.gamma(4.0, 0.25)
                made.append(Visit(f"{arm}{number}", arm, time, int(rng.poisson(mean)), 1e6 * cells))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_marginal_likelihood_is_the_integral(seed):
    rng = np.random.default_rng(seed)
    visits = int(rng.integers(1, 5))
    patient_sd, cv = np.exp(rng.uniform(-1.5, 0.7)), np.exp(rng.uniform(-2.5, 0.3))
    means = np.exp(rng.normal(0, 1.2, visits))
    shape = 1 / cv**2
    counts = rng.poisson(means * np.exp(patient_sd * rng.standard_normal()) * rng.gamma(shape, 1 / shape, visits))
    grid = np.linspace(-9, 9, 8001) * patient_sd
    density = norm.logpdf(grid, 0, patient_sd)
    for count, mean in zip(counts, means, strict=True):
        density = density + nbinom.logpmf(count, shape, shape / (shape + mean * np.exp(grid)))
    plain = math.log(np.exp(density).sum() * (grid[1] - grid[0]))
    args = np.array([patient_sd]), np.array([shape])
    said = _mixed_poisson.log_marginal(counts[None].astype(float), means[None, None], *args)
    assert said[0, 0] == pytest.approx(plain, abs=2e-3)
    none = nbinom.pmf(0, shape, shape / (shape + means[0] * np.exp(grid)))
    found = math.log((norm.pdf(grid, 0, patient_sd) * (1 - none)).sum() * (grid[1] - grid[0]))
    assert _mixed_poisson.log_found(means[None, :1], *args)[0, 0] == pytest.approx(found, abs=5e-3)


def test_a_visit_that_was_not_there_says_nothing():
    args = np.array([0.8]), np.array([2.0])
    with_gap = _mixed_poisson.log_marginal(np.array([[3.0, 0.0]]), np.array([[[2.0, 0.0]]]), *args)
    without = _mixed_poisson.log_marginal(np.array([[3.0]]), np.array([[[2.0]]]), *args)
    assert with_gap == pytest.approx(without, abs=1e-5)


def test_sampler_finds_a_known_posterior():
    spread = np.array([[1.0, 0.9], [0.9, 1.0]])
    inverse = np.linalg.inv(spread)
    draws = sample(
        lambda points: -0.5 * np.einsum("ni,ij,nj->n", points - 3, inverse, points - 3),
        np.zeros(2),
        per_round=4000,
        effective=2000,
        seed=0,
    )
    mean = draws.weights @ draws.values
    assert mean == pytest.approx([3.0, 3.0], abs=0.06)
    apart = draws.values - mean
    assert (apart * draws.weights[:, None]).T @ apart == pytest.approx(spread, abs=0.1)


def test_known_effects_are_recovered():
    visits = simulated(np.random.default_rng(1), {"control": 1.0, "half": 0.5, "strong": 0.1})
    fit = fit_cohort(visits, "control")
    half, strong = fit.effects
    assert (half.arm, strong.arm) == ("half", "strong")
    assert half.low < 0.5 < half.high
    assert strong.low < 0.9 < strong.high
    assert strong.p_reduced > 0.999
    assert strong.p_at_least(0.5) > 0.99 > half.p_at_least(0.8)
    assert fit.patient_sd == pytest.approx(0.7, abs=0.3)
    assert fit.visit_cv == pytest.approx(0.5, abs=0.25)


def test_unequal_depth_is_no_effect():
    rng = np.random.default_rng(2)
    visits = [
        Visit(v.patient, v.arm, v.time, int(rng.binomial(v.count, 0.25)), v.mnc * 0.25)
        if v.arm == "thin" and v.time
        else v
        for v in simulated(rng, {"control": 1.0, "thin": 1.0})
    ]
    (thin,) = fit_cohort(visits, "control").effects
    assert thin.low < 0 < thin.high


def test_effects_by_time():
    fit = fit_cohort(simulated(np.random.default_rng(3), {"control": 1.0, "a": 0.2}), "control", by_time=True)
    assert [(e.arm, e.time) for e in fit.effects] == [("a", 1), ("a", 2)]
    assert all(e.low < 0.8 < e.high for e in fit.effects)


def test_same_seed_same_draws():
    visits = simulated(np.random.default_rng(4), {"control": 1.0, "a": 0.2}, patients=10)
    first, again = (fit_cohort(visits, "control", seed=7).effects[0] for _ in range(2))
    assert (first.reduction, first.low, first.high) == (again.reduction, again.low, again.high)


def test_nothing_found_under_treatment_still_has_an_end():
    visits = [
        Visit(f"{arm}{n}", arm, t, 0 if arm == "a" and t else 2, 2e6) for arm in "ca" for n in range(8) for t in (0, 1)
    ]
    (effect,) = fit_cohort(visits, "c").effects
    assert 0.5 < effect.low < effect.reduction < effect.high < 1.0


def test_enrolling_positive_patients_is_no_reduction():
    """The first sample of patients enrolled for it flatters; truncation takes that out of the time effect."""
    rng = np.random.default_rng(5)
    visits = simulated(rng, {"control": 1.0, "a": 1.0}, patients=250, level=0.2, visits=2)
    positive = {v.patient for v in visits if v.time == 0 and v.count}
    kept = [v for v in visits if v.patient in positive]
    known, unknown = (fit_cohort(kept, "control", enrolled_positive=said) for said in (True, False))
    assert known.control[0].low < 0 < known.control[0].high
    assert unknown.control[0].low > 0.2  # regression to the mean, taken for a fall
    assert known.effects[0].low < 0 < known.effects[0].high


def test_dtc_free():
    visits = [Visit(str(n), "a", 6.0, int(n < 3), 2e6) for n in range(10)] + [Visit("x", "b", 0.0, 0, 2e6)]
    first, second = dtc_free(visits)
    assert (first.arm, first.time, first.free, first.total, first.share) == ("a", 6.0, 7, 10, 0.7)
    assert (round(first.low, 3), round(first.high, 3)) == (0.348, 0.933)
    assert (second.arm, second.high) == ("b", 1.0)


def test_waterfall():
    visits = [
        Visit("up", "a", 0, 2, 2e6), Visit("up", "a", 1, 8, 4e6),
        Visit("gone", "a", 0, 4, 2e6), Visit("gone", "a", 1, 0, 2e6),
        Visit("none", "a", 0, 0, 2e6), Visit("none", "a", 1, 1, 2e6),
    ]  # fmt: skip
    up, gone = waterfall(visits, 1)
    assert (up.patient, up.change_percent, up.excluded_percent) == ("up", 100.0, 100.0)
    assert (gone.patient, gone.change_percent) == ("gone", -100.0)
    assert gone.excluded_percent == pytest.approx(100 * (2.9957 / 4 - 1), abs=0.01)


def test_spaghetti():
    (line,) = spaghetti([Visit("p", "a", 3, 0, 2e6), Visit("p", "a", 0, 3, 2e6)])
    assert line.times == (0, 3)
    assert line.per_million == (1.5, 0.0)
    assert line.detected == (True, False)
    assert line.limits[1] == pytest.approx(1.498, abs=1e-3)


def arms(*extra):
    return [Visit("p", "c", 0, 1, 2e6), Visit("p", "c", 1, 1, 2e6), Visit("q", "a", 0, 1, 2e6), *extra]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Visit("p", "a", 0, -1, 2e6),
        lambda: Visit("p", "a", 0, 1, 0.0),
        lambda: Visit("p", "a", float("nan"), 1, 2e6),
        lambda: fit_cohort([], "c"),
        lambda: fit_cohort(arms(), "z"),
        lambda: fit_cohort(arms(Visit("p", "a", 2, 1, 2e6)), "c"),
        lambda: fit_cohort(arms(Visit("q", "a", 0, 1, 2e6)), "c"),
        lambda: fit_cohort([Visit("p", "c", 0, 1, 2e6)], "c"),
        lambda: fit_cohort([Visit("p", "c", 0, 0, 2e6), Visit("p", "c", 1, 0, 2e6)], "c"),
        lambda: fit_cohort(arms(Visit("r", "a", 0, 0, 2e6)), "c", enrolled_positive=True),
        lambda: fit_cohort(arms(), "c", confidence=1.0),
        lambda: fit_cohort(arms(), "c").effects[0].p_at_least(1.0),
        lambda: waterfall(arms(), 0),
    ],
)
def test_refuses_nonsense(make):
    with pytest.raises(ValueError, match=r"must|no |two|enrolled"):
        make()
