"""Slides that weights are judged on: the same ones every time, and the shifted ones are what nothing learned from."""

import csv

import numpy as np
import pytest
from dtcseg_training.families import FAMILIES, make_family
from dtcseg_training.simulate import read_truth
from dtcseg_training.simulate.cytokeratin import TEXTURES, UNSEEN_TEXTURES
from dtcseg_training.simulate.spec import draw_spec

from dtcseg.slide import open_slide


def test_the_shifted_family_leaves_the_ranges_of_the_training():
    learned = [draw_spec(np.random.default_rng([1, i]), stain="dab", mpp_um=0.5, enriched=False) for i in range(200)]
    shifted = [FAMILIES["shifted"](np.random.default_rng([2, i]), spec) for i, spec in enumerate(learned)]
    assert all(not spec.textures for spec in learned)
    assert 0.5 < np.mean([spec.textures == UNSEEN_TEXTURES for spec in shifted]) < 0.8
    assert not set(UNSEEN_TEXTURES) & set(TEXTURES)
    for value in (
        lambda spec: spec.camera.jpeg_quality or 100,
        lambda spec: spec.density_per_mm2,
        lambda spec: spec.staining.ck_od,
    ):
        low, high = (f([value(spec) for spec in learned]) for f in (min, max))
        assert np.mean([not low <= value(spec) <= high for spec in shifted]) > 0.2


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_is_its_number(tmp_path, family):
    make_family(tmp_path / "a", family, slides=1, cells=300)
    file = next((tmp_path / "a").glob("*.tif"))
    written = file.stat().st_mtime_ns
    make_family(tmp_path / "a", family, slides=2, cells=300)
    assert file.stat().st_mtime_ns == written
    make_family(tmp_path / "b", family, slides=1, cells=300, processes=2 if family == "own" else 1)
    assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()
    with (tmp_path / "a" / "slides.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["stain"] for row in rows] == ["new_fuchsin", "fast_red"]
    assert all((tmp_path / "a" / row["file"]).exists() for row in rows)
    with open_slide((file,), mpp_um=None, mpp_source="") as slide:
        assert slide.resolution.mpp_um == pytest.approx(float(rows[0]["mpp"]))
    assert len(read_truth(file).nuclei_px) > 100
