"""A read: order, keys, undo over slides, corrections, and the same state when it is opened again."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from making_review import opened, say, write_slide

from dtcseg.errors import NotPossible, VerdictError
from dtcseg.review.order import Filter
from dtcseg.review.pace import Pace
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results
from dtcseg.verdicts import review, verify


def words(session):
    return [session.say_of(item_id) for item_id in session.queue]


def entries(folder, stem="anna"):
    lines = (folder / "verdicts" / f"{stem}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def state_of(session):
    return {
        item_id: (
            session.say_of(item_id),
            session.outline_px(session.item(item_id)),
            session.comment_of(session.item(item_id)),
        )
        for item_id in session.queue
    }


def test_cells_come_slide_by_slide_best_first(tmp_path):
    session = ReviewSession(opened(tmp_path, b=3, a=3), "anna")
    shown = [session.item(item_id) for item_id in session.queue]
    assert [item.slide for item in shown] == ["a"] * 3 + ["b"] * 3
    assert [item.cell.score for item in shown] == [0.9, 0.5, 0.1] * 2
    session.arrange("uncertainty")
    assert [session.item(item_id).cell.score for item_id in session.queue] == [0.5, 0.9, 0.1] * 2
    session.arrange("place")
    assert [session.item(item_id).cell.x_px for item_id in session.queue] == [200, 400, 600] * 2
    session.arrange("score", Filter(call="tumour", slide="b"))
    assert [(session.item(i).slide, session.item(i).cell.call) for i in session.queue] == [("b", "tumour")]


def test_a_word_is_written_with_what_was_shown_before_the_next_cell_comes(tmp_path):
    session = ReviewSession(opened(tmp_path, a=4), "Anna")
    first = session.current
    assert session.give("tumour")
    (entry,) = entries(tmp_path / "out" / "a")
    assert (entry["cell"]["id"], entry["before"], entry["after"]) == (first.id, "", "tumour")
    assert entry["shown"] == {"calls": True, "order": "score", "rank": 1, "verdicts": False}
    assert session.current.id == session.queue[1]
    session.arrange("uncertainty", Filter(standing="unread"))
    session.give("skip")
    assert entries(tmp_path / "out" / "a")[1]["shown"]["order"] == "uncertainty/unread"
    assert session.progress() == (1, 2)


def test_back_and_another_word_go_on_to_what_is_unread(tmp_path):
    session = ReviewSession(opened(tmp_path, a=4), "anna")
    assert not session.back()
    session.give("tumour")
    session.give("artefact")
    assert session.back()
    assert session.back()
    session.give("probable")
    assert session.position == 2
    assert words(session) == ["probable", "artefact", "", ""]
    session.give("skip")
    assert not session.give("skip"), "nothing is left"
    assert session.position == 3


def test_undo_and_redo_go_over_slides_in_the_order_of_what_was_said(tmp_path):
    session = ReviewSession(opened(tmp_path, a=1, b=2), "anna")
    for word in ("tumour", "probable", "artefact"):
        session.give(word)
    session.undo()
    session.undo()
    assert words(session) == ["tumour", "", ""]
    assert session.current.id == session.queue[1]
    session.undo()
    assert words(session) == ["", "", ""]
    with pytest.raises(NotPossible, match="nothing to undo"):
        session.undo()
    for _ in range(3):
        session.redo()
    assert words(session) == ["tumour", "probable", "artefact"]
    with pytest.raises(NotPossible, match="nothing to redo"):
        session.redo()
    session.undo()
    session.go_to(session.queue[0])
    session.give("haematopoietic")
    with pytest.raises(NotPossible, match="nothing to redo"):
        session.redo()
    session.close()
    again = ReviewSession(open_results(tmp_path / "out"), "anna")
    again.undo()
    assert words(again) == ["tumour", "probable", ""], "undo goes on where the earlier session ended"


def test_everything_said_is_there_when_it_is_opened_again(tmp_path):
    session = ReviewSession(opened(tmp_path, a=6), "anna")
    cell = session.current
    session.comment("large")
    session.correct([(150, 250), (260, 250), (260, 350), (150, 350)])
    session.give("tumour")
    session.propose_split([(400, 270), (400, 330)])
    session.give("probable")
    session.propose_cell("a", ((10, 10), (40, 10), (40, 40), (10, 10)))
    session.give("tumour")
    session.delete()
    session.give("artefact")
    session.undo()
    before, queue = state_of(session), set(session.queue)
    session.close()
    again = ReviewSession(open_results(tmp_path / "out"), "Anna ")
    assert set(again.queue) == queue
    assert state_of(again) == before
    assert again.say_of(again.current.id) == ""
    assert again.comment_of(again.item(cell.id)) == "large"
    assert verify(tmp_path / "out").sound


def test_parts_of_a_split_come_and_go_with_undo_and_redo(tmp_path):
    session = ReviewSession(opened(tmp_path, a=2), "anna")
    cell = session.current
    session.propose_split([(200, 270), (200, 330)])
    assert words(session) == ["", ""], "nothing is written before a verdict"
    with pytest.raises(NotPossible, match="needs a verdict"):
        session.give("skip")
    session.give("tumour")
    parts = [item_id for item_id in session.queue if item_id not in (cell.id, session.queue[-1])]
    assert [session.say_of(part) for part in parts] == ["tumour", "tumour"]
    assert session.say_of(cell.id) == "not_an_object"
    session.undo()
    assert len(session.queue) == 2
    assert session.current.id == cell.id
    session.redo()
    assert len(session.queue) == 4
    session.close()
    counted = review(tmp_path / "out" / "a")
    assert counted.counts == {"tumour": 2}


def test_join_makes_one_cell_of_two_that_lie_close(tmp_path):
    session = ReviewSession(opened(tmp_path, a=3), "anna")
    first, second, third = session.queue
    session.correct([(150, 250), (390, 250), (390, 350), (150, 350)])
    session.propose_join(second)
    session.give("tumour")
    assert [session.say_of(key) for key in (first, second)] == ["not_an_object"] * 2
    with pytest.raises(NotPossible, match="same slide"):
        session.propose_join(first)
    session.go_to(third)
    joined = next(key for key in session.queue if key not in (first, second, third))
    with pytest.raises(NotPossible, match="too far apart"):
        session.propose_join(joined)


def test_a_blind_reader_gets_no_order_that_tells_calls(tmp_path):
    results = opened(tmp_path, a=3)
    say(tmp_path / "out" / "a", "bo", "tth")
    session = ReviewSession(results, "anna", calls=False)
    session.arrange("score")
    assert session.order == "place"
    session.give("artefact")
    (entry,) = entries(tmp_path / "out" / "a")
    assert entry["shown"] == {"calls": False, "order": "place", "rank": 1, "verdicts": False}
    assert session.say_of(session.queue[1]) == "", "the other reader's words are not seen"
    session.close()
    (blind,) = [status for status in review(tmp_path / "out" / "a").readers if status.reader == "anna"]
    assert blind.blind


def test_a_signed_read_goes_on_only_with_a_reason(tmp_path):
    session = ReviewSession(opened(tmp_path, a=1), "anna")
    session.give("tumour")
    session.sign_off("a", "read")
    assert session.signed("a")
    with pytest.raises(VerdictError, match="signed off"):
        session.give("artefact")
    with pytest.raises(VerdictError, match="reason"):
        session.reopen("a", "  ")
    session.reopen("a", "second thoughts")
    session.give("artefact")
    assert words(session) == ["artefact"]
    assert [entry["kind"] for entry in entries(tmp_path / "out" / "a")][-2:] == ["reopen", "verdict"]


def test_words_find_their_cells_again_after_another_scoring(tmp_path):
    session = ReviewSession(opened(tmp_path, a=3), "anna")
    session.give("tumour")
    session.close()
    write_slide(tmp_path, "a", 3, shift_px=3.0)
    again = ReviewSession(open_results(tmp_path / "out"), "anna")
    assert words(again) == ["tumour", "", ""]
    assert again.position == 1


def test_who_only_looks_leaves_no_log(tmp_path):
    session = ReviewSession(opened(tmp_path, a=2), "anna")
    session.back()
    session.arrange("place")
    session.close()
    assert not list((tmp_path / "out").glob("*/verdicts/*"))


def test_a_write_that_fails_moves_nothing_and_the_next_one_works(tmp_path, monkeypatch):
    session = ReviewSession(opened(tmp_path, a=2), "anna")
    session.give("tumour")

    def full(*_):
        raise OSError(28, "no space")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(VerdictError, match="disk is full"):
            session.give("artefact")
    assert session.position == 1
    assert words(session) == ["tumour", ""]
    session.give("artefact")
    assert words(session) == ["tumour", "artefact"]
    assert verify(tmp_path / "out").sound


def test_five_thousand_cells_are_arranged_and_counted_at_once(tmp_path):
    """No timed test: a session that read its log anew for each cell would not end here."""
    session = ReviewSession(opened(tmp_path, a=5000), "anna")
    for _ in range(50):
        session.give("artefact")
        assert sum(session.progress()) == 5000
    assert session.progress() == (50, 4950)


def test_pauses_are_no_time_a_cell():
    now = iter([0.0, 2.0, 4.0, 500.0, 507.0])
    pace = Pace(lambda: next(now))
    assert pace.seconds is None
    for _ in range(4):
        pace.said()
    assert pace.seconds == 2.0


def test_the_logic_of_the_review_needs_neither_qt_nor_napari_nor_torch():
    modules = ("session", "adjudication", "vigilance", "slides", "outlines", "facts", "profiles", "pictures")
    code = (
        f"import sys\nfor name in {modules!r}: __import__('dtcseg.review.' + name)\n"
        "print({n.split('.')[0] for n in sys.modules} & {'napari', 'qtpy', 'PySide6', 'PyQt6', 'vispy', 'torch'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_outlines_of_the_session_are_those_of_the_log(tmp_path):
    session = ReviewSession(opened(tmp_path, a=1), "anna")
    before = np.asarray(session.outline_px(session.current))
    session.correct([(0, 0), (10, 0), (10, 10), (0, 10)])
    assert session.outline_px(session.current) == ((0, 0), (10, 0), (10, 10), (0, 10), (0, 0))
    session.undo()
    np.testing.assert_array_equal(session.outline_px(session.current), before)
