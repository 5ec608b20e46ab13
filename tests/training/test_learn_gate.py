"""Champion against challenger: tests, decision, operating point, doubtful verdicts, time left."""

import numpy as np
import pytest
from dtcseg_training.fields import LOOK_MARGIN_PX
from dtcseg_training.figures import Share
from dtcseg_training.learn.bar import choose_bar
from dtcseg_training.learn.gate import Judged, compare, decide, mcnemar
from dtcseg_training.learn.judge import TUMOUR, probabilities
from dtcseg_training.learn.meter import Meter
from dtcseg_training.learn.simulated import FieldCrops
from dtcseg_training.learn.suspicion import contradiction
from dtcseg_training.learn.threshold import choose_threshold
from dtcseg_training.learn.training_set import SlideCrops
from dtcseg_training.temperature import fit_temperature

from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_CLASSES, LOOK_MASKS, LOOK_PX
from dtcseg.network.weights import resolve


def judged(before, after, tumour, units=10):
    before, after, tumour = np.array(before, float), np.array(after, float), np.array(tumour, bool)
    scores = np.stack([before, after])
    return Judged(tumour, np.arange(len(tumour)) % units, scores, scores >= 0.5)


def reference(lost=0, false=0, n=400, name="reference"):
    """A set of known truth on which the challenger loses tumour cells and calls others falsely."""
    tumour = np.arange(n) % 2 == 0
    rng = np.random.default_rng(0)
    before = np.where(tumour, 0.9, 0.1) + rng.normal(0, 0.01, n)
    after = before.copy()
    after[np.flatnonzero(tumour)[:lost]] = 0.2
    after[np.flatnonzero(~tumour)[:false]] = 0.8
    return compare(name, judged(before, after, tumour, 40))


def laboratory(gained=0, lost=0, n=40, tumour_gained=True):
    tumour = np.arange(n) % 2 == 0
    before = np.where(tumour, 0.9, 0.1)
    after = before.copy()
    rows = np.flatnonzero(tumour if tumour_gained else ~tumour)
    before[rows[:gained]] = 1 - before[rows[:gained]]
    after[rows[gained : gained + lost]] = 1 - after[rows[gained : gained + lost]]
    return compare("lab", judged(before, after, tumour, 4))


def test_mcnemar_is_exact():
    assert mcnemar(0, 0) == 1
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)


def test_what_is_compared():
    found = laboratory(gained=5, lost=2)
    assert (found.gained, found.lost, found.tumour_gained, found.tumour_lost) == (5, 2, 5, 2)
    assert found.recall == (Share(15, 20), Share(18, 20))
    value, low, high = found.recall_change
    assert low <= value <= high
    assert value == pytest.approx(0.15)
    assert found.units == 4
    better = compare("lab", judged([0.6, 0.1, 0.7, 0.2], [0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], 1))
    assert better.froc[0] < better.froc[1] == 1


