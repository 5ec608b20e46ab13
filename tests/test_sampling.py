"""Nuclei counted on a sample of fields: unbiased, with an interval that holds, and the same cells as counting all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import dtcseg.sampling
import dtcseg.score
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.quality import BlockGrid, Code, QualityMap
from dtcseg.sampling import blocks_of, draw_fields, estimate_total, field_areas_mm2
from dtcseg.score import score_slide

SAMPLES = Path(__file__).parents[1] / "data_samples"


def real_fields():
    """Nuclei of the sample slides in fields of 128 µm (they are too small for many of 256): counts and areas."""
    counts, areas = [], []
    for path in sorted(SAMPLES.glob("*.truth_nuclei.parquet")):
        table = pq.read_table(path)
        x, y = (table[name].to_numpy() * 0.5 / 128 for name in ("x_px", "y_px"))
        grid = np.histogram2d(y, x, bins=[np.arange(np.floor(v.max()) + 1) for v in (y, x)])[0]
        counts.append(grid.ravel())
        areas.append(np.full(grid.size, 0.128**2))
    return np.concatenate(counts)[None].astype(np.int64), np.concatenate(areas)[None]


def trials(counts, areas, number, repeats=2000):
    """Estimates from many draws, and whether each interval holds the truth."""
    truth, totals, held = counts.sum(), [], []
    for seed in range(repeats):
        drawn = draw_fields(areas, share=0.0, least=number, seed=seed)
        got = estimate_total(counts, areas, drawn)
        totals.append(got.total)
        held.append(abs(got.total - truth) <= got.half_width)
    return np.array(totals), np.mean(held)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_interval_holds_on_real_placement(share):
    counts, areas = real_fields()
    assert counts.size > 200
    totals, held = trials(counts, areas, round(share * counts.size))
    assert totals.mean() == pytest.approx(counts.sum(), rel=0.005)
    assert 0.93 <= held <= 0.97


def test_fields_cut_by_a_spots_edge_widen_nothing():
    """Where the density is the same everywhere, fields of any area give the same ratio."""
    rng = np.random.default_rng(1)
    areas = rng.uniform(0.005, 0.066, (20, 30))
    counts = rng.poisson(2000 * areas)
    totals, held = trials(counts, areas, 100, repeats=1000)
    assert totals.mean() == pytest.approx(counts.sum(), rel=0.005)
    assert totals.std() < 1.2 * np.sqrt(counts.sum()) * np.sqrt(600 / 100)
    assert 0.92 <= held <= 0.975


def test_all_fields_leave_no_error():
    areas = np.array([[0.02, 0.0, 0.03]])
    drawn = draw_fields(areas)
    assert drawn.tolist() == [[True, False, True]]
    got = estimate_total(np.array([[5, 0, 7]]), areas, drawn)
    assert (got.total, got.half_width) == (pytest.approx(12), 0.0)
    nothing = estimate_total(np.array([[0]]), np.array([[0.0]]), draw_fields(np.array([[0.0]])))
    assert (nothing.total, nothing.half_width) == (0.0, 0.0)


def test_the_same_fields_every_time_with_equal_chances():
    areas = np.ones((10, 10))
    areas[3:5] = 0
    np.testing.assert_array_equal(draw_fields(areas, least=10), draw_fields(areas, least=10))
    often = sum(draw_fields(areas, share=0.25, least=1, seed=seed).astype(int) for seed in range(2000))
    assert often[3:5].sum() == 0
    assert often[areas > 0].sum() == 2000 * 20
    assert abs(often[areas > 0] / 2000 - 0.25).max() < 0.05


def test_areas_and_blocks_of_fields():
    codes = np.full((5, 6), Code.SCREENED, np.uint8)
    codes[0, 0] = Code.BLURRED
    areas = field_areas_mm2(QualityMap(BlockGrid(5, 6, 6 * 64.0, 4.5 * 64.0), codes))
    block = 0.064**2
    np.testing.assert_allclose(areas, [[15 * block, 8 * block], [2 * block, block]])
    blocks = blocks_of(np.array([[False, True], [False, False]]), (5, 6))
    assert blocks.shape == (5, 6)
    assert blocks.sum() == 8
    assert blocks[:4, 4:].all()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One sample slide counted whole, and on 12 of its fields."""
    job = SlideJob(name="s", files=(SAMPLES / "P02_baseline_fast_red.ome.tif",))
    config = ScoreConfig(out=tmp_path_factory.mktemp("out"), device="cpu")
    whole = score_slide(job, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dtcseg.sampling.draw_fields.__kwdefaults__, "least", 12)
        patch.setattr(
            dtcseg.score, "_most_asked", lambda engine: 1.0
        )  # the slide is small, and what there is of it is asked for
        few = score_slide(job, replace(config, count="sampled"))
        other_cut = score_slide(job, replace(config, count="sampled", tile_px=512, batch=3))
        patch.setattr(dtcseg.score, "_most_asked", lambda engine: 0.0)
        no_gain = score_slide(job, replace(config, count="sampled"))
    return whole, few, other_cut, no_gain


def test_candidates_are_those_of_counting_all(both):
    whole, few, *_ = both
    assert len(whole.candidates) > 10
    assert few.candidates == whole.candidates  # neighbours, clusters and scores included
    for one, other in zip(few.candidates, whole.candidates, strict=True):
        np.testing.assert_array_equal(one.outline_px, other.outline_px)
    assert (few.area_mm2, few.excluded_mm2) == (whole.area_mm2, whole.excluded_mm2)


def test_what_was_counted_is_said_and_wider(both):
    whole, few, *_ = both
    assert whole.details["counted"] == {"count": "all"}
    said = few.details["counted"]
    assert (said["count"], said["fields"], said["nuclei"]) == ("sampled", 12, len(few.nuclei_px))
    assert said["of"] > 40
    assert f"count_sampled:12_of_{said['of']}_fields" in few.qc
    assert not any("sampled" in flag for flag in whole.qc)
    assert few.mnc_low < whole.mnc < few.mnc_high
    assert few.mnc_high - few.mnc_low > whole.mnc_high - whole.mnc_low
    every = {tuple(point) for point in whole.nuclei_px.tolist()}
    assert {tuple(point) for point in few.nuclei_px.tolist()} <= every
    assert few.mnc == pytest.approx(len(few.nuclei_px) / said["area_mm2"] * few.area_mm2, rel=0.001)


def test_the_cut_does_not_matter(both):
    _, few, other, _ = both
    np.testing.assert_array_equal(few.nuclei_px, other.nuclei_px)
    assert (few.candidates, few.mnc, few.mnc_low, few.qc) == (other.candidates, other.mnc, other.mnc_low, other.qc)


def test_where_nothing_is_saved_all_are_counted_and_it_is_said(both):
    whole, *_, same = both
    np.testing.assert_array_equal(same.nuclei_px, whole.nuclei_px)
    assert same.candidates == whole.candidates
    assert (same.mnc, same.mnc_low, same.mnc_high, same.qc) == (whole.mnc, whole.mnc_low, whole.mnc_high, whole.qc)
    assert same.details["counted"]["count"] == "all"
    assert "sampling would leave the network" in same.details["counted"]["why"]
