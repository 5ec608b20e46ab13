"""A laboratory's threshold of candidates: how it is chosen, what it lets through, and who is judged by it."""

from dataclasses import replace

import numpy as np
import pytest
from dtcseg_training.learn import contest as the_contest
from dtcseg_training.learn.contest import contest
from dtcseg_training.learn.proposal import in_words, proposed, threshold_for, unseen
from dtcseg_training.learn.simulated import DEPTH, FieldCrops
from dtcseg_training.mine import mine_crops, mine_lesson

from dtcseg.network.laboratory import Laboratory
from dtcseg.network.model import LOOK_CLASSES
from dtcseg.network.weights import resolve

TUMOUR = LOOK_CLASSES.index("tumour")
COMMON = 0.06
SLIDE = (0.65, 0.70, 0.29, 0.12, 0.91, 0.40, 0.1)


def field(screened, calls):
    count = len(screened)
    nothing = np.zeros((count, 3, 1, 1), np.float16)
    spreads = np.zeros(count, np.float32)
    screened = np.array(screened, np.float32)
    return FieldCrops(nothing, nothing[:, :2] > 0, np.array(calls), spreads, screened, SLIDE)


@pytest.mark.parametrize(
    ("screened", "expected"),
    [
        ([0.9] * 200, COMMON),
        ([0.9] * 199 + [0.03], COMMON),  # one of 200 may be lost
        ([0.9] * 190 + [0.03] * 10, 0.03),
        ([0.9] * 190 + [0.0] * 10, COMMON),  # what the screen does not see at all asks for nothing
        ([0.9] * 190 + [0.001] * 10, COMMON / DEPTH),
    ],
)
def test_the_threshold_loses_next_to_no_tumour_cell(screened, expected):
    assert threshold_for([field(screened, [TUMOUR] * 200)], COMMON) == pytest.approx(expected, abs=1e-4)
    others = field([0.02] * 50, [0 if TUMOUR else 1] * 50)  # no tumour cells, and so nothing to lose
    assert threshold_for([field(screened, [TUMOUR] * 200), others], COMMON) == pytest.approx(expected, abs=1e-4)


def test_without_tumour_cells_it_stays():
    assert (
        threshold_for([], COMMON) == threshold_for([field([0.5], [TUMOUR + 1 if TUMOUR == 0 else 0])], COMMON) == COMMON
    )


def test_what_is_not_proposed_is_left_out_but_tumour_cells_stay():
    other = 0 if TUMOUR else 1
    kept = proposed(field([0.5, 0.01, 0.01, 0.0], [other, other, TUMOUR, TUMOUR]), 0.02)
    assert kept.screened.tolist() == pytest.approx([0.5, 0.01, 0.0])
    assert kept.calls.tolist() == [other, TUMOUR, TUMOUR]
    assert kept.signature == SLIDE


def test_what_is_told():
    text = in_words([field([0.5, 0.03, 0.0], [TUMOUR] * 3)], COMMON, 0.02)
    assert "0.02 (0.06 elsewhere)" in text
    assert "2 of 3 tumour cells" in text
    assert text.endswith("1 before")


def test_each_is_judged_by_what_it_would_look_at(monkeypatch):
    """A look cannot call what its screen does not propose; the challenger's proposes more on slides like its own."""
    champion = replace(resolve(), card=replace(resolve().card, candidate_threshold=COMMON))
    own = Laboratory((SLIDE,), 1.0, 0.02).to_json()
    challenger = replace(champion, card=replace(champion.card, laboratories=[own]))
    here = field([0.5, 0.03, 0.01, 0.0], [TUMOUR] * 4)
    elsewhere = replace(here, signature=(0.02,))
    assert unseen(champion.card, [here])[0].tolist() == [False, True, True, True]
    assert unseen(challenger.card, [here])[0].tolist() == [False, False, True, True]
    assert unseen(challenger.card, [elsewhere])[0].tolist() == [False, True, True, True]
    sure = np.full((4, len(LOOK_CLASSES)), 0.02, np.float32)
    sure[:, TUMOUR] = 0.94
    monkeypatch.setattr(the_contest, "probabilities", lambda info, units, device, told: [sure.copy() for _ in units])
    seen = contest((champion, challenger), [], [here], [elsewhere], "cpu", 1, lambda done: None)
    assert [[int((f[:, TUMOUR] > 0.5).sum()) for f in found] for found in seen.on_alike] == [[1], [2]]
    assert [[int((f[:, TUMOUR] > 0.5).sum()) for f in found] for found in seen.on_reference] == [[1], [1]]


def test_deeper_mining_finds_what_the_threshold_hides():
    from dtcseg_training.fields import as_it_is
    from dtcseg_training.mine import any_field

    model = str(resolve().path)
    common = resolve().card.candidate_threshold
    found = {}
    for depth in (1.0, DEPTH):
        parts = [mine_crops(99, index, model, as_it_is, any_field, depth) for index in range(4)]
        screened = np.concatenate([screened for _, screened in parts])
        calls = np.concatenate([crops[2] for crops, _ in parts])
        assert len(screened) == len(calls)
        assert ((screened == 0) | (screened >= 0.999 * common / depth)).all()
        assert (calls[screened == 0] == TUMOUR).all()
        found[depth] = screened
    assert (found[DEPTH] < common)[found[DEPTH] > 0].any()
    assert (found[DEPTH] >= common).sum() == (found[1.0] > 0).sum()
    assert mine_lesson(99, 0, model).crops.shape[0] > 0
