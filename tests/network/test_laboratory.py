"""Looks of laboratories: on which slides each is asked, and how they are kept in a weights file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dtcseg.errors import UsageError
from dtcseg.network.engine import Engine
from dtcseg.network.laboratory import Laboratory, candidate_threshold, laboratories_of, shares
from dtcseg.network.model import LOOK_CLASSES, LOOK_PX
from dtcseg.network.weights import load, load_looks, resolve, save
from dtcseg.registry import check
from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN

SPREAD = 0.05
OURS = (*HEMATOXYLIN, *CHROMOGENS["new_fuchsin"], SPREAD)
THEIRS = (*HEMATOXYLIN, *CHROMOGENS["dab"], SPREAD)
WIDER = (*OURS[:-1], SPREAD * math.exp(0.3 * 2**0.5))  # likeness 1/4
OUR_LABORATORY, THEIR_LABORATORY = Laboratory((OURS,), 2.0), Laboratory((THEIRS,), 1.0)


def sure_of(call):
    """A look that calls everything by one name."""
    look = load(resolve())[1]
    with torch.no_grad():
        look.calls[3].weight.zero_()
        look.calls[3].bias.zero_()
        look.calls[3].bias[LOOK_CLASSES.index(call)] = 6.0
    return look


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:LOOK_PX, :LOOK_PX] - (LOOK_PX - 1) / 2
    planes = rng.normal(0, 0.01, (3, 3, LOOK_PX, LOOK_PX)).astype(np.float32)
    planes[:, 1] += np.array([0.1, 0.3, 0.8], np.float32)[:, None, None] * (np.hypot(x, y) < 16)
    return planes


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "ours.safetensors"
    laboratories = [one.to_json() for one in (OUR_LABORATORY, THEIR_LABORATORY)]
    card = replace(resolve().card, laboratories=laboratories)
    save(path, *load(resolve()), card, [sure_of("artefact"), sure_of("uninterpretable")])
    return path


def test_a_laboratory_has_a_threshold_of_candidates_of_its_own():
    common = 0.0466
    ours = replace(OUR_LABORATORY, candidate_threshold=0.02)
    for laboratories, slide, expected in (
        ((), OURS, common),
        ((ours, THEIR_LABORATORY), OURS, 0.02),
        ((ours, THEIR_LABORATORY), THEIRS, common),
        ((ours, THEIR_LABORATORY), (), common),
        ((OUR_LABORATORY,), OURS, common),
    ):
        assert candidate_threshold(laboratories, common, slide) == expected  # exactly: elsewhere nothing changes
    assert candidate_threshold([ours], common, WIDER) == pytest.approx(math.sqrt(0.02 * common))  # half theirs
    assert laboratories_of([ours.to_json(), OUR_LABORATORY.to_json()]) == (ours, OUR_LABORATORY)
    older = {name: value for name, value in ours.to_json().items() if name != "candidate_threshold"}
    assert laboratories_of([older]) == (OUR_LABORATORY,)
    for wrong in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            laboratories_of([{**ours.to_json(), "candidate_threshold": wrong}])


def test_likeness():
    assert OUR_LABORATORY.likeness(OURS) == pytest.approx(1)
    assert OUR_LABORATORY.likeness(WIDER) == pytest.approx(0.25)
    assert OUR_LABORATORY.likeness(THEIRS) < 0.01
    assert Laboratory((), 1.0).likeness(OURS) == 0
    assert Laboratory(((0.02,),), 1.0).likeness((0.02,)) == 1
    assert OUR_LABORATORY.likeness((SPREAD,)) == OUR_LABORATORY.likeness(()) == 0


def test_shares_sum_to_one_and_are_exactly_nothing_elsewhere():
    both = (OUR_LABORATORY, THEIR_LABORATORY)
    assert shares((), OURS) == (1.0,)
    assert shares(both, OURS) == (0.0, 1.0, 0.0)
    assert shares(both, ()) == (1.0, 0.0, 0.0)
    assert shares(both, WIDER) == pytest.approx((0.5, 0.5, 0.0))
    assert shares((OUR_LABORATORY, OUR_LABORATORY), OURS) == (0.0, 0.5, 0.5)


def test_slides_of_a_laboratory_are_seen_with_its_look(file, crops):
    _, calls = Engine(resolve(str(file)), "cpu").look(crops, SPREAD, OURS)
    assert (calls.argmax(1) == LOOK_CLASSES.index("artefact")).all()
    assert calls.max(1) == pytest.approx(math.exp(3) / (math.exp(3) + 3), abs=1e-3)  # 6 over its temperature of 2


@pytest.mark.parametrize("signature", [(*OURS[:-1], 4 * SPREAD), (SPREAD,), ()])
def test_other_slides_are_seen_as_before_to_the_bit(file, crops, signature):
    own, plain = (Engine(resolve(name), "cpu").look(crops, SPREAD, signature) for name in (str(file), ""))
    assert all((a == b).all() for a, b in zip(own, plain, strict=True))


def test_between_both_the_looks_are_mixed(file, crops):
    engine = Engine(resolve(str(file)), "cpu")
    ours, between, plain = (np.log(engine.look(crops, SPREAD, s)[1]) for s in (OURS, WIDER, ()))
    mixed = (ours + plain) / 2
    assert between == pytest.approx(mixed - np.log(np.exp(mixed).sum(1, keepdims=True)), abs=1e-4)


def test_a_file_brings_all_looks_back(file):
    looks = load_looks(resolve(str(file)))
    assert [int(look.calls[3].bias.argmax()) for look in looks] == [3, 1]
    assert not any(look.training for look in looks)
    assert load_looks(resolve()) == []
    assert resolve().card.laboratories == []
    assert laboratories_of(json.loads(json.dumps([OUR_LABORATORY.to_json()]))) == (OUR_LABORATORY,)


def test_a_look_that_is_missing_or_damaged_is_refused(tmp_path):
    path = tmp_path / "ours.safetensors"
    card = replace(resolve().card, laboratories=[OUR_LABORATORY.to_json()])
    save(path, *load(resolve()), card)
    with pytest.raises(UsageError, match="do not fit the network"):
        Engine(resolve(str(path)), "cpu")
    look = sure_of("artefact")
    with torch.no_grad():
        look.calls[3].bias[0] = float("nan")
    save(path, *load(resolve()), card, [look])
    with pytest.raises(UsageError, match="no numbers"):
        check(resolve(str(path)))


@pytest.mark.parametrize(
    "broken",
    [
        {"slides": [OURS], "temperature": 0.0},
        {"slides": [OURS], "temperature": float("nan")},
        {"slides": [OURS], "temperature": 1.0, "bar": float("nan")},
        {"slides": [[float("nan"), *OURS[1:]]], "temperature": 1.0},
        {"slides": [[1e300, *OURS[1:]]], "temperature": 1.0},
        {"slides": [[0.1, 0.2]], "temperature": 1.0},
        {"slides": []},
        [1.0],
        "ours",
    ],
)
def test_a_card_with_a_broken_laboratory_is_refused(tmp_path, broken):
    path = tmp_path / "ours.safetensors"
    save(path, *load(resolve()), replace(resolve().card, laboratories=[broken]), [sure_of("artefact")])
    with pytest.raises(UsageError, match="not a dtcseg weights file"):
        resolve(str(path))
