"""Adjudication: only what differs is shown, agreement is live and right, decisions count."""

from __future__ import annotations

import math

import pytest
from making_review import opened, say

from dtcseg.errors import NotPossible, VerdictError
from dtcseg.review.adjudication import AdjudicationSession
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results
from dtcseg.verdicts import open_log, read_candidates, review, verify


def adjudicated(tmp_path, anna="tthha", bo="tahpa"):
    results = opened(tmp_path, a=len(anna))
    say(tmp_path / "out" / "a", "Anna", anna)
    say(tmp_path / "out" / "a", "Bo", bo)
    return AdjudicationSession(results, "Cleo")


def test_only_what_differs_is_shown_with_what_each_said(tmp_path):
    session = adjudicated(tmp_path)
    cells = read_candidates(tmp_path / "out" / "a")
    assert session.queue == [cells[1].id, cells[3].id]
    assert [(one.reader, one.say) for one in session.says(cells[1].id)] == [("Anna", "tumour"), ("Bo", "artefact")]


def test_agreement_is_that_of_the_textbook(tmp_path):
    session = adjudicated(tmp_path)
    (pair,) = session.agreement()
    assert (pair.first, pair.second, pair.cells, pair.same) == ("Anna", "Bo", 5, 3)
    # tumour or probable: both cell 1; Anna only cell 2; Bo only cell 4; neither cells 3 and 5
    chance = 0.4 * 0.4 + 0.6 * 0.6
    assert pair.kappa.value == pytest.approx((0.6 - chance) / (1 - chance))
    gwet = 2 * 0.4 * 0.6
    assert pair.ac1.value == pytest.approx((0.6 - gwet) / (1 - gwet))
    assert pair.raw == 0.6


def test_skips_are_no_words_and_nothing_in_common_is_no_agreement(tmp_path):
    session = adjudicated(tmp_path, anna="ts", bo="st")
    (pair,) = session.agreement()
    assert pair.cells == 0
    assert math.isnan(pair.raw)
    assert math.isnan(pair.kappa.value)
    assert session.queue == []
    with pytest.raises(NotPossible, match="no cell is shown"):
        session.give("tumour")


def test_decisions_count_and_name_what_was_weighed(tmp_path):
    session = adjudicated(tmp_path)
    session.comment("nucleus enlarged")
    session.correct([(0, 0), (10, 0), (10, 10)])
    assert session.give("tumour")
    session.delete()
    session.close()
    result = review(tmp_path / "out" / "a")
    assert result.status == "adjudicated"
    assert result.counts == {"tumour": 2, "haematopoietic": 1, "artefact": 1}
    assert len(result.deleted) == 1
    settled = next(cell for cell in result.cells if cell.basis == "adjudicated")
    assert settled.cell.outline_px == ((0, 0), (10, 0), (10, 10), (0, 0))
    again = AdjudicationSession(open_results(tmp_path / "out"), "cleo")
    assert [again.say_of(key) for key in again.queue] == ["tumour", "not_an_object"]
    again.undo()
    assert sorted(again.say_of(key) for key in again.queue) == ["", "tumour"]
    assert verify(tmp_path / "out").sound


def test_what_readers_say_meanwhile_is_taken_in(tmp_path):
    session = adjudicated(tmp_path)
    first, second = session.queue
    session.go_to(second)
    assert not session.refresh()
    cells = {cell.id: cell for cell in read_candidates(tmp_path / "out" / "a")}
    with open_log(tmp_path / "out" / "a", "Bo") as log:
        log.give(cells[first], "tumour")
    assert session.refresh()
    assert session.queue == [second]
    assert session.current.id == second
    assert session.agreement()[0].same == 4


def test_a_decision_on_other_words_is_open_again(tmp_path):
    session = adjudicated(tmp_path)
    first = session.current
    session.give("tumour")
    with open_log(tmp_path / "out" / "a", "Bo") as log:
        log.give(first.cell, "uninterpretable")
    session.refresh()
    assert session.say_of(first.id) == ""
    session.go_to(first.id)
    session.give("tumour")
    session.refresh()
    assert session.say_of(first.id) == "tumour"


def test_who_has_read_cannot_adjudicate(tmp_path):
    adjudicated(tmp_path).close()
    with pytest.raises(VerdictError, match="has read these slides"):
        AdjudicationSession(open_results(tmp_path / "out"), "anna")


def test_a_cell_that_both_added_and_differ_on_is_shown_once(tmp_path):
    results = opened(tmp_path, a=1)
    ring = ((1000, 1000), (1040, 1000), (1040, 1040), (1000, 1000))
    for reader, word in (("Anna", "tumour"), ("Bo", "artefact")):
        session = ReviewSession(results, reader)
        session.give("tumour")
        session.propose_cell("a", ring)
        session.give(word)
        session.close()
    session = AdjudicationSession(results, "Cleo")
    assert len(session.queue) == 1
    assert len(session.says(session.queue[0])) == 2
