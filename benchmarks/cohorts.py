"""Simulated patients and trials of known truth: intervals that cover, probabilities that come true.

    python benchmarks/cohorts.py [--part small|intervals|reliability|words|trial|answers|all] [--runs 1000] [--seed 1]

Prints the tables of docs/statistics.md. One process; the parts `trial` and `answers` (a trial whose patients answer
differently to one treatment) take some tenths of a second a run, the others seconds.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from dtcseg.trial.agreement import Table, cohen_kappa, gwet_ac1
from dtcseg.trial.clearance import JEFFREYS, UNIFORM, Prior, change, fit_prior, p_ratio_below
from dtcseg.trial.cohort import Effect, Visit, fit_cohort
from dtcseg.trial.controls import detection_limits
from dtcseg.trial.detection import captured
from dtcseg.trial.rates import Screened, result
from dtcseg.trial.recovery import scores, westgard

FloatArray = npt.NDArray[np.float64]

PATIENTS = 50
"""Of each simulated cohort but the trial."""
MEANS = (0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
BINS = ((0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.95), (0.95, 1.0))


@cache
def interval(count: int, relative_sd: float) -> tuple[float, float]:
    """Interval of the expected count at the cells counted; it depends on the count and the error only."""
    spread = 1.96 * relative_sd
    found = result(count, Screened(1e6, 1e6 * max(1 - spread, 0.0), 1e6 * (1 + spread)))
    return found.low, found.high


def covers(means: FloatArray, counts: npt.NDArray[np.int64], relative_sd: float) -> npt.NDArray[np.bool_]:
    """Whether each interval holds the true rate, given as expected count at the cells counted."""
    table = np.array([interval(count, relative_sd) for count in range(int(counts.max()) + 1)])
    return np.asarray((table[counts, 0] <= means) & (means <= table[counts, 1]))


def exact_coverage(mean: float) -> float:
    """Coverage with a known denominator, summed and not simulated."""
    counts = np.arange(int(mean + 12 * math.sqrt(mean) + 30))
    probability = np.exp(counts * math.log(mean) - mean - gammaln(counts + 1))
    return float(probability[covers(np.full(len(counts), mean), counts, 0.0)].sum())


def part_intervals(runs: int, rng: np.random.Generator) -> None:
    """Print the coverage of 95 % intervals of single patients, by mean count and error of the denominator."""
    errors = (0.0, 0.05, 0.15)
    print(f"Coverage of the 95 % interval, {runs} cohorts of {PATIENTS} patients a cell.\n")
    print("| mean count | known denominator, exact | simulated | denominator 5 % | denominator 15 % |")
    print("|---|---|---|---|---|")
    for mean in MEANS:
        shares = []
        for error in errors:
            # the true cells are the counted ones times a log-normal error of the network
            times = np.exp(math.sqrt(math.log1p(error**2)) * rng.standard_normal((runs, PATIENTS)))
            counts = rng.poisson(mean * times)
            shares.append(covers(np.full(counts.shape, mean), counts, error).mean())
        print(f"| {mean:g} | {100 * exact_coverage(mean):.1f} | " + " | ".join(f"{100 * s:.1f}" for s in shares) + " |")
    print("\nWhole cohorts: rates gamma with shape 0.5, 1 to 4 x 10^6 cells, denominator error 5 %.\n")
    print("| mean rate per 10^6 | coverage over patients | 2.5 to 97.5 % of the cohorts' own coverage |")
    print("|---|---|---|")
    for per_million in (0.5, 2.0, 10.0, 50.0):
        cells = rng.uniform(1.0, 4.0, (runs, PATIENTS))
        means = rng.gamma(0.5, per_million / 0.5, cells.shape) * cells
        counts = rng.poisson(means * np.exp(0.05 * rng.standard_normal(cells.shape)))
        each = covers(means, counts, 0.05).mean(axis=1)
        low, high = np.quantile(each, (0.025, 0.975))
        print(f"| {per_million:g} | {100 * each.mean():.1f} | {100 * low:.0f} to {100 * high:.0f} |")


@dataclass(frozen=True)
class Pairs:
    """Patients with two time points: true ratio, counts, cells (10^6)."""

    ratio: FloatArray
    counts: npt.NDArray[np.int64]
    millions: FloatArray


def pairs_of_prior(number: int, prior: Prior, rng: np.random.Generator) -> Pairs:
    """Draw both rates from the prior itself, independently: what the formulas assume."""
    rates = rng.gamma(prior.shape, 1 / prior.millions, (2, number))
    return _counted(rates, rng)


def pairs_of_patients(number: int, rng: np.random.Generator) -> Pairs:
    """Draw later rates as earlier ones times a ratio: a third unchanged, a third reduced by < 80 %, a third by more."""
    first = rng.gamma(0.5, 2.0, number) + 1e-12
    kind = rng.integers(0, 3, number)
    ratio = np.where(
        kind == 0,
        1.0,
        np.where(kind == 1, np.exp(rng.uniform(math.log(0.2), 0, number)), 10 ** rng.uniform(-2, -0.699, number)),
    )
    return _counted(np.stack([first, first * ratio]), rng)


def _counted(rates: FloatArray, rng: np.random.Generator) -> Pairs:
    millions = rng.uniform(1.0, 4.0, rates.shape)
    return Pairs(rates[1] / rates[0], rng.poisson(rates * millions), millions)


def probabilities(pairs: Pairs, keep: npt.NDArray[np.bool_], prior: Prior) -> FloatArray:
    """Posterior probability of a reduction of at least 80 % in the patients kept."""
    return np.array(
        [
            p_ratio_below(0.2, int(k1), 1e6 * n1, int(k2), 1e6 * n2, prior=prior)
            for k1, k2, n1, n2 in zip(
                pairs.counts[0][keep],
                pairs.counts[1][keep],
                pairs.millions[0][keep],
                pairs.millions[1][keep],
                strict=True,
            )
        ]
    )


def reliability(title: str, said: FloatArray, true: npt.NDArray[np.bool_]) -> None:
    """Print said against true, in bins of what was said."""
    print(f"\n{title} ({len(said)} patients)\n")
    print("| P said | patients | mean said, % | reduced by >= 80 %, % |")
    print("|---|---|---|---|")
    for low, high in BINS:
        inside = (said >= low) & ((said < high) | (high == 1.0))
        if inside.any():
            print(
                f"| {low:g} to {high:g} | {inside.sum()} | {100 * said[inside].mean():.1f} "
                f"| {100 * true[inside].mean():.1f} |"
            )


def part_reliability(runs: int, rng: np.random.Generator) -> None:
    """Print whether P(reduction of at least 80 %) comes true as often as it says."""
    number = runs * PATIENTS
    known = Prior("known", 0.5, 0.25)
    pairs = pairs_of_prior(number, known, rng)
    everyone = np.ones(number, bool)
    reliability("Rates drawn from the prior, prior known", probabilities(pairs, everyone, known), pairs.ratio <= 0.2)
    positive = pairs.counts[0] > 0
    said = probabilities(pairs, positive, known)
    reliability("The same, only patients positive at the start", said, pairs.ratio[positive] <= 0.2)
    pairs = pairs_of_patients(number, rng)
    positive = pairs.counts[0] > 0
    true = pairs.ratio[positive] <= 0.2
    fitted = fit_prior(pairs.counts[0][:500].tolist(), (1e6 * pairs.millions[0][:500]).tolist())
    for prior in (JEFFREYS, UNIFORM, fitted):
        title = f"Thirds unchanged, reduced, reduced by > 80 %; positive at the start; {prior.name} prior"
        reliability(title, probabilities(pairs, positive, prior), true)


def part_words(runs: int, rng: np.random.Generator) -> None:
    """Print what is said of patients by their true ratio and mean count at the start."""
    print(f"\nWhat is said, % of {runs} patients in whom something was found at the start, both depths equal.\n")
    print("| true mean | true ratio | cleared | reduced | unchanged | risen | cannot be told |")
    print("|---|---|---|---|---|---|---|")
    for mean in (1.0, 3.0, 10.0, 30.0, 200.0):
        for ratio in (1.0, 0.2, 0.05, 0.0):
            words: dict[str, int] = {}
            done = 0
            while done < runs:
                first = int(rng.poisson(mean))
                if first:
                    word = change(first, 2e6, int(rng.poisson(mean * ratio)), 2e6).word
                    words[word] = words.get(word, 0) + 1
                    done += 1
            order = ("cleared", "reduced", "unchanged", "risen", "cannot be told")
            cells = " | ".join(f"{100 * words.get(word, 0) / runs:.1f}" for word in order)
            print(f"| {mean:g} | {ratio:g} | {cells} |")


@dataclass(frozen=True)
class Arm:
    """Patients and true reduction."""

    name: str
    patients: int
    reduction: float


ARMS = (Arm("observation", 15, 0.0), Arm("A", 15, 0.80), Arm("B", 15, 0.78), Arm("A+B", 21, 0.87))
"""51 treated patients as in CLEVER; the size of the control arm is ours."""
VISITS = (3.0, 6.0, 12.0)


@dataclass(frozen=True)
class World:
    """How trials are made.

    Attributes
    ----------
    name : str
    patient_sd : float
        Of patients' log rates (log-normal).
    visit_cv : float
        Between visits, beyond Poisson (gamma).
    answer_sd : float
        Of patients' own log ratios around their arm's; the regression knows no such thing.
    median_per_million : float
        Rate of the median patient screened.
    """

    name: str
    patient_sd: float = 1.0
    visit_cv: float = 0.5
    answer_sd: float = 0.0
    median_per_million: float = 0.5


def simulate_trial(world: World, rng: np.random.Generator) -> list[Visit]:
    """Screen patients until every arm is full of patients in whom a tumour cell was found; then follow them."""
    visits = []
    for arm in ARMS:
        for number in range(arm.patients):
            patient, count = f"{arm.name} {number}", 0
            while not count:
                level = world.median_per_million * math.exp(world.patient_sd * rng.standard_normal())
                cells = float(rng.uniform(2.0, 4.0))
                count = int(rng.poisson(level * cells * _extra(world, rng)))
            visits.append(Visit(patient, arm.name, 0.0, count, 1e6 * cells))
            # an individual answer of mean 1, so that the arm's mean ratio is the true one
            answer = math.exp(world.answer_sd * rng.standard_normal() - world.answer_sd**2 / 2) if arm.reduction else 1
            for when in VISITS:
                cells = float(rng.uniform(2.0, 4.0))
                mean = level * (1 - arm.reduction) * answer * cells * _extra(world, rng)
                visits.append(Visit(patient, arm.name, when, int(rng.poisson(mean)), 1e6 * cells))
    return visits


def _extra(world: World, rng: np.random.Generator) -> float:
    shape = 1 / world.visit_cv**2
    return float(rng.gamma(shape, 1 / shape))


def part_trial(runs: int, rng: np.random.Generator) -> None:
    """Print how trials made as the regression assumes are recovered."""
    recover(World("as modelled"), runs, rng)


def part_answers(runs: int, rng: np.random.Generator) -> None:
    """Print how trials are recovered whose patients answer differently to one treatment."""
    recover(World("patients answer differently (SD of log ratio 0.7)", answer_sd=0.7), runs, rng)


def recover(world: World, runs: int, rng: np.random.Generator) -> None:
    """Print bias and coverage of each arm's reduction over many simulated trials."""
    start = time.perf_counter()
    fits = [
        fit_cohort(simulate_trial(world, rng), "observation", enrolled_positive=True, seed=run) for run in range(runs)
    ]
    worth = [fit.effective_draws for fit in fits]
    print(f"\nTrial: {world.name}; {runs} runs, {(time.perf_counter() - start) / runs:.2f} s each, ", end="")
    print(f"effective draws {min(worth):.0f} at least, {np.median(worth):.0f} in the median\n")
    print("| arm | patients | true % | median, mean % | log ratio, bias | width % | covered % | P > 0.975 % |")
    print("|---|---|---|---|---|---|---|---|")
    effects = [effect for fit in fits for effect in fit.effects]
    for arm in ARMS[1:]:
        print(_trial_row(arm, [effect for effect in effects if effect.arm == arm.name]))
    true = {arm.name: arm.reduction >= 0.8 for arm in ARMS}
    for wanted in (True, False):
        said = np.mean([e.p_at_least(0.8) for e in effects if true[e.arm] is wanted])
        print(f"\nP(>= 80 %) said where that is {str(wanted).lower()}, mean: {100 * said:.0f} %")


