"""What the second look calls a cell."""

from pathlib import Path

import numpy as np

from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_CLASSES, LOOK_MASKS
from dtcseg.score import score_slide

SAMPLE = Path(__file__).parents[1] / "data_samples" / "P02_baseline_fast_red.ome.tif"


def test_a_faint_cell_without_a_nucleus_is_no_tumour_cell(tmp_path, monkeypatch):
    look = Engine.look

    def sees_tumour_cells_without_a_nucleus(self, *seen):
        masks, calls = look(self, *seen)
        masks[:, LOOK_MASKS.index("nucleus")] = 0
        calls[:] = 0
        calls[:, LOOK_CLASSES.index("tumour")] = 1
        return masks, calls

    monkeypatch.setattr(Engine, "look", sees_tumour_cells_without_a_nucleus)
    config = ScoreConfig(out=tmp_path, device="cpu")
    found = score_slide(SlideJob(name="P02", files=(SAMPLE,)), config).candidates
    faint, strong = ([c for c in found if (c.ck_od < 0.3) == is_faint] for is_faint in (True, False))
    assert faint
    assert strong
    assert all(c.nucleus_area_um2 == 0 and c.score == 1 for c in found)
    assert not any(c.call == "tumour" for c in faint)
    assert all(c.call == "tumour" for c in strong)


def test_no_cell_is_called_for_being_the_likeliest_of_many_alike(tmp_path, monkeypatch):
    look = Engine.look
    tumour = LOOK_CLASSES.index("tumour")

    def is_hardly_sure_of_any(self, crops, *seen):
        masks, calls = look(self, crops, *seen)
        likelier = crops[:, 1, 60:68, 60:68].mean((1, 2)) * 1e4 % 10 < 3  # some of them, by what is as good as chance
        calls[:] = np.where(likelier, 0.55, 0.45)[:, None] * np.eye(len(LOOK_CLASSES))[tumour]
        calls[:, LOOK_CLASSES.index("artefact")] = 1 - calls[:, tumour]
        return masks, calls

    def found():
        config = ScoreConfig(out=tmp_path, device="cpu")
        return score_slide(SlideJob(name="P02", files=(SAMPLE,)), config).candidates

    monkeypatch.setattr(Engine, "look", is_hardly_sure_of_any)
    monkeypatch.setattr("dtcseg.look.scores_in_company", lambda scores, *others: scores)
    alone = found()
    monkeypatch.undo()
    monkeypatch.setattr(Engine, "look", is_hardly_sure_of_any)
    among = found()
    called = [[c for c in candidates if c.call == "tumour"] for candidates in (alone, among)]
    assert len(called[0]) > 1
    assert len(called[1]) < len(called[0])
    assert len(among) == len(alone)
    scores = [c.score for c in among]
    assert scores == sorted(scores, reverse=True)
    assert all(c.score >= 0.5 for c in called[1])
    assert all(c.nucleus_area_um2 == 0 for c in among if c.score >= 0.5 and c.call != "tumour")
    assert {c.call for c in among} <= {"tumour", "artefact"}
