"""A missed cell that was pointed at: the released network outlines it on a sample slide as its truth says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import shapely
from fake_scoring import slide_score

from dtcseg.config import SlideJob
from dtcseg.errors import UsageError
from dtcseg.network.weights import resolve
from dtcseg.results.record import Weights, make_record
from dtcseg.review import missed
from dtcseg.review.missed import outline_at
from dtcseg.review.profiles import read_profile
from dtcseg.slide import open_slide
from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN, BrightfieldProfile
from dtcseg.stain.fluorescence import FluorescenceProfile

SAMPLE = Path(__file__).parents[2] / "data_samples" / "P01_baseline_new_fuchsin.ome.tif"
PROFILE = BrightfieldProfile(
    "new_fuchsin", "flag", (236.0, 236.0, 236.0), HEMATOXYLIN, CHROMOGENS["new_fuchsin"], 1.0, estimated=True
)


def record(details: dict[str, object], weights: Weights | None = None):
    found = resolve()
    job = SlideJob(name="a", files=(SAMPLE,))
    score = slide_score([], details=details)
    known = weights or Weights(found.name, found.sha256)
    return make_record(job, score, key="k", weights=known, program="0", seconds=1.0)


def tumour_cells():
    with SAMPLE.with_name("P01_baseline_new_fuchsin.truth.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["call"] == "tumour"]


def test_every_tumour_cell_of_the_sample_is_outlined_where_it_was_pointed_at():
    cells = tumour_cells()
    assert cells
    with open_slide([SAMPLE]) as slide:
        for cell in cells:
            x, y = float(cell["x_px"]), float(cell["y_px"])
            found = outline_at(slide, record({"profile": PROFILE.to_json()}), x, y, device="cpu")
            shape = shapely.Polygon(found.ring)
            assert found.remark == ""
            assert shape.is_valid
            assert shape.contains(shapely.Point(x, y))
            truth = shapely.from_wkt(cell["outline"])
            assert shape.intersection(truth).area > 0.6 * shape.union(truth).area


def test_other_weights_and_none_are_said(monkeypatch):
    with open_slide([SAMPLE]) as slide:
        other = record({"profile": PROFILE.to_json()}, Weights("older", "0" * 64))
        assert "older, which scored the slide, is not installed" in outline_at(slide, other, 500, 500).remark
        bare = outline_at(slide, record({}), 500, 500)
        assert "holds no stain profile; score the slide again" in bare.remark
        assert shapely.Polygon(bare.ring).area * 0.25 == pytest.approx(np.pi * 7.5**2, rel=0.02)

        def none(model: str = "") -> object:
            raise UsageError("the weights index cannot be read; install dtcseg again")

        monkeypatch.setattr(missed, "resolve", none)
        assert "install dtcseg again" in outline_at(slide, other, 500, 500).remark


def test_profiles_come_back_from_the_record_as_they_went_in():
    assert read_profile(record({"profile": PROFILE.to_json()})).planes(
        np.full((1, 1, 3), 90, np.uint8)
    ) == pytest.approx(PROFILE.planes(np.full((1, 1, 3), 90, np.uint8)))
    fluorescent = FluorescenceProfile((0, 1, -1), (10.0, 20.0, 0.0), (0.1, 0.2, 0.0))
    again = read_profile(record({"profile": fluorescent.to_json()}))
    assert again.to_json() == fluorescent.to_json()