def test_an_interval_covers_slides_not_cells():
    """One slide whose cells all go one way is one observation: the interval is as wide as with one cell a slide."""
    tumour = np.ones(40, bool)
    before, after = np.full(40, 0.9), np.full(40, 0.9)
    before[:10] = 0.1
    scores = np.stack([before, after])
    together = Judged(tumour, np.arange(40) // 10, scores, scores >= 0.5)
    apart = Judged(tumour, np.arange(40) % 4, scores, scores >= 0.5)
    wide, narrow = (compare("lab", part).recall_change for part in (together, apart))
    assert wide[2] - wide[1] > 2 * (narrow[2] - narrow[1])


@pytest.mark.parametrize(
    ("lab", "home", "promoted", "reason"),
    [
        ({"gained": 8}, {}, True, "8 calls gained, 0 lost"),
        ({"gained": 8, "tumour_gained": False}, {}, True, "not worse beyond noise on the reference set"),
        ({"gained": 5}, {"lost": 1}, False, "what is gained here may be chance"),
        ({"gained": 6}, {"lost": 1}, True, "on the reference set (0 gained, 1 lost)"),
        ({}, {}, False, "not better on this laboratory"),
        ({"gained": 2, "lost": 3}, {}, False, "not better"),
        ({"lost": 8}, {}, False, "misses tumour cells on this laboratory"),
        ({"lost": 8, "tumour_gained": False}, {}, False, "calls more falsely on this laboratory"),
        ({"gained": 8}, {"lost": 3}, False, "misses tumour cells on the reference set"),
        ({"gained": 8}, {"false": 8}, False, "calls more falsely on the reference set"),
        ({"gained": 2, "n": 4}, {}, False, "only 4 held-out cells"),
        (None, {}, False, "at least two patients"),
        (None, {"lost": 9}, False, "misses tumour cells on the reference set"),
    ],
)
def test_the_gate(lab, home, promoted, reason):
    found = decide(None if lab is None else laboratory(**lab), reference(**home))
    assert found.promoted is promoted
    assert reason in found.reason
    assert "\n" not in found.reason


@pytest.mark.parametrize(
    ("worse", "promoted", "reason"),
    [
        ({}, True, "8 calls gained"),
        ({"lost": 1}, True, "8 calls gained"),
        ({"lost": 3}, True, "8 calls gained"),  # as chance makes it
        ({"lost": 8}, False, "misses tumour cells on simulated fields like this laboratory's slides"),
        ({"false": 8}, False, "calls more falsely on simulated fields like this laboratory's slides"),
    ],
)
def test_spoiled_words_are_seen_where_no_reader_told_the_truth(worse, promoted, reason):
    alike = reference(**worse, name="alike")
    found = decide(laboratory(gained=8), reference(), alike=alike)
    assert (found.promoted, reason in found.reason) == (promoted, True)
    assert [one.name for one in found.comparisons] == ["lab", "alike", "reference"]


def test_what_a_laboratory_gains_by_chance_allows_no_loss_by_chance():
    found = decide(laboratory(gained=5), reference(), alike=reference(lost=3, name="alike"))
    assert not found.promoted
    assert "misses tumour cells on simulated fields" in found.reason


@pytest.mark.parametrize(
    ("name", "found", "false", "promoted"),
    [
        ("alike", 30, 8, True),  # more are found and they rank higher, beyond noise: a few false calls may be chance
        ("reference", 30, 8, False),  # for others nothing may get worse by as much
        ("alike", 5, 8, False),  # a lower bar: what is found is lost again
        ("alike", 30, 20, False),  # more false calls than chance makes
    ],
)
def test_false_calls_on_fields_like_the_slides_may_be_paid_for(name, found, false, promoted):
    n = 800
    tumour = np.arange(n) % 2 == 0
    before = np.where(tumour, 0.9, 0.1) + np.random.default_rng(0).normal(0, 0.01, n)
    before[np.flatnonzero(~tumour)[100:130]] = 0.45  # what tumour cells that are missed rank below
    after = before.copy()
    before[np.flatnonzero(tumour)[:found]] = 0.2
    others = np.flatnonzero(~tumour)
    after[others[:false]] = 0.6
    before[others[200:202]] = 0.6  # two are called falsely no more
    sets = {"reference": reference(), "alike": None, name: compare(name, judged(before, after, tumour, 40))}
    result = decide(laboratory(gained=5), sets["reference"], alike=sets["alike"])
    assert result.promoted == promoted, result.reason
    if not promoted:
        assert "calls more falsely" in result.reason


def test_the_gate_needs_both_kinds_of_cells():
    only = compare("lab", judged([0.1] * 9, [0.9] * 9, [True] * 9, 3))
    assert "no other objects" in decide(only, reference()).reason


def slide(mnc):
    nothing = np.zeros(0)
    return SlideCrops("a", "k", "p", True, mnc, (), nothing, nothing, nothing, nothing, nothing)


def test_an_operating_point_is_changed_only_for_a_reason():
    tumour = np.arange(60) < 30
    scores = np.where(tumour, 0.9, 0.1)
    scores[:4] = 0.42  # four tumour cells that the default misses
    found = choose_threshold([slide(10_000)], scores, tumour, 0.5, lambda t: True)
    assert found.tumour_threshold == 0.4
    assert (found.found, found.false_calls) == (Share(30, 30), Share(0, 30))
    assert found.false_per_million[0] == 0
    assert found.false_per_million[2] == pytest.approx(369, abs=1)
    assert choose_threshold([slide(1)], scores, tumour, 0.5, lambda t: False).tumour_threshold == 0.5
    scores[1:4] = 0.9
    assert choose_threshold([slide(1)], scores, tumour, 0.5, lambda t: True).tumour_threshold == 0.5  # one is chance
    few = choose_threshold([slide(1)], scores[:40], tumour[:40], 0.5, lambda t: True)
    assert few.chosen_on == "default"
    assert "too few" in few.text


def test_without_counted_cells_there_is_no_rate():
    tumour = np.arange(60) < 30
    found = choose_threshold([slide(0)], np.where(tumour, 0.9, 0.1), tumour, 0.5, lambda t: True)
    assert np.isnan(found.false_per_million).all()
    assert "per 10^6" not in found.text


def test_swapped_words_are_seen():
    rng = np.random.default_rng(1)
    tumour = rng.random(60) < 0.5
    scores = np.clip(np.where(tumour, 0.8, 0.2) + rng.normal(0, 0.2, 60), 0, 1)
    assert not contradiction(scores, tumour)
    assert "swapped" in contradiction(scores, ~tumour)
    assert not contradiction(rng.random(60), tumour)
    assert not contradiction(scores, np.ones(60, bool))


def test_temperature_is_that_of_the_greatest_likelihood():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 4))
    calls = np.array([rng.choice(4, p=np.exp(z) / np.exp(z).sum()) for z in logits])
    assert fit_temperature(2 * logits, calls) == pytest.approx(2.0, rel=0.08)
    assert fit_temperature((logits + rng.normal(0, 9, (4000, 1))).astype(np.float32), calls) == pytest.approx(
        1, rel=0.08
    )