def _trial_row(arm: Arm, own: list[Effect]) -> str:
    middle = np.array([e.reduction for e in own])
    bias = np.log1p(-middle).mean() - math.log1p(-arm.reduction)
    width = np.mean([e.high - e.low for e in own])
    covered = np.mean([e.low <= arm.reduction <= e.high for e in own])
    sure = np.mean([e.p_reduced > 0.975 for e in own])
    return (
        f"| {arm.name} | {arm.patients} | {100 * arm.reduction:.0f} | {100 * middle.mean():.1f} | {bias:+.3f} "
        f"| {100 * width:.0f} | {100 * covered:.1f} | {100 * sure:.1f} |"
    )


def part_small(runs: int, rng: np.random.Generator) -> None:
    """Print how the smaller figures hold: capture and recapture, kappa, limit of blank, Westgard's rules."""
    print(f"\nCoverage of the 95 % interval of the cells there were (capture and recapture), {runs} runs.\n")
    print("| cells | recalls | covered % | without an upper end % | median of Chapman's estimate |")
    print("|---|---|---|---|---|")
    for there in (3, 10, 30):
        for recalls in ((0.9, 0.8), (0.5, 0.4)):
            seen = [rng.random((2, there)) < np.array(recalls)[:, None] for _ in range(runs)]
            said = [captured(int(a.sum()), int(b.sum()), int((a & b).sum())) for a, b in seen]
            covered = np.mean([s.low <= there <= s.high for s in said])
            endless = np.mean([math.isinf(s.high) for s in said])
            middle = np.median([s.total for s in said])
            print(
                f"| {there} | {recalls[0]}, {recalls[1]} | {100 * covered:.1f} | {100 * endless:.1f} | {middle:.1f} |"
            )
    print(f"\nCoverage of the 95 % intervals of kappa and AC1, {runs} tables a line.\n")
    print("| patients | positive by both, first, second % | kappa % | AC1 % | kappa undefined % |")
    print("|---|---|---|---|---|")
    for total in (20, 50, 100):
        for shares in ((22, 16, 9, 53), (3, 4, 4, 89)):
            print(_agreement_row(total, shares, runs, rng))
    print(f"\nBlanks (mean 1.5 a slide) above the limit of blank, at most 5 % wanted; {runs} runs.\n")
    print("| relative SD between slides | 3 controls | 10 controls | 30 controls |")
    print("|---|---|---|---|")
    for spread in (0.0, 0.5, 1.0):
        cells = [f"{100 * _above_blank(number, spread, runs, rng):.1f}" for number in (3, 10, 30)]
        print(f"| {spread:g} | " + " | ".join(cells) + " |")
    print("\nFalse alarms of Westgard's rules, % of 20,000 good batches.\n")
    print("| cells expected | 1-3s | 2-2s | R-4s | 4-1s | 10-x |")
    print("|---|---|---|---|---|---|")
    for mean in (4.0, 20.0, 50.0):
        values = scores(rng.poisson(mean, 20_000).tolist(), [mean] * 20_000)
        # in pieces of 20 batches, since a rule looks back ten at most
        broken = [v.rule for first in range(0, 20_000, 20) for v in westgard(values[first : first + 20])]
        cells = [f"{broken.count(rule) / 200:.2f}" for rule in ("1-3s", "2-2s", "R-4s", "4-1s", "10-x")]
        print(f"| {mean:g} | " + " | ".join(cells) + " |")


