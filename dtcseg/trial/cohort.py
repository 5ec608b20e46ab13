"""The arms of a trial: reduction against the control arm, DTC-free rates, and the records behind the usual plots.

The regression is a Poisson one with offset log(cells screened), a patient effect and gamma over-dispersion between
visits (`_mixed_poisson` gives the model and its priors, `_importance` how it is sampled). All arms share the level at
the start (they were randomised) and the change with time in the control arm; a treatment multiplies the rate after
the start. Its reduction is 1 minus that factor: what the arm has lost beyond what the control arm lost by itself.

Why not a library: statsmodels' `PoissonBayesMixedGLM` takes no offset, so unequal depths cannot enter; its
`NegativeBinomial` takes one, but knows no patient effect and gives no posterior; general samplers are too heavy to
depend on.

What is not modelled: patients of one arm who answer the treatment differently for good (the visits' over-dispersion
takes up some of that), and visits missing because of the disease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtcseg.statistics import CONFIDENCE, PER, poisson_upper_limit, share_interval
from dtcseg.trial import _mixed_poisson
from dtcseg.trial._checks import between, positive, whole
from dtcseg.trial._importance import Draws, sample
from dtcseg.trial._mixed_poisson import Design, Priors

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Visit:
    """One patient at one time.

    Attributes
    ----------
    patient, arm : str
    time : float
        In the trial's own unit (months, cycles); the earliest of the cohort is the start.
    count : int
        Tumour cells found.
    mnc : float
        Cells screened.
    """

    patient: str
    arm: str
    time: float
    count: int
    mnc: float

    def __post_init__(self) -> None:
        """Refuse what is no visit."""
        whole(self.count, "count")
        positive(self.mnc, "mnc")
        if not math.isfinite(self.time):
            raise ValueError(f"time must be a number: {self.time}")


@dataclass(frozen=True, eq=False)
class Effect:
    """Posterior of one arm's reduction against the control arm.

    Attributes
    ----------
    arm : str
    time : float or None
        None: one effect for all visits after the start.
    reduction, low, high : float
        Median and equal-tailed interval of 1 - ratio; 0.8 is a reduction of 80 %, below 0 is a rise.
    p_reduced : float
        Posterior probability that the reduction is above 0.
    log_ratios, weights : (N,) float64
        Draws of the logarithm of the ratio.
    """

    arm: str
    time: float | None
    reduction: float
    low: float
    high: float
    p_reduced: float
    log_ratios: FloatArray
    weights: FloatArray

    def p_at_least(self, reduction: float) -> float:
        """Posterior probability of a reduction of at least this (0.8 for 80 %)."""
        if not reduction < 1.0:
            raise ValueError(f"a reduction must lie below 1: {reduction}")
        return float(self.weights[self.log_ratios <= math.log1p(-reduction)].sum())


@dataclass(frozen=True, eq=False)
class CohortFit:
    """What the regression says.

    Attributes
    ----------
    effects : tuple of Effect
        By arm, then time; the control arm has none.
    control : tuple of Effect
        The control arm's own change since the start, for each later time.
    patient_sd : float
        Posterior median of the standard deviation of patients' log rates.
    visit_cv : float
        Posterior median of the coefficient of variation between visits of a patient, beyond Poisson.
    effective_draws : float
        Independent draws the posterior's draws are worth.
    """

    effects: tuple[Effect, ...]
    control: tuple[Effect, ...]
    patient_sd: float
    visit_cv: float
    effective_draws: float


@dataclass(frozen=True)
class DtcFree:
    """Patients of an arm in whom nothing was found at a time, with the exact interval of their share."""

    arm: str
    time: float
    free: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Bar:
    """One bar of a waterfall plot.

    Attributes
    ----------
    change_percent : float
        Change of the rate from the start, -100 where nothing was found any more.
    excluded_percent : float
        Where nothing was found: change that the one-sided 95 % limit of the later visit still allows; else equal to
        `change_percent`. A bar of -100 % at little depth must not look like one at great depth.
    """

    patient: str
    arm: str
    time: float
    change_percent: float
    excluded_percent: float


@dataclass(frozen=True)
class Line:
    """One line of a spaghetti plot: a patient's rates per 10^6 by time; where none was found, draw `limits`."""

    patient: str
    arm: str
    times: tuple[float, ...]
    per_million: tuple[float, ...]
    limits: tuple[float, ...]
    detected: tuple[bool, ...]