def test_time_left_is_what_was_measured(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("dtcseg_training.learn.meter.time.monotonic", lambda: clock[0])
    told = []
    meter = Meter({"alike": 10, "fit": 20}, 1, told.append)
    meter.told("alike", 4, "four were there")
    assert told[-1].seconds_left is None
    for n in range(5, 11):
        clock[0] += 3.0
        meter.told("alike", n, "")
    meter.told("fit", 0, "")
    for n in range(1, 11):
        clock[0] += 5.0
        meter.told("fit", n, "")
    assert told[-1].seconds_left == pytest.approx(50)
    shares = [t.share for t in told]
    assert shares == sorted(shares)
    clock[0] += 50
    meter.told("fit", 20, "")
    assert told[-1].share == 1
    assert told[-1].seconds_left == 0


def test_the_bar_is_raised_until_no_more_is_called_falsely():
    """Two of ten others at 0.6 and 0.7, which the champion does not call; tumour cells from 0.8 on."""
    tumour = np.arange(20) < 10
    before = np.where(tumour, 0.9, 0.1)
    after = np.where(tumour, 0.9, 0.1)
    after[[10, 11]] = 0.6, 0.7
    bar = choose_bar(judged(before, after, tumour, 2), 0.5)
    assert bar == 1.0  # 0.7 is odds of exp(0.85)
    assert choose_bar(judged(after, after, tumour, 2), 0.5) == 0.0
    assert choose_bar(judged(after, before, tumour, 2), 0.5) == 0.0


def test_the_bar_costs_no_tumour_cell_that_was_called():
    tumour = np.arange(20) < 10
    before, after = np.where(tumour, 0.9, 0.1), np.where(tumour, 0.9, 0.1)
    after[[10, 11]] = 0.6, 0.9
    after[0] = 0.65  # odds of exp(0.62)
    assert choose_bar(judged(before, after, tumour, 2), 0.5) == 0.5
    before[0] = 0.1  # the champion missed it
    assert choose_bar(judged(before, after, tumour, 2), 0.5) == 2.0
    after[1] = 0.2
    after[2] = 0.3
    assert choose_bar(judged(before, after, tumour, 2), 0.5) == 0.0  # less is found as it is


@pytest.mark.parametrize(("nucleus", "ck_od", "never"), [(0, 0.2, True), (0, 0.5, False), (1, 0.2, False)])
def test_weights_are_asked_as_scoring_calls(monkeypatch, nucleus, ck_od, never):
    """A faint cell in which no nucleus is seen is never called tumour, however sure the look is."""

    def sure_of_tumour(self, crops, *how):
        masks = np.zeros((len(crops), len(LOOK_MASKS), LOOK_PX, LOOK_PX), np.float32)
        masks[:, LOOK_MASKS.index("cell"), 40:88, 40:88] = 1
        masks[:, LOOK_MASKS.index("nucleus"), 50:78, 50:78] = nucleus
        calls = np.zeros((len(crops), len(LOOK_CLASSES)), np.float32)
        calls[:, TUMOUR] = 1
        return masks, calls

    monkeypatch.setattr(Engine, "look", sure_of_tumour)
    side = LOOK_PX + 2 * LOOK_MARGIN_PX
    crops = np.zeros((1, 3, side, side), np.float16)
    crops[:, 1] = ck_od
    one = np.zeros(1, np.float32)
    field = FieldCrops(crops, np.zeros((1, 2, side, side), bool), np.array([TUMOUR]), one, one, ())
    (found,) = probabilities(resolve(), [field], "cpu")
    assert found[0, TUMOUR] == (0 if never else 1)
