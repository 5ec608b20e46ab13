"""Evaluation: pairing with the truth, figures with known answers, and the command on a real slide file."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dtcseg_training.evaluate import OtherCandidate, SlideEvaluation, TumourCell, compare, evaluate
from dtcseg_training.evaluation_page import page
from dtcseg_training.fields import ArraySlide
from dtcseg_training.figures import (
    Share,
    calibration,
    count_agreement,
    f1,
    froc,
    froc_at,
    froc_score,
    lin,
    precision,
    recall,
    strata,
    summary,
    table,
)
from dtcseg_training.focus import sharpness_around
from dtcseg_training.simulate import draw_spec, render_field, simulate
from dtcseg_training.simulate.field import TruthCell
from dtcseg_training.simulate.truth import Truth
from scipy.ndimage import gaussian_filter

from dtcseg.cells import Candidate, SlideScore
from dtcseg.cli import main
from dtcseg.errors import UsageError
from dtcseg.network.weights import resolve


def ring(x, y, radius_px):
    angle = np.linspace(0, 2 * np.pi, 41)
    return np.stack([x + radius_px * np.cos(angle), y + radius_px * np.sin(angle)], axis=1)


def true_cell(x, y, call="tumour", diameter_um=20.0, cluster=0):
    outline = ring(x, y, diameter_um).astype(np.float32)  # 0.5 µm/px: the radius in pixels is the diameter in µm
    return TruthCell(
        x, y, "tumour_single" if call == "tumour" else "squame", call, True, diameter_um, 80.0, 0.5, outline
    )


def candidate(x, y, score, call="tumour", radius_px=20.0):
    return Candidate(x, y, score, call, ring(x, y, radius_px), 20.0, 314.0, 80.0, 0.5, 0.5, neighbours=0, cluster_id=0)


@pytest.fixture
def compared():
    truth = Truth(
        (true_cell(100, 100), true_cell(400, 100), true_cell(700, 100), true_cell(400, 400, "artefact")),
        np.array([[100, 100], [400, 100], [700, 100], [110, 130]], np.float32),
    )
    found = (
        candidate(103, 100, 0.9),
        candidate(98, 100, 0.8),  # a second one on the same cell: on nothing else, so it is a false one
        candidate(400, 110, 0.3, "haematopoietic"),
        candidate(402, 398, 0.7),
    )
    score = SlideScore(
        "new_fuchsin", "image", 0.5, "flag", 1000, 1000, 0.25, 5, 4.0, 6.0, found,
        truth.nuclei_px, {}, (), {},
    )  # fmt: skip
    return compare("a", Path("a.tif"), score, truth)


def test_candidates_are_paired_with_the_truth(compared):
    assert [c.score for c in compared.tumour] == [0.9, 0.3, -1.0]
    assert [c.called for c in compared.tumour] == [True, False, False]
    assert [(o.score, o.kind) for o in compared.others] == [(0.8, ""), (0.7, "squame")]
    assert [o.beside_tumour for o in compared.others] == [True, False]
    figures = summary([compared])
    assert (figures["false_calls"], figures["false_calls_beside_tumour_cells"]) == (2, 1)
    assert figures["false_calls_elsewhere_per_million"] == 250_000
    assert recall([compared]) == Share(1, 3)
    assert precision([compared]) == Share(1, 3)
    assert f1([compared]) == pytest.approx(1 / 3)
    first, second, lost = compared.tumour
    assert first.iou == pytest.approx(0.826, abs=0.01)  # two discs of radius 20 px, 3 px apart
    assert first.boundary_um == pytest.approx(0.5 * 3 * 2 / np.pi, abs=0.05)
    assert second.iou < first.iou
    assert np.isnan(lost.iou)
    assert first.density_per_mm2 == pytest.approx(2 / (np.pi * 0.01))


def test_shares_have_exact_intervals():
    assert Share(5, 10).interval == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert Share(0, 10).interval == pytest.approx((0, 0.3085), abs=1e-4)
    assert Share(10, 10).interval == pytest.approx((0.6915, 1), abs=1e-4)
    assert Share(0, 0).interval == (0, 1)
    assert str(Share(0, 0)) == "-"


def slide(tumour_scores, other_scores, mnc=1000, true_mnc=1000):
    tumour = tuple(TumourCell(0, 0, s, s >= 0.5, 0.5, 20, False, 2000, 0.7, 0.8, 0.5, ()) for s in tumour_scores)
    others = tuple(OtherCandidate(0, 0, s, s >= 0.5, "", False, ()) for s in other_scores)
    count = len(other_scores) + sum(s >= 0 for s in tumour_scores)
    return SlideEvaluation("s", "dab", Path("s.tif"), 0.5, mnc, true_mnc, tumour, others, count)


def test_froc():
    results = [slide([0.9, 0.6, 0.4, -1], [0.7, 0.2], true_mnc=500_000), slide([], [0.5], true_mnc=500_000)]
    false, found = froc(results)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(found) >= 0).all()
    assert froc_at(results, 0.5) == 0.25
    assert froc_at(results, 1) == 0.5
    assert froc_at(results, 2) == 0.75
    assert froc_at(results, 100) == 0.75
    assert froc_score(results) == pytest.approx((0.25 + 0.5 + 4 * 0.75) / 6)  # two slides: 1/4 a slide is 1/2 a million
    assert np.isnan(froc_at([slide([], [0.5])], 1))
    touching = replace(results[0], others=tuple(replace(o, beside_tumour=True) for o in results[0].others))
    assert froc_at([touching, results[1]], 0.5, elsewhere=True) == 0.5  # 0.9 and 0.6, before the false 0.5 of the other
    assert froc_at([touching, results[1]], 0.5) == 0.25


def test_counts():
    agreement = count_agreement([slide([], [], 1010, 1000), slide([], [], 1980, 2000), slide([], [], 3, 0)])
    assert agreement.bias == pytest.approx(0)
    assert agreement.limits[1] == pytest.approx(1.96 * np.sqrt(2) * 0.01)
    assert agreement.mean_abs == pytest.approx(0.01)
    assert agreement.concordance > 0.99
    numbers = np.array([1.0, 2.0, 4.0])
    assert lin(numbers, numbers) == pytest.approx(1)
    assert lin(numbers, numbers + 10) < 0.1  # a correlation of 1 is no agreement
    assert np.isnan(count_agreement([]).bias)


def test_calibration_of_scores():
    perfect = [slide([0.95] * 19, [0.95])]
    assert calibration(perfect).ece == pytest.approx(0, abs=1e-9)
    assert calibration([slide([], [0.95] * 10)]).ece == pytest.approx(0.95)
    assert calibration([slide([1.0], [])]).counts[-1] == 1
    assert calibration([slide([], [])]).ece == 0


def test_strata_hold_every_cell_once_a_factor():
    results = [slide([0.9, 0.2], []), replace(slide([0.7], []), stain="aec", mpp_um=0.25)]
    rows = strata(results)
    for factor in {row.factor for row in rows}:
        assert sum(row.called.total for row in rows if row.factor == factor) == 3
    assert {row.name for row in rows if row.factor == "stain"} == {"dab", "aec"}
    assert {row.name for row in rows if row.factor == "size"} == {"20 to 30 µm"}


@pytest.mark.parametrize("stain", ["dab", "if"])
def test_focus_is_measured_around_a_place(stain):
    spec = draw_spec(np.random.default_rng(4), stain=stain, mpp_um=0.5, size_px=(400, 600), enriched=True)
    optics = replace(spec.optics, blur_um=0.3, defocus_share=0.0)
    field = render_field(replace(spec, optics=optics, density_per_mm2=3000.0), np.random.default_rng(5))
    blurred = np.stack([gaussian_filter(field.image[..., k], 8) for k in range(3)], axis=-1)
    sharp = sharpness_around(ArraySlide(field.image, 0.5, field.channels), 0.5, [(200, 200), (599, 399)])
    soft = sharpness_around(ArraySlide(blurred, 0.5, field.channels), 0.5, [(200, 200)])
    assert sharp[0] > 0.6
    assert sharp[1] > 0.6
    assert soft[0] < 0.32
    empty = np.full((300, 300, 3), 240, np.uint8)
    assert np.isnan(sharpness_around(ArraySlide(empty, 0.5), 0.5, [(150, 150)])).all()


def test_a_slide_file_is_evaluated(tmp_path, monkeypatch):
    simulate(tmp_path / "b", slides=1, stain="new_fuchsin", seed=3, mpp_um=0.5, width_mm=1.2, enriched=True)
    with pytest.raises(UsageError, match="no slide here has its truth"):
        evaluate("", [shutil.copy(next((tmp_path / "b").glob("*.tif")), tmp_path / "other.ome.tif")])
    told = []
    results = evaluate("", [tmp_path / "b"], device="cpu", on_slide=told.append)
    assert told == results
    assert len(results[0].tumour) > 5
    assert np.isfinite([cell.sharpness for cell in results[0].tumour]).all()
    figures = summary(results)
    assert figures["candidate_recall"] > 0.9
    assert figures["count_error_max_abs"] < 0.1
    assert "| new_fuchsin |" in table(results)
    worst = [replace(r, tumour=tuple(replace(c, called=False) for c in r.tumour)) for r in results]
    html = page(worst, resolve(""))
    assert html.count("<figure><img") >= len(results[0].tumour)
    assert html.count("<svg") == 3
    assert 'src="data:image/png' in html
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE.*?>|rdf:resource="[^"]*"', "", html)
    monkeypatch.setattr("sys.argv", ["dtcseg", "evaluate", "", str(tmp_path / "b"), "--out", str(tmp_path / "e.html")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert (tmp_path / "e.html").read_text("utf-8").startswith("<!doctype html>")