def _agreement_row(total: int, shares: tuple[int, int, int, int], runs: int, rng: np.random.Generator) -> str:
    drawn = [Table(*(int(n) for n in row)) for row in rng.multinomial(total, np.array(shares) / 100, runs)]
    cells = []
    for statistic in (cohen_kappa, gwet_ac1):
        true = statistic(Table(*shares)).value
        said = [statistic(counts) for counts in drawn]
        defined = [s for s in said if not math.isnan(s.value)]
        cells.append(f"{100 * np.mean([s.low <= true <= s.high for s in defined]):.1f}")
    undefined = np.mean([math.isnan(cohen_kappa(counts).value) for counts in drawn])
    positives = f"{shares[0]}, {shares[0] + shares[1]}, {shares[0] + shares[2]}"
    return f"| {total} | {positives} | {cells[0]} | {cells[1]} | {100 * undefined:.1f} |"


def _above_blank(controls: int, spread: float, runs: int, rng: np.random.Generator) -> float:
    above = 0
    for _ in range(runs):
        rates = np.full(controls + 1, 1.5) * (rng.gamma(1 / spread**2, spread**2, controls + 1) if spread else 1.0)
        found = rng.poisson(rates)
        above += found[-1] > detection_limits(found[:-1].tolist(), [2e6] * controls, 2e6).blank_count
    return above / runs


PARTS = {
    "small": part_small,
    "intervals": part_intervals,
    "reliability": part_reliability,
    "words": part_words,
    "trial": part_trial,
    "answers": part_answers,
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description="Simulated cohorts of known truth.")
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.part in (name, "all"):
            part(options.runs, np.random.default_rng(options.seed))


if __name__ == "__main__":
    main()
