"""What the second look calls a cell."""

from pathlib import Path

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