def fit_cohort(
    visits: Sequence[Visit],
    control: str,
    *,
    by_time: bool = False,
    enrolled_positive: bool = False,
    priors: Priors = Priors(),  # noqa: B008 - frozen
    confidence: float = CONFIDENCE,
    per_round: int = 2000,
    effective: float = 1000.0,
    seed: int = 0,
) -> CohortFit:
    """Fit the Bayesian Poisson regression.

    Parameters
    ----------
    visits : sequence of Visit
        At most one of a patient at a time.
    control : str
        The arm the others are compared with.
    by_time : bool
        An effect for each time instead of one for all times after the start.
    enrolled_positive : bool
        Patients were enrolled because the first sample held a tumour cell, and that sample is the one given here.
    priors : Priors
        Widths of the priors.
    confidence : float
        Of the intervals.
    per_round, effective, seed
        See `_importance.sample`.

    Raises
    ------
    ValueError
        No control arm, a patient in two arms or twice at a time, no visit after the start, nothing found at all, or a
        first sample without a tumour cell where `enrolled_positive` is said.
    ArithmeticError
        The posterior could not be sampled.
    """
    tail = (1.0 - between(confidence, "confidence")) / 2.0
    design, names = _design(visits, control, by_time=by_time, enrolled_positive=enrolled_positive)
    draws = sample(
        lambda points: _mixed_poisson.log_posterior(design, priors, points),
        _mixed_poisson.start(design),
        per_round=per_round,
        effective=effective,
        seed=seed,
    )
    own = [(control, time) for time in sorted({v.time for v in visits})[1:]]
    # column 0 is the level at the start; then come the control arm's times, then the treatments
    effects = [_effect(name, draws, column, tail) for column, name in enumerate([*own, *names], start=1)]
    spread = [math.exp(_quantiles(draws.values[:, at], draws.weights, (0.5,))[0]) for at in (-2, -1)]
    return CohortFit(tuple(effects[len(own) :]), tuple(effects[: len(own)]), spread[0], spread[1], draws.effective)


def dtc_free(visits: Sequence[Visit], confidence: float = CONFIDENCE) -> list[DtcFree]:
    """Count who is DTC-free, by arm and time, with Clopper-Pearson intervals; depth is not looked at."""
    between(confidence, "confidence")
    rows = []
    for arm, time in sorted({(v.arm, v.time) for v in visits}):
        there = [v for v in visits if (v.arm, v.time) == (arm, time)]
        free = sum(v.count == 0 for v in there)
        low, high = share_interval(free, len(there), confidence)
        rows.append(DtcFree(arm, time, free, len(there), free / len(there), low, high))
    return rows


def waterfall(visits: Sequence[Visit], time: float) -> list[Bar]:
    """Give each patient's change from the start to `time`, highest first.

    Patients in whom nothing was found at the start have no change in percent and are left out.

    Raises
    ------
    ValueError
        A time that does not come after the start.
    """
    begin = min((v.time for v in visits), default=math.nan)
    if not time > begin:
        raise ValueError(f"time must come after the start ({begin}): {time}")
    at_start = {v.patient: v for v in visits if v.time == begin and v.count > 0}
    bars = []
    for visit in visits:
        if visit.time == time and visit.patient in at_start:
            before = at_start[visit.patient]
            rate = before.count / before.mnc
            change = visit.count / visit.mnc / rate - 1
            allowed = change if visit.count else poisson_upper_limit(0) / visit.mnc / rate - 1
            bars.append(Bar(visit.patient, visit.arm, time, 100 * change, 100 * allowed))
    return sorted(bars, key=lambda bar: (-bar.change_percent, -bar.excluded_percent, bar.patient))


