"""What the second look calls a cell."""

from pathlib import Path

import numpy as np

from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.leukocyte_ring import RING
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


def test_a_cell_with_a_ring_of_leukocyte_marker_is_no_tumour_cell(tmp_path, monkeypatch):
    look = Engine.look

    def takes_all_for_tumour_cells(self, *seen):
        masks, calls = look(self, *seen)
        calls[:] = [0.97, 0.0, 0.02, 0.01]
        return masks, calls

    def found():
        slide = SlideJob(name="P05", files=(SAMPLE.with_name("P05_baseline_if.ome.tif"),))
        return score_slide(slide, ScoreConfig(out=tmp_path, device="cpu")).candidates

    monkeypatch.setattr(Engine, "look", takes_all_for_tumour_cells)
    plain = {(c.x_px, c.y_px): c for c in found()}
    assert any(c.cd45_ring > 0 for c in plain.values())
    assert not any(c.call == "tumour" for c in plain.values() if c.cd45_ring >= RING)
    called = [place for place, c in plain.items() if c.call == "tumour"]
    assert called
    monkeypatch.setattr("dtcseg.look.leukocyte_ring", lambda *seen: 1.0)
    ringed = {(c.x_px, c.y_px): c for c in found()}
    assert ringed.keys() == plain.keys()
    assert {ringed[place].call for place in called} == {"haematopoietic"}
    assert all(c.score < 0.05 for c in ringed.values())
