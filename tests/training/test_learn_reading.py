"""What a few verdicts teach: what a reading does to a call, on which slides, what is fitted, and how it is kept."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dtcseg_training.fields import LOOK_INNER, LOOK_MARGIN_PX
from dtcseg_training.learn.reading import fit_reading
from dtcseg_training.learn.training_set import SlideCrops
from dtcseg_training.learn.tune import plan_for

from dtcseg.errors import UsageError
from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_CLASSES, LOOK_PX
from dtcseg.network.reading import Reading, reading_of
from dtcseg.network.weights import load, resolve, save
from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN

TUMOUR = LOOK_CLASSES.index("tumour")
SIDE_PX = LOOK_PX + 2 * LOOK_MARGIN_PX
SPREAD = 0.05
STRONG, WEAK = 0.5, 0.08
OURS = (*HEMATOXYLIN, *CHROMOGENS["new_fuchsin"], SPREAD)
THEIRS = (*HEMATOXYLIN, *CHROMOGENS["dab"], SPREAD)
ASKED = Reading(4.0, math.log(0.8), (OURS,))


def crops(strengths, calls):
    """A grey disc of some strength of cytokeratin in the middle of each crop."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    planes = np.zeros((len(strengths), 3, SIDE_PX, SIDE_PX), np.float16)
    planes[:, 1] = np.asarray(strengths)[:, None, None] * (np.hypot(x, y) < 16)
    words = np.array([LOOK_CLASSES.index(call) for call in calls])
    masks = np.zeros((len(strengths), 2, SIDE_PX, SIDE_PX), bool)
    spreads = np.full(len(strengths), SPREAD, np.float32)
    return SlideCrops("a", "k", "p", False, 0, (), planes, masks, masks[:, :, 0, 0], words, spreads, OURS)


MIXED = crops([STRONG] * 12 + [WEAK] * 12, ["tumour"] * 12 + ["haematopoietic"] * 12)


@pytest.fixture(scope="module")
def look():
    """Finds the disc, and calls everything a tumour cell by the same odds, whatever its strength."""
    look = load(resolve())[1]
    with torch.no_grad():
        last = look.calls[3]
        last.weight.zero_()
        last.bias.zero_()
        last.bias[TUMOUR] = math.log(3) + 0.5  # odds of e^0.5 against the three others together
    return look


@pytest.fixture(scope="module")
def engine(look, tmp_path_factory):
    """Make an engine of weights with a reading, through the file."""

    def make(reading=None):
        path = tmp_path_factory.mktemp("weights") / "own.safetensors"
        card = replace(resolve().card, temperature=1.0, reading=reading.to_json() if reading else {})
        save(path, load(resolve())[0], look, card)
        return Engine(resolve(str(path)), "cpu")

    return make


def odds(engine, of, signature=OURS):
    _, calls = engine.look(np.ascontiguousarray(of.crops[LOOK_INNER], np.float32), SPREAD, signature)
    return np.log(calls[:, TUMOUR] / (1 - calls[:, TUMOUR]))


def test_a_reading_lowers_what_hardly_stands_out_and_nothing_else(engine):
    before, after = (odds(engine(reading), MIXED) for reading in (None, ASKED))
    assert before == pytest.approx(0.5, abs=1e-4)
    assert after[:12] == pytest.approx(0.5, abs=0.05)
    assert (after[12:] < -2).all()


def test_dots_stand_out_as_well(engine):
    """A cell that is stained in a few places is another matter than one stained faintly all over."""
    dotted = crops([WEAK], ["tumour"])
    middle = SIDE_PX // 2
    dotted.crops[0, 1, middle - 4 : middle + 4, middle - 8 : middle + 8] = 0.7
    assert odds(engine(ASKED), dotted) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("signature", [THEIRS, (*OURS[:-1], 4 * SPREAD), (SPREAD,), ()])
def test_it_holds_for_slides_stained_like_those_that_were_read(engine, signature):
    assert odds(engine(ASKED), MIXED, signature) == pytest.approx(0.5, abs=0.01)


def test_likeness():
    assert ASKED.likeness(OURS) == pytest.approx(1)
    assert 0.4 < ASKED.likeness((*OURS[:-1], 1.3 * SPREAD)) < 0.7
    assert ASKED.likeness(THEIRS) < 0.01
    assert Reading(1.0, 0.0, ()).likeness(OURS) == 0
    assert Reading(1.0, 0.0, ((0.02,),)).likeness((0.02,)) == 1


def test_words_teach_it(look, engine):
    found = fit_reading(look, [MIXED])
    assert found.slides == (OURS,)
    after = odds(engine(found), MIXED)
    assert (after[:12] > 0).all()
    assert (after[12:] < 0).all()
    again = fit_reading(look, [MIXED])
    assert again == found


def test_readers_who_call_faint_cells_tumour_change_nothing(look):
    faint = crops([STRONG] * 6 + [WEAK] * 12, ["haematopoietic"] * 6 + ["tumour"] * 12)
    assert fit_reading(look, [faint]) is None


def test_a_few_words_move_it_little(look, engine):
    few = crops([STRONG, 0.3], ["tumour", "haematopoietic"])
    many = crops([STRONG] * 20 + [0.3] * 20, ["tumour"] * 20 + ["haematopoietic"] * 20)
    lowered = [0.5 - odds(engine(fit_reading(look, [words])), words)[-1] for words in (few, many)]
    assert lowered[0] < 0.5 * lowered[1]


def test_weights_without_one_are_as_they_were():
    assert resolve().card.reading == {}
    assert reading_of({}) is None
    assert reading_of(json.loads(json.dumps(ASKED.to_json()))) == ASKED


@pytest.mark.parametrize(
    "broken",
    [
        {"asked": -1.0, "clear": 0.0, "slides": []},
        {"asked": 1.0, "clear": float("nan"), "slides": []},
        {"asked": 1e300, "clear": 0.0, "slides": []},
        {"asked": 1.0, "clear": 0.0, "slides": [[0.1, 0.2]]},
        {"asked": 1.0, "clear": 0.0},
        [1.0],
    ],
)
def test_a_card_with_a_broken_reading_is_refused(look, tmp_path, broken):
    path = tmp_path / "own.safetensors"
    save(path, load(resolve())[0], look, replace(resolve().card, reading=broken))
    with pytest.raises(UsageError, match="not a dtcseg weights file"):
        resolve(str(path))


def test_the_network_is_fitted_to_many_verdicts_only():
    assert plan_for(20, 1, "cpu").steps == plan_for(499, 1, "cpu").steps == 0
    assert plan_for(500, 1, "cpu").steps == 1118
    assert plan_for(2000, 1, "cpu").steps == 1500