def spaghetti(visits: Sequence[Visit]) -> list[Line]:
    """Give each patient's rates over time, by arm and patient."""
    lines = []
    for arm, patient in sorted({(v.arm, v.patient) for v in visits}):
        own = sorted((v for v in visits if (v.arm, v.patient) == (arm, patient)), key=lambda v: v.time)
        lines.append(
            Line(
                patient,
                arm,
                tuple(v.time for v in own),
                tuple(v.count / v.mnc * PER for v in own),
                tuple(poisson_upper_limit(v.count) / v.mnc * PER for v in own),
                tuple(v.count > 0 for v in own),
            )
        )
    return lines


def _design(
    visits: Sequence[Visit], control: str, *, by_time: bool, enrolled_positive: bool
) -> tuple[Design, list[tuple[str, float | None]]]:
    arm_of = _checked(visits, control)
    times = sorted({v.time for v in visits})
    patients = sorted(arm_of)
    arms = sorted(set(arm_of.values()) - {control})
    names: list[tuple[str, float | None]] = [(arm, time) for arm in arms for time in (times[1:] if by_time else [None])]
    shape = (len(patients), len(times))
    counts, millions = np.zeros(shape), np.zeros(shape)
    columns = np.zeros((*shape, len(times) + len(names)))
    columns[..., 0] = 1.0
    for later in range(1, len(times)):
        columns[:, later, later] = 1.0
    for at, (arm, time) in enumerate(names, start=len(times)):
        own = np.array([arm_of[p] == arm for p in patients])
        when = slice(1, None) if time is None else times.index(time)
        columns[own, when, at] = 1.0
    for visit in visits:
        place = patients.index(visit.patient), times.index(visit.time)
        counts[place], millions[place] = visit.count, visit.mnc / PER
    if enrolled_positive and not counts[:, 0].all():
        raise ValueError("enrolled for a positive first sample, yet a patient has none")
    kinds = ("level", *("time",) * (len(times) - 1), *("effect",) * len(names))
    return Design(counts, millions, columns, kinds, enrolled_positive), names


def _effect(name: tuple[str, float | None], draws: Draws, column: int, tail: float) -> Effect:
    log_ratios, weights = draws.values[:, column], draws.weights
    high, middle, low = _quantiles(log_ratios, weights, (tail, 0.5, 1.0 - tail))
    fallen = float(weights[log_ratios < 0].sum())
    return Effect(*name, -math.expm1(middle), -math.expm1(low), -math.expm1(high), fallen, log_ratios, weights)


def _checked(visits: Sequence[Visit], control: str) -> dict[str, str]:
    """Return the arm of each patient."""
    arm_of: dict[str, str] = {}
    for visit in visits:
        if arm_of.setdefault(visit.patient, visit.arm) != visit.arm:
            raise ValueError(f"patient {visit.patient} is in two arms: {arm_of[visit.patient]} and {visit.arm}")
    if control not in arm_of.values():
        raise ValueError(f"no patient in the control arm: {control}")
    if len({(v.patient, v.time) for v in visits}) < len(visits):
        raise ValueError("a patient has two visits at one time; pool them first")
    if len({v.time for v in visits}) < 2:
        raise ValueError("no visit after the start")
    if not any(v.count for v in visits):
        raise ValueError("no tumour cell in the whole cohort: nothing to compare")
    return arm_of


def _quantiles(values: FloatArray, weights: FloatArray, at: tuple[float, ...]) -> list[float]:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return [float(values[order][min(int(np.searchsorted(reached, p)), len(values) - 1)]) for p in at]
