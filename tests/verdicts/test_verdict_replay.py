"""Any sequence of what a reader can do replays to what a simple model predicts."""

import tempfile
from copy import deepcopy
from pathlib import Path

import pytest
from fake_results import score, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtcseg.errors import VerdictError
from dtcseg.verdicts import NOT_AN_OBJECT, VERDICTS, added_cells, open_log, replay, ring_of, verify

_WHICH = st.integers(0, 2)
_PLACES = st.tuples(st.integers(0, 999), st.integers(0, 999))
_ACTIONS = st.one_of(
    st.tuples(st.just("verdict"), _WHICH, st.sampled_from(VERDICTS)),
    st.tuples(st.just("comment"), _WHICH, st.text(max_size=5)),
    st.tuples(st.just("correct"), _WHICH, _PLACES),
    st.tuples(st.just("delete"), _WHICH),
    st.tuples(st.just("add"), _PLACES, st.sampled_from(VERDICTS[:-1])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
    st.tuples(st.just("close")),
)


class Model:
    """Snapshots of plain dictionaries; no hashes, no entries, no inverse of anything."""

    def __init__(self):
        self.past, self.now, self.future = [], {}, []

    def act(self, cell_id, **changes):
        self.past.append(deepcopy(self.now))
        self.future.clear()
        self.now.setdefault(cell_id, {"say": "", "comment": "", "outline": None}).update(changes)

    def undo(self):
        if self.past:
            self.future.append(self.now)
            self.now = self.past.pop()
            return True
        return False

    def redo(self):
        if self.future:
            self.past.append(self.now)
            self.now = self.future.pop()
            return True
        return False


def plain(read):
    return {
        key: {"say": state.say, "comment": state.comment, "outline": state.outline_px}
        for key, state in read.cells.items()
    }


def perform(log, model, cells, action):
    """Do one thing in both; what the model refuses must be refused."""
    kind, *given = action
    if kind in ("undo", "redo"):
        if getattr(model, kind)():
            getattr(log, kind)()
        else:
            with pytest.raises(VerdictError, match=f"nothing to {kind}"):
                getattr(log, kind)()
    elif kind == "add":
        (x, y), verdict = given
        (cell,) = added_cells(log.state, log.add(x, y, square(x, y), verdict))
        model.act(cell.id, say=verdict)
        cells.append(cell)
    else:
        cell = cells[given[0]]
        deleted = model.now.get(cell.id, {}).get("say") == NOT_AN_OBJECT
        if kind == "verdict":
            log.give(cell, given[1])
            model.act(cell.id, say=given[1])
        elif kind == "comment":
            log.comment(cell, given[1])
            model.act(cell.id, comment=given[1])
        elif deleted:
            with pytest.raises(VerdictError, match="deleted"):
                log.delete(cell) if kind == "delete" else log.correct(cell, square(1, 1))
        elif kind == "delete":
            log.delete(cell)
            model.act(cell.id, say=NOT_AN_OBJECT)
        else:
            log.correct(cell, square(*given[1]))
            model.act(cell.id, outline=ring_of(square(*given[1])))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_ACTIONS, max_size=25))
def test_replay_is_what_the_model_predicts(actions):
    with tempfile.TemporaryDirectory() as root:
        folder, found = score(Path(root))
        cells = list(found)
        model = Model()
        log = open_log(folder, "anna")
        for action in actions:
            if action == ("close",):
                log.close()
                log = open_log(folder, "anna")
                assert plain(log.state) == model.now
            else:
                before = len(log.state.entries)
                perform(log, model, cells, action)
                assert len(log.state.entries) >= before
        log.close()
        (read,) = replay(folder).reads
        assert plain(read) == plain(log.state) == model.now
        assert [entry.n for entry in read.entries] == list(range(1, len(read.entries) + 1))
        assert verify(folder.parent).sound
